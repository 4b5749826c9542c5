"""What a path holds, told by a quick look: nothing is opened, and of a large folder only the beginning is looked at."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

_MOVIES = (".tif", ".tiff", ".stk", ".nd2", ".czi", ".lif")
_ZARR_METADATA = ("zarr.json", ".zattrs", ".zgroup")
_LARGEST_METADATA = 2**24  # a file that calls itself metadata is not read whatever its size
_ENTRIES_LOOKED_AT = 1000  # of a folder that may hold a million files

Kind = Literal["movie", "store", "folder"]


def kind_of(place: Path) -> Kind | None:
    """Return what a path holds: one movie, a store of embeddings, or a folder with movies somewhere in it; None: nothing of ours."""
    try:
        if place.is_file():
            return "movie" if place.suffix.lower() in _MOVIES else None
        if not place.is_dir():
            return None
        if _is_zarr(place):
            return "store" if _holds_a_table(place) else "movie" if _is_image(place) else "folder"
        return "folder" if movies_in(place, 1) else None
    except OSError:
        return None  # it cannot even be looked at: others may know better


def movies_in(folder: Path, most: int) -> int:
    """Return how many files and Zarr folders that may be movies there are in a folder and those below, up to a number."""
    found, looked_at = 0, 0
    to_visit = [folder]
    while to_visit and looked_at < _ENTRIES_LOOKED_AT:
        below = []
        with os.scandir(to_visit.pop(0)) as entries:
            for entry in entries:
                looked_at += 1
                if entry.name.lower().endswith(_MOVIES) or (entry.is_dir() and _is_zarr(Path(entry.path))):
                    found += 1
                    if found >= most:
                        return found
                elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    below.append(Path(entry.path))
                if looked_at >= _ENTRIES_LOOKED_AT:
                    break
        to_visit += below
    return found


def rows_in(store: Path) -> int:
    """Return how many rows a store says that it has, 0 where it does not say."""
    shape = _json(store / "X" / "zarr.json").get("shape") or _json(store / "X" / ".zarray").get("shape")
    return shape[0] if isinstance(shape, list) and shape and isinstance(shape[0], int) else 0


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _ZARR_METADATA)


def _is_image(folder: Path) -> bool:
    """Tell whether a Zarr group is one image, and no plate or folder of several; where it says nothing it is taken for one."""
    attributes = _attributes(folder / "zarr.json")
    attributes = {**_attributes(folder / ".zattrs"), **attributes, **_mapping(attributes.get("ome"))}
    return not ({"plate", "well", "bioformats2raw.layout"} & set(attributes))


def _holds_a_table(folder: Path) -> bool:
    """Tell whether a Zarr group says of itself that it is AnnData (Zarr 3 and 2 say it in different files)."""
    return "anndata" in (_attributes(folder / "zarr.json").get("encoding-type"), _attributes(folder / ".zattrs").get("encoding-type"))


def _attributes(file: Path) -> dict[str, Any]:
    found = _json(file)
    return _mapping(found.get("attributes", {})) if file.name == "zarr.json" else found


def _json(file: Path) -> dict[str, Any]:
    try:
        return {} if file.stat().st_size > _LARGEST_METADATA else _mapping(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
