"""What an encoder was trained with, read from the head of its file alone: no weight is read, and no network built."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.shipped import shipped_encoder

_MOST_BYTES = 100_000_000  # the limit of the format


def encoder_config(source: str | os.PathLike[str]) -> Config:
    """Return the configuration that an encoder was trained with.

    Parameters
    ----------
    source
        As for :func:`cellvjepa.model.weights.load_encoder`.

    Raises
    ------
    UserError
        If there is no encoder, or it does not say what it was trained with.
    """
    path = Path(source)
    shipped = None if path.exists() or path.name != os.fspath(source) else shipped_encoder(path.name)
    path = shipped or path
    path = path / "encoder.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise UserError("there is no encoder here", "give the folder of a run made by 'cellvjepa pretrain', or its encoder.safetensors", path)
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            head = json.loads(file.read(size)) if size < _MOST_BYTES else {}
        described = json.loads(head["__metadata__"]["cellvjepa_encoder"])
        return Config.model_validate(described["provenance"]["config"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            "the encoder does not say what clips it was trained on", "choose a run of `cellvjepa pretrain` made by this version", path
        ) from None
