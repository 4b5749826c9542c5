"""Where a probe looks, and what surprises the model."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import cellvjepa
from cellvjepa.cli import app
from napari_cellvjepa.see.dock import SeeWidget
from tests.plugin.see.conftest import save_probe_of
from tests.plugin.see.upon import of_kind, place_clip, value_at, world_of

Bare = tuple[Any, SeeWidget]
Done = Callable[[SeeWidget], None]


def test_the_attention_of_a_probe_lies_upon_its_clip(bare: Bare, toy: Path, whole_run: Path, tmp_path: Path, done: Done) -> None:
    viewer, widget = bare
    place_clip(widget, viewer, 8, 24, 24)
    widget.attention.probe.set_text(str(save_probe_of(tmp_path / "probe", toy, whole_run, "attentive")))
    widget.attention.show_attention.click()
    done(widget)
    (layer,) = of_kind(viewer, "attention")
    assert layer.data.shape == (1, 4, 4)  # it reads places over the whole time
    assert layer.data.sum() == pytest.approx(1, abs=1e-5)
    assert "the map is the same at all times" in widget.attention.found.text()
    for frame, there in ((3, False), (4, True), (11, True), (12, False)):
        assert (value_at(layer, world_of(viewer, frame, 24, 24)) is not None) == there


def test_a_linear_probe_shows_what_each_place_adds_or_says_why_not(
    bare: Bare, toy: Path, whole_run: Path, tmp_path: Path, done: Done, notices: list[str]
) -> None:
    viewer, widget = bare
    widget.attention.probe.set_text(str(save_probe_of(tmp_path / "moments", toy, whole_run, "linear", "moments")))
    widget.attention.show_attention.click()
    done(widget)
    assert widget.attention.found.text().startswith("Nothing is shown: a linear probe has no attention")
    assert not of_kind(viewer, "attention")
    folder = save_probe_of(tmp_path / "mean", toy, whole_run, "linear", "mean")
    widget.attention.probe.set_text(str(folder))
    widget.attention.show_attention.click()
    done(widget)
    left, right = of_kind(viewer, "attention")
    assert (left.name, right.name) == ("speaks for left", "speaks for right")
    assert left.visible != right.visible
    np.testing.assert_allclose(left.data, -right.data, atol=1e-6)  # two classes: what speaks for one speaks against the other
    assert "exactly what each place adds" in widget.attention.found.text()
    assert not notices


def test_a_probe_of_another_model_is_refused(
    bare: Bare, toy: Path, run_folder: Path, odd_run: Path, tmp_path: Path, done: Done, notices: list[str]
) -> None:
    viewer, widget = bare
    widget.attention.show_attention.click()
    widget.attention.probe.set_text(str(tmp_path / "nothing"))
    widget.attention.show_attention.click()
    done(widget)
    widget.attention.probe.set_text(str(save_probe_of(tmp_path / "probe", toy, run_folder, "attentive")))
    widget.where.model.set_text(str(tmp_path / "no model"))
    widget.attention.show_attention.click()
    done(widget)
    assert "no probe is chosen" in notices[0]
    assert "there is no probe here" in notices[1]
    assert "there is no encoder here" in notices[2]
    assert len(notices) == 3
    assert not of_kind(viewer, "attention")


def test_surprise_is_what_the_command_writes_and_its_events_lead_there(bare: Bare, done: Done, tmp_path: Path) -> None:
    viewer, widget = bare
    widget.surprise.ends.setChecked(True)
    widget.surprise.show_map.click()
    done(widget)
    (layer,) = of_kind(viewer, "surprise")
    words = shlex.split(widget.surprise.copy.text_of_command())
    words[words.index("--out") + 1] = str(tmp_path / "maps")
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    written = cellvjepa.open_movie(tmp_path / "maps" / "toy.ome.tif" / "surprise.zarr").pixels[:, 0, 0]
    np.testing.assert_allclose(layer.data, written, rtol=1e-4)
    first = widget.surprise.list.topLevelItem(0)
    widget.surprise.list.setCurrentItem(first)
    shown = value_at(layer, np.array([viewer.dims.point[0], *viewer.scene.camera.center[-2:]]))
    assert shown == layer.data.max()
    assert first.text(0) == f"{shown:.3g}"
    # A dock that is opened later finds it all again.
    other = SeeWidget(viewer)
    assert other.surprise.list.topLevelItemCount() == widget.surprise.list.topLevelItemCount() > 3
    other.leave()
    # And the folder that the command wrote is shown as it is.
    widget.surprise.folder.set_text(str(tmp_path / "maps"))
    widget.surprise.show_map.click()
    done(widget)
    np.testing.assert_allclose(of_kind(viewer, "surprise")[0].data, written, rtol=1e-6)


def test_a_model_without_its_predictor_is_told(bare: Bare, run_folder: Path, done: Done, notices: list[str]) -> None:
    viewer, widget = bare
    widget.where.model.set_text(str(run_folder))
    widget.surprise.show_map.click()
    done(widget)
    assert len(notices) == 1
    assert "this model comes without its predictor" in notices[0]
    assert widget.running.status.text() == notices[0]
    assert not of_kind(viewer, "surprise")
