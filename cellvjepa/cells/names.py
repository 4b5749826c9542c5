"""Names of movies as tables write them, and the movies that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

_SUFFIXES = (".ome.tiff", ".ome.tif", ".ome.zarr", ".tiff", ".tif", ".stk", ".zarr")


def meant_names(written: Sequence[str], known: Sequence[str]) -> list[str | None]:
    """Return the known name that each written name means, None where it means none or could mean several.

    A whole name comes first. Then ``day2/pos4.tif`` is also found as ``day2/pos4``, as ``pos4`` where no other movie ends like this,
    and as ``day2/pos4.zarr``, which is what it may be called after it was converted.
    """
    index: dict[str, set[str]] = {}
    for name in known:
        for key in _keys(name):
            index.setdefault(key, set()).add(name)
    exact, found = set(known), list[str | None]()
    for name in written:
        name = name.strip().replace("\\", "/").removeprefix("./")
        hits = index.get(name) or index.get(stem_of(name), set())
        found.append(name if name in exact else next(iter(hits)) if len(hits) == 1 else None)
    return found


def stem_of(name: str) -> str:
    """Return a movie's name without its suffix: ``day2/pos4.ome.tif`` gives ``day2/pos4``."""
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _keys(name: str) -> set[str]:
    last = PurePosixPath(name).name
    return {name, stem_of(name), last, stem_of(last)}
