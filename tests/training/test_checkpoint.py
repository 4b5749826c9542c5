from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from cellvjepa import __version__
from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.vjepa import VJepa, build_vjepa
from cellvjepa.training.checkpoint import DamagedCheckpointError, list_checkpoints, load_checkpoint, load_newest, read_card, save_checkpoint
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


def test_what_is_beside_it_in_json(tmp_path: Path, tiny_config: Config) -> None:
    model, optimizer = stepped(tiny_config)
    checkpoint = save_checkpoint(tmp_path, 2, model, optimizer, tiny_config)
    card = read_card(checkpoint)
    assert (card.format, card.step, card.cellvjepa) == (1, 2, __version__)
    assert card.size_bytes == checkpoint.path.stat().st_size
    assert card.sha256 == hashlib.sha256(checkpoint.path.read_bytes()).hexdigest()
    assert Config.model_validate(card.config) == tiny_config


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def not_there(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "suffix", "message"),
    [
        (cut, ".safetensors", r"step_00000004\.safetensors: the checkpoint is damaged \(it has 1000 bytes, and \d+ were written\)"),
        (one_bit, ".safetensors", r"step_00000004\.safetensors: the checkpoint is damaged \(its checksum is not that of what was written\)"),
        (not_there, ".safetensors", r"step_00000004\.safetensors: the checkpoint is damaged \(.*No such file"),
        (cut, ".json", r"step_00000004\.json: the checkpoint is damaged \(.*\)\. remove it; the one before it is used then"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    damage: Callable[[Path], None], suffix: str, message: str, tmp_path: Path, tiny_config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    model, optimizer = stepped(tiny_config)
    save_checkpoint(tmp_path, 2, model, optimizer, tiny_config)
    newest = save_checkpoint(tmp_path, 4, model, optimizer, tiny_config)
    damage(newest.path.with_suffix(suffix))
    other = build_vjepa(tiny_config, seed=4)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(DamagedCheckpointError, match=message):
        load_checkpoint(newest, other, make_optimizer(other, tiny_config), tiny_config)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    with caplog.at_level(logging.WARNING, "cellvjepa"):
        found = load_newest(tmp_path, other, make_optimizer(other, tiny_config), tiny_config)
    assert found is not None
    assert found.step == 2
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in other.state_dict().items())
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("passed over a damaged checkpoint: ")
    assert warning.endswith("; going on from step 2")


def test_where_none_is_whole_it_is_said(tmp_path: Path, tiny_config: Config) -> None:
    model, optimizer = stepped(tiny_config)
    for step in (2, 4):
        cut(save_checkpoint(tmp_path, step, model, optimizer, tiny_config).path)
    with pytest.raises(UserError, match=r"none of the 2 checkpoints can be used; the newest, step_00000004\.safetensors: .*\. put back a copy"):
        load_newest(tmp_path, model, optimizer, tiny_config)


def test_where_there_is_none_nothing_is_loaded(tmp_path: Path, tiny_config: Config) -> None:
    assert load_newest(tmp_path / "nowhere", *stepped(tiny_config), tiny_config) is None


def test_what_was_not_finished_is_no_checkpoint_and_makes_room(tmp_path: Path, tiny_config: Config, caplog: pytest.LogCaptureFixture) -> None:
    """A process that is killed between the two files leaves tensors without a card; files of other names are left alone."""
    model, optimizer = stepped(tiny_config)
    save_checkpoint(tmp_path, 2, model, optimizer, tiny_config)
    save_checkpoint(tmp_path, 4, model, optimizer, tiny_config).card_path.unlink()
    (tmp_path / "best.safetensors").write_bytes(b"")
    (tmp_path / "best.json").write_bytes(b"")
    assert [c.step for c in list_checkpoints(tmp_path)] == [2]
    assert load_newest(tmp_path, model, optimizer, tiny_config) == list_checkpoints(tmp_path)[0]
    save_checkpoint(tmp_path, 3, model, optimizer, tiny_config)
    names = ["best", "step_00000002", "step_00000003"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.{suffix}" for name in names for suffix in ("json", "safetensors")]
    assert not caplog.records


def test_a_damaged_checkpoint_does_not_displace_a_whole_one(tmp_path: Path, tiny_config: Config) -> None:
    """With one checkpoint kept: the run went on from step 2 because that of step 6 was damaged; then step 4 is what is kept."""
    config = changed(tiny_config, checkpoints_kept=1)
    model, optimizer = stepped(config)
    save_checkpoint(tmp_path, 6, model, optimizer, config)
    save_checkpoint(tmp_path, 4, model, optimizer, config)
    assert [c.step for c in list_checkpoints(tmp_path)] == [4]


def test_a_full_disk_leaves_the_checkpoints_that_are_there(tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config = changed(tiny_config, checkpoints_kept=1)
    model, optimizer = stepped(config)
    save_checkpoint(tmp_path, 2, model, optimizer, config)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def half(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("cellvjepa.training.state.save_file", half)
    with pytest.raises(UserError, match="the disk is full. free some space"):
        save_checkpoint(tmp_path, 4, model, optimizer, config)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert load_newest(tmp_path, model, optimizer, config) == list_checkpoints(tmp_path)[0]


def test_tensors_of_another_model_are_refused_before_any_is_read(tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings agree, the sizes do not: a file from elsewhere, or of another version."""
    model, optimizer = stepped(tiny_config)
    checkpoint = save_checkpoint(tmp_path, 2, model, optimizer, tiny_config)
    wider = build_vjepa(tiny_config.model_copy(update={"model": tiny_config.model.model_copy(update={"dim": 48})}), seed=0)
    before = {name: tensor.clone() for name, tensor in wider.state_dict().items()}
    monkeypatch.setattr(torch.Tensor, "copy_", None)
    with pytest.raises(UserError, match=r"its tensors are not those of this model: model\.context_encoder\..* is of size \[.*\] there and") as raised:
        load_checkpoint(checkpoint, wider, make_optimizer(wider, tiny_config), tiny_config)
    assert not isinstance(raised.value, DamagedCheckpointError)
    assert all(torch.equal(tensor, before[name]) for name, tensor in wider.state_dict().items())


def test_a_checkpoint_of_a_newer_version_is_not_taken_for_damage(tmp_path: Path, tiny_config: Config) -> None:
    model, optimizer = stepped(tiny_config)
    save_checkpoint(tmp_path, 2, model, optimizer, tiny_config)
    checkpoint = save_checkpoint(tmp_path, 4, model, optimizer, tiny_config)
    card = json.loads(checkpoint.card_path.read_text()) | {"format": 2, "cellvjepa": "9.0"}
    checkpoint.card_path.write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"the checkpoint was written by a newer version \(9\.0\)\. update cellvjepa"):
        load_newest(tmp_path, model, optimizer, tiny_config)


def test_no_pickle_is_read(tmp_path: Path, tiny_config: Config) -> None:
    model, optimizer = stepped(tiny_config)
    checkpoint = save_checkpoint(tmp_path, 2, model, optimizer, tiny_config)
    torch.save({}, checkpoint.path)
    card = json.loads(checkpoint.card_path.read_text())
    data = checkpoint.path.read_bytes()
    checkpoint.card_path.write_text(json.dumps(card | {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}))
    with pytest.raises(DamagedCheckpointError, match="the checkpoint is damaged"):
        load_checkpoint(checkpoint, model, optimizer, tiny_config)


def test_biases_and_1d_tensors_are_not_decayed(tiny_config: Config) -> None:
    model = build_vjepa(tiny_config, seed=0)
    decayed, free = make_optimizer(model, tiny_config).param_groups
    assert decayed["weight_decay"] == tiny_config.training.weight_decay
    assert free["weight_decay"] == 0
    assert all(p.ndim > 1 for p in decayed["params"])
    assert {id(p) for n, p in model.named_parameters() if n.endswith("bias") and p.requires_grad} <= {id(p) for p in free["params"]}
    assert not {id(p) for p in model.target_encoder.parameters()} & {id(p) for g in (decayed, free) for p in g["params"]}
