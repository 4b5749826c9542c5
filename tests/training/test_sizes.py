"""What could never be held in memory is refused before anything of it is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cellvjepa.config import Config, load_config, presets
from cellvjepa.errors import UserError
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.training import sizes
from cellvjepa.training.processes import ALONE, Processes
from cellvjepa.training.shards import encoder_weights, predictor_weights
from cellvjepa.training.sizes import refuse_what_never_fits

CPU = torch.device("cpu")


def is_refused(config: Config, free_bytes: int, monkeypatch: pytest.MonkeyPatch, processes: Processes = ALONE) -> bool:
    monkeypatch.setattr(sizes, "free_bytes", lambda device: free_bytes)
    try:
        refuse_what_never_fits(config, CPU, processes)
    except UserError:
        return True
    return False


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["model.dim=3000000"], r"memory of cpu: the network .* would take [\d,]+ GiB of memory, and [\d,.]+ GiB are free\. make model\.dim"),
        (["model.predictor_dim=3000000"], r"the network .* make .*model\.predictor_dim smaller"),
        (["monitor.clips=100000000"], r"100000000 clips of the monitors .* make monitor\.clips, clip\.size_px or clip\.frames smaller"),
        (["clip.size_px=800000"], r"clips of the monitors .* clip\.size_px"),
        (["training.batch_size=1000000000"], r"a batch of 1000000000 clips .* make training\.batch_size, clip\.size_px"),
        (["training.cooldown_share=0.2", "training.cooldown_size_px=8000000"], r"a batch of 32 clips .* training\.cooldown_size_px"),
    ],
)
def test_a_zero_too_many_is_named(settings: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        refuse_what_never_fits(load_config("tiny", settings), CPU)


@pytest.mark.parametrize("preset", presets())
def test_presets_fit_a_workstation_and_no_wristwatch(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(preset)
    assert [is_refused(config, free_bytes, monkeypatch) for free_bytes in (8 * 2**30, 2**24)] == [False, True]


def test_several_processes_need_a_part_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its part of a batch; of the weights only where the model is in pieces."""
    four = replace(ALONE, count=4)
    wide = load_config("tiny", ["monitor.clips=2", "training.batch_size=8192"])
    assert [is_refused(wide, 2**30, monkeypatch, processes) for processes in (ALONE, four)] == [True, False]
    large = [load_config("base", ["monitor.clips=2", "training.batch_size=4", f"training.shard={switch}"]) for switch in ("off", "on")]
    assert [is_refused(config, 2**30, monkeypatch, four) for config in large] == [True, False]


def test_the_weights_that_are_counted_are_nearly_all() -> None:
    config = load_config("small")
    model = build_vjepa(config, seed=0)
    counted = encoder_weights(config), predictor_weights(config)
    for part, estimate in zip((model.context_encoder, model.predictor), counted, strict=True):
        assert 0.9 < estimate / sum(weights.numel() for weights in part.parameters()) <= 1
