"""labels.csv and the rows of a store it speaks about."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.names import meant_names
from cellvjepa.errors import UserError
from cellvjepa.probing.label_file import overruled_lines, torn_line, whole_lines
from cellvjepa.probing.label_sets import SEPARATOR, UNSURE, one_spelling

_NO_END = 10**15 - 1  # later than any frame, and still exact in every number type on the way
_OVERRIDING = ("group", "well", "plate", "experiment", "annotator", "date")  # labels.csv has the last word on these
_OWN = ("movie", "track_id", "label", "t_start", "t_stop", "start", "stop", "line")


@dataclass(frozen=True)
class Labels:
    """The labelled rows of an embedding table.

    Parameters
    ----------
    rows_N
        int64 (N,), ascending: positions in the embedding table. Features are taken with the same index.
    names_N
        str (N,): the label of each row; of several labels at once, all of them in one spelling (:mod:`cellvjepa.probing.label_sets`).
    table
        The N labelled rows with every column of the embedding table, and the further columns of labels.csv (``group``,
        ``well``, ``annotator``, ``date``, ...); the index is ``0 .. N-1``.
    source
        Where the labels come from.
    notes
        What was left out and why, for people, e.g. ``"3 lines of labels.csv cover less than half of any row"``.
    multilabel
        Whether labels name several classes at once.
    """

    rows_N: npt.NDArray[np.int64]
    names_N: npt.NDArray[np.str_]
    table: pd.DataFrame
    source: str
    notes: tuple[str, ...] = ()
    multilabel: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, sorted."""
        return tuple(str(name) for name in np.unique(self.names_N))

    @property
    def codes_N(self) -> npt.NDArray[np.int64]:
        """int64 (N,): the position of each row's label in :attr:`classes`."""
        return np.unique(self.names_N, return_inverse=True)[1].astype(np.int64)

    def where(self, kept_N: npt.NDArray[np.bool_], note: str) -> Labels:
        """Return only some of the rows, with a note on why the others are missing."""
        table = self.table[kept_N].reset_index(drop=True)
        return replace(self, rows_N=self.rows_N[kept_N], names_N=self.names_N[kept_N], table=table, notes=(*self.notes, note))


def read_labels(path: str | os.PathLike[str], table: pd.DataFrame) -> Labels:
    """Read labels.csv and find the rows of an embedding table that it labels.

    A row gets a label if the label's interval ``[t_start, t_stop)`` covers at least half of the row's; a line without
    times speaks of the whole track. Where two labels cover exactly half each, the row is between them and left out.
    Lines whose label is empty or ``unsure`` are left out. A label ``a;b`` says that both classes fit and no other of the file does.

    Parameters
    ----------
    path
        A comma-separated file with the columns ``track_id`` and ``label``, ``movie`` where the table has more than one;
        optional ``t_start``, ``t_stop`` [native frames, half open], ``group``, ``annotator``, ``date`` and any other.
    table
        The embedding table: at least ``movie``, ``track_id``, ``t_start``, ``t_stop``.

    Raises
    ------
    UserError
        If the file cannot be read, a column is missing, a movie or track is unknown, a number is none, an interval is
        empty or before the movie, no row is matched, two labels contradict each other, or only one class is left.
    """
    lines, notes = _read_lines(Path(path))
    lines = _with_movie(lines, table, path)
    _refuse_unknown(lines, table, path)
    _refuse_contradictions(lines, path)
    matches = _matches(lines, table)
    if matches.empty:
        raise UserError(
            f"none of the {len(lines)} labels covers at least half of an embedded window (the first: {_describe(lines.iloc[0])})",
            "check that t_start and t_stop are frames of the movie, or embed these cells at these times",
            path,
        )
    notes += _unused(lines, matches, table)
    chosen, undecided = _one_per_row(matches)
    if undecided:
        windows, are = ("1 window lies", "is") if undecided == 1 else (f"{undecided} windows lie", "are")
        notes.append(f"{windows} half in one label and half in another and {are} not used")
    names = chosen["label"].to_numpy(dtype=str)
    if len(set(names)) < 2:
        raise UserError(f"only one class is left: all {len(names)} labelled rows are '{names[0]}'", "label cells of at least two classes", path)
    rows = chosen["row"].to_numpy(dtype=np.int64)
    labelled = table.iloc[rows].reset_index(drop=True)
    extra = [name for name in map(str, lines) if name not in _OWN and (name in _OVERRIDING or name not in table)]
    labelled = labelled.assign(**{name: lines[name].to_numpy()[chosen["index"]] for name in extra})
    return Labels(rows, names, labelled, os.fspath(path), tuple(notes), bool(lines["label"].str.contains(SEPARATOR, regex=False).any()))


def _read_lines(path: Path) -> tuple[pd.DataFrame, list[str]]:
    try:
        text = pd.read_csv(
            whole_lines(path), dtype=str, keep_default_na=False, skipinitialspace=True, skip_blank_lines=False, encoding="utf-8-sig"
        ).fillna("")
    except FileNotFoundError:
        raise UserError("the labels file does not exist", "check the path", path) from None
    except (IsADirectoryError, PermissionError):
        raise UserError("this cannot be read as a file", "give the path of a .csv file that you may read", path) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"this is not a comma-separated table ({error})", "save it as CSV (comma-separated, UTF-8)", path) from None
    if not isinstance(text.index, pd.RangeIndex):  # pandas takes what is left of the first name for an index
        raise UserError("some lines have more fields than the first line has names", "name every column, and quote text that contains commas", path)
    text.columns = [str(name).strip() for name in text.columns]
    missing = [name for name in ("track_id", "label") if name not in text]
    if missing:
        raise UserError(
            f"missing columns: {', '.join(missing)} (found: {', '.join(text.columns)})",
            "the first line must read movie,track_id,label; optional are t_start,t_stop,group,annotator,date",
            path,
        )
    text = text.apply(lambda column: column.str.strip()).assign(line=np.arange(2, len(text) + 2))  # as editors count; the names are line 1
    text = text[(text.drop(columns="line") != "").any(axis=1)].assign(label=lambda lines: lines["label"].map(one_spelling))
    overruled = overruled_lines(text)
    text = text[~overruled]
    named, unsure = text["label"] != "", text["label"].str.casefold() == UNSURE
    notes = [f"{int((~named).sum())} lines without a label are not used"] if not named.all() else []
    notes += [f"{int(overruled.sum())} lines were changed later by the same annotator and are not used"] if overruled.any() else []
    notes += ["The last line was not written to its end and is not used"] if torn_line(path) else []
    notes += [f"{int(unsure.sum())} lines say '{UNSURE}' and are not used"] if unsure.any() else []
    lines = text[named & ~unsure].reset_index(drop=True)
    if lines.empty:
        raise UserError("the file holds no labels", "write at least one line per class", path)
    lines["track_id"] = _whole_numbers(lines, "track_id", path)
    lines["start"] = _whole_numbers(lines, "t_start", path, empty=0) if "t_start" in lines else 0
    lines["stop"] = _whole_numbers(lines, "t_stop", path, empty=_NO_END) if "t_stop" in lines else _NO_END
    empty = lines["stop"] <= lines["start"]
    if empty.any():
        raise UserError(
            f"{int(empty.sum())} labels end before they begin (the first: {_describe(lines[empty].iloc[0])})",
            "t_stop is the first frame that no longer belongs to the label, so it must be larger than t_start",
            path,
        )
    before = lines["start"] < 0
    if before.any():
        raise UserError(
            f"{int(before.sum())} labels begin before the movie (the first: {_describe(lines[before].iloc[0])})", "frames count from 0", path
        )
    return lines, notes


def _whole_numbers(lines: pd.DataFrame, column: str, path: Path, empty: int | None = None) -> pd.Series[int]:
    text = lines[column] if empty is None else lines[column].replace("", str(empty))
    # Spreadsheets write 7 as 7.0; anything else after the point is no frame and no track.
    wrong = ~text.str.fullmatch(r"[+-]?\d{1,15}(\.0*)?")
    if wrong.any():
        line = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{column} must be a whole number, but {int(wrong.sum())} lines have another "
            f"(the first: '{text.iloc[line]}' in line {lines['line'].iloc[line]})",
            "correct the column",
            path,
        )
    return text.str.replace(r"\.0*$", "", regex=True).astype(np.int64)


def _with_movie(lines: pd.DataFrame, table: pd.DataFrame, path: str | os.PathLike[str]) -> pd.DataFrame:
    movies = sorted(table["movie"].astype(str).unique())
    if "movie" in lines:
        written = lines["movie"].unique().tolist()
        meant = {name: found for name, found in zip(written, meant_names(written, movies), strict=True) if found is not None}
        return lines.assign(movie=lines["movie"].map(meant).fillna(lines["movie"]))
    if len(movies) != 1:
        raise UserError(
            f"there is no column 'movie', but the embeddings come from {len(movies)} movies ({movies[0]}, ...)", "add the column 'movie'", path
        )
    return lines.assign(movie=movies[0])


def _refuse_unknown(lines: pd.DataFrame, table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    known = set(table["movie"].astype(str))
    unknown = lines[~lines["movie"].isin(known)]
    if len(unknown):
        raise UserError(
            f"{len(unknown)} labels name a movie that was not embedded (the first: '{unknown['movie'].iloc[0]}')",
            f"use the names of the embeddings: {', '.join(sorted(known)[:3])}{', ...' if len(known) > 3 else ''}",
            path,
        )
    tracks = pd.MultiIndex.from_arrays([table["movie"].astype(str), table["track_id"]])
    unknown = lines[~pd.MultiIndex.from_frame(lines[["movie", "track_id"]]).isin(tracks)]
    if len(unknown):
        first = unknown.iloc[0]
        raise UserError(
            f"{len(unknown)} labels name a track that was not embedded (the first: track {first['track_id']} of {first['movie']})",
            "check the track numbers, or embed these cells too",
            path,
        )


def _refuse_contradictions(lines: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Refuse different labels of one track for the same frames."""
    found: list[tuple[int, int]] = []
    last: dict[str, tuple[int, int]] = {}  # of one track: where each of its labels ends, and which line said so
    track = None
    ordered = lines.sort_values(["movie", "track_id", "start"], kind="stable")
    columns = (ordered[name].tolist() for name in ("movie", "track_id", "label", "start", "stop", "line"))
    for movie, track_id, label, start, stop, line in zip(*columns, strict=True):
        if track != (movie, track_id):
            track, last = (movie, track_id), {}
        found += [(min(other_line, line), max(other_line, line)) for other, (end, other_line) in last.items() if other != label and end > start]
        if label not in last or last[label][0] < stop:
            last[label] = (stop, line)
    if not found:
        return
    pair = min(found)
    one, other = (lines[lines["line"] == line].iloc[0] for line in pair)
    more = f"; {len(found) - 1} more such pairs" if len(found) > 1 else ""
    raise UserError(
        f"lines {pair[0]} and {pair[1]} contradict each other: {_describe(one)}, and {_describe(other)}{more}",
        "keep one label for each time, write 'unsure', or split the file by annotator; if both are true, write one line with "
        f"'{one_spelling(one['label'] + SEPARATOR + other['label'])}'",
        path,
    )


def _matches(lines: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return one line per (label, row) where the label covers at least half of the row; ``index`` counts labels, ``row`` rows."""
    spoken_of = pd.MultiIndex.from_frame(lines[["movie", "track_id"]]).unique()
    row_N = np.flatnonzero(pd.MultiIndex.from_arrays([table["movie"].astype(str), table["track_id"]]).isin(spoken_of))
    some = table.iloc[row_N]
    rows = pd.DataFrame(
        {
            "movie": some["movie"].astype(str).to_numpy(),
            "track_id": some["track_id"].to_numpy(np.int64),
            "row": row_N,
            "row_start": some["t_start"].to_numpy(np.int64),
            "row_stop": some["t_stop"].to_numpy(np.int64),
        }
    )
    pairs = lines[["movie", "track_id", "label", "start", "stop"]].assign(index=np.arange(len(lines))).merge(rows, on=["movie", "track_id"])
    pairs["covered"] = np.minimum(pairs["stop"], pairs["row_stop"]) - np.maximum(pairs["start"], pairs["row_start"])
    return pairs[2 * pairs["covered"] >= pairs["row_stop"] - pairs["row_start"]]


def _unused(lines: pd.DataFrame, matches: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Say which labels speak of no embedded window, and which of them lie after all windows of their movie."""
    unused = lines[~np.isin(np.arange(len(lines)), matches["index"])]
    end = table["t_stop"].groupby(table["movie"].astype(str)).max()
    after = unused[unused["start"] >= unused["movie"].map(end)]
    notes = []
    if len(after):
        first = after.iloc[0]
        notes.append(
            f"{len(after)} labels begin after the last embedded frame of their movie and are not used "
            f"(the first: line {first['line']}, {_describe(first)}; the embeddings end with frame {end[first['movie']] - 1})"
        )
    if len(unused) > len(after):
        notes.append(f"{len(unused) - len(after)} of {len(lines)} labels cover at least half of no embedded window and are not used")
    return notes


def _one_per_row(matches: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the best covering label of each row (columns row, index, label), and how many rows lie halfway between two labels."""
    best = matches.sort_values(["row", "covered", "index"], ascending=[True, False, True], kind="stable")
    # Labels of a track do not overlap where they differ, so two of them on one row are an exact half each.
    halfway = best.groupby("row")["label"].transform("nunique") > 1
    return best[~halfway].drop_duplicates("row").reset_index(drop=True), int(best.loc[halfway, "row"].nunique())


def _describe(line: pd.Series[Any]) -> str:
    times = f", frames {line.get('t_start', '')} to {line.get('t_stop', '')}" if line.get("t_start") or line.get("t_stop") else ""
    return f"track {line['track_id']} of {line.get('movie', 'the movie')}{times}: {line['label']}"
