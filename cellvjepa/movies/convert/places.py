"""Where each movie of an archive goes, so that tables which name movies stay true, and which groups stand above it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cellvjepa.errors import UserError
from cellvjepa.movies.convert.metadata import group_metadata, plate_metadata, well_metadata
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Archive

_ENDINGS = (".ome.tiff", ".ome.tif", ".ome.zarr", ".tiff", ".tif", ".stk", ".zarr", ".nd2", ".czi", ".lif")


def targets(archive: Archive, destination: Path) -> list[str]:
    """Return the path of each movie of an archive below the destination; ``""`` is the destination itself.

    One movie becomes the store that the destination names. Of several, ``day2/pos4.tif`` becomes ``day2/pos4.zarr``, and what lies
    inside of a store keeps its place in it: ``plate1.zarr/B/3/0``.

    Raises
    ------
    UserError
        If two movies would go to the same place, or one within another.
    """
    into_store = destination.name.endswith(".zarr")
    if len(archive.movies) == 1 and into_store and not _is_in_plate(archive.movies[0]):
        return [""]
    names = [_safe(movie.name) for movie in archive.movies]
    short = [_target(name, into_store) for name in names]
    many = Counter(short)
    # pos4.tif and pos4.nd2 keep what tells them apart
    found = [target if many[target] == 1 else f"{name}.zarr" for name, target in zip(names, short, strict=True)]
    taken = set(found)
    for movie, target in zip(archive.movies, found, strict=True):
        above = next((str(parent) for parent in PurePosixPath(target).parents if str(parent) in taken), None)
        if found.count(target) > 1 or above:
            raise UserError(f"{movie.name} would be written {f'inside of {above}' if above else 'twice'}", "convert it on its own", archive.root)
    return found


def groups_above(movies: Sequence[Movie], found: Sequence[str], destination: Path) -> dict[str, dict[str, Any]]:
    """Return the ``zarr.json`` of every group above the images: those of a plate, its rows and wells, and plain ones.

    Parameters
    ----------
    movies, found
        The movies, and where they go.
    destination
        Groups begin at it where it is called ``.zarr``, else at the first folder that is.

    Returns
    -------
    dict
        By path below the destination.
    """
    above: dict[str, dict[str, Any]] = {}
    wells: dict[str, dict[tuple[str, str], list[str]]] = {}
    for movie, target in zip(movies, found, strict=True):
        for parent in [str(parent) for parent in PurePosixPath(target).parents] if target else ():
            inside = "" if parent == "." else parent
            if _is_in_store(destination, inside):
                above[inside] = group_metadata()
        if _is_in_plate(movie):
            *plate, row, column, field = target.split("/")
            wells.setdefault("/".join(plate), {}).setdefault((row, column), []).append(field)
    for place, by_well in wells.items():
        if place in above:
            above[place] = plate_metadata(PurePosixPath(place or destination.name).name, by_well)
            above |= {f"{place}/{row}/{column}".lstrip("/"): well_metadata(fields) for (row, column), fields in by_well.items()}
    return above


def _is_in_store(destination: Path, inside: str) -> bool:
    return any(part.endswith(".zarr") for part in (destination.name, *inside.split("/")))


def _is_in_plate(movie: Movie) -> bool:
    groups: Mapping[str, str] = movie.groups
    place = [groups.get(key) for key in ("row", "column", "field")]
    return None not in place and movie.name.split("/")[-3:] == place


def _target(name: str, into_store: bool) -> str:
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending) and len(PurePosixPath(name).name) > len(ending)), "")
    inside = into_store or any(part.endswith(".zarr") for part in name.split("/")[:-1])
    return name if inside and not ending else f"{name[: len(name) - len(ending)]}.zarr"


def _safe(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/") or "\\" in name:
        raise UserError(f"the movie's name {name!r} is no place below a folder", "rename it", name)
    return "/".join(parts)
