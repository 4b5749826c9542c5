"""Outlining cells with a trained network, through the library that it belongs to; its model is a file of the user's.

Cellpose (Stringer et al. 2021; Pachitariu et al. 2025) and StarDist (Schmidt et al. 2018). Both libraries would fetch a model that they do not find:
here a model that is not there is an error that says where it can be had.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError

Outline: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[np.int32]]

_CELLPOSE_FROM = "download it once: cpsam_v2 (1.2 GB) from https://huggingface.co/mouseland/cellpose-sam"
_STARDIST_FROM = "download it once: 2D_versatile_fluo from https://github.com/stardist/stardist-models/releases, and unpack it"
_TILE_PX = 1024


def cellpose(model: str, diameter_px: float | None) -> Outline:
    """Return a function that outlines the cells of one plane with a model of Cellpose.

    Parameters
    ----------
    model
        The file of the model.
    diameter_px
        What a cell measures across; None: as the model is used to.

    Raises
    ------
    UserError
        If the library is not installed, or the file is not there or no model.
    """
    path = _existing(model, "cellpose", _CELLPOSE_FROM, "the file")
    try:
        import torch
        from cellpose.models import CellposeModel  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise _not_installed("cellpose") from None
    except RuntimeError as error:  # torchvision of another build than torch
        raise UserError(
            f"cellpose is installed, but does not start ({error})", "install torch and torchvision of the same build", "segment.method"
        ) from error
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    try:
        network = CellposeModel(gpu=has_gpu, pretrained_model=str(path))
    except Exception as error:  # whatever the library makes of a file that is no model
        raise UserError(f"this is no model of cellpose ({type(error).__name__}: {error})", _CELLPOSE_FROM, path) from error

    def outline(plane: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        masks, *_ = network.eval(np.asarray(plane, np.float32), diameter=diameter_px)
        return np.asarray(masks, np.int32)

    return outline


def stardist(model: str) -> Outline:
    """Return a function that outlines the nuclei of one plane with a model of StarDist.

    Parameters
    ----------
    model
        The folder of the model, with ``config.json`` and ``weights_best.h5`` in it.

    Raises
    ------
    UserError
        If the library is not installed, or the folder is not there or holds no model.
    """
    path = _existing(model, "stardist", _STARDIST_FROM, "the folder")
    if not (path / "config.json").is_file():
        raise UserError("this folder holds no model of stardist: there is no config.json", _STARDIST_FROM, path)
    try:
        from csbdeep.utils import normalize  # type: ignore[import-not-found, import-untyped, unused-ignore]
        from stardist.models import StarDist2D  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise _not_installed("stardist") from None
    try:
        network = StarDist2D(None, name=path.name, basedir=str(path.parent))
    except Exception as error:  # whatever the library makes of a folder that holds no model
        raise UserError(f"this is no model of stardist ({type(error).__name__}: {error})", _STARDIST_FROM, path) from error

    def outline(plane: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        tiles = tuple(math.ceil(length / _TILE_PX) for length in plane.shape)
        labels, _ = network.predict_instances(normalize(np.asarray(plane, np.float32), 1, 99.8), n_tiles=tiles, show_tile_progress=False)
        return np.asarray(labels, np.int32)

    return outline


def _existing(model: str, library: str, source: str, what: str) -> Path:
    if not model.strip():
        raise UserError(f"no model of {library} is chosen", f"give {what} of one; to have one, {source}", "segment.model")
    path = Path(model).expanduser().resolve()
    if not path.exists():
        raise UserError(f"this model of {library} does not exist", f"give {what} of one; to have one, {source}", path)
    return path


def _not_installed(library: str) -> UserError:
    return UserError(
        f"{library} is not installed", f'install it with: pip install "cellvjepa[{library}]", or choose the method threshold', "segment.method"
    )
