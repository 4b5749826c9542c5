"""Cells from the HDF5 files of btrack. Nothing in them is followed out of the file, and no size is believed unchecked."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.table import NO_PARENT, Cells, checked_cells, movie_of
from cellvjepa.cells.tracks import with_numbers
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.progress import Progress

_MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST_BYTES = 2**33  # of one array
_MOST_COMPRESSED = 2000  # times; gzip does not do better than 1032
_EXPORT = "export the tracks again from btrack (btrack.io.export_hdf or tracker.export)"
_FILTER = re.compile(r"(\w+)(>=|<=|==|>|<)([0-9]+(?:\.[0-9]+)?)")
_COMPARE = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le, "==": operator.eq}
_Array = npt.NDArray[Any]


def recognises(path: Path) -> bool:
    """Whether this is an HDF5 file, by its suffix or its first bytes."""
    if not path.is_file():
        return False
    if path.suffix.lower() in (".h5", ".hdf5", ".hdf"):
        return True
    with path.open("rb") as file:
        return path.suffix == "" and file.read(len(_MAGIC)) == _MAGIC


def read_btrack(path: Path, movies: Sequence[Movie], strict: bool, progress: Progress) -> Cells:
    """Read all tracks, of all types of objects, without the positions that btrack has guessed (dummies).

    Raises
    ------
    UserError
        If it is no such file, damaged, has no tracks, or belongs to no movie here.
    """
    movie = movie_of(path, movies)
    try:
        import h5py

        with h5py.File(path, "r") as file:
            objects, tracks = _group(file, "objects", path), _group(file, "tracks", path)
            names = sorted(name for name in tracks if name.startswith("obj_type_"))
            tables = [_table(_group(objects, name, path), _group(tracks, name, path), path).assign(object_type=name) for name in names]
    except UserError:
        raise
    except Exception as error:  # h5py raises whatever the library or its own code runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"this HDF5 file cannot be read ({reason})", _EXPORT, path) from None
    progress("reading tracks", 1, 1)
    if not tables:
        raise UserError("the file has no tracks of btrack", _EXPORT, path)
    table = pd.concat([_apart(one, tables[:number]) for number, one in enumerate(tables)], ignore_index=True)
    if table.empty:
        raise UserError("the file has no tracks", _EXPORT, path)
    if len(tables) == 1:
        table = table.drop(columns="object_type")
    table = with_numbers(table.rename_axis(index="object"), path, strict=strict)
    return checked_cells(table.assign(movie=movie.name), movies, path, strict=strict)


def _apart(table: pd.DataFrame, before: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the tracks of one type of objects with ids that those of other types do not have."""
    shift = sum(int(one["track_id"].max()) + 1 for one in before if len(one))
    parents = table["parent_track_id"]
    return table.assign(track_id=table["track_id"] + shift, parent_track_id=parents.where(parents < 0, parents + shift))


def _table(objects: Any, tracks: Any, path: Path) -> pd.DataFrame:
    coords = _array(objects, "coords", path, columns=4).astype(np.float64)  # t, x, y, z
    refs, spans = _array(tracks, "tracks", path), _array(tracks, "map", path, columns=2).astype(np.int64)
    lbep = _array(tracks, "LBEPR", path, columns=4).astype(np.int64)  # label, begin, end, parent (its own label where there is none), ...
    kept = _kept(objects, tracks, len(coords), path)
    lengths = spans[:, 1] - spans[:, 0]
    if len(spans) != len(lbep) or (lengths < 0).any() or (spans < 0).any() or lengths.sum() > len(refs) or (spans > len(refs)).any():
        raise UserError("its tables of tracks contradict each other", _EXPORT, path)
    refs = refs.astype(np.int64).ravel()
    of = np.repeat(np.arange(len(spans)), lengths)
    at = refs[np.repeat(spans[:, 0] - np.cumsum(lengths) + lengths, lengths) + np.arange(len(of))]
    seen = at >= 0  # dummies count below
    of, at = of[seen], at[seen]
    if (at >= len(kept)).any():
        raise UserError("its tracks name objects that are not there", _EXPORT, path)
    t, x, y, z = coords[kept[at], :4].T
    label, parent = lbep[of, 0], lbep[of, 3]
    parent = np.where((parent == label) | (parent <= 0) | ~np.isin(parent, lbep[:, 0]), NO_PARENT, parent)
    found = {"track_id": label, "t": t, "z_px": z, "y_px": y, "x_px": x, "parent_track_id": parent}
    area = _properties(objects, "area", path)
    return pd.DataFrame(found if area is None or len(area) != len(coords) else found | {"area_px": area[kept[at]]})


def _kept(objects: Any, tracks: Any, count: int, path: Path) -> npt.NDArray[np.int64]:
    """Return the objects that references count: all, or those that pass the filter which was used for tracking."""
    said = tracks.attrs.get("f_expr")
    if said is None:
        return np.arange(count)
    parts = _FILTER.fullmatch(str(said).replace(" ", ""))
    values = None if parts is None else _properties(objects, parts[1], path)
    if parts is None or values is None or len(values) != count:
        raise UserError(f"its objects were filtered in a way that is not understood ({str(said)[:60]!r})", "export them without a filter", path)
    return np.flatnonzero(_COMPARE[parts[2]](values, float(parts[3])))


def _properties(objects: Any, name: str, path: Path) -> npt.NDArray[np.float64] | None:
    found = _member(objects, "properties", path)
    if found is None or name not in found:
        return None
    return _array(found, name, path).astype(np.float64).ravel()


def _group(parent: Any, name: str, path: Path) -> Any:
    found = _member(parent, name, path)
    if found is None or not hasattr(found, "keys"):
        raise UserError(f"the file has no {name} as btrack writes them", _EXPORT, path)
    return found


def _member(parent: Any, name: str, path: Path) -> Any:
    """Return a member of a group, if it is there and not elsewhere."""
    import h5py

    link = parent.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise UserError(f"{name} is a link to somewhere else", "do not use this file: it may have been tampered with", path)
    return parent[name]


def _array(parent: Any, name: str, path: Path, columns: int | None = None) -> _Array:
    """Read an array of numbers that lies in this file and is as large as it says."""
    import h5py

    found = _member(parent, name, path)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "iuf" or found.shape is None:
        raise UserError(f"there are no numbers called {name}", _EXPORT, path)
    if found.is_virtual or found.external:
        raise UserError(f"{name} is stored in other files", "do not use this file: it may have been tampered with", path)
    if columns is not None and (found.ndim != 2 or found.shape[1] < columns):
        raise UserError(f"{name} has the shape {found.shape}, not that of btrack", _EXPORT, path)
    size = int(np.prod(found.shape, dtype=np.float64)) * found.dtype.itemsize
    chunk = int(np.prod(found.chunks or (1,), dtype=np.float64)) * found.dtype.itemsize
    if max(size, chunk) > min(_MOST_BYTES, _MOST_COMPRESSED * path.stat().st_size):
        raise UserError(f"{name} claims {max(size, chunk):,} bytes, more than the file can hold", "copy the file again", path)
    return np.asarray(found[()])
