"""What stays together in a split: lineages, fields, wells, plates, experiments, or blocks of time."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.movies.clips import ClipShape
from cellvjepa.probing.places import Ints, Places, places_of

LEVELS = ("lineage", "field", "well", "plate", "experiment")
"""From fine to coarse; a group of one level is made of groups of the one before."""
BLOCKS_OF_TIME = "block of time"
FEWEST_GROUPS = 3
"""Below this many movies there is no score without being asked for: of two, each is judged by what the other taught."""
_PLATE_NAME = re.compile(r"(?P<plate>.+\.zarr)/(?P<well>[^/]+/[^/]+)/[^/]+")  # how OME-Zarr arranges a plate: plate.zarr/row/column/field
_FEWER = "ask for fewer folds (--set probe.folds=2)"


@dataclass(frozen=True)
class Groups:
    """Which rows stay together.

    Parameters
    ----------
    codes_N
        int64 (N,): the group of each row.
    names
        The name of each group.
    basis
        What a group is, for people: ``"movie"``, ``"track family"``, ``"block of time"``, ``"well"`` or ``"column 'donor'"``.
    places
        Where each row looks.
    folds
        Folds to make; None: as many as configured.
    notes
        What the choice means, for people.
    """

    codes_N: Ints
    names: tuple[str, ...]
    basis: str
    places: Places
    folds: int | None = None
    notes: tuple[str, ...] = ()

    def holding(self, features: npt.NDArray[np.generic]) -> Groups:
        """Return the same groups, knowing which rows hold the same data under two names.

        Parameters
        ----------
        features
            (N, ...): what an encoder made of the rows. Rows that are equal to the last bit saw the same pixels.
        """
        twins = pd.factorize(pd.util.hash_array(np.array([row.tobytes() for row in features], dtype=object)))[0].astype(np.int64)
        across = pd.Series(self.codes_N).groupby(twins).transform("nunique").to_numpy() > 1
        if not across.any():
            return self
        note = (
            f"{int(across.sum())} labelled rows have exactly the features of a row in another group ({self.basis}): "
            "the same pictures under two names? They never stand on both sides of a split"
        )
        return replace(self, places=replace(self.places, twin_N=twins), notes=(*self.notes, note))


def choose_groups(table: pd.DataFrame, clip: ClipShape, config: ProbeConfig) -> Groups:
    """Choose what stays together (see the top of :mod:`cellvjepa.probing.splits`).

    Parameters
    ----------
    table
        The labelled rows: ``movie``, ``track_id``, ``t_start``, ``t_stop``, ``y_px``, ``x_px``; where known ``y_um``, ``x_um``,
        ``parent_track_id``, ``well``, ``plate``, ``experiment``, and the column named by ``config.group``.
    clip
        The clips that were embedded: how large a crop is.
    config
        Names the column or level, if any, and the number of folds. A column ``group`` need not be named.

    Raises
    ------
    UserError
        If the named column is missing, has gaps or one value only, or if there are two movies for three folds or more, or too few blocks of
        time. Of three movies or more, fewer than the folds, each is held out once.
    """
    places = places_of(table, clip)
    named = config.group or ("group" if "group" in table else None)
    if named is not None:
        return _named(table, places, named, config)
    notes: list[str] = []
    for level in reversed(LEVELS[1:]):
        if (found := _level(table, places, level)) is None:
            continue
        codes, names = found
        if len(names) >= config.folds:
            return Groups(codes, names, "movie" if level == "field" else level, places, notes=tuple(notes))
        if level == "field" and len(names) >= FEWEST_GROUPS:
            notes.append(
                f"There are {len(names)} movies, so there are {len(names)} folds instead of {config.folds}: each movie is held out once. So few say "
                "little of how much movies differ, and the interval is rough: label more movies before you rely on it"
            )
            return Groups(codes, names, "movie", places, len(names), tuple(notes))
        if len(names) > 1:
            notes.append(
                f"The labels come from {len(names)} {level}s, fewer than the {config.folds} folds, so the score holds for other groups of "
                f"these {level}s; `--group {level}` holds out one {level} at a time"
            )
        if level == "field" and len(names) > 1:
            raise _too_few(table, len(names), "movie", config, f"label more movies, {_FEWER}, or name a finer column (--group lineage)")
    codes, names = _lineages(table, places)
    if len(names) >= config.folds:
        return Groups(codes, names, "track family", places)
    return _blocks_of_time(table, places, config)


def _named(table: pd.DataFrame, places: Places, name: str, config: ProbeConfig) -> Groups:
    """Return the groups that were asked for: a column, or a level that follows from other columns."""
    if name not in table and name == "time":
        return _blocks_of_time(table, places, config)
    if name not in table and name == "lineage":
        codes, names = _lineages(table, places)
        basis = "track family"
    else:
        found = _level(table, places, name) if name in LEVELS and not _gaps(table, name) else None
        codes, names = found if found is not None else _column(table, name)
        basis = f"column '{name}'" if name in table else "movie" if name == "field" else name
    if len(names) < 2:
        raise UserError(
            f"all {len(table)} labelled rows are of one group by {basis} ({names[0]}), so none can be held out: there is no honest score",
            "group by a finer column (--group), or label rows of another group",
            "probe.group",
        )
    # Of an experiment one wants to know how each of the others predicts it.
    each = len(names) < config.folds or name == "experiment"
    return Groups(codes, names, basis, places, len(names) if each else None)


def _level(table: pd.DataFrame, places: Places, level: str) -> tuple[Ints, tuple[str, ...]] | None:
    """Return the groups of a level from its column or, for OME-Zarr plates, from the movies' names; None where it is not known."""
    if level == "lineage":
        return _lineages(table, places)
    parts = [part for part in (_part(table, name) for name in reversed(LEVELS[LEVELS.index(level) :])) if part is not None]
    own = _part(table, level)
    if own is None:
        return None
    # Well A1 of two plates is two wells.
    whole = pd.Series(list(map(" ".join, zip(*parts, strict=True)))) if level != "field" or "field" in table else own
    codes, names = pd.factorize(whole, sort=True)
    return codes.astype(np.int64), tuple(map(str, names))


def _part(table: pd.DataFrame, level: str) -> pd.Series[str] | None:
    if level in table:
        return None if _gaps(table, level) else table[level].astype(str).str.strip()
    movie = table["movie"].astype(str)
    if level == "field":
        return movie
    if level in ("well", "plate"):
        found: pd.Series[str] = movie.str.extract(f"^{_PLATE_NAME.pattern}$")[level]
        return None if found.isna().any() else found
    return None


def _column(table: pd.DataFrame, column: str) -> tuple[Ints, tuple[str, ...]]:
    if column not in table:
        known = ", ".join(map(str, table.columns))
        raise UserError(
            f"there is no column '{column}' to group by",
            f"name an existing column: {known}; or lineage, field or time; or add this column to labels.csv",
            "probe.group",
        )
    if empty := _gaps(table, column):
        raise UserError(f"column '{column}' is empty in {empty} of {len(table)} labelled rows", "fill it in", "probe.group")
    codes, names = pd.factorize(table[column].astype(str).str.strip(), sort=True)
    return codes.astype(np.int64), tuple(names)


def _gaps(table: pd.DataFrame, column: str) -> int:
    """Count rows without a value."""
    return int((table[column].isna() | (table[column].astype(str).str.strip() == "")).sum()) if column in table else 0


def _lineages(table: pd.DataFrame, places: Places) -> tuple[Ints, tuple[str, ...]]:
    _, first, codes = np.unique(places.family_N, return_index=True, return_inverse=True)
    return codes.astype(np.int64), tuple(f"family of track {table['track_id'].iloc[row]}" for row in first)


def _blocks_of_time(table: pd.DataFrame, places: Places, config: ProbeConfig) -> Groups:
    """Cut time into contiguous blocks of about equally many rows, two for each fold; rows are in the block of their middle."""
    middle = places.time_N2.mean(axis=1)
    earlier = np.searchsorted(np.sort(middle), middle)  # rows before each row: equal for rows of the same time
    codes = np.unique(earlier * 2 * config.folds // len(middle), return_inverse=True)[1].astype(np.int64)
    spans = [places.time_N2[codes == block] for block in range(int(codes.max()) + 1)]
    if len(spans) < config.folds:
        raise _too_few(table, len(spans), BLOCKS_OF_TIME, config, f"label more cells or longer stretches, or {_FEWER}")
    note = "All labels come from few cells of one movie, so blocks of time are held out; the score says nothing of other movies"
    names = tuple(f"frames {span[:, 0].min()} to {span[:, 1].max()}" for span in spans)
    return Groups(codes, names, BLOCKS_OF_TIME, places, notes=(note,) if table["movie"].nunique() == 1 else ())


def _too_few(table: pd.DataFrame, groups: int, basis: str, config: ProbeConfig, remedy: str) -> UserError:
    found = f"the {len(table)} labelled rows form {groups} group(s) by {basis}, fewer than the {config.folds} folds: there is no honest score"
    return UserError(found, remedy)
