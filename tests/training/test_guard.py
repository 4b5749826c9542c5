"""A step whose loss is not finite is refused: at once, or by the device itself while the host does not look."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.vjepa import VJepa, build_vjepa
from cellvjepa.training.guard import Guard
from cellvjepa.training.trainer import Trainer
from tests.training.made_up import made_up_examples

CPU = torch.device("cpu")


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    state = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    for index, kept in trainer.optimizer.state_dict()["state"].items():
        state |= {f"{index}.{name}": tensor.clone() for name, tensor in kept.items()}
    return state


def looking_late(config: Config) -> Trainer:
    """As on CUDA."""
    trainer = Trainer(build_vjepa(config, seed=0), config, CPU)
    trainer.guard = Guard(CPU, at_once=False)
    return trainer


def test_steps_are_the_same_whenever_the_host_looks(tiny_config: Config) -> None:
    at_once, late = Trainer(build_vjepa(tiny_config, seed=0), tiny_config, CPU), looking_late(tiny_config)
    for step in range(3):
        results = [trainer.step(step, made_up_examples(tiny_config, step)) for trainer in (at_once, late)]
        one, other = ([r.total, r.error, r.trivial, r.variance_covariance, r.target_std, r.grad_norm] for r in results)
        assert other == pytest.approx(one, rel=1e-5)
    for name, tensor in state_of(late).items():
        torch.testing.assert_close(tensor, state_of(at_once)[name], atol=1e-7, rtol=1e-6)


def test_a_step_refused_by_the_device_changes_nothing_and_neither_do_those_after_it(tiny_config: Config) -> None:
    trainer = looking_late(tiny_config)
    trainer.step(0, made_up_examples(tiny_config, 0))
    before = state_of(trainer)
    broken = made_up_examples(tiny_config, 1)
    refused = trainer.step(1, replace(broken, pixels_B1TZYX=torch.full_like(broken.pixels_B1TZYX, torch.nan)))
    later = trainer.step(2, made_up_examples(tiny_config, 2))
    after = state_of(trainer)
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    for result in (refused, later):
        with pytest.raises(UserError, match=r"the loss is not finite at step 1 \(loss nan, .*the step was not taken.*lower training\.learning_rate"):
            _ = result.error
    with pytest.raises(UserError, match="not finite at step 1"):
        trainer.guard.require_good()


def test_nothing_is_read_from_the_device_in_a_step(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, examples = looking_late(tiny_config), [made_up_examples(tiny_config, step) for step in range(2)]
    trainer.step(0, examples[0])

    def refuse(*_: object) -> None:
        raise AssertionError("the host waits for the device")

    for name in ("item", "tolist", "__float__", "__bool__", "__int__", "numpy", "cpu"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    result = trainer.step(1, examples[1])
    monkeypatch.undo()
    assert result.total > 0
    assert result.grad_norm is not None


def test_a_target_encoder_can_be_told_not_to_follow(tiny_config: Config) -> None:
    def moved(refused: torch.Tensor | None) -> VJepa:
        model = build_vjepa(tiny_config, seed=0)
        with torch.no_grad():
            for parameter in model.context_encoder.parameters():
                parameter.add_(1.0)
        model.update_target(0.75, refused)
        return model

    as_always, not_refused, refused = (moved(value) for value in (None, torch.tensor(0.0), torch.tensor(1.0)))
    start = build_vjepa(tiny_config, seed=0)
    for one, other in ((as_always, not_refused), (start, refused)):
        for expected, found in zip(one.target_encoder.parameters(), other.target_encoder.parameters(), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-6)
