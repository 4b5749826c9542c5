"""The label file that grows while people label: lines are appended, with who said it and when; none is changed or taken away.

Whoever changes their mind adds a line: of one annotator's lines on one window, the last one holds (:func:`standing_lines`). A line without a
label takes the earlier one back.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from cellvjepa.errors import UserError
from cellvjepa.probing.label_sets import one_spelling
from cellvjepa.writing import atomic_path, readable_write_errors

WINDOW = ("movie", "track_id", "t_start", "t_stop")


@dataclass(frozen=True)
class LabelLine:
    """One thing that somebody said.

    Parameters
    ----------
    movie, track_id
        Of whom.
    label
        What; empty to take an earlier line back, ``"unsure"`` to say that one cannot tell.
    t_start, t_stop
        When [native frames, half open]; empty for the whole track.
    annotator
        Who said it.
    date
        When they did, ISO 8601.
    """

    movie: str
    track_id: int
    label: str
    t_start: int | str
    t_stop: int | str
    annotator: str
    date: str

    @classmethod
    def now(cls, movie: str, track_id: int, label: str, annotator: str, *, t_start: int | str = "", t_stop: int | str = "") -> LabelLine:
        """Return a line that is said now."""
        return cls(movie, track_id, label, t_start, t_stop, annotator, datetime.now(UTC).isoformat(timespec="seconds"))


_COLUMNS = tuple(field.name for field in fields(LabelLine))


def append_labels(path: str | os.PathLike[str], lines: Sequence[LabelLine]) -> None:
    """Append lines to a label file; it is made where there is none.

    Two programs may append at once. A file that lacks a column, such as ``annotator``, gets it, empty in its old lines.

    Raises
    ------
    UserError
        If it is no table, is not comma-separated, or cannot be written.
    """
    file = Path(path)
    with readable_write_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file):
            header = _widened(file)
            records = [dict(zip(_COLUMNS, astuple(line), strict=True)) for line in lines]
            text = io.StringIO()
            writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
            if not file.exists() or file.stat().st_size == 0:
                writer.writeheader()
            elif not file.read_bytes().endswith(b"\n"):
                text.write("\n")  # a spreadsheet or an editor may have left the last line open
            writer.writerows(records)
            with file.open("a", encoding="utf-8", newline="") as open_file:
                open_file.write(text.getvalue())
                open_file.flush()
                os.fsync(open_file.fileno())


def read_lines(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a label file as texts, with every column of :class:`LabelLine`; what it lacks is empty. Several labels at once have one spelling.

    Raises
    ------
    UserError
        If it cannot be read, or has no ``track_id`` or ``label``.
    """
    try:
        lines = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError("the labels file does not exist", "check the path", path) from None
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"the labels cannot be read ({error})", "save them as CSV (comma-separated, UTF-8)", path) from None
    lines.columns = [str(name).strip() for name in lines.columns]
    if missing := [name for name in ("track_id", "label") if name not in lines]:
        raise UserError(f"missing columns: {', '.join(missing)}", "the first line must read movie,track_id,label,t_start,t_stop,annotator,date", path)
    lines = lines.assign(**{name: "" for name in _COLUMNS if name not in lines})
    for name in lines:
        lines[name] = lines[name].str.strip()
    for name in ("track_id", "t_start", "t_stop"):  # spreadsheets write 7 as 7.0
        lines[name] = lines[name].str.replace(r"\.0+$", "", regex=True)
    return lines.assign(label=lines["label"].map(one_spelling))


def overruled_lines(lines: pd.DataFrame) -> pd.Series[bool]:
    """Tell which lines of a file that was only ever appended to were followed by another of the same annotator on the same window.

    Lines of nobody in particular all hold: such a file was not written by :func:`append_labels`, and if it contradicts itself that is a mistake.

    Parameters
    ----------
    lines
        Texts: ``track_id``, and any of ``movie``, ``t_start``, ``t_stop``, ``annotator``.
    """
    if "annotator" not in lines:
        return pd.Series(False, index=lines.index)
    return (lines["annotator"] != "") & lines.duplicated([name for name in (*WINDOW, "annotator") if name in lines], keep="last")


def standing_lines(lines: pd.DataFrame) -> pd.DataFrame:
    """Return what holds: lines that are neither overruled (:func:`overruled_lines`) nor without a label."""
    return lines[~overruled_lines(lines) & (lines["label"] != "")].reset_index(drop=True)


def _widened(file: Path) -> list[str]:
    """Return the columns of a file, to which those are added that a line of ours needs."""
    if not file.exists() or file.stat().st_size == 0:
        return list(_COLUMNS)
    try:
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"this is not a comma-separated table ({error})", "save it as CSV (comma-separated, UTF-8)", file) from None
    header = [name.strip() for name in rows[0]]
    if "track_id" not in header or "label" not in header:
        raise UserError(f"this is no label file (its first line: {','.join(rows[0])[:80]})", "choose another file", file)
    if missing := [name for name in _COLUMNS if name not in header]:
        with atomic_path(file) as part, part.open("w", encoding="utf-8", newline="") as wider:
            writer = csv.writer(wider, lineterminator="\n")
            writer.writerow([*header, *missing])
            writer.writerows([*row, *[""] * (len(header) + len(missing) - len(row))] for row in rows[1:] if row)
    return [*header, *missing]


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Keep other programs that append to the same file waiting, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows: a line in one write is the best there is
        yield
        return
    # Not the file itself: it may be replaced by a wider one while others wait for it.
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
