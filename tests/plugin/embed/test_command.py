"""The command behind the Embed dock does what the dock does."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Layer
from qtpy.QtWidgets import QApplication, QComboBox, QFileDialog, QSpinBox

import cellvjepa
from cellvjepa.cli import run
from napari_cellvjepa.embed.dock import EmbedWidget
from napari_cellvjepa.layers.of_movies import image_layers, labels_layer, tracks_layer

Bare = tuple[Any, EmbedWidget]


@pytest.fixture
def filled(bare: Bare, toy: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bare:
    """The toy's image is open, with its masks and tracks as files; UMAP is left out."""
    project = cellvjepa.project
    monkeypatch.setattr(cellvjepa, "project", lambda store, method, progress: project(store, "pca", progress=progress))
    viewer, widget = bare
    movie = cellvjepa.with_levels(cellvjepa.open_movie(toy / "toy.ome.tif"))
    masks = cellvjepa.open_movie(toy / "labels" / "toy_labels.tif")
    cells = cellvjepa.read_cells(toy / "cells.csv", cellvjepa.open_archive(toy / "toy.ome.tif"))
    for layer in (*image_layers(movie), labels_layer(masks, movie), tracks_layer(cells, movie, str(toy / "cells.csv"))):
        viewer.add_layer(Layer.create(*layer))
    widget.use_model(run_folder)
    widget.store.set_text(str(tmp_path / "here.zarr"))
    return viewer, widget


def layer_of(viewer: Any, kind: str) -> Any:
    return next(layer for layer in viewer.layers if type(layer).__name__ == kind)


@pytest.mark.parametrize("kind", ["Tracks", "Labels", "nothing"])
def test_the_command_gives_the_same_embeddings(qtbot: Any, filled: Bare, toy: Path, tmp_path: Path, kind: str) -> None:
    viewer, widget = filled
    widget.cells.choose(None if kind == "nothing" else layer_of(viewer, kind))
    widget.options.findChild(QSpinBox, "stride_frames").setValue(4)
    widget.options.findChild(QComboBox, "pool").setCurrentText("moments")
    widget.copy.click()
    words = shlex.split(QApplication.clipboard().text())
    assert words[:3] == ["cellvjepa", "embed", str(toy / "toy.ome.tif")]
    assert words[-4:] == ["--set", "embed.stride_frames=4", "--set", "embed.pool=moments"]
    widget.start.click()
    qtbot.waitUntil(lambda: widget.start.isEnabled(), timeout=300_000)
    here = cellvjepa.open_store(tmp_path / "here.zarr")

    words[words.index(str(tmp_path / "here.zarr"))] = str(tmp_path / "there.zarr")
    assert run(words[1:]) == 0
    there = cellvjepa.open_store(tmp_path / "there.zarr")
    assert there.table["clip_id"].tolist() == here.table["clip_id"].tolist()
    np.testing.assert_array_equal(np.asarray(there.vectors_ND[:]), np.asarray(here.vectors_ND[:]))


def test_one_channel_of_several_is_named(filled: Bare) -> None:
    _, widget = filled
    widget.all_channels.setChecked(False)
    assert "--set 'clip.channels=[phase]'" in widget.copy.text_of_command()


def test_what_is_in_this_window_only_is_said(filled: Bare, toy_masks: np.ndarray, notices: list[str]) -> None:
    viewer, widget = filled
    widget.cells.choose(viewer.add_labels(toy_masks, name="painted"))
    widget.copy.click()
    widget.cells.choose(viewer.add_points(np.zeros((1, 3)), name="places"))
    widget.copy.click()
    widget.movie.choose(viewer.add_image(np.zeros((16, 48, 48)), name="made up"))
    widget.copy.click()
    assert [text.split(". ")[0] for text in notices] == [
        "the layer 'painted': this label image is in this window only, so that no command can read it",
        "the layer 'places': the command line has no windows around single points",
        "the layer 'made up': these pixels are in this window only, so that no command can read them",
    ]


def test_a_script_for_a_cluster_takes_tracks_of_this_window_along(
    filled: Bare, toy: Path, tmp_path: Path, notices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script is run, with this machine as the cluster."""
    viewer, widget = filled
    table = pd.read_csv(toy / "cells.csv")
    tracks = viewer.add_tracks(table[["track_id", "t", "y_px", "x_px"]].to_numpy(float), name="linked here", scale=(60, 0.5, 0.5))
    widget.cells.choose(tracks)
    widget.copy.click()
    assert notices[0].startswith("the layer 'linked here': these cells are in this window only")
    script = tmp_path / "embed.slurm"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(script), ""))
    widget.cluster.click()
    assert notices[1] == f"The script was written to {script} and the cells into embed_cells.csv. On the cluster: sbatch embed.slurm"
    assert "#SBATCH --gpus=1" in script.read_text()
    assert shutil.which("cellvjepa")
    subprocess.run(["bash", str(script)], check=True, cwd=tmp_path, capture_output=True)
    assert len(cellvjepa.open_store(tmp_path / "here.zarr")) == 8
