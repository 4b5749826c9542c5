"""What a label file says, cell by cell, while it grows: whoever labels by hand looks things up here and learns which lines to append.

The file is only ever appended to, so changing and taking back are lines, too. Of one annotator's labels on a cell none overlap where they
differ: a new one takes the frames it covers from those before, whose other frames are said again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.names import meant_names
from cellvjepa.errors import UserError
from cellvjepa.probing.label_file import LabelLine, read_lines, standing_lines, torn_line
from cellvjepa.progress import Progress, silent

NO_END = 10**15 - 1  # of a label without an end: later than any frame
_REPORT_EVERY = 200
_FIELDS = ("movie", "label", "t_start", "t_stop", "annotator", "date", "track_id_n", "t_start_n", "t_stop_n")
_KEY = ("movie", "track_id", "t_start", "t_stop", "annotator")


@dataclass(frozen=True)
class Said:
    """A label that holds.

    Parameters
    ----------
    label
        The class.
    start, stop
        From when to when [native frames, half open]; of a whole track 0 and :data:`NO_END`.
    annotator
        Who says so; empty where the file does not tell.
    line
        How the file writes it.
    """

    label: str
    start: int
    stop: int
    annotator: str
    line: LabelLine


class LabelBook:
    """The labels that hold.

    Parameters
    ----------
    lines
        Of a label file, as :func:`cellvjepa.probing.label_file.read_lines` returns them.
    movies
        Names of the movies whose cells are labelled; a file may write ``pos4`` for ``pos4.tif``, or nothing where there is one movie.

    Attributes
    ----------
    counts
        How many labels hold, by (class, movie); the classes are in the order in which the file names them first.
    torn
        The last line of the file if it was not written to its end.
    left_out
        How many lines name no cell or time, or another movie.
    """

    def __init__(self, lines: pd.DataFrame, movies: Sequence[str] = (), torn: str = "") -> None:
        self.torn = torn
        self._movies = tuple(movies)
        standing = standing_lines(lines)
        written = standing["movie"].unique().tolist()
        self._meant = dict(zip(written, self._meaning(written), strict=True))
        numbers = {name: pd.to_numeric(standing[name].replace("", str(empty)), errors="coerce") for name, empty in _WHEN_EMPTY.items()}
        table = standing.assign(named=standing["movie"].map(self._meant), **{f"{name}_n": column for name, column in numbers.items()})
        known = table[["named", *(f"{name}_n" for name in numbers)]].notna().all(axis=1) & (table["t_start_n"] < table["t_stop_n"])
        self.left_out = int((~known).sum())
        table = table[known]
        self._table = table.astype({f"{name}_n": np.int64 for name in numbers}).sort_values(["named", "track_id_n"], kind="stable")
        self._tracks = self._table["track_id_n"].to_numpy()
        # Of one cell only a few lines are wanted: lists give them a hundred times as fast as a table.
        self._columns: dict[str, list[Any]] = {name: self._table[name].tolist() for name in _FIELDS}
        names, first = np.unique(self._table["named"].to_numpy(dtype=str), return_index=True)
        bounds = [*first.tolist(), len(self._table)]
        self._rows = {str(name): (bounds[i], bounds[i + 1]) for i, name in enumerate(names)}
        self._changed: dict[tuple[str, int], tuple[Said, ...]] = {}
        self.counts: Counter[tuple[str, str]] = Counter(zip(table["label"].tolist(), table["named"].tolist(), strict=True))

    @classmethod
    def read(cls, path: str | os.PathLike[str], movies: Sequence[str] = ()) -> LabelBook:
        """Read a label file; one that is not there, or empty, says nothing.

        Raises
        ------
        UserError
            If it is there and no label file.
        """
        file, torn = Path(path), torn_line(path)
        if not file.exists() or (file.is_file() and file.stat().st_size == len(torn.encode())):
            return cls(_NO_LINES, movies, torn)
        return cls(read_lines(file), movies, torn)

    def classes(self) -> tuple[str, ...]:
        """Return the classes that labels name, in the order in which they came up."""
        return tuple(dict.fromkeys(label for (label, _), count in self.counts.items() if count))

    def of_cell(self, movie: str, track_id: int) -> tuple[Said, ...]:
        """Return the labels of a cell."""
        found = self._changed.get((movie, track_id))
        if found is not None:
            return found
        begin, end = self._rows.get(movie, (0, 0))
        low, high = begin + np.searchsorted(self._tracks[begin:end], [track_id, track_id + 1])
        return tuple(self._said(row) for row in range(int(low), int(high)))

    def cells(self) -> list[tuple[str, int]]:
        """Return the cells that have labels, as (movie, track_id)."""
        pairs = dict.fromkeys(zip(self._table["named"].tolist(), self._tracks.tolist(), strict=True))
        pairs |= dict.fromkeys(self._changed)
        return [cell for cell in pairs if self._changed.get(cell, True)]

    def of_movie(self, movie: str) -> pd.DataFrame:
        """Return all labels of a movie: ``track_id``, ``label``, ``start``, ``stop`` [native frames, half open], ``annotator``."""
        begin, end = self._rows.get(movie, (0, 0))
        changed = {track_id: said for (name, track_id), said in list(self._changed.items()) if name == movie}
        table = self._table.iloc[begin:end]
        table = table[~np.isin(self._tracks[begin:end], list(changed))]
        before = {"track_id": table["track_id_n"], "label": table["label"], "start": table["t_start_n"], "stop": table["t_stop_n"]}
        rows = [(track_id, said.label, said.start, said.stop, said.annotator) for track_id, several in changed.items() for said in several]
        names = [*before, "annotator"]
        since = pd.DataFrame(rows, columns=names).astype({"track_id": np.int64, "start": np.int64, "stop": np.int64})
        return pd.concat([pd.DataFrame({**before, "annotator": table["annotator"]}), since], ignore_index=True)

    def of_rows(self, table: pd.DataFrame) -> npt.NDArray[np.object_]:
        """Return the label of each row of an embedding table, None where there is none, object (N,); see :meth:`label_of`.

        Parameters
        ----------
        table
            ``movie``, ``track_id``, ``t_start``, ``t_stop``.
        """
        found = np.full(len(table), None, object)
        codes, names = pd.factorize(table["movie"])
        for code, movie in enumerate(names):
            rows = np.flatnonzero(codes == code)
            of_rows = pd.DataFrame({"row": rows, **{name: table[name].to_numpy()[rows] for name in ("track_id", "t_start", "t_stop")}})
            pairs = self.of_movie(str(movie)).merge(of_rows, on="track_id")
            covered = np.minimum(pairs["stop"], pairs["t_stop"]) - np.maximum(pairs["start"], pairs["t_start"])
            pairs = pairs.assign(covered=covered)[2 * covered >= pairs["t_stop"] - pairs["t_start"]]
            best = pairs.sort_values(["row", "covered"], ascending=[True, False], kind="stable").drop_duplicates("row")
            found[best["row"].to_numpy(np.int64)] = best["label"].to_numpy(object)
        return found

    def label_of(self, movie: str, track_id: int, start: int, stop: int) -> str:
        """Return the label that covers the most of an interval, and at least half of it, as a probe takes it; ``""`` for none."""
        found = [(min(said.stop, stop) - max(said.start, start), said.label) for said in self.of_cell(movie, track_id)]
        most = max((covered for covered, _ in found), default=0)
        return next(label for covered, label in found if covered == most) if 0 < stop - start <= 2 * most else ""

    def lines_for(self, movie: str, track_id: int, label: str, annotator: str, start: int = 0, stop: int = NO_END) -> list[LabelLine]:
        """Return the lines to append so that a cell has a label from ``start`` to ``stop``; none if the annotator says so already.

        Parameters
        ----------
        label
            The class; empty to take back what the annotator says of these frames.

        Raises
        ------
        UserError
            If nobody in particular says otherwise: such a line cannot be overruled.
        """
        before = [said for said in self.of_cell(movie, track_id) if said.start < stop and start < said.stop]
        _refuse_nobodys([said for said in before if not said.annotator and said.label != label], movie, track_id)
        own = [said for said in before if said.annotator == annotator and said.label != label]
        if label and any(said.annotator == annotator and said.label == label and said.start <= start and stop <= said.stop for said in before):
            return []
        begins, ends = ("" if start == 0 and stop == NO_END else start), ("" if stop == NO_END else stop)
        new = LabelLine.now(movie, track_id, label, annotator, t_start=begins, t_stop=ends)
        new = next((replace(said.line, label=label, date=new.date) for said in own if (said.start, said.stop) == (start, stop)), new)
        gone = [replace(said.line, label="", date=new.date) for said in own if _key(said.line) != _key(new)]
        rests = [rest for said in own for rest in _rests(said, start, stop, new.date)]
        return [*gone, *rests, *([new] if label or any(_key(said.line) == _key(new) for said in own) else [])]

    def lines_for_all(
        self, intervals: Iterable[tuple[str, int, int, int]], label: str, annotator: str, progress: Progress = silent
    ) -> list[LabelLine]:
        """Return the lines to append so that several (movie, track_id, start, stop) have a label; see :meth:`lines_for`."""
        wanted = list(intervals)
        after = copy(self)
        after._changed, after.counts, after._meant = dict(self._changed), Counter(self.counts), dict(self._meant)
        found: list[LabelLine] = []
        for done, (movie, track_id, start, stop) in enumerate(wanted):
            lines = after.lines_for(movie, track_id, label, annotator, start, stop)
            after.add(lines)
            found += lines
            if not done % _REPORT_EVERY:
                progress("labelling", done, len(wanted))
        return found

    def renaming(self, old: str, new: str, annotator: str) -> list[LabelLine]:
        """Return the lines that give the annotator's labels of a class another name; ``""`` takes them back."""
        date = LabelLine.now("", 0, "", "").date
        return [
            replace(said.line, label=new, date=date)
            for cell in self.cells()
            for said in self.of_cell(*cell)
            if said.label == old and said.annotator == annotator
        ]

    def undoing(self, lines: Iterable[LabelLine]) -> list[LabelLine]:
        """Return the lines that will take back these, which are about to be appended: what holds now will hold again."""
        touched = {_key(line): line for line in lines}
        restored = []
        for key, line in touched.items():
            standing = [said.label for said in self.of_cell(self.named(line.movie), line.track_id) if _key(said.line) == key]
            restored.append(replace(line, label=standing[-1] if standing else ""))
        return sorted(restored, key=lambda line: line.label != "")

    def add(self, lines: Iterable[LabelLine]) -> list[tuple[str, int]]:
        """Take over lines that have been appended; return the cells they speak of, as (movie, track_id)."""
        cells = dict.fromkeys((self.named(line.movie), line.track_id) for line in lines)
        for line in lines:
            movie, cell = self.named(line.movie), (self.named(line.movie), line.track_id)
            kept = []
            for said in self.of_cell(*cell):
                if line.annotator and _key(said.line) == _key(line):
                    self.counts[said.label, movie] -= 1
                else:
                    kept.append(said)
            if line.label:
                start, stop = (int(line.t_start) if line.t_start != "" else 0), (int(line.t_stop) if line.t_stop != "" else NO_END)
                kept.append(Said(line.label, start, stop, line.annotator, line))
                self.counts[line.label, movie] += 1
            self._changed[cell] = tuple(kept)
        return list(cells)

    def _said(self, row: int) -> Said:
        found = {name: column[row] for name, column in self._columns.items()}
        line = LabelLine(*(found[name] for name in ("movie", "track_id_n", "label", "t_start", "t_stop", "annotator", "date")))
        return Said(line.label, found["t_start_n"], found["t_stop_n"], line.annotator, line)

    def named(self, written: str) -> str:
        """Return the name of the movie that a file means."""
        if written not in self._meant:
            (self._meant[written],) = self._meaning([written])
        return self._meant[written] or written

    def _meaning(self, written: list[str]) -> list[str | None]:
        if len(self._movies) == 1:
            written = [name or self._movies[0] for name in written]
        if not self._movies:
            return list(written)
        return meant_names(written, self._movies)


_WHEN_EMPTY = {"track_id": "none", "t_start": 0, "t_stop": NO_END}
_NO_LINES = pd.DataFrame({name: pd.Series(dtype=object) for name in ("movie", "track_id", "label", "t_start", "t_stop", "annotator", "date")})


def _key(line: LabelLine) -> tuple[str, ...]:
    return tuple(str(getattr(line, name)) for name in _KEY)


def _rests(said: Said, start: int, stop: int, date: str) -> list[LabelLine]:
    """Return lines for the frames of a label that another one does not take."""
    rests = []
    if said.start < start:
        rests.append(replace(said.line, t_stop=start, date=date))
    if stop < said.stop:
        rests.append(replace(said.line, t_start=stop, date=date))
    return rests


def _refuse_nobodys(lines: Sequence[Said], movie: str, track_id: int) -> None:
    if lines:
        raise UserError(
            f"track {track_id} of {movie} is '{lines[0].label}' in a line of this file that names no annotator, which none of yours can overrule",
            "write into the file who said so, or label into another file",
            "Labels",
        )
