"""However blocks are run, the numbers and their gradients stay; and where compiling fails, training does not."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from cellvjepa.config import Config
from cellvjepa.model.compiled import choose_through, uncompiled
from cellvjepa.model.grid import AXES, Grid, positions_N4
from cellvjepa.model.layers import Frequencies, rotation_of, through
from cellvjepa.model.masking import draw_masks
from cellvjepa.model.vjepa import VJepa, build_vjepa

CPU = torch.device("cpu")


def gradients(model: VJepa, config: Config) -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.random((2, 1, 8, 1, 32, 32), np.float32))
    prediction = model(pixels, draw_masks(Grid(4, 1, 4, 4), config.mask_generators, 2, rng))
    loss = torch.stack([(z - h).square().mean() for z, h in zip(prediction.predicted, prediction.targets, strict=True)]).mean()
    return list(torch.autograd.grad(loss, [*model.context_encoder.parameters(), *model.predictor.parameters()]))


def test_activation_checkpointing_changes_no_gradient(tiny_config: Config):
    plain, saving = build_vjepa(tiny_config, seed=0), build_vjepa(tiny_config, seed=0)
    assert not choose_through(saving, "off", True, CPU)
    for one, other in zip(gradients(plain, tiny_config), gradients(saving, tiny_config), strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-6)


def test_activation_checkpointing_keeps_less(tiny_config: Config):
    kept = []
    for saving in (False, True):
        model, sizes = build_vjepa(tiny_config, seed=0), []
        choose_through(model, "off", saving, CPU)
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor, sizes=sizes: sizes.append(tensor.nbytes) or tensor, lambda tensor: tensor):
            model.context_encoder(torch.rand(2, 1, 8, 1, 32, 32))
        kept.append(sum(sizes))
    assert kept[1] < 0.2 * kept[0]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # PyTorch's own, while it traces
def test_compiled_blocks_give_the_same_gradients(tiny_config: Config, monkeypatch: pytest.MonkeyPatch):
    """What PyTorch traces is compared; turning it into machine code is PyTorch's own, and takes a minute."""
    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: torch_compile(function, backend="eager"))
    plain, compiled = build_vjepa(tiny_config, seed=0), build_vjepa(tiny_config, seed=0)
    assert choose_through(compiled, "on", False, CPU)
    for one, other in zip(gradients(plain, tiny_config), gradients(compiled, tiny_config), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("fails", ["at once", "at the first call"])
def test_where_compiling_fails_one_warning_says_why(
    fails: str, tiny_config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(*_: Any) -> Any:
        raise RuntimeError("no C++ compiler was found\nand much more")

    monkeypatch.setattr(torch, "compile", broken if fails == "at once" else lambda function: broken)
    model = build_vjepa(tiny_config, seed=0)
    with caplog.at_level(logging.WARNING):
        assert not choose_through(model, "on", False, CPU)
    assert [record.message for record in caplog.records] == [
        "torch.compile does not work here (no C++ compiler was found); going on without it, more slowly"
    ]
    assert model.context_encoder.through is model.target_encoder.through is model.predictor.through is through
    assert all(parameter.grad is None for parameter in model.parameters())
    gradients(model, tiny_config)


@pytest.mark.parametrize("wanted", ["auto", "off"])
def test_nothing_is_compiled_on_a_cpu_unless_asked_for(wanted: Any, tiny_config: Config, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "compile", lambda _: pytest.fail("compiled"))
    assert not choose_through(build_vjepa(tiny_config, seed=0), wanted, False, CPU)


@pytest.mark.parametrize("frequencies", ["interleaved", "tiled"])
def test_rotations_written_out_are_those_of_complex_numbers(frequencies: Frequencies, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    rotation = rotation_of(positions_N4(Grid(2, 1, 3, 3)), AXES, 24, frequencies)
    tokens = torch.randn(2, 18, 2, 3, 24)
    expected = rotation(tokens)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(rotation(tokens), expected, atol=1e-6, rtol=0)


def test_all_kinds_of_passes_may_be_compiled_and_monitors_are_not(tiny_config: Config, monkeypatch: pytest.MonkeyPatch):
    """Beyond its limit PyTorch runs what comes last, the predictor in training, uncompiled, and says nothing."""
    limits = torch._dynamo.config
    monkeypatch.setattr(limits, "recompile_limit", 8)
    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: torch_compile(function, backend="eager"))
    model = build_vjepa(tiny_config, seed=0)
    assert choose_through(model, "on", False, CPU)
    assert limits.recompile_limit > 8
    parts = (model.context_encoder, model.target_encoder, model.predictor)
    compiled = [part.through for part in parts]
    with pytest.raises(ZeroDivisionError), uncompiled(model):
        assert all(part.through is through for part in parts)
        raise ZeroDivisionError
    assert [part.through for part in parts] == compiled
    assert through not in compiled
