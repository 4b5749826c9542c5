"""Checkpoints: all that is needed to go on training, in one safetensors file per step, never a pickle."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cellvjepa.config import Config, differences
from cellvjepa.errors import UserError
from cellvjepa.writing import atomic_path

_NAME = re.compile(r"step_(\d{8})\.safetensors")
# These may change between the parts of a run: they alter neither clips, masks nor losses.
_FREE = {
    "training.device",
    "training.data_workers",
    "training.log_every",
    "training.checkpoint_every",
    "training.checkpoints_kept",
    "training.data_patience_s",
}
_FREE_SECTIONS = ("embed.", "probe.")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, taken after ``step`` optimiser steps."""

    path: Path
    step: int


def list_checkpoints(folder: str | os.PathLike[str]) -> list[Checkpoint]:
    """Return the checkpoints in a folder, oldest first; an empty list where there are none."""
    found = [(match, path) for path in Path(folder).glob("*.safetensors") if (match := _NAME.fullmatch(path.name))]
    return sorted((Checkpoint(path, int(match[1])) for match, path in found), key=lambda checkpoint: checkpoint.step)


def save_checkpoint(folder: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: Config) -> Checkpoint:
    """Write a checkpoint atomically, then remove the oldest ones beyond ``config.training.checkpoints_kept``."""
    tensors = {f"model.{name}": tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    path = folder / f"step_{step:08d}.safetensors"
    with atomic_path(path) as part:
        save_file(tensors, part, metadata={"step": str(step), "config": config.model_dump_json()})
    for old in list_checkpoints(folder)[: -config.training.checkpoints_kept]:
        old.path.unlink(missing_ok=True)
    return Checkpoint(path, step)


def load_checkpoint(checkpoint: Checkpoint, model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: Config) -> None:
    """Bring a model and its optimiser to the state of a checkpoint.

    Raises
    ------
    UserError
        If the file is damaged or was written with another configuration; the fields that differ are named.
    """
    try:
        with safe_open(checkpoint.path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise UserError(f"the checkpoint cannot be read ({error})", "remove it; the one before it will be used", checkpoint.path) from None
    refuse_another_configuration(_written_configuration(metadata, checkpoint.path), config, checkpoint.path)
    model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")})
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".")
            state.setdefault(int(index), {})[field] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def refuse_another_configuration(written: Config, config: Config, where: Path) -> None:
    """Refuse to go on under settings that alter clips, masks or losses.

    Raises
    ------
    UserError
        Naming the fields that differ, with both values.
    """
    changed = {name: values for name, values in differences(written, config).items() if name not in _FREE and not name.startswith(_FREE_SECTIONS)}
    if changed:
        listed = ", ".join(f"{name}: {was} there, {now} now" for name, (was, now) in changed.items())
        raise UserError(
            f"this run has another configuration ({listed})", "resume with the same settings or start a new run with another --out", where
        )


def _written_configuration(metadata: dict[str, str], path: Path) -> Config:
    try:
        return Config.model_validate(json.loads(metadata["config"]))
    except (KeyError, ValueError):
        raise UserError("this is not a checkpoint of this version of cellvjepa", "start a new run in another folder", path) from None
