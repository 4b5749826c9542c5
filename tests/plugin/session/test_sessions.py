"""Sessions: everything comes back, and what does not is told in a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Tracks
from qtpy.QtWidgets import QFileDialog

import cellvjepa
from cellvjepa.progress import silent
from napari_cellvjepa.layers.opening import read_movie, read_store
from napari_cellvjepa.layers.points import ROW_COLUMN
from napari_cellvjepa.layers.selection import SELECTION_KEY
from napari_cellvjepa.plot.plotted import PLOT_KEY
from napari_cellvjepa.session.file import write_session
from napari_cellvjepa.session.restoring import bring_back, open_session
from napari_cellvjepa.session.saving import session_of
from napari_cellvjepa.session.sessions import save_to

PATIENT_MS = 60_000


@pytest.fixture
def project(toy: Path, mapped_store: Path, tmp_path: Path) -> Path:
    """A folder with the toy movie, its masks and tracks, and its store."""
    folder = tmp_path / "project"
    shutil.copytree(toy, folder)
    shutil.copytree(mapped_store, folder / "toy.zarr")
    return folder


def fill(viewer: Any, project: Path) -> None:
    """Open all of it, and change whatever can be changed."""
    for data, settings, kind in [*read_movie(str(project)), *read_store(str(project / "toy.zarr"))]:
        viewer.add_layer(Layer.create(data, settings, kind))
    image, labels, tracks, points = viewer.layers
    assert [type(layer) for layer in viewer.layers] == [Image, Labels, Tracks, Points]
    image.contrast_limits, image.colormap, image.gamma = (10, 700), "magma", 0.5
    labels.visible, labels.opacity, labels.contour = True, 0.75, 2
    tracks.visible, tracks.tail_length, tracks.blending = False, 5, "additive"
    points.name, points.opacity = "cells that I like", 0.5
    points.metadata[SELECTION_KEY] = np.array([0, 1, 1, 0, 0, 0, 0, 1], bool)
    points.metadata[PLOT_KEY] = ("x_px", "UMAP 2", "cluster")
    points.metadata["cellvjepa_future"] = {"deep": [1, 2.5, "µ"], "file": str(project / "cells.csv")}
    points.metadata["cellvjepa_secret"] = object()
    points.metadata["not ours"] = 3
    viewer.dims.set_current_step(0, 5)
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0, 3, 4), 7.0
    viewer.layers.selection.active = labels


def save(viewer: Any, path: Path) -> list[str]:
    content, left_out = session_of(viewer, path.parent)
    write_session(path, content)
    return left_out


def check(viewer: Any, project: Path) -> None:
    image, labels, tracks, points = viewer.layers
    assert [type(layer) for layer in viewer.layers] == [Image, Labels, Tracks, Points]
    assert (tuple(image.contrast_limits), image.colormap.name, image.gamma) == ((10, 700), "magma", 0.5)
    assert (labels.visible, labels.opacity, labels.contour) == (True, 0.75, 2)
    assert (tracks.visible, tracks.tail_length, tracks.blending) == (False, 5, "additive")
    assert (points.name, points.opacity) == ("cells that I like", 0.5)
    np.testing.assert_array_equal(points.metadata[SELECTION_KEY], [0, 1, 1, 0, 0, 0, 0, 1])
    assert points.metadata[SELECTION_KEY].dtype == bool
    assert points.metadata[PLOT_KEY] == ["x_px", "UMAP 2", "cluster"]
    assert points.metadata["cellvjepa_future"] == {"deep": [1, 2.5, "µ"], "file": str(project / "cells.csv")}
    assert not {"cellvjepa_secret", "not ours"} & set(points.metadata)
    assert points.metadata["cellvjepa_store"] == str(project / "toy.zarr")
    assert image.metadata["cellvjepa_movie"].uri == str(project / "toy.ome.tif")
    assert viewer.dims.current_step[0] == 5
    assert (viewer.scene.camera.center, viewer.scene.camera.zoom) == ((0, 3, 4), 7.0)
    assert viewer.layers.selection.active is labels
    assert len({tuple(layer.scale) for layer in viewer.layers if layer is not points}) == 1


def test_everything_comes_back_also_where_the_folder_was_moved(project: Path, tmp_path: Path) -> None:
    viewer = ViewerModel()
    fill(viewer, project)
    assert save(viewer, project / "a.cellvjepa.yaml") == []
    back = ViewerModel()
    assert bring_back(back, open_session(project / "a.cellvjepa.yaml", silent)) == []
    check(back, project)

    moved = tmp_path / "moved"
    project.rename(moved)
    back = ViewerModel()
    assert bring_back(back, open_session(moved / "a.cellvjepa.yaml", silent)) == []
    check(back, moved)


def test_a_session_opened_twice_does_not_double_its_layers_and_hides_others(project: Path) -> None:
    viewer = ViewerModel()
    fill(viewer, project)
    save(viewer, project / "a.yaml")
    viewer.layers[0].colormap = "green"
    mine = viewer.add_image(np.zeros((4, 4)), name="mine")
    bring_back(viewer, open_session(project / "a.yaml", silent))
    assert viewer.layers[0] is mine
    assert not mine.visible
    viewer.layers.remove(mine)
    check(viewer, project)


def test_what_is_not_there_any_more_is_told_and_the_rest_is_opened(project: Path) -> None:
    viewer = ViewerModel()
    fill(viewer, project)
    save(viewer, project / "a.yaml")
    shutil.rmtree(project / "toy.zarr")
    (project / "labels" / "toy_labels.tif").unlink()
    back = ViewerModel()
    problems = bring_back(back, open_session(project / "a.yaml", silent))
    assert [type(layer) for layer in back.layers] == [Image, Tracks]
    assert len(problems) == 2
    assert problems[0].startswith(f"'toy.ome.tif labels': {project / 'labels' / 'toy_labels.tif'}: there is no such file or folder")
    assert problems[1].startswith(f"'cells that I like': {project / 'toy.zarr'}")
    (project / "toy.ome.tif").unlink()
    assert len(open_session(project / "a.yaml", silent).problems) == 4


def test_points_taken_away_stay_away_and_new_rows_come(project: Path) -> None:
    viewer = ViewerModel()
    fill(viewer, project)
    points = viewer.layers[-1]
    points.selected_data = {0, 3}
    points.remove_selected()
    save(viewer, project / "a.yaml")
    back = ViewerModel()
    bring_back(back, open_session(project / "a.yaml", silent))
    assert back.layers[-1].features[ROW_COLUMN].tolist() == [1, 2, 4, 5, 6, 7]
    assert len(back.layers[-1].data) == 6


def test_layers_without_a_file_are_named(project: Path) -> None:
    viewer = ViewerModel()
    viewer.add_labels(np.zeros((4, 4), int), name="painted")
    viewer.add_image(np.zeros((4, 4)), name="made")
    assert save(viewer, project / "a.yaml") == ["painted", "made"]
    back = ViewerModel()
    assert bring_back(back, open_session(project / "a.yaml", silent)) == []
    assert len(back.layers) == 0


def damaged(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))
    return path


def test_whatever_somebody_wrote_into_the_file_is_told_and_nothing_breaks(project: Path) -> None:
    viewer = ViewerModel()
    fill(viewer, project)
    save(viewer, project / "good.yaml")

    def spoil(content: dict[str, Any]) -> None:
        image, labels, tracks, points = content["layers"]
        image["looks"].update(colormap="no such colours", gamma="high", contrast_limits=[9, 1], scale="wide")
        labels["movie"] = 3
        tracks["kind"] = "hologram"
        points["remembers"] = {"cellvjepa_selection": {"_selection": 77}}
        content["viewer"] = {"point": "here"}
        content["docks"] = [{"name": "No such dock"}, 3, {}]
        content["selections"][0]["rows"] = "7-3"

    back = ViewerModel()
    problems = bring_back(back, open_session(damaged(project / "good.yaml", spoil), silent))
    assert [type(layer) for layer in back.layers] == [Image]
    text = "; ".join(problems)
    for part in ("'toy.ome.tif' does not take its", "colormap", "gamma", "scale", "labels' is damaged", "'hologram' are not known"):
        assert part in text
    assert "the selections are damaged (there are no rows 7-3 of 8)" in text
    assert "where one looked is damaged" in text
    assert "\n" not in text


@pytest.mark.parametrize("part", ["layers", "selections", "viewer", "docks"])
@pytest.mark.parametrize("value", [None, 3, "text", [None], [[]], {"a": 1}, [{"kind": "image"}]])
def test_no_part_of_the_file_can_break_it(part: str, value: Any, project: Path) -> None:
    write_session(project / "a.yaml", {"layers": []})
    path = damaged(project / "a.yaml", lambda content: content.update({part: value}))
    if part == "layers" and (value is None or not (isinstance(value, list) and all(isinstance(one, dict) for one in value))):
        with pytest.raises(cellvjepa.UserError, match="its list of layers is damaged"):
            open_session(path, silent)
    else:
        viewer = ViewerModel()
        problems = bring_back(viewer, open_session(path, silent))
        assert len(viewer.layers) == 0
        assert all("\n" not in problem for problem in problems)


def test_it_can_be_cancelled_between_any_two_layers(project: Path) -> None:
    viewer = ViewerModel()
    fill(viewer, project)
    save(viewer, project / "a.yaml")
    stages: list[str] = []
    open_session(project / "a.yaml", lambda stage, done, total: stages.append(stage))
    for stop in range(len(stages)):
        seen = 0

        def progress(stage: str, done: int, total: int, stop: int = stop) -> None:
            nonlocal seen
            seen += 1
            if seen > stop:
                raise cellvjepa.Cancelled

        with pytest.raises(cellvjepa.Cancelled):
            open_session(project / "a.yaml", progress)


def test_in_windows_docks_come_back_and_each_session_in_its_own(
    make_napari_viewer: Callable[..., Any], project: Path, notices: list[str], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cellvjepa.archive.recent.recent_file", lambda: project / "recent")
    viewer = make_napari_viewer()
    _, archive = viewer.window.add_plugin_dock_widget("cellvjepa", "Archive")
    archive.open_paths([project / "toy.ome.tif"])
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=PATIENT_MS)
    assert save_to(viewer, project / "mine")
    path = project / "mine.cellvjepa.yaml"
    assert notices == [f"The session is saved in {path}."]

    other = make_napari_viewer()
    monkeypatch.setattr("napari.current_viewer", lambda: other)
    assert other.open(path, plugin="cellvjepa") == []
    qtbot.waitUntil(lambda: "Archive (cellvjepa)" in other.window.dock_widgets, timeout=PATIENT_MS)
    assert [layer.name for layer in other.layers] == ["toy.ome.tif"]
    assert len(viewer.layers) == 1
    again = other.window.dock_widgets["Archive (cellvjepa)"]
    qtbot.waitUntil(lambda: again.found is not None, timeout=PATIENT_MS)
    assert len(other.layers) == 1
    assert len(notices) == 1

    viewer.open(path, plugin="cellvjepa")  # and a window that is closed meanwhile gets nothing
    other.close()
    qtbot.wait(300)
    assert len(notices) == 1


def test_the_commands_of_the_menu_save_and_open(
    make_napari_viewer: Callable[..., Any], toy: Path, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari._app_model import get_app_model

    viewer = make_napari_viewer()
    viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine"), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "mine.cellvjepa.yaml"), ""))
    commands = get_app_model().commands
    commands.execute_command("cellvjepa.save_session").result()
    assert (tmp_path / "mine.cellvjepa.yaml").is_file()
    viewer.layers.clear()
    commands.execute_command("cellvjepa.open_session").result()
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == ["toy.ome.tif"], timeout=PATIENT_MS)
