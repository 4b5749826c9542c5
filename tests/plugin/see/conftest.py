"""Runs, probes and docks for the tests of the See dock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellvjepa
from cellvjepa.config import Config, ProbeConfig, load_config

PATIENCE_MS = 120_000


@pytest.fixture(scope="session")
def whole_run(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt nothing, with its predictor."""
    from cellvjepa.model.predictor_file import predictor_state, save_predictor
    from cellvjepa.model.vjepa import build_vjepa
    from cellvjepa.model.weights import save_encoder

    folder = tmp_path_factory.mktemp("whole_run")
    model = build_vjepa(tiny_config, seed=0)
    card = save_encoder(model.target_encoder, folder, {"config": tiny_config.model_dump(mode="json")})
    state = predictor_state(model, tiny_config.masks.generators)
    assert state is not None
    save_predictor(state, folder, card.sha256)
    return folder


@pytest.fixture(scope="session")
def odd_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of another sampling than the toy's: every other frame, pixels of 0.75 um, tokens of 2 frames and 8 x 4 px."""
    from cellvjepa.model.vjepa import build_vjepa
    from cellvjepa.model.weights import save_encoder

    settings = ["clip.frames=4", "clip.size_px=16", "clip.interval_s=120", "clip.pixel_um=0.75", "model.tubelet=[2, 1, 8, 4]", "model.dim=24"]
    config = load_config(None, [*settings, "model.depth=1", "model.heads=2", "model.predictor_depth=1", "embed.device=cpu"])
    folder = tmp_path_factory.mktemp("odd_run")
    save_encoder(build_vjepa(config, seed=0).target_encoder, folder, {"config": config.model_dump(mode="json")})
    return folder


def save_probe_of(folder: Path, toy: Path, run: Path, kind: str, statistic: str = "tokens") -> Path:
    """Write a probe that was fitted to made-up classes of windows of the toy."""
    from cellvjepa.probing.attentive import fit_attentive
    from cellvjepa.probing.head import FittedHead
    from cellvjepa.probing.linear import fit_linear
    from cellvjepa.probing.probe import FeatureSpec, Probe, save_probe

    encoder, card = cellvjepa.load_encoder(run)
    movie = cellvjepa.with_levels(cellvjepa.open_movie(toy / "toy.ome.tif"))
    shape = cellvjepa.ClipShape.of(Config.model_validate(card.provenance["config"]).clip)
    clips = [cellvjepa.clip_at(movie, shape, t, y, x) for t in (0, 8) for y in (12, 36) for x in (12, 36)]
    tokens = cellvjepa.token_features(encoder, [movie], clips, shape)
    codes = np.arange(len(clips)) % 2
    if kind == "attentive":
        head = FittedHead("attentive", fit_attentive(tokens, codes, 2, ProbeConfig(attentive_steps=5)), 1.0, (), {})
    else:
        pooled = tokens.mean(axis=(2, 3, 4, 5)).reshape(len(clips), -1)
        head = FittedHead("linear", fit_linear(pooled, codes, 2), 1.0, (), {})
    clip = {name: getattr(shape, name) for name in ("frames", "interval_s", "size_px", "pixel_um", "channels", "z")}
    made = FeatureSpec(card.sha256, clip, ("phase",), statistic, head.expects)
    save_probe(Probe(head.kind, head, ("left", "right"), made, {}), folder)
    return folder


@pytest.fixture
def bare(qtbot: Any, toy: Path, whole_run: Path) -> tuple[Any, Any]:
    """A viewer without a window that shows the toy, and a See widget for it, with a run that has its predictor."""
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_cellvjepa.layers.opening import read_movie
    from napari_cellvjepa.see.dock import SeeWidget

    viewer = ViewerModel()
    for layer in read_movie(str(toy / "toy.ome.tif")):
        viewer.add_layer(Layer.create(*layer))
    widget = SeeWidget(viewer)
    qtbot.addWidget(widget, before_close_func=lambda it: it.leave())
    widget.where.model.set_text(str(whole_run))
    return viewer, widget


@pytest.fixture
def done(qtbot: Any) -> Callable[[Any], None]:
    """A function that waits until a widget's work is done."""
    return lambda widget: qtbot.waitUntil(lambda: not widget.running.busy, timeout=PATIENCE_MS)
