"""Encoders on disk: safetensors for the numbers, JSON for what they are; never a pickle.

``encoder.safetensors`` is complete by itself: its header carries the card. ``encoder.json`` beside it is the same card for
people and scripts, with the file's checksum.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder, EncoderShape
from cellvjepa.shipped import shipped_encoder
from cellvjepa.writing import atomic_path

WEIGHTS_FILE = "encoder.safetensors"
CARD_FILE = "encoder.json"
_CARD_KEY = "cellvjepa_encoder"
_SUM = "tensors_sha256"  # within the card: with two entries the order in the file would be left to chance
_ANOTHER_FILE = "give the folder of a run made by 'cellvjepa pretrain', or its encoder.safetensors"
_DAMAGED = "copy the file again"


@dataclass(frozen=True)
class EncoderCard:
    """What an encoder file says of itself.

    ``shape`` rebuilds the network; ``provenance`` is what its maker noted, JSON values only; ``sha256`` is the checksum of
    ``encoder.safetensors``.
    """

    shape: EncoderShape
    provenance: Mapping[str, Any]
    sha256: str


def save_encoder(encoder: Encoder, folder: str | os.PathLike[str], provenance: Mapping[str, Any]) -> EncoderCard:
    """Write ``encoder.safetensors`` and ``encoder.json`` into a folder, each atomically.

    Parameters
    ----------
    encoder
        The encoder to keep; its weights are written as float32.
    folder
        Folder to write to; made if it is missing.
    provenance
        JSON values: configuration, movies, step, ...

    Raises
    ------
    UserError
        If the folder cannot be written to or the disk is full; files already there are then as they were.
    """
    described = {"shape": dataclasses.asdict(encoder.shape), "provenance": dict(provenance)}
    tensors = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in encoder.state_dict().items()}
    path = Path(folder) / WEIGHTS_FILE
    with atomic_path(path) as part:
        save_file(tensors, part, metadata={_CARD_KEY: json.dumps(described | {_SUM: _sum(tensors)})})
        sha256 = _sha256(part)
    with atomic_path(path.with_name(CARD_FILE)) as part:
        part.write_text(json.dumps({**described, "sha256": sha256}, indent=2) + "\n", encoding="utf-8")
    return EncoderCard(encoder.shape, dict(provenance), sha256)


def load_encoder(source: str | os.PathLike[str]) -> tuple[Encoder, EncoderCard]:
    """Read an encoder, frozen and ready to use on the CPU.

    Parameters
    ----------
    source
        Folder of a run, the path of an ``encoder.safetensors``, or ``"encoder_tiny"``, which comes with the program.

    Raises
    ------
    UserError
        If there is no such file, it is damaged, it is not an encoder of ours, or its tensors are not those of the encoder it
        describes.
    """
    path = locate_encoder(source)
    if path.is_dir():
        path = path / WEIGHTS_FILE
    if not path.is_file():
        raise UserError("there is no encoder here", _ANOTHER_FILE, path)
    try:
        with safe_open(path, framework="pt") as file:
            shape, provenance, written = _described(file.metadata() or {}, path)
            names = list(file.keys())
            _check_tensors({name: tuple(file.get_slice(name).get_shape()) for name in names}, shape, path)
            # Copied: else they would be a window into the file, which may be replaced or cut while they are used.
            tensors = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(f"the file cannot be read as safetensors ({error})", _DAMAGED, path) from None
    if written is not None and written != _sum(tensors):  # files of earlier versions have none
        raise UserError("the weights are not those that were written", _DAMAGED, path)
    encoder = _unfilled(shape)
    encoder.load_state_dict(tensors, assign=True)
    return encoder.requires_grad_(False).eval(), EncoderCard(shape, provenance, _sha256(path))


def _sum(tensors: Mapping[str, torch.Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].numpy().tobytes())
    return found.hexdigest()


def locate_encoder(source: str | os.PathLike[str]) -> Path:
    """Return the path that is meant: as it is, or that of an encoder that comes with the program, by its name."""
    path = Path(source)
    shipped = None if path.exists() or path.name != os.fspath(source) else shipped_encoder(path.name)
    return shipped or path


def require_shape(found: EncoderShape, wanted: EncoderShape, where: str | os.PathLike[str]) -> None:
    """Refuse an encoder that is not of the wanted shape, naming the fields that differ.

    Also what leaves every tensor's size alone is told apart: heads, axes, frequencies. What matters for initial weights alone is not.

    Raises
    ------
    UserError
        If any field differs.
    """
    differing = [
        f"{field.name} is {getattr(found, field.name)} there and {getattr(wanted, field.name)} here"
        for field in dataclasses.fields(EncoderShape)
        if field.name != "wave_gains" and getattr(found, field.name) != getattr(wanted, field.name)
    ]
    if differing:
        raise UserError(f"this is a checkpoint of another configuration: {', '.join(differing)}", "use the settings it was made with", where)


def _described(metadata: Mapping[str, str], path: Path) -> tuple[EncoderShape, dict[str, Any], str | None]:
    """Return what a file says of its encoder, and the checksum of its tensors."""
    if _CARD_KEY not in metadata:
        raise UserError("this safetensors file is not an encoder written by cellvjepa", _ANOTHER_FILE, path)
    try:
        card = json.loads(metadata[_CARD_KEY])
        fields, provenance = dict(card["shape"]), dict(card["provenance"])
        unknown = fields.keys() - {field.name for field in dataclasses.fields(EncoderShape)}
        if unknown:
            raise UserError(f"the encoder has properties unknown here: {', '.join(sorted(unknown))}", "update cellvjepa", path)
        return TypeAdapter(EncoderShape).validate_python(fields), provenance, card.get(_SUM)
    except UserError:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"the encoder's description is wrong: {first['loc'][0] if first['loc'] else ''} {first['msg']}", _DAMAGED, path) from None
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise UserError("the encoder's description cannot be read", _DAMAGED, path) from None


def _check_tensors(found: Mapping[str, tuple[int, ...]], shape: EncoderShape, path: Path) -> None:
    # The description is believed only as far as the tensors bear it out: a forged depth or width must not cost memory or time.
    first = {"patch_embed.proj.weight": (shape.dim, shape.tubelet_pixels), "norm.weight": (shape.dim,)}
    wrong = [_difference(name, found.get(name), size) for name, size in first.items() if found.get(name) != size]
    if not wrong and len(found) != 4 + 12 * shape.depth:
        wrong = [f"{len(found)} tensors where a depth of {shape.depth} has {4 + 12 * shape.depth}"]
    if not wrong:
        wanted = {name: tuple(tensor.shape) for name, tensor in _unfilled(shape).state_dict().items()}
        wrong = [_difference(name, found.get(name), size) for name, size in wanted.items() if found.get(name) != size]
    if wrong:
        raise UserError(f"the tensors are not those of the encoder that the file describes: {'; '.join(wrong[:3])}", _DAMAGED, path)


def _difference(name: str, found: tuple[int, ...] | None, wanted: tuple[int, ...]) -> str:
    return f"{name} is {'missing' if found is None else found}, should be {wanted}"


def _unfilled(shape: EncoderShape) -> Encoder:
    with torch.device("meta"):
        return Encoder(shape)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
