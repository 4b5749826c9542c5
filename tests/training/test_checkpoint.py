from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.vjepa import VJepa, build_vjepa
from cellvjepa.training.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from cellvjepa.training.optimizer import make_optimizer


def stepped(config: Config) -> tuple[VJepa, torch.optim.AdamW]:
    """Return a model and its optimiser after one step on a made-up gradient."""
    model = build_vjepa(config, seed=3)
    optimizer = make_optimizer(model, config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return model, optimizer


def changed(config: Config, **training: int) -> Config:
    return config.model_copy(update={"training": config.training.model_copy(update=training)})


def test_loading_restores_weights_and_optimiser_exactly(tmp_path: Path, tiny_config: Config) -> None:
    model, optimizer = stepped(tiny_config)
    checkpoint = save_checkpoint(tmp_path, 1, model, optimizer, tiny_config)
    other = build_vjepa(tiny_config, seed=4)
    other_optimizer = make_optimizer(other, tiny_config)
    load_checkpoint(checkpoint, other, other_optimizer, tiny_config)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    for index, state in optimizer.state_dict()["state"].items():
        for name, tensor in state.items():
            assert torch.equal(tensor, other_optimizer.state_dict()["state"][index][name]), (index, name)


def test_only_the_newest_are_kept(tmp_path: Path, tiny_config: Config) -> None:
    model, optimizer = stepped(tiny_config)
    for step in range(2, 12, 2):
        save_checkpoint(tmp_path, step, model, optimizer, tiny_config)
    assert [c.step for c in list_checkpoints(tmp_path)] == [6, 8, 10]


def test_another_configuration_is_refused_with_the_difference(tmp_path: Path, tiny_config: Config) -> None:
    model, optimizer = stepped(tiny_config)
    checkpoint = save_checkpoint(tmp_path, 2, model, optimizer, tiny_config)
    with pytest.raises(UserError, match=r"another configuration \(training\.batch_size: 4 there, 8 now\)\. resume with the same settings"):
        load_checkpoint(checkpoint, model, optimizer, changed(tiny_config, batch_size=8))


def test_what_does_not_alter_the_losses_may_change(tmp_path: Path, tiny_config: Config) -> None:
    model, optimizer = stepped(tiny_config)
    checkpoint = save_checkpoint(tmp_path, 2, model, optimizer, tiny_config)
    load_checkpoint(checkpoint, model, optimizer, changed(tiny_config, data_workers=3, checkpoint_every=5))
    assert [c.step for c in list_checkpoints(tmp_path)] == [2]


def test_a_damaged_checkpoint_is_named(tmp_path: Path, tiny_config: Config) -> None:
    model, optimizer = stepped(tiny_config)
    checkpoint = save_checkpoint(tmp_path, 2, model, optimizer, tiny_config)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"step_00000002\.safetensors: the checkpoint cannot be read"):
        load_checkpoint(checkpoint, model, optimizer, tiny_config)


def test_biases_and_1d_tensors_are_not_decayed(tiny_config: Config) -> None:
    model = build_vjepa(tiny_config, seed=0)
    decayed, free = make_optimizer(model, tiny_config).param_groups
    assert decayed["weight_decay"] == tiny_config.training.weight_decay
    assert free["weight_decay"] == 0
    assert all(p.ndim > 1 for p in decayed["params"])
    assert {id(p) for n, p in model.named_parameters() if n.endswith("bias") and p.requires_grad} <= {id(p) for p in free["params"]}
    assert not {id(p) for p in model.target_encoder.parameters()} & {id(p) for g in (decayed, free) for p in g["params"]}
