"""Checks of cells against their movies: rows that cannot be used are counted, and left out or refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie

_LOG = logging.getLogger(__name__)
_EDGE_PX = 0.5  # whole numbers are the centres of pixels, so an image of 10 rows reaches from -0.5 to 9.5
_TOO_MANY = 0.5  # with so many bad rows a table is not a bad table of these movies, but one of others


@dataclass(frozen=True, eq=False)
class Finding:
    """Rows that cannot be used.

    Parameters
    ----------
    bad
        Which ones: one bool per row.
    first
        What is wrong with the first of them, to follow "the first, line 3, ".
    remedy
        What to do about it.
    with_them
        Rows that go with them, where there are some: one bool per row.
    """

    bad: pd.Series[bool]
    first: str
    remedy: str
    with_them: pd.Series[bool] | None = None


def left_out(table: pd.DataFrame, findings: Sequence[Finding], where: Path, *, strict: bool = False, too_many: float = _TOO_MANY) -> pd.DataFrame:
    """Return a table without its bad rows, of which one line each is logged as a warning.

    Parameters
    ----------
    table
        Its index is what the source counts: lines of a CSV, ids of spots; the name of the index says which.
    findings
        What is wrong with it.
    where
        The source.
    strict
        Whether nothing is left out.
    too_many
        The share of bad rows from which on nothing is left out either.

    Raises
    ------
    UserError
        If there are bad rows, and it is strict or there are too many.
    """
    found = [finding for finding in findings if finding.bad.any()]
    if not found:
        return table
    bad = pd.concat([finding.bad if finding.with_them is None else finding.bad | finding.with_them for finding in found], axis=1).any(axis=1)
    if strict or bad.sum() >= too_many * len(table):
        raise refusal(table, found[0].bad, found[0].first, found[0].remedy, where)
    for finding in found:
        _LOG.warning("%s: %s are left out; %s. %s.", where, _counted(table, finding.bad), _first(table, finding.bad, finding.first), finding.remedy)
    return table[~bad]


def refusal(table: pd.DataFrame, bad: pd.Series[bool], first: str, remedy: str, where: Path) -> UserError:
    """Return the error that says how many rows are bad, and what the first of them looks like."""
    return UserError(f"{_counted(table, bad)} cannot be used; {_first(table, bad, first)}", remedy, where)


def misplaced(table: pd.DataFrame, movies: Sequence[Movie]) -> Iterator[Finding]:
    """Find rows outside their movie in time or space, and cells that are twice in a frame.

    Parameters
    ----------
    table
        With ``movie`` (names of these movies), ``track_id``, ``t``, ``y_px``, ``x_px``, optionally ``z_px``.
    movies
        The movies.
    """
    sizes: Mapping[str, Mapping[str, int]] = {movie.name: movie.shape for movie in movies}
    ends = {axis: table["movie"].map({name: shape[axis] for name, shape in sizes.items()}) for axis in "TZYX"}
    bad = (table["t"] < 0) | (table["t"] >= ends["T"])
    if bad.any():
        row = table[bad].iloc[0]
        yield Finding(
            bad,
            f"is in frame {row['t']} of {row['movie']}, which has {sizes[row['movie']]['T']} frames",
            "frames count from 0 and must lie inside the movie; check that the table belongs to it",
        )
    for axis, column in (("Y", "y_px"), ("X", "x_px"), ("Z", "z_px")):
        if column not in table:
            continue
        bad = (table[column] < -_EDGE_PX) | (table[column] > ends[axis] - _EDGE_PX)
        if bad.any():
            row = table[bad].iloc[0]
            yield Finding(
                bad,
                f"is at {column} = {row[column]:g} in {row['movie']}, which has {sizes[row['movie']][axis]} px along {axis}",
                "positions are native pixels, not um, counted from 0; check that the table belongs to the movie",
            )
    bad = table.duplicated(["movie", "track_id", "t"])
    if bad.any():
        row = table[bad].iloc[0]
        # Of rows that say the same one is kept; of others nobody knows which is right.
        same = table.duplicated([column for column in ("movie", "track_id", "t", "z_px", "y_px", "x_px") if column in table], keep=False)
        others = table.duplicated(["movie", "track_id", "t"], keep=False) & ~same
        first = f"has track {row['track_id']} in frame {row['t']} of {row['movie']} once more"
        yield Finding(bad, first, "keep one row per track and frame", others)


def _counted(table: pd.DataFrame, bad: pd.Series[bool]) -> str:
    return f"{int(bad.sum())} of {len(table)} rows"


def _first(table: pd.DataFrame, bad: pd.Series[bool], first: str) -> str:
    return f"the first, {table.index.name or 'line'} {table.index[int(np.argmax(bad.to_numpy()))]}, {first}"
