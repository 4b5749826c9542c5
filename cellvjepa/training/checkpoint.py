"""Checkpoints: all that is needed to go on training, as tensors in safetensors and a card in JSON beside them, never a pickle.

``step_00000100.safetensors`` holds model and optimiser; ``step_00000100.json``, written after it, makes a checkpoint of it: step,
configuration, size and checksum. So a process may be killed at any moment: what has no card was never finished and is no checkpoint,
and what does not agree with its card is passed over for the checkpoint before.

No state of random generators is kept, because training has none: clips, masks, augmentation and whatever else is drawn are
functions of (seed, step).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from cellvjepa import __version__
from cellvjepa.config import Config, differences
from cellvjepa.errors import UserError
from cellvjepa.training.state import read_state, write_state
from cellvjepa.writing import atomic_path, bring_to_disk

_LOG = logging.getLogger(__name__)
_FORMAT = 1
_NAME = re.compile(r"step_(\d{8})\.(?:json|safetensors)")
# These may change between the parts of a run: they alter neither clips, masks nor losses (but for accumulation, of which the error of
# hidden places does not depend, and terms against collapse hardly: a run that does not fit the memory must be able to go on).
_FREE = {
    "training.accumulation",
    "monitor.stop_on_collapse",
    "training.device",
    "training.shard",
    "training.data_workers",
    "training.log_every",
    "training.checkpoint_every",
    "training.checkpoints_kept",
    "training.data_patience_s",
}
_FREE_SECTIONS = ("embed.", "probe.")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, taken after ``step`` optimiser steps; ``path`` is that of its tensors."""

    path: Path
    step: int

    @property
    def card_path(self) -> Path:
        """The card beside the tensors."""
        return self.path.with_suffix(".json")


@dataclass(frozen=True)
class CheckpointCard:
    """What is known of a checkpoint.

    ``format`` is the version of this layout, ``cellvjepa`` that of the package that wrote it; ``size_bytes`` and ``sha256`` are those
    of the tensors' file; ``config`` is the complete configuration of the run; ``parts`` in how many parts batches of a shape
    ("32x1x16x1x64x64") were computed to fit the memory, which what is a statistic of clips depends on.
    """

    format: int
    cellvjepa: str
    step: int
    size_bytes: int
    sha256: str
    config: Mapping[str, Any]
    parts: Mapping[str, int] = field(default_factory=dict)


class DamagedCheckpointError(UserError):
    """A checkpoint that cannot be read, or not as it was written; an older one may be whole."""


def list_checkpoints(folder: str | os.PathLike[str]) -> list[Checkpoint]:
    """Return the checkpoints in a folder, oldest first; an empty list where there are none."""
    steps = sorted(int(match[1]) for path in Path(folder).glob("*.json") if (match := _NAME.fullmatch(path.name)))
    return [_checkpoint(Path(folder), step) for step in steps]


def save_checkpoint(
    folder: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: Config, parts: Mapping[str, int] | None = None
) -> Checkpoint:
    """Write a checkpoint, then remove the oldest ones beyond ``config.training.checkpoints_kept``; ``parts`` as in :class:`CheckpointCard`.

    Raises
    ------
    UserError
        If the disk is full or the folder cannot be written to; the checkpoints that were there stay.
    """
    checkpoint = _checkpoint(folder, step)
    with atomic_path(checkpoint.path) as part:
        write_state(part, model, optimizer)
        bring_to_disk(part)
        size, sha256 = part.stat().st_size, _sha256(part)
    card = CheckpointCard(_FORMAT, __version__, step, size, sha256, config.model_dump(mode="json"), dict(parts or {}))
    with atomic_path(checkpoint.card_path) as part:
        part.write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")
        bring_to_disk(part)
    _remove_others(folder, step, config.training.checkpoints_kept)
    return checkpoint


def load_newest(folder: str | os.PathLike[str], model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: Config) -> Checkpoint | None:
    """Bring a model and its optimiser to the state of the newest checkpoint that is whole, and return it; None where there are none.

    One warning names the damaged ones that were passed over.

    Raises
    ------
    UserError
        If there are checkpoints and none is whole, or as :func:`load_checkpoint`.
    """
    known = list_checkpoints(folder)
    damage: list[DamagedCheckpointError] = []
    for checkpoint in reversed(known):
        try:
            load_checkpoint(checkpoint, model, optimizer, config)
        except DamagedCheckpointError as error:
            damage.append(error)
            continue
        if damage:
            others = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
            _LOG.warning(
                "passed over a damaged checkpoint: %s: %s%s; going on from step %d", damage[0].where, damage[0].what, others, checkpoint.step
            )
        return checkpoint
    if damage:
        raise UserError(
            f"none of the {len(known)} checkpoints can be used; the newest, {Path(damage[0].where or '').name}: {damage[0].what}",
            "put back a copy of one (.safetensors and .json), or start a new run with another --out",
            folder,
        )
    return None


def load_checkpoint(checkpoint: Checkpoint, model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: Config) -> None:
    """Bring a model and its optimiser to the state of a checkpoint, once its size, checksum and tensors are known to be right.

    Raises
    ------
    DamagedCheckpointError
        If it is not as it was written.
    UserError
        If it was written with another configuration (the fields that differ are named), for another model, or by a newer version.
    """
    card = read_card(checkpoint)
    refuse_another_configuration(_configuration(card, checkpoint), config, checkpoint.path)
    try:
        size = checkpoint.path.stat().st_size
        if size != card.size_bytes:
            raise _damaged(f"it has {size} bytes, and {card.size_bytes} were written", checkpoint.path)
        if _sha256(checkpoint.path) != card.sha256:
            raise _damaged("its checksum is not that of what was written", checkpoint.path)
        read_state(checkpoint.path, model, optimizer)
    except (SafetensorError, OSError) as error:
        raise _damaged(str(error), checkpoint.path) from None


def read_card(checkpoint: Checkpoint) -> CheckpointCard:
    """Return the card of a checkpoint.

    Raises
    ------
    DamagedCheckpointError
        If it cannot be read.
    UserError
        If it was written by a newer version of cellvjepa.
    """
    where = checkpoint.card_path
    try:
        fields = json.loads(where.read_text(encoding="utf-8"))
        if isinstance(fields, dict) and isinstance(fields.get("format"), int) and fields["format"] > _FORMAT:
            raise UserError(f"the checkpoint was written by a newer version ({fields.get('cellvjepa')})", "update cellvjepa", where)
        return TypeAdapter(CheckpointCard).validate_python(fields)
    except UserError:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(str(error), where) from None


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


def _checkpoint(folder: Path, step: int) -> Checkpoint:
    return Checkpoint(folder / f"step_{step:08d}.safetensors", step)


def _configuration(card: CheckpointCard, checkpoint: Checkpoint) -> Config:
    try:
        return Config.model_validate(card.config)
    except ValueError:
        raise UserError(
            f"the settings of this checkpoint, of version {card.cellvjepa}, are not known to this version ({__version__})",
            "resume with the version it was made with, or start a new run in another folder",
            checkpoint.card_path,
        ) from None


def _remove_others(folder: Path, step: int, kept: int) -> None:
    """Keep the newest checkpoints up to a step alone.

    What is newer was passed over as damaged when the run was resumed; what has no card was never finished.
    """
    keep = {checkpoint.step for checkpoint in [one for one in list_checkpoints(folder) if one.step <= step][-kept:]}
    for suffix in (".json", ".safetensors"):  # cards first: in between there is an unfinished checkpoint, not a damaged one
        for path in folder.glob(f"*{suffix}"):
            if (match := _NAME.fullmatch(path.name)) and int(match[1]) not in keep:
                path.unlink(missing_ok=True)


def _damaged(what: str, where: Path) -> DamagedCheckpointError:
    return DamagedCheckpointError(f"the checkpoint is damaged ({what})", "remove it; the one before it is used then", where)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
