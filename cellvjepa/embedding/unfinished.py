"""A store in the making: filled chunk by chunk, interrupted at will, continued by the same command.

Beside the place of the store, ``cells.zarr``, stands ``cells.zarr.part`` until all vectors are there:

    cells.zarr.part/
      store/            the store to be: table and provenance complete, X filled chunk by chunk
      done              the bitmap, one byte per chunk: 1 when the chunk is in X
      pending-00003     float32 rows of the chunk being filled, one batch after another

Then ``store`` gets consolidated metadata and is renamed to ``cells.zarr``. So what stands there is always complete, and
what is in the making says so by its name. Any moment is a good one to be killed: a chunk counts only once its byte is
set, and a torn batch at the end of ``pending`` is cut off.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import zarr

from cellvjepa.embedding.layout import CHUNK_ROWS, Frame, quiet_zarr, read_frame, storable, write_frame
from cellvjepa.embedding.provenance import Provenance, differences
from cellvjepa.errors import UserError
from cellvjepa.writing import atomic_path, readable_write_errors


@dataclass(frozen=True)
class Unfinished:
    """A store in the making.

    Parameters
    ----------
    final
        Where the store will stand.
    rows, dim
        Vectors, and numbers in each.
    """

    final: Path
    rows: int
    dim: int

    @property
    def folder(self) -> Path:
        """Where it is until then."""
        return part_of(self.final)

    @property
    def chunks(self) -> tuple[slice, ...]:
        """The rows of each chunk."""
        return tuple(slice(start, min(start + CHUNK_ROWS, self.rows)) for start in range(0, self.rows, CHUNK_ROWS))

    def missing(self) -> list[int]:
        """Return the chunks that are not in X yet."""
        return [i for i, done in enumerate((self.folder / "done").read_bytes()) if not done]

    def rows_done(self) -> int:
        """Count the rows that are in X or pending."""
        chunks, missing = self.chunks, self.missing()
        in_x: int = self.rows - sum(chunks[i].stop - chunks[i].start for i in missing)
        pending = sum(self._pending(i).stat().st_size for i in missing if self._pending(i).exists())
        return in_x + pending // (4 * self.dim)

    def pending(self, chunk: int, batch_size: int) -> npt.NDArray[np.float32]:
        """Return the rows of a chunk that were computed before an interruption: (n, D), whole batches.

        What does not make a whole batch is cut off, so that every batch is computed as it would have been.
        """
        path = self._pending(chunk)
        if not path.exists():
            return np.empty((0, self.dim), np.float32)
        rows = np.fromfile(path, np.float32)
        there, wanted = rows.size // self.dim, self.chunks[chunk].stop - self.chunks[chunk].start
        whole = wanted if there >= wanted else there // batch_size * batch_size
        os.truncate(path, 4 * whole * self.dim)
        return rows[: whole * self.dim].reshape(whole, self.dim)

    def add_pending(self, chunk: int, first: int, vectors_BD: npt.NDArray[np.float32]) -> None:
        """Keep the next batch of a chunk, whose first row is the chunk's row ``first``.

        Raises
        ------
        UserError
            If the disk is full, or another process has added rows meanwhile.
        """
        with readable_write_errors(self.final), self._pending(chunk).open("ab") as file:
            if file.tell() != 4 * self.dim * first:
                raise UserError("another process is writing these embeddings", "wait until it is done, then run this again", self.folder)
            file.write(np.ascontiguousarray(vectors_BD, np.float32).tobytes())

    def fill(self, chunk: int, vectors_ND: npt.NDArray[np.float32]) -> None:
        """Write all rows of a chunk to X, and only then say that it is there.

        Raises
        ------
        UserError
            If the disk is full.
        """
        with readable_write_errors(self.final):
            zarr.open_array(self.folder / "store" / "X", mode="r+", zarr_format=3)[self.chunks[chunk]] = vectors_ND
            with (self.folder / "done").open("r+b") as file:
                file.seek(chunk)
                file.write(b"\1")
            self._pending(chunk).unlink(missing_ok=True)

    def finish(self) -> Path:
        """Consolidate the metadata and put the store in its place.

        Raises
        ------
        UserError
            If the disk is full.
        """
        assert not self.missing()
        with readable_write_errors(self.final):
            with quiet_zarr():
                zarr.consolidate_metadata(self.folder / "store")
            (self.folder / "store").replace(self.final)
            shutil.rmtree(self.folder)
        return self.final

    def _pending(self, chunk: int) -> Path:
        return self.folder / f"pending-{chunk:05d}"


def begin_store(path: str | os.PathLike[str], table: pd.DataFrame, features: pd.DataFrame, provenance: Provenance) -> Unfinished | None:
    """Begin a store, or find the same one unfinished or finished.

    Parameters
    ----------
    path
        Where the store will stand.
    table, features
        One row per vector, and per dimension of a vector.
    provenance
        Of the vectors to come.

    Returns
    -------
    Unfinished or None
        What is to be filled; None if the store is finished already.

    Raises
    ------
    UserError
        If another store, or something else, stands there, or it cannot be written.
    """
    final = Path(path)
    unfinished = Unfinished(final, len(table), len(features))
    if final.is_dir() and any(final.iterdir()):
        _refuse_other(read_frame(final), provenance, table, final)
        shutil.rmtree(unfinished.folder, ignore_errors=True)  # left by a kill right after the store was complete
        return None
    if final.exists() and not final.is_dir():
        raise UserError("there is a file where the store should be", "choose another --out", final)
    if (unfinished.folder / "done").exists():
        _refuse_other(read_frame(unfinished.folder / "store"), provenance, table, unfinished.folder)
        return unfinished
    with atomic_path(unfinished.folder) as folder:
        write_frame(folder / "store", table, features, provenance.to_uns())
        (folder / "done").write_bytes(bytes(len(unfinished.chunks)))
    return unfinished


def part_of(final: Path) -> Path:
    """Return where a store is while it is in the making."""
    return final.with_name(f"{final.name}.part")


def unfinished_rows(path: Path) -> tuple[int, int] | None:
    """Return how many rows of how many are done, if ``path`` is, or would be, a store that is still in the making; else None."""
    final = path.with_name(path.name.removesuffix(".part"))
    if final.exists() or not (part_of(final) / "done").exists():
        return None
    rows, dim = zarr.open_array(part_of(final) / "store" / "X", mode="r", zarr_format=3).shape
    return Unfinished(final, rows, dim).rows_done(), rows


def _refuse_other(stored: Frame, now: Provenance, table: pd.DataFrame, where: Path) -> None:
    found = differences(stored.provenance, now) or _row_differences(stored.table, table)
    if found:
        raise UserError(
            f"embeddings of something else are there: {'; '.join(found)}", "choose another --out, or delete this folder if you do not need it", where
        )


def _row_differences(stored: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """Say in what two tables differ, as far as the columns of ``now`` go; later steps may have added some to the stored one."""
    if len(stored) != len(now):
        return [f"{len(stored)} rows in the store and {len(now)} now"]
    now = storable(now)
    for name in now.columns:
        if name not in stored.columns:
            return [f"the column '{name}' is not in the store"]
        left, right = (frame[name].astype(object).to_numpy() for frame in (stored, now))
        unlike = (left != right) & ~(pd.isna(left) & pd.isna(right))
        if unlike.any():
            row = int(np.flatnonzero(unlike)[0])
            return [f"{name} of row {row} is {left[row]} in the store and {right[row]} now"]
    return []
