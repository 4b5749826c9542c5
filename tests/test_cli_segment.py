"""Outlining and linking cells as a user meets them on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellvjepa.cells.table import read_cells
from cellvjepa.cli import run
from cellvjepa.movies.readers import open_archive, open_movie


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """A folder with two movies of two disks, one of which moves right by a pixel a frame; the second movie has two channels."""
    y, x = np.mgrid[:48, :64]
    for name, channels in (("a.tif", 1), ("b.tif", 2)):
        movie = np.random.default_rng(0).integers(0, 20, (5, channels, 48, 64)).astype(np.uint16)
        for t in range(5):
            for row, column in ((14, 14), (34, 20 + t)):
                movie[t, -1][(y - row) ** 2 + (x - column) ** 2 <= 25] += 500
        tifffile.imwrite(tmp_path / name, movie, imagej=True, metadata={"axes": "TCYX"})
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == 2
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("cellvjepa: ")][-1]


def test_outline_then_link_then_read_as_tracks(fields: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movie, outlines, linked = fields / "a.tif", tmp_path / "out" / "a_labels.tif", tmp_path / "out" / "a_tracked.zarr"
    assert run(["segment", str(movie), "--out", str(outlines), "--set", "segment.diameter_um=10"]) == 0
    assert "each frame counts anew: link them with `cellvjepa link`" in capsys.readouterr().out
    assert run(["link", str(movie), "--labels", str(outlines), "--out", str(linked)]) == 0
    said = capsys.readouterr().out
    assert f"Labels: {linked} (2 tracks)" in said
    assert f"Cells: {tmp_path / 'out' / 'a_tracked_cells.csv'} (10 rows)" in said
    for source in (linked, tmp_path / "out" / "a_tracked_cells.csv"):
        cells = read_cells(source, open_archive(movie)).table
        assert cells["track_id"].value_counts().tolist() == [5, 5]
    moving = cells[cells["y_px"] > 24].sort_values("t")
    np.testing.assert_allclose(np.diff(moving["x_px"]), 1, atol=0.3)


def test_several_movies_go_into_a_folder(fields: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "labels"
    assert run(["segment", str(fields / "a.tif"), str(fields / "b.tif"), "--out", str(out), "--set", "segment.diameter_um=10"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a_labels.tif", "b_labels.tif"]
    assert open_movie(out / "a_labels.tif").pixels[2].max() == 2
    assert open_movie(out / "b_labels.tif").pixels[2].max() == 0  # the cells are in its second channel
    found = [movie.name for movie in open_archive(fields, remember=False).movies]
    assert found == ["a.tif", "b.tif"]  # what was written is taken for no movie


def test_a_channel_by_its_name(fields: Path, tmp_path: Path) -> None:
    name = open_movie(fields / "b.tif").channels[1]
    assert run(["segment", str(fields / "b.tif"), "--out", str(tmp_path / "b.zarr"), "--channel", name]) == 0
    assert open_movie(tmp_path / "b.zarr").pixels[2].max() == 2


def test_what_cannot_be(fields: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = fields / "a.tif", fields / "b.tif"
    assert "there are 2 movies, and one file for their labels. give a folder" in refusal(capsys, "segment", a, b, "--out", tmp_path / "x.tif")
    assert "no model of cellpose is chosen" in refusal(capsys, "segment", a, "--out", tmp_path / "x.tif", "--set", "segment.method=cellpose")
    assert "unknown key 'segment.size'" in refusal(capsys, "segment", a, "--out", tmp_path / "x.tif", "--set", "segment.size=3")
    assert "there are 2 movies here. give the path of one" in refusal(capsys, "link", fields, "--labels", a, "--out", tmp_path / "x.tif")
    assert "this is what is to be linked" in refusal(capsys, "link", a, "--labels", a, "--out", a)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif"]
