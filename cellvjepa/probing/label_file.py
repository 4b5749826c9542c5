"""The label file that grows while people label: lines are appended, with who said it and when; none is changed or taken away.

Whoever changes their mind adds a line: of one annotator's lines on one window, the last one holds (:func:`standing_lines`). A line without a
label takes the earlier one back.

A program that is stopped while it writes may leave half a line (:func:`torn_line`): it was never said, is not read, and makes room for the next.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from cellvjepa.errors import UserError
from cellvjepa.probing.label_sets import one_spelling
from cellvjepa.writing import atomic_path, readable_write_errors

WINDOW = ("movie", "track_id", "t_start", "t_stop")
_LONGEST_LINE = 2**16  # [bytes]


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


def append_labels(path: str | os.PathLike[str], lines: Sequence[LabelLine]) -> tuple[int, int]:
    """Append lines to a label file; it is made where there is none. They are on the disk when this returns.

    Two programs may append at once. A file that lacks a column, such as ``annotator``, gets it, empty in its old lines.

    Returns
    -------
    (begin, end)
        Where in the file the lines stand [bytes]: whoever knew the file up to another place than ``begin`` has missed lines of others.

    Raises
    ------
    UserError
        If it is no table, is not comma-separated, or cannot be written; nothing has been added then.
    """
    file = Path(path)
    with readable_write_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file):
            if torn := _torn(file):
                os.truncate(file, _size(file) - len(torn))
            header = _widened(file)
            records = [dict(zip(_COLUMNS, astuple(line), strict=True)) for line in lines]
            text = io.StringIO()
            writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
            begin = _size(file)
            if not begin:
                writer.writeheader()
            elif not _tail(file, 1).endswith(b"\n"):
                text.write("\n")  # a spreadsheet or an editor may have left the last line open
            writer.writerows(records)
            return begin, _append_whole(file, text.getvalue().encode())


def torn_line(path: str | os.PathLike[str]) -> str:
    """Return the last line of a label file if whoever wrote it was stopped in the middle, else ``""``.

    That can be told of files that :func:`append_labels` has written to: their lines have a field for every column. In others a last line may
    have been left short by hand.
    """
    return _torn(Path(path)).decode("utf-8", errors="replace")


def whole_lines(path: str | os.PathLike[str]) -> str | os.PathLike[str] | io.BytesIO:
    """Return what is to be read of a label file: itself or, where its last line is torn, all before that line."""
    torn = _torn(Path(path))
    return io.BytesIO(Path(path).read_bytes().removesuffix(torn)) if torn else path


def _torn(file: Path) -> bytes:
    if not file.is_file() or not (size := _size(file)):
        return b""
    tail = _tail(file, _LONGEST_LINE)
    if tail.endswith(b"\n"):
        return b""
    last = tail[tail.rfind(b"\n") + 1 :]
    if len(last) == size:  # the first line, of which a beginning is none
        names = ",".join(_COLUMNS).encode()
        return last if names.startswith(last) and last != names else b""
    try:
        header, fields = _header(file), next(csv.reader([last.decode("utf-8", errors="replace")]), [])
    except (UserError, csv.Error):
        return b""  # nothing of ours
    return last if set(_COLUMNS) <= set(header) and (len(fields) < len(header) or last.count(b'"') % 2) else b""


def read_lines(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a label file as texts, with every column of :class:`LabelLine`; what it lacks is empty. Several labels at once have one spelling.

    Raises
    ------
    UserError
        If it cannot be read, or has no ``track_id`` or ``label``.
    """
    try:
        lines = pd.read_csv(whole_lines(path), dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError("the labels file does not exist", "check the path", path) from None
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"the labels cannot be read ({error})", "save them as CSV (comma-separated, UTF-8)", path) from None
    if not isinstance(lines.index, pd.RangeIndex):  # pandas takes what is left of the first name for an index
        raise UserError("some lines have more fields than the first line has names", "name every column, and quote text that contains commas", path)
    lines = lines.fillna("")
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
    same = lines[[name for name in (*WINDOW, "annotator") if name in lines]]
    # A spreadsheet may have made 7.0 of the 7 that a later line overrules.
    same = same.assign(**{name: same[name].str.replace(r"\.0+$", "", regex=True) for name in ("track_id", "t_start", "t_stop") if name in same})
    return (lines["annotator"] != "") & same.duplicated(keep="last")


def standing_lines(lines: pd.DataFrame) -> pd.DataFrame:
    """Return what holds: lines that are neither overruled (:func:`overruled_lines`) nor without a label."""
    return lines[~overruled_lines(lines) & (lines["label"] != "")].reset_index(drop=True)


def _widened(file: Path) -> list[str]:
    """Return the columns of a file, to which those are added that a line of ours needs."""
    if not _size(file):
        return list(_COLUMNS)
    header = _header(file)
    if "track_id" not in header or "label" not in header:
        raise UserError(f"this is no label file (its first line: {','.join(header)[:80]})", "choose another file", file)
    if missing := [name for name in _COLUMNS if name not in header]:
        try:
            rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
        except (UnicodeDecodeError, csv.Error) as error:
            raise _no_table(file, error) from None
        with atomic_path(file) as part, part.open("w", encoding="utf-8", newline="") as wider:
            writer = csv.writer(wider, lineterminator="\n")
            writer.writerow([*header, *missing])
            writer.writerows([*row, *[""] * (len(header) + len(missing) - len(row))] for row in rows[1:] if row)
    return [*header, *missing]


def _header(file: Path) -> list[str]:
    """Return the names of a file's columns."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as open_file:
            first = open_file.readline(_LONGEST_LINE)
        return [name.strip() for name in next(csv.reader([first]), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _no_table(file, error) from None


def _no_table(file: Path, error: Exception) -> UserError:
    return UserError(f"this is not a comma-separated table ({error})", "save it as CSV (comma-separated, UTF-8)", file)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _tail(file: Path, most: int) -> bytes:
    """Return the last bytes of a file."""
    with file.open("rb") as open_file:
        open_file.seek(-min(most, open_file.seek(0, os.SEEK_END)), os.SEEK_END)
        return open_file.read()


def _append_whole(file: Path, text: bytes) -> int:
    """Append all of a text or, where the disk is full, nothing; return where the file ends now [bytes]."""
    with file.open("ab", buffering=0) as open_file:
        begin = open_file.tell()
        try:
            rest = memoryview(text)
            while rest:
                rest = rest[open_file.write(rest) or 0 :]
            os.fsync(open_file.fileno())
        except OSError:
            with suppress(OSError):
                open_file.truncate(begin)
            raise
        return begin + len(text)


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Keep other programs that append to the same file waiting, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows: a line in one write is the best there is
        yield
        return
    # Not the file itself: it may be replaced by a wider one while others wait for it.
    # Opened to be read only: others of the lab may have made it.
    lock = os.open(file.with_name(f".{file.name}.lock"), os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
