"""`cellvjepa embed` as a user meets it: cells with outlines, crops that follow, windows in minutes.

A movie of 24 frames, 64 x 72 px, a minute each: track 1 walks to the right, track 2 rests below it, track 3 is there for three frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import cellvjepa
from cellvjepa.cli import run
from cellvjepa.embedding.encoding import vectors_of_clips
from cellvjepa.embedding.reading import clips_of, outlines_of
from cellvjepa.model.weights import locate_encoder

SMALL = ("--set", "clip.size_px=32", "--set", "clip.frames=8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 100, (24, 64, 72)).astype(np.uint16)
    labels = np.zeros((24, 64, 72), np.uint8)
    for t in range(24):
        labels[t, 20:28, 8 + 2 * t : 16 + 2 * t] = 1
        labels[t, 32:40, 30:38] = 2
        if 4 <= t < 7:
            labels[t, 50:56, 50:56] = 3
    pixels[labels == 1] += 900
    pixels[labels == 2] += 400
    metadata = {"axes": "TYX", "finterval": 60.0}
    tifffile.imwrite(path / "movie.tif", pixels, imagej=True, metadata=metadata)
    (path / "labels").mkdir()
    tifffile.imwrite(path / "labels" / "movie_labels.tif", labels, imagej=True, metadata=metadata)
    frames = np.arange(24)
    walks = pd.DataFrame({"track_id": 1, "t": frames, "y_px": 23.5, "x_px": 11.5 + 2 * frames})
    rests = pd.DataFrame({"track_id": 2, "t": frames, "y_px": 35.5, "x_px": 33.5})
    pd.concat([walks, rests]).to_csv(path / "cells.csv", index=False)
    return path


def embed(folder: Path, out: Path, *more: str, cells: str = "labels") -> cellvjepa.Embeddings:
    arguments = ["embed", str(folder / "movie.tif"), "--model", "encoder_tiny", "--out", str(out), *SMALL, *more]
    assert run([*arguments, "--cells", str(folder / cells)]) == 0
    return cellvjepa.open_store(out)


def test_what_is_known_beside_the_vector(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = embed(folder, tmp_path / "s.zarr").table
    assert "1 of 3 tracks have no embedding: no window shows them in 50% of its frames (embed.min_cover)." in " ".join(
        capsys.readouterr().err.split()
    )
    assert table["track_id"].tolist() == [1, 1, 1, 2, 2, 2]
    np.testing.assert_allclose(table["speed_px_per_frame"], [2, 2, 2, 0, 0, 0])
    np.testing.assert_allclose(table["intensity"], [950, 950, 950, 450, 450, 450], atol=10)
    assert table["area_px"].tolist() == [64.0] * 6
    assert table["track_age_frames"].tolist() == [0, 8, 16] * 2
    assert set(table["parent_track_id"]) == {-1}


def test_places_of_a_grid_know_how_bright_they_are(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "grid.zarr"
    assert run(["embed", str(folder / "movie.tif"), "--model", "encoder_tiny", "--out", str(out), *SMALL, "--grid"]) == 0
    table, pixels = cellvjepa.open_store(out).table, tifffile.imread(folder / "movie.tif")
    assert len(table) == 18  # 3 windows of 8 frames, 2 x 3 places
    for row in table.itertuples():
        y, x = int(row.y_px - 15.5), int(row.x_px - 15.5)
        assert row.intensity == pytest.approx(pixels[row.t_start : row.t_stop, y : y + 32, x : x + 32].mean())


def test_outlines_of_a_table_of_tracks(folder: Path, tmp_path: Path) -> None:
    chosen = ("--set", "embed.follow=smooth", "--set", "embed.mask_weight=0.5", "--set", "embed.hide_neighbours=true")
    apart = embed(folder, tmp_path / "csv.zarr", "--outlines", str(folder / "labels"), *chosen, cells="cells.csv")
    assert apart.provenance.label_images == {"movie.tif": str(folder / "labels" / "movie_labels.tif")}
    np.testing.assert_allclose(apart.table["drift_x_px"], [14, 14, 14, 0, 0, 0], atol=1e-9)
    together = embed(folder, tmp_path / "labels.zarr", *chosen)
    np.testing.assert_allclose(apart.vectors_ND[0:6], together.vectors_ND[0:6], atol=1e-5)
    # What a probe does that reads the movies again.
    encoder, _ = cellvjepa.load_encoder(locate_encoder(Path("encoder_tiny")))
    movies = [cellvjepa.with_levels(cellvjepa.open_movie(folder / "movie.tif"))]
    shape, clips = apart.provenance.clip_shape, clips_of(apart, movies)
    again = vectors_of_clips(encoder, movies, clips, shape, "dynamics", reference=apart.provenance.source.reference, outlines=outlines_of(apart))
    np.testing.assert_allclose(again, apart.vectors_ND[0:6], atol=1e-5)
    plain = embed(folder, tmp_path / "plain.zarr", cells="cells.csv")
    assert np.abs(apart.vectors_ND[0:6] - plain.vectors_ND[0:6]).max() > 0.01


def test_windows_and_strides_in_minutes(folder: Path, tmp_path: Path) -> None:
    table = embed(folder, tmp_path / "s.zarr", "--set", "embed.window_min=16", "--set", "embed.stride_min=4", cells="cells.csv").table
    assert (table["t_stop"] - table["t_start"]).unique().tolist() == [15]  # every second frame
    assert sorted(table["t_start"].unique()) == [0, 4, 8, 9]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cellvjepa: ")]
    assert len(lines) == 1, lines
    return lines[0]


def test_what_cannot_be_is_said(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("embed", folder / "movie.tif", "--model", "encoder_tiny", "--out", tmp_path / "s.zarr", *SMALL)
    assert "embed.mask_weight needs them. give label images as the cells" in refusal(
        capsys, *command, "--cells", folder / "cells.csv", "--set", "embed.mask_weight=1"
    )
    assert "give one of them" in refusal(capsys, *command, "--grid", "--set", "embed.stride_min=1", "--set", "embed.stride_frames=2")
    assert "--outlines goes with --cells" in refusal(capsys, *command, "--grid", "--outlines", folder / "labels")
    tifffile.imwrite(tmp_path / "unknown.tif", np.random.default_rng(0).integers(0, 99, (24, 40, 40)).astype(np.uint8))
    other = ("embed", tmp_path / "unknown.tif", "--model", "encoder_tiny", "--out", tmp_path / "s.zarr", *SMALL, "--axes", "TYX", "--grid")
    assert "1 of 1 movies do not say their frame interval" in refusal(capsys, *other, "--set", "embed.window_min=16")
    assert not (tmp_path / "s.zarr").exists()
    assert not (tmp_path / "s.zarr.part").exists()
