"""Run by two processes, with an archive and a folder: a model in pieces takes the steps of one in one piece, and is half as large. Asserts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch

from cellvjepa.config import Config, load_config
from cellvjepa.errors import UserError
from cellvjepa.model.vjepa import VJepa, build_vjepa
from cellvjepa.movies.readers import open_archive
from cellvjepa.training.checkpoint import list_checkpoints
from cellvjepa.training.guard import Guard
from cellvjepa.training.pretrain import pretrain
from cellvjepa.training.processes import Processes, together
from cellvjepa.training.trainer import Trainer
from tests.training.made_up import made_up_examples

CPU = torch.device("cpu")


def stopped_at(run: Path, step: int, copy: Path) -> Path:
    """Copy a finished run, and take away what it wrote after a checkpoint."""
    shutil.copytree(run, copy)
    for checkpoint in list_checkpoints(copy / "checkpoints"):
        if checkpoint.step > step:
            checkpoint.path.unlink()
            checkpoint.card_path.unlink()
    for file in ("encoder.safetensors", "encoder.json", "predictor.safetensors"):
        (copy / file).unlink()
    return copy


def own_numbers(model: VJepa) -> int:
    """Count the weights that this process has."""
    return sum(piece.to_local().numel() for piece in model.state_dict().values())


def check_steps(config: Config, processes: Processes, *, looking_late: bool = False) -> None:
    """Two steps and an evaluation, of each process on its rows of the batch, as of one process on all rows."""
    alone = Trainer(build_vjepa(config, seed=0), config, CPU)
    whole = sum(parameter.numel() for parameter in alone.model.parameters())
    shared = Trainer(build_vjepa(config, seed=processes.rank), config, CPU, processes)  # weights become those of the first
    if looking_late:  # as on GPUs
        alone.guard, shared.guard = Guard(CPU, at_once=False), Guard(CPU, at_once=False)
    assert 0.4 < own_numbers(shared.model) / whole < 0.6
    for step in range(3):
        examples = made_up_examples(config, step)
        own = examples.rows(processes.part.rows)
        if step == 1:
            shared.go_on_from(*shared.whole_state())
        results = [shared.evaluate(own), alone.evaluate(examples)] if step == 2 else [shared.step(step, own), alone.step(step, examples)]
        torch.testing.assert_close(results[0].losses, results[1].losses, rtol=1e-5, atol=1e-7)
        assert (results[0].grad_norm is None) == (step == 2)
        if results[0].norm is not None and results[1].norm is not None:
            torch.testing.assert_close(results[0].norm, results[1].norm, rtol=1e-5, atol=0)
    assert 0.4 < own_numbers(shared.model) / whole < 0.6
    together_again = shared.whole_model()
    if processes.first:
        for name, tensor in alone.model.state_dict().items():
            torch.testing.assert_close(together_again.state_dict()[name], tensor, rtol=0, atol=1e-5, msg=name)


def check_refused_step(config: Config, processes: Processes) -> None:
    """A step that is not finite is refused everywhere, where numbers are looked at late as well."""
    trainer = Trainer(build_vjepa(config, seed=0), config, CPU, processes)
    trainer.guard = Guard(CPU, at_once=False)
    examples = made_up_examples(config, 0)
    trainer.step(0, examples.rows(processes.part.rows))
    before = {name: tensor.full_tensor() for name, tensor in trainer.model.state_dict().items()}
    examples.pixels_B1TZYX[0] = torch.nan
    result = trainer.step(1, examples.rows(processes.part.rows))
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor.full_tensor(), before[name]), name
    with pytest.raises(UserError, match="the loss is not finite at step 1"):
        _ = result.total


def check_runs(archive: Path, folder: Path, processes: Processes) -> None:
    """Leave runs that the test compares with that of one process."""
    sharded, replicas = (load_config(folder / "settings.yaml", [f"training.shard={word}"]) for word in ("on", "off"))
    movies = open_archive(archive).movies
    pretrain(movies, folder / "replicas", replicas, processes=processes)
    pretrain(movies, folder / "sharded", sharded, processes=processes)
    if processes.first:
        stopped_at(folder / "sharded", 2, folder / "sharded_again")
    for run in ("sharded_again", "sharded_from_one"):
        pretrain(movies, folder / run, sharded, resume=True, processes=processes)


if __name__ == "__main__":
    archive, folder = map(Path, sys.argv[1:])
    settings, of_small = folder / "settings.yaml", ["training.shard=on", "training.batch_size=4", "training.accumulation=null"]
    small = load_config(settings, of_small)
    # With one mask token there is none in the second process, as with two mask tokens in most of many processes.
    varied = ["training.accumulation=2", "training.objective=pixels", "training.activation_checkpointing=true", "masks.generators=[{blocks: 8}]"]
    with together() as processes:
        check_steps(small, processes)
        check_steps(load_config(settings, [*of_small, *varied]), processes, looking_late=True)
        check_refused_step(small, processes)
        check_runs(archive, folder, processes)
        trainer = Trainer(build_vjepa(small, seed=0), small, CPU, processes)
        examples = made_up_examples(small, 0).rows(processes.part.rows)
        trainer.step(0, examples)
        if processes.first:
            raise UserError("all was well", "look at the other")
        trainer.step(1, examples)  # which waits for weights of the first
