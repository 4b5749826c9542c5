"""Splits that do not leak: which rows may teach, and which may judge.

Two windows of a movie are not independent when they show the same cell (or its mother, or its daughter), and when they show the
same pixels at the same time (a neighbour walks through both). A random split puts such pairs on both sides, and the score
measures memory. Here:

1. Whole groups are held out. Where the labels come from several movies, a group is a movie. In one movie it is a track family: a
   cell with its ancestors and descendants. Where there are fewer families than folds, it is a block of time.
   A column (well, donor, experiment) can be named instead, and should be where there is one; a column "group" of labels.csv is
   taken without being named.
2. Whatever the groups are, training rows are then left out that share a pixel with a test row (same movie, overlapping in time,
   overlapping crops), or that show a test row's family less than one window before or after it.

So guaranteed for every split made here: no group is on both sides, no pixel is on both sides, and no window of a family is within
one window's length of a test window of that family. Not guaranteed, because one movie cannot tell: that the scores hold for
another movie (light, focus, donor and treatment are the same for all cells of a movie).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.movies.clips import ClipShape

_ROUNDING_PX = 1  # clips start and end at whole pixels
_CHUNK = 256  # test rows compared with all training rows at once
_ATTEMPTS = 20

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """Where and when each row looks, as far as leaking is concerned.

    Parameters
    ----------
    movie_N, family_N
        int64 (N,) codes; a family is a cell with its ancestors and descendants, or a place where there are no tracks.
    time_N2
        int64 (N, 2): ``[t_start, t_stop)`` in native frames.
    centre_N2, extent_N2
        float64 (N, 2): centre and size of the crop along y and x [native px]. Distances between these centres are never larger
        than between the true ones, which the border of the image may have shifted.
    """

    movie_N: Ints
    family_N: Ints
    time_N2: Ints
    centre_N2: npt.NDArray[np.float64]
    extent_N2: npt.NDArray[np.float64]


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
        What a group is, for people: ``"movie"``, ``"track family"``, ``"block of time"`` or ``"column 'well'"``.
    places
        Where each row looks.
    """

    codes_N: Ints
    names: tuple[str, ...]
    basis: str
    places: Places


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows to test on, int64, ascending; ``left_out`` counts training rows dropped because they would leak."""

    train: Ints
    test: Ints
    left_out: int


def choose_groups(table: pd.DataFrame, clip: ClipShape, config: ProbeConfig) -> Groups:
    """Choose what stays together (see the top of this file).

    Parameters
    ----------
    table
        The labelled rows: ``movie``, ``track_id``, ``t_start``, ``t_stop``, ``y_px``, ``x_px``; where known ``y_um``, ``x_um``,
        ``parent_track_id``, and the column named by ``config.group``.
    clip
        The clips that were embedded: how large a crop is.
    config
        Names the column, if any, and the number of folds. A column ``group`` need not be named.

    Raises
    ------
    UserError
        If the named column is missing or has gaps, or if there are fewer groups than folds.
    """
    places = places_of(table, clip)
    column = config.group or ("group" if "group" in table else None)
    if column is not None:
        codes, names = _named_groups(table, column)
        basis, remedy = f"column '{column}'", "ask for fewer folds (--set probe.folds=2) or group by a finer column (--group)"
    elif table["movie"].nunique() > 1:
        codes, movies = pd.factorize(table["movie"].astype(str), sort=True)
        names = tuple(movies)
        basis, remedy = "movie", "label more movies, ask for fewer folds (--set probe.folds=2), or name a finer column (--group)"
    elif len(np.unique(places.family_N)) >= config.folds:
        families, codes = np.unique(places.family_N, return_inverse=True)
        first = [int(np.flatnonzero(places.family_N == family)[0]) for family in families]
        names = tuple(f"family of track {table['track_id'].iloc[row]}" for row in first)
        basis, remedy = "track family", "ask for fewer folds (--set probe.folds=2)"
    else:
        codes, names = _blocks_of_time(places, 2 * config.folds)
        basis, remedy = "block of time", "label more cells or longer stretches, or ask for fewer folds (--set probe.folds=2)"
    if len(names) < config.folds:
        raise UserError(f"the {len(table)} labelled rows form {len(names)} group(s) by {basis}, fewer than the {config.folds} folds", remedy)
    return Groups(np.asarray(codes, dtype=np.int64), names, basis, places)


def places_of(table: pd.DataFrame, clip: ClipShape) -> Places:
    """Return where each row of a table looks (columns as for :func:`choose_groups`)."""
    movie_N = pd.factorize(table["movie"].astype(str), sort=True)[0].astype(np.int64)
    centre, extent = np.empty((len(table), 2)), np.empty((len(table), 2))
    for axis, name in enumerate("yx"):
        position = table[f"{name}_px"].to_numpy(np.float64)
        in_um = table[f"{name}_um"].to_numpy(np.float64) if f"{name}_um" in table else np.full(len(table), np.nan)
        for movie in np.unique(movie_N):
            here = movie_N == movie
            extent[here, axis] = _crop_px(position[here], in_um[here], clip) + _ROUNDING_PX
            half = extent[here, axis] / 2
            # A crop that would leave the image is shifted inwards. The far border is not known here; the farthest centre is a
            # nearer one, and moving centres inwards as far as that only ever brings them closer together.
            centre[here, axis] = np.maximum(np.minimum(position[here], position[here].max() - half), half)
        if f"drift_{name}_px" in table:  # a crop that follows its cell sees all the pixels on its way
            extent[:, axis] += table[f"drift_{name}_px"].abs().fillna(0).to_numpy(np.float64)
    time_N2 = table[["t_start", "t_stop"]].to_numpy(np.int64)
    return Places(movie_N, _families(table, movie_N), time_N2, centre, extent)


def grouped_folds(groups: Groups, codes_N: Ints, classes: Sequence[str], config: ProbeConfig) -> tuple[Fold, ...]:
    """Cut into folds by group, with classes spread evenly; every row is tested once.

    Parameters
    ----------
    groups
        Which rows stay together.
    codes_N
        int64 (N,): class of each row.
    classes
        Names of the classes.
    config
        Number of folds and seed.

    Raises
    ------
    UserError
        If a class occurs in one group only, or no way was found to have every class on the training side of every fold.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    for k, name in enumerate(classes):
        found = np.unique(groups.codes_N[codes_N == k])
        if len(found) < 2:
            raise UserError(
                f"class '{name}' occurs in one group only ({groups.names[found[0]]}; {groups.basis}), so it cannot be both learnt and tested",
                "label this class in another group too, or leave it out",
            )
    missing: set[int] = set()
    for attempt in range(_ATTEMPTS):
        splitter = StratifiedGroupKFold(config.folds, shuffle=True, random_state=config.seed + attempt)
        # Labels repeated: sklearn warns of classes with fewer rows than folds, which is no problem where groups are whole.
        repeated = [np.tile(part, config.folds) for part in (codes_N, groups.codes_N)]
        tests = [test[test < len(codes_N)] for _, test in splitter.split(np.zeros(len(repeated[0])), *repeated)]
        folds = tuple(held_out(groups, test) for test in tests if len(test))
        missing = {k for fold in folds for k in range(len(classes)) if k not in codes_N[fold.train]}
        if not missing:
            return folds
    raise UserError(
        f"class '{classes[min(missing)]}' has too few independent examples: in some fold none is left to learn from",
        "label more of this class in other groups and farther from the rest, or ask for other folds (--set probe.folds=2)",
    )


def held_out(groups: Groups, test: Ints) -> Fold:
    """Return the fold that tests on these rows and trains on all others that do not leak into them."""
    others = np.flatnonzero(~np.isin(groups.codes_N, groups.codes_N[test]))
    clean = others[~leaks(groups.places, others, test)]
    return Fold(clean, np.sort(test), len(others) - len(clean))


def leaks(places: Places, train: Ints, test: Ints) -> npt.NDArray[np.bool_]:
    """Tell for each training row whether it shares a pixel with a test row, or shows its family within a window's length of it."""
    leaking = np.zeros(len(train), dtype=bool)
    for start in range(0, len(test), _CHUNK):
        some = test[start : start + _CHUNK]
        same_movie = places.movie_N[train, None] == places.movie_N[some]
        begins, ends = places.time_N2[train].T[:, :, None]
        gap = np.maximum(begins - places.time_N2[some, 1], places.time_N2[some, 0] - ends)
        apart = np.abs(places.centre_N2[train, None] - places.centre_N2[some])
        reach = (places.extent_N2[train, None] + places.extent_N2[some]) / 2
        same_pixels = (gap < 0) & (apart < reach).all(axis=2)
        window = np.maximum(ends - begins, places.time_N2[some, 1] - places.time_N2[some, 0])
        same_family = (places.family_N[train, None] == places.family_N[some]) & (gap < window)
        leaking |= (same_movie & (same_pixels | same_family)).any(axis=1)
    return leaking


def few_label_draws(train: Ints, codes_N: Ints, labels_per_class: int | None, draws: int, seed: int) -> tuple[Ints, ...]:
    """Draw a few training rows of each class, several times.

    Parameters
    ----------
    train
        Rows to draw from.
    codes_N
        int64 (N,): class of each row.
    labels_per_class
        Rows of each class; all that there are where there are fewer. ``None``: all rows of all classes.
    draws, seed
        How often, and the seed: the same draws for whatever features are compared.
    """
    present = np.unique(codes_N[train])
    drawn = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw, len(train)])
        shuffled = rng.permutation(train)
        parts = [shuffled[codes_N[shuffled] == k][:labels_per_class] for k in present]
        drawn.append(np.sort(np.concatenate(parts)))
    return tuple(drawn)


def _named_groups(table: pd.DataFrame, column: str) -> tuple[Ints, tuple[str, ...]]:
    if column not in table:
        known = ", ".join(map(str, table.columns))
        raise UserError(f"there is no column '{column}' to group by", f"name an existing column: {known}", "probe.group")
    values = table[column].astype(str).str.strip().where(table[column].notna(), "")
    if (values == "").any():
        raise UserError(f"column '{column}' is empty in {int((values == '').sum())} of {len(values)} labelled rows", "fill it in", "probe.group")
    codes, names = pd.factorize(values, sort=True)
    return codes.astype(np.int64), tuple(names)


def _blocks_of_time(places: Places, wanted: int) -> tuple[Ints, tuple[str, ...]]:
    """Cut time into contiguous blocks of about equally many rows; rows are in the block of their middle."""
    middle = places.time_N2.mean(axis=1)
    earlier = np.searchsorted(np.sort(middle), middle)  # rows before each row: equal for rows of the same time
    _, codes = np.unique(earlier * wanted // len(middle), return_inverse=True)
    spans = [places.time_N2[codes == block] for block in range(int(codes.max()) + 1)]
    return codes.astype(np.int64), tuple(f"frames {span[:, 0].min()} to {span[:, 1].max()}" for span in spans)


def _crop_px(position_px: npt.NDArray[np.float64], position_um: npt.NDArray[np.float64], clip: ClipShape) -> float:
    """Return the height or width of a crop in native pixels; the pixel size follows from positions given in both units."""
    usable = np.isfinite(position_um) & (np.abs(position_px) > 1)
    if clip.pixel_um is None or not usable.any():
        return float(clip.size_px)
    native_um = float(np.median(position_um[usable] / position_px[usable]))
    return clip.size_px * clip.pixel_um / native_um


def _families(table: pd.DataFrame, movie_N: Ints) -> Ints:
    """Return a code for the connected lineage each row belongs to; rows without a track (-1) belong to their place."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    track = table["track_id"].to_numpy(np.int64)
    parent = table["parent_track_id"].fillna(-1).to_numpy(np.int64) if "parent_track_id" in table else np.full(len(table), -1)
    parent = np.where(parent >= 0, parent, track)
    place = [np.where(track < 0, table[name].to_numpy(np.float64), 0.0) for name in ("y_px", "x_px")]
    own, mother = (pd.DataFrame({"movie": movie_N, "track": ids, "y": place[0], "x": place[1]}) for ids in (track, parent))
    node = pd.concat([own, mother]).groupby(["movie", "track", "y", "x"]).ngroup().to_numpy()
    edges = node[: len(table)], node[len(table) :]
    _, lineage = connected_components(coo_array((np.ones(len(table)), edges), shape=(node.max() + 1,) * 2), directed=False)
    families: Ints = lineage[edges[0]].astype(np.int64)
    return families
