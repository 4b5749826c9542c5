"""Fixtures of the plugin's tests, which need a display: under ``QT_QPA_PLATFORM=offscreen`` there is no OpenGL and napari aborts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellvjepa.config import Config

FRAMES, SIZE = 16, 48


def _why_not() -> str:
    """Say why these tests cannot run here, or ``""``. Nothing of Qt has been imported by then."""
    if importlib.util.find_spec("napari") is None:
        return "napari is not installed (pip install cellvjepa[napari,dev])"
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal"):
        return "QT_QPA_PLATFORM=offscreen has no OpenGL: run under xvfb-run instead"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display: run under xvfb-run"
    return ""


class _NoDisplay(pytest.Module):
    """A file of tests that is skipped before it is imported."""

    def collect(self) -> Iterator[pytest.Item]:
        pytest.skip(_why_not(), allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return _NoDisplay.from_parent(parent, path=module_path) if _why_not() else None


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is suggested or written by default lies in the test's own folder."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)


@pytest.fixture(scope="session")
def run_folder(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose very small encoder has learnt nothing."""
    from cellvjepa.model.vjepa import build_vjepa
    from cellvjepa.model.weights import save_encoder

    folder = tmp_path_factory.mktemp("run")
    save_encoder(build_vjepa(tiny_config, seed=0).target_encoder, folder, {"config": tiny_config.model_dump(mode="json")})
    return folder


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a movie of four cells (48 x 48 px of 0.5 um, 16 frames every 60 s), their masks and their tracks.

    Cells 1 to 3 rest, cell 4 moves right by a pixel a frame:

        +-----------------+
        |   1         2   |
        |                 |
        |   3     4 -->   |
        +-----------------+
    """
    folder = tmp_path_factory.mktemp("toy")
    rows, columns = np.mgrid[:SIZE, :SIZE]
    movie, masks = np.zeros((2, FRAMES, SIZE, SIZE), np.uint16)
    cells = []
    noise = np.random.default_rng(0).integers(0, 50, movie.shape)
    for t in range(FRAMES):
        for track_id, (y, x) in enumerate([(12, 10), (12, 36), (36, 10), (36, 20 + t)], start=1):
            inside = (rows - y) ** 2 + (columns - x) ** 2 <= 9
            movie[t][inside], masks[t][inside] = 1000, track_id
            cells.append((track_id, t, y, x))
    tifffile.imwrite(
        folder / "toy.ome.tif",
        movie + noise.astype(np.uint16),
        metadata={"axes": "TYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "TimeIncrement": 60.0, "Channel": {"Name": ["phase"]}},
    )
    (folder / "labels").mkdir()
    tifffile.imwrite(folder / "labels" / "toy_labels.tif", masks, metadata={"axes": "TYX"})
    pd.DataFrame(cells, columns=["track_id", "t", "y_px", "x_px"]).to_csv(folder / "cells.csv", index=False)
    return folder


@pytest.fixture
def toy_masks(toy: Path) -> np.ndarray:
    return tifffile.imread(toy / "labels" / "toy_labels.tif")


@pytest.fixture(scope="session")
def embedded_toy(toy: Path, run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that :func:`toy_store` copies."""
    import cellvjepa

    archive = cellvjepa.open_archive(toy)
    movies = [cellvjepa.with_levels(movie) for movie in archive.movies]
    encoder, card = cellvjepa.load_encoder(run_folder)
    config = cellvjepa.Config.model_validate(card.provenance["config"])
    shape = cellvjepa.ClipShape.of(config.clip)
    windows = cellvjepa.track_windows(movies, cellvjepa.read_cells(toy / "cells.csv", archive), shape)
    source = cellvjepa.Source.of(card, run_folder, [toy])
    return cellvjepa.embed_windows(encoder, movies, windows, shape, config.embed, tmp_path_factory.mktemp("embedded") / "toy.zarr", source)


@pytest.fixture
def toy_store(embedded_toy: Path, tmp_path: Path) -> Path:
    """A store of the toy's cells: two windows of 8 frames of each of the four tracks. Each test has its own."""
    return Path(shutil.copytree(embedded_toy, tmp_path / "toy.zarr"))


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The text of every notification that napari shows."""
    from napari.utils.notifications import notification_manager

    texts: list[str] = []

    def note(notification: Any) -> None:
        texts.append(str(notification.message))

    notification_manager.notification_ready.connect(note)
    yield texts
    notification_manager.notification_ready.disconnect(note)


@pytest.fixture
def dock(make_napari_viewer: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """A function that opens a viewer with the Embed dock in it, and returns both."""
    from napari_cellvjepa.embed.dock import EmbedWidget

    def make() -> tuple[Any, EmbedWidget]:
        viewer = make_napari_viewer()
        widget = EmbedWidget(viewer)
        viewer.window.add_dock_widget(widget, name="Embed")
        return viewer, widget

    return make


@pytest.fixture
def bare(qtbot: Any) -> tuple[Any, Any]:
    """A viewer without a window, and an Embed widget for it: enough where nothing is drawn, and much faster."""
    from napari.components import ViewerModel

    from napari_cellvjepa.embed.dock import EmbedWidget

    viewer = ViewerModel()
    widget = EmbedWidget(viewer)
    qtbot.addWidget(widget)
    return viewer, widget


@pytest.fixture
def mapped_store(toy_store: Path) -> Path:
    """The toy's store with a map and clusters that are made up: eight rows on a circle, four clusters of two.

    The two windows of a track are a cluster.
    """
    from cellvjepa.embedding.store import revise_store

    turn = 2 * np.pi * np.arange(8) / 8
    umap = np.column_stack([np.cos(turn), np.sin(turn)]).astype(np.float32)
    clusters = pd.DataFrame({"cluster": [str(i // 2) for i in range(8)]})
    revise_store(toy_store, columns=clusters, projections={"X_umap": umap}, steps={"X_umap": {"method": "umap"}})
    return toy_store


@pytest.fixture
def two_fields(toy: Path, run_folder: Path, tmp_path: Path) -> Path:
    """A store of two movies, which are the toy twice: rows 0 to 7 and 8 to 15."""
    import cellvjepa

    folder = tmp_path / "fields"
    folder.mkdir()
    cells = pd.read_csv(toy / "cells.csv")
    for name in ("a.ome.tif", "b.ome.tif"):
        shutil.copy(toy / "toy.ome.tif", folder / name)
    pd.concat([cells.assign(movie=name) for name in ("a.ome.tif", "b.ome.tif")]).to_csv(folder / "cells.csv", index=False)
    archive = cellvjepa.open_archive(folder)
    movies = [cellvjepa.with_levels(movie) for movie in archive.movies]
    encoder, card = cellvjepa.load_encoder(run_folder)
    config = cellvjepa.Config.model_validate(card.provenance["config"])
    shape = cellvjepa.ClipShape.of(config.clip)
    windows = cellvjepa.track_windows(movies, cellvjepa.read_cells(folder / "cells.csv", archive), shape)
    return cellvjepa.embed_windows(
        encoder, movies, windows, shape, config.embed, tmp_path / "fields.zarr", cellvjepa.Source.of(card, run_folder, [folder])
    )
