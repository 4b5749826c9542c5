"""Single rows of the vectors of a store, read without the rows around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BytesCodec

from cellvjepa.errors import UserError

Rows = npt.NDArray[np.int64]


def vectors_at(vectors_ND: Any, folder: Path, rows: Rows) -> npt.NDArray[np.float32]:
    """Return some rows of an array, in the order given.

    Where the array is not compressed, only these rows are read from its files: 4,096 rows anywhere in a million in about 10 ms.
    From another array whole chunks are read, one at a time.

    Parameters
    ----------
    vectors_ND
        The zarr array, (N, D) float32, in chunks of whole rows.
    folder
        Where its files are.
    rows
        int64, each 0 to N - 1.

    Returns
    -------
    numpy.ndarray
        (len(rows), D) float32.

    Raises
    ------
    IndexError
        If there is no such row.
    UserError
        If a file is cut short meanwhile.
    """
    rows = np.asarray(rows, np.int64)
    length, dim = vectors_ND.shape
    if not len(rows):
        return np.empty((0, dim), np.float32)
    if not 0 <= rows.min() <= rows.max() < length:
        raise IndexError(f"rows {rows.min()} to {rows.max()} of {length}")
    found = np.empty((len(rows), dim), np.float32)
    chunk_rows, plain = vectors_ND.chunks[0], _lies_plain(vectors_ND)
    order = np.argsort(rows, kind="stable")
    chunks, starts = np.unique(rows[order] // chunk_rows, return_index=True)
    for chunk, start, stop in zip(chunks.tolist(), starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
        here = order[start:stop]
        first = chunk * chunk_rows
        file = folder / vectors_ND.metadata.encode_chunk_key((chunk, 0)) if plain else None
        if file is not None and file.is_file() and file.stat().st_size == chunk_rows * dim * 4:
            _read_into(found, here, file, rows[here] - first)
        else:
            found[here] = vectors_ND[first : min(first + chunk_rows, length)][rows[here] - first]
    return found


def _lies_plain(vectors_ND: Any) -> bool:
    """Whether the numbers stand in the files as they are, whole rows one after another."""
    if not isinstance(vectors_ND, zarr.Array):
        return False
    array: Any = vectors_ND
    if array.dtype != np.dtype("<f4") or array.cdata_shape[1:] != (1,):
        return False

    codecs: Any = getattr(array.metadata, "codecs", ())
    return len(codecs) == 1 and isinstance(codecs[0], BytesCodec) and getattr(codecs[0].endian, "value", None) == "little"


def _read_into(found_MD: npt.NDArray[np.float32], places: Rows, file: Path, rows: Rows) -> None:
    """Read rows of a file into places of an array, one by one: mapping the file would cost more, in page faults, than reading does."""
    size = found_MD.shape[1] * 4
    into = memoryview(found_MD.view(np.uint8).data).cast("B")
    with file.open("rb", buffering=0) as opened:
        for place, row in zip(places.tolist(), rows.tolist(), strict=True):
            opened.seek(row * size)
            if opened.readinto(into[place * size : (place + 1) * size]) != size:
                raise UserError("the file has become shorter while it was read", "copy the whole folder again", file)
