"""Where the files are that come with the program: sample data and presets."""

from __future__ import annotations

from pathlib import Path

from cellvjepa.errors import UserError

_PACKAGE = Path(__file__).parent


def sample_data_folder() -> Path:
    """Return the folder of the sample movies, in an installed wheel or in a checkout."""
    return _find(_PACKAGE / "sample_data", _PACKAGE.parent / "sample_data")


def presets_folder() -> Path:
    """Return the folder of the preset configurations (``tiny.yaml``, ...)."""
    return _find(_PACKAGE / "configs", _PACKAGE.parent / "workflows" / "configs")


def shipped_encoder(name: str) -> Path | None:
    """Return the folder of an encoder that comes with the program (``encoder_tiny``), None if there is none of that name."""
    folder = sample_data_folder() / name
    return folder if name.startswith("encoder_") and folder.is_dir() else None


def _find(*candidates: Path) -> Path:
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise UserError("the files that come with cellvjepa are missing", "install cellvjepa again", candidates[0])
