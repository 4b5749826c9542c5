"""What the Embed dock does, without windows and layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cellvjepa
from napari_cellvjepa.embed.request import CellSource, LabelImage, Places, Request, Tracked, carry_out


def silent(stage: str, done: int, total: int) -> None: ...


@pytest.fixture(autouse=True)
def _no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """UMAP is compiled when it is first used, which takes longer than all of this; test_embed.py draws one."""
    project = cellvjepa.project
    monkeypatch.setattr(cellvjepa, "project", lambda store, method, progress: project(store, "pca", progress=progress))


@pytest.fixture
def request_(toy: Path, run_folder: Path, tmp_path: Path) -> Request:
    """Embed the toy on a grid."""
    config = cellvjepa.load_config(None, ["embed.device=cpu", "embed.batch_size=3"])
    return Request(cellvjepa.open_movie(toy / "toy.ome.tif"), None, None, run_folder, tmp_path / "out.zarr", config.embed)


@pytest.fixture
def sources(toy: Path) -> dict[str, CellSource | None]:
    """The same cells in four kinds, and none."""
    table = pd.read_csv(toy / "cells.csv")
    return {
        "labels": LabelImage(cellvjepa.open_movie(toy / "labels" / "toy_labels.tif")),
        "tracks": Tracked(table, "the layer 'tracks'"),
        "places": Places(table[table["t"] == 9][["t", "y_px", "x_px"]].reset_index(drop=True), "the layer 'points'"),
        "nothing": None,
    }


@pytest.mark.parametrize(("kind", "rows"), [("labels", 8), ("tracks", 8), ("places", 4), ("nothing", 8)])
def test_any_kind_of_cells_becomes_a_store(request_: Request, sources: dict[str, Any], kind: str, rows: int) -> None:
    done = carry_out(replace(request_, cells=sources[kind]), silent)
    table = cellvjepa.open_store(request_.store).table
    assert len(done.embeddings) == len(table) == rows
    assert table["movie"].unique().tolist() == ["toy.ome.tif"]
    assert np.isfinite(np.asarray(done.embeddings.vectors_ND)).all()


def test_labels_and_tracks_of_the_same_cells_give_the_same_vectors(request_: Request, sources: dict[str, Any], tmp_path: Path) -> None:
    vectors = [
        np.asarray(carry_out(replace(request_, cells=sources[kind], store=tmp_path / f"{kind}.zarr"), silent).embeddings.vectors_ND[:])
        for kind in ("labels", "tracks")
    ]
    np.testing.assert_array_equal(*vectors)


def test_a_place_is_in_the_middle_of_its_window(request_: Request, sources: dict[str, Any]) -> None:
    table = carry_out(replace(request_, cells=sources["places"]), silent).embeddings.table
    assert table["t_start"].tolist() == [6] * 4  # 9 - 3.5, and to the even one of two neighbours
    assert table["track_id"].tolist() == [0, 1, 2, 3]
    at_the_ends = Places(pd.DataFrame({"t": [-3.0, 99.0], "y_px": [5.0, 6.0], "x_px": [5.0, 6.0]}), "points")
    table = carry_out(replace(request_, cells=at_the_ends, store=request_.store.with_name("ends.zarr")), silent).embeddings.table
    assert table["t_start"].tolist() == [0, 8]


def test_too_few_rows_for_a_map_are_said_and_kept(request_: Request) -> None:
    one = Places(pd.DataFrame({"t": [5.0], "y_px": [20.0], "x_px": [20.0]}), "points")
    done = carry_out(replace(request_, cells=one), silent)
    assert len(done.embeddings) == 1
    assert "too few for pca" in done.note


def test_a_request_that_was_cancelled_goes_on(request_: Request) -> None:
    stages = []

    def cancel_at_the_second_batch(stage: str, done: int, total: int) -> None:
        stages.append((stage, done))
        if stage == "embedding" and done >= 3:
            raise cellvjepa.Cancelled

    with pytest.raises(cellvjepa.Cancelled):
        carry_out(request_, cancel_at_the_second_batch)
    assert not request_.store.exists()
    stages.clear()

    carry_out(request_, lambda stage, done, total: stages.append((stage, done)))
    assert next(done for stage, done in stages if stage == "embedding") == 3
    assert request_.store.exists()


def test_one_channel_of_several(request_: Request) -> None:
    done = carry_out(replace(request_, channels=request_.movie.channels[:1]), silent)
    assert done.embeddings.provenance.channels == request_.movie.channels[:1]


def test_problems_are_readable(request_: Request, tmp_path: Path, sources: dict[str, Any]) -> None:
    def refused(match: str, **changes: Any) -> None:
        with pytest.raises(cellvjepa.UserError, match=match):
            carry_out(replace(request_, **changes), silent)

    refused(r"there is no encoder here\. give the folder of a run", model=tmp_path)
    refused(
        r"the layer 'points': there are no points\. add some",
        cells=Places(pd.DataFrame(columns=["t", "y_px", "x_px"], dtype=float), "the layer 'points'"),
    )
    far = Tracked(pd.DataFrame({"track_id": [1], "t": [99], "y_px": [1.0], "x_px": [1.0]}), "the layer 'tracks'")
    refused(r"the layer 'tracks': 1 of 1 rows cannot be used; .*is in frame 99", cells=far)
    short = LabelImage(replace(request_.movie, pixels=cellvjepa.open_movie(tmp_path_movie(tmp_path)).pixels))
    refused("label image is T 4", cells=short)


def tmp_path_movie(folder: Path) -> Path:
    import tifffile

    tifffile.imwrite(folder / "short.tif", np.ones((4, 48, 48), np.uint8), imagej=True, metadata={"axes": "TYX"})
    return folder / "short.tif"


def test_an_encoder_without_a_configuration_is_refused(request_: Request, run_folder: Path, tmp_path: Path) -> None:
    from cellvjepa.model.weights import save_encoder

    encoder, _ = cellvjepa.load_encoder(run_folder)
    save_encoder(encoder, tmp_path / "bare", {})
    with pytest.raises(cellvjepa.UserError, match="does not say what clips it was trained on"):
        carry_out(replace(request_, model=tmp_path / "bare"), silent)
