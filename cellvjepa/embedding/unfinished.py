"""A store in the making: filled chunk by chunk, interrupted at will, continued by the same command.

Beside the place of the store, ``cells.zarr``, stands ``cells.zarr.part`` until all vectors are there:

    cells.zarr.part/
      store/            the store to be: table and provenance complete, X filled chunk by chunk
      done              the bitmap, one byte per chunk: 1 when the chunk is in X
      pending-00003     float32 rows of the chunk being filled, one batch after another

Then ``store`` gets consolidated metadata and is renamed to ``cells.zarr``. So what stands there is always complete, and
what is in the making says so by its name. Any moment is a good one to be killed: a chunk counts only once its byte is
set, and a torn batch at the end of ``pending`` is cut off.

Where ``cells.zarr`` is there already and more windows are to be in it, ``store`` holds the new rows only. When they are done,

      joined/           the rows of ``cells.zarr``, then those of ``store``
      before/           the old ``cells.zarr``, for the moment in which ``joined`` is renamed
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import zarr

from cellvjepa.embedding.adding import build_joined, differences_of_rows, positions
from cellvjepa.embedding.layout import CHUNK_ROWS, Frame, open_to_write, quiet_zarr, read_channels, read_frame, write_frame
from cellvjepa.embedding.provenance import Provenance
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
    wanted
        int64 (rows,): which of the windows that :func:`begin_store` was given they are.
    adds
        Whether they will be added to a store that is there.
    left
        How many more windows are to be added afterwards: call :func:`begin_store` again.
    """

    final: Path
    rows: int
    dim: int
    wanted: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    adds: bool = False
    left: int = 0

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
            open_to_write(self.folder / "store" / "X")[self.chunks[chunk]] = vectors_ND
            with (self.folder / "done").open("r+b") as file:
                file.seek(chunk)
                file.write(b"\1")
            self._pending(chunk).unlink(missing_ok=True)

    def finish(self) -> Path:
        """Put the store in its place, or its rows into the store that is there.

        Raises
        ------
        UserError
            If the disk is full.
        """
        assert not self.missing()
        ready = self.folder / "store"
        with readable_write_errors(self.final):
            if self.adds:
                ready = self.folder / "joined"
                shutil.rmtree(ready, ignore_errors=True)
                build_joined(self.final, self.folder / "store", ready, datetime.now(UTC).isoformat(timespec="seconds"))
                self.final.rename(self.folder / "before")
            else:
                with quiet_zarr():
                    zarr.consolidate_metadata(ready)
            ready.replace(self.final)
            _discard(self.folder)
        return self.final

    def _pending(self, chunk: int) -> Path:
        return self.folder / f"pending-{chunk:05d}"


def begin_store(path: str | os.PathLike[str], table: pd.DataFrame, features: pd.DataFrame, provenance: Provenance) -> Unfinished | None:
    """Begin a store, go on with it, or begin to add to it what it lacks.

    What was begun with fewer windows is finished first; then this function, called again, says what is to be added.

    Parameters
    ----------
    path
        Where the store stands or will stand.
    table, features
        One row per vector, and per dimension of a vector.
    provenance
        Of the vectors to come.

    Returns
    -------
    Unfinished or None
        What is to be filled; None if all rows are in the store.

    Raises
    ------
    UserError
        If another store, or something else, stands there, or it cannot be written.
    """
    final = Path(path)
    part = part_of(final)
    if final.exists() and not final.is_dir():
        raise UserError("there is a file where the store should be", "choose another --out", final)
    _take_up(final)
    missing = np.arange(len(table))
    if adds := final.is_dir() and any(final.iterdir()):
        stored = read_frame(final)
        _refuse(differences_of_rows(stored, provenance, table), final)
        missing = np.flatnonzero(positions(table, stored.table) < 0)
    if (part / "done").exists():
        begun = read_frame(part / "store")
        if not (adds and (positions(begun.table, stored.table) >= 0).all()):
            return _continued(final, begun, table, missing, len(features), provenance, adds)
    if not len(missing):
        _discard(part)  # left by a kill right after the store was complete
        return None
    unfinished = Unfinished(final, len(missing), len(features), missing, adds)
    with atomic_path(part) as folder:
        write_frame(folder / "store", table.iloc[missing].reset_index(drop=True), features, provenance.to_uns())
        (folder / "done").write_bytes(bytes(len(unfinished.chunks)))
    return unfinished


def _continued(
    final: Path, begun: Frame, table: pd.DataFrame, missing: npt.NDArray[np.int64], dim: int, provenance: Provenance, adds: bool
) -> Unfinished:
    """Go on with what was begun: rows that are all among the missing ones."""
    part = part_of(final)
    _refuse(differences_of_rows(begun, provenance, table), part)
    places = positions(begun.table, table.iloc[missing])
    if lost := int((places < 0).sum()):
        name = begun.table["movie"].iloc[int(np.flatnonzero(places < 0)[0])]
        _refuse([f"{lost} of the {len(places)} windows that were begun, e.g. in '{name}', are not among those now"], part)
    for torn in (part / "store" / "X").rglob("*.partial"):  # zarr was killed while writing it
        torn.unlink()
    return Unfinished(final, len(places), dim, missing[places], adds, len(missing) - len(places))


def _take_up(final: Path) -> None:
    """Do what a kill may have left undone between two moves."""
    part = part_of(final)
    if (part / "before").exists():
        if not final.exists():
            (part / "joined").replace(final)
        _discard(part)
    elif (part / "done").exists() and not (part / "store").exists():
        _discard(part)
    elif part.exists() and not (part / "done").exists():
        raise UserError("there is something else where the store is to be made", "move it away, or choose another --out", part)
    for scratch in final.parent.glob(f".{glob.escape(part.name)}.????????"):
        shutil.rmtree(scratch, ignore_errors=True)


def _discard(part: Path) -> None:
    """Remove what was in the making: all of it, or, for whoever looks again after a kill, nothing."""
    if part.exists():
        scratch = Path(tempfile.mkdtemp(prefix=f".{part.name}.", dir=part.parent))
        part.rename(scratch / part.name)
        shutil.rmtree(scratch, ignore_errors=True)


def stored_order(path: str | os.PathLike[str], channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return channels in the order of a store that has the same ones, finished or not; else in the order given."""
    for place in (Path(path), part_of(Path(path)) / "store"):
        if (place / "zarr.json").exists():
            stored = read_channels(place)
            return stored if sorted(stored) == sorted(channels) else channels
    return channels


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


def _refuse(found: list[str], where: Path) -> None:
    if found:
        raise UserError(
            f"embeddings of something else are there: {'; '.join(found)}", "choose another --out, or delete this folder if you do not need it", where
        )
