"""Predictors on disk, beside the encoder they belong to: safetensors with a card in the header, never a pickle.

The predictor answers to what its *context* encoder says, and what it foretells is what the *target* encoder says. One of the two is
``encoder.safetensors``; the other one is kept here together with the predictor. A file without it (that of ``encoder_tiny``, to be small)
is answered to by ``encoder.safetensors`` itself: after training the two differ little.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cellvjepa.config import ForecastMaskConfig, MaskGenerator
from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder, EncoderShape
from cellvjepa.model.predictor import Predictor, PredictorShape
from cellvjepa.model.vjepa import Asked, VJepa
from cellvjepa.model.weights import EncoderCard, load_encoder, locate_encoder
from cellvjepa.writing import atomic_path

PREDICTOR_FILE = "predictor.safetensors"
Hides = Literal["blocks", "future"]

_CARD_KEY = "cellvjepa_predictor"
_PREDICTOR, _OTHER = "predictor.", "other_encoder."
_DAMAGED = "copy the run again"
_NO_PREDICTOR = (
    "give a run of 'cellvjepa pretrain' of this version; 'pretrain --resume' adds the predictor to a finished run whose last step was chosen"
)


@dataclass(frozen=True)
class PredictorCard:
    """What a predictor file says of itself.

    ``hides`` says for each mask generator, and so for each mask token, what it hid in training; ``layers`` over how many layers of the
    target encoder targets are averaged; ``follows`` whether that is the encoder of the run, else it was a teacher's;
    ``encoder_sha256`` is the checksum of the ``encoder.safetensors`` it belongs to.
    """

    shape: PredictorShape
    hides: tuple[Hides, ...]
    layers: int
    follows: bool
    encoder_sha256: str


@dataclass(frozen=True, eq=False)
class PredictorState:
    """A predictor and what it needs beside its encoder, as it was at one step: tensors on the CPU, no longer tied to the model.

    Without the other encoder's tensors (``other_encoder.*``), the one beside it stands in for it.
    """

    shape: PredictorShape
    hides: tuple[Hides, ...]
    layers: int
    follows: bool
    tensors: Mapping[str, torch.Tensor]


def predictor_state(model: VJepa, generators: Sequence[MaskGenerator]) -> PredictorState | None:
    """Copy what is to be kept of a model beside its encoder; None where it foretells pixels and no features.

    Parameters
    ----------
    model
        In training.
    generators
        Its mask generators.
    """
    if not model.asked.features:
        return None
    other = model.context_encoder if model.asked.follows else model.target_encoder
    named = [(_PREDICTOR, model.predictor), (_OTHER, other)]
    tensors = {
        f"{prefix}{name}": tensor.detach().to("cpu", torch.float32, copy=True) for prefix, part in named for name, tensor in part.state_dict().items()
    }
    hides: tuple[Hides, ...] = tuple("future" if isinstance(generator, ForecastMaskConfig) else "blocks" for generator in generators)
    return PredictorState(model.predictor.shape, hides, model.asked.layers, model.asked.follows, tensors)


def save_predictor(state: PredictorState, folder: str | os.PathLike[str], encoder_sha256: str) -> None:
    """Write ``predictor.safetensors`` beside the encoder whose file has this checksum, atomically.

    Raises
    ------
    UserError
        If the folder cannot be written to or the disk is full.
    """
    card = PredictorCard(state.shape, state.hides, state.layers, state.follows, encoder_sha256)
    with atomic_path(Path(folder) / PREDICTOR_FILE) as part:
        save_file(
            {name: tensor.contiguous() for name, tensor in state.tensors.items()}, part, metadata={_CARD_KEY: json.dumps(dataclasses.asdict(card))}
        )


def load_predictor(source: str | os.PathLike[str]) -> tuple[VJepa, EncoderCard, PredictorCard]:
    """Read a frozen model that can foretell: the encoder of a run, and the predictor beside it.

    Parameters
    ----------
    source
        As for :func:`cellvjepa.model.weights.load_encoder`.

    Raises
    ------
    UserError
        If there is no predictor, it belongs to another encoder, or a file is damaged.
    """
    encoder, encoder_card = load_encoder(source)
    path = locate_encoder(source)
    path = (path if path.is_dir() else path.parent) / PREDICTOR_FILE
    if not path.is_file():
        raise _none_here(encoder_card, path)
    state, card = _read(path, encoder.shape)
    if card.encoder_sha256 != encoder_card.sha256:
        raise UserError("this predictor belongs to another encoder than the one beside it", _DAMAGED, path)
    with torch.device("meta"):
        model = VJepa(Encoder(encoder.shape), Predictor(card.shape, encoder.shape), Asked(layers=card.layers, follows=card.follows))
    other = {name.removeprefix(_OTHER): tensor for name, tensor in state.tensors.items() if name.startswith(_OTHER)} or encoder.state_dict()
    own = {name.removeprefix(_PREDICTOR): tensor for name, tensor in state.tensors.items() if name.startswith(_PREDICTOR)}
    context, target = (other, encoder.state_dict()) if card.follows else (encoder.state_dict(), other)
    model.context_encoder.load_state_dict(context, assign=True)
    model.target_encoder.load_state_dict(target, assign=True)
    model.predictor.load_state_dict(own, assign=True)
    return model.requires_grad_(False).eval(), encoder_card, card


def kept_predictor(folder: Path, encoder: EncoderCard) -> PredictorState | None:
    """Return the predictor beside an encoder, to be written beside a copy of it; None where there is none that belongs to it."""
    path = folder / PREDICTOR_FILE
    if not path.is_file():
        return None
    state, card = _read(path, encoder.shape)
    return state if card.encoder_sha256 == encoder.sha256 else None


def _none_here(card: EncoderCard, path: Path) -> UserError:
    config = card.provenance.get("config", {})
    training = config.get("training", {}) if isinstance(config, dict) else {}
    if isinstance(training, dict) and training.get("objective") == "pixels":
        return UserError(
            "this model learnt to predict pixels, and has no predictor of features", "train one with training.objective=latent", path.parent
        )
    return UserError(f"this model comes without its predictor (no {PREDICTOR_FILE})", _NO_PREDICTOR, path.parent)


def _read(path: Path, encoder: EncoderShape) -> tuple[PredictorState, PredictorCard]:
    try:
        with safe_open(path, framework="pt") as file:
            card = _card(file.metadata() or {}, path)
            names = list(file.keys())
            _check_tensors({name: tuple(file.get_slice(name).get_shape()) for name in names}, card, encoder, path)
            tensors = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(f"the file cannot be read as safetensors ({error})", _DAMAGED, path) from None
    return PredictorState(card.shape, card.hides, card.layers, card.follows, tensors), card


def _card(metadata: Mapping[str, str], path: Path) -> PredictorCard:
    try:
        card = TypeAdapter(PredictorCard).validate_json(metadata[_CARD_KEY])
    except (KeyError, ValidationError):
        raise UserError("the predictor's description cannot be read", _DAMAGED, path) from None
    shape = card.shape
    sound = min(shape.dim, shape.depth, shape.heads, shape.generators, card.layers) >= 1 and shape.dim % shape.heads == 0
    if not sound or len(card.hides) != shape.generators:
        raise UserError("the predictor's description contradicts itself", _DAMAGED, path)
    return card


def _check_tensors(found: Mapping[str, tuple[int, ...]], card: PredictorCard, encoder: EncoderShape, path: Path) -> None:
    # The description is believed only as far as the tensors bear it out: a forged depth or width must not cost memory or time.
    shape = card.shape
    first = {"embed.weight": (shape.dim, encoder.dim), "mask_tokens": (shape.generators, shape.dim)}
    both = any(name.startswith(_OTHER) for name in found)
    count = 7 + 12 * shape.depth + (4 + 12 * encoder.depth) * both
    wrong = [name for name, size in first.items() if found.get(_PREDICTOR + name) != size] or ["their number"] * (len(found) != count)
    if not wrong:
        with torch.device("meta"):
            parts = [(_PREDICTOR, Predictor(shape, encoder))] + ([(_OTHER, Encoder(encoder))] if both else [])
        wanted = {prefix + name: tuple(tensor.shape) for prefix, part in parts for name, tensor in part.state_dict().items()}
        wrong = [name for name, size in wanted.items() if found.get(name) != size]
    if wrong or card.layers > encoder.depth:
        raise UserError(
            f"the tensors are not those of the predictor that the file describes: {'; '.join(wrong[:3]) or 'the number of layers'}", _DAMAGED, path
        )
