"""Where and when labelled rows look: what decides whether two of them share pixels or cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.movies.clips import ClipShape

_ROUNDING_PX = 1  # clips start and end at whole pixels

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
        than between the true ones, which the border of the image may have shifted. Unknown places are infinitely large.
    twin_N
        int64 (N,): equal for rows that hold the same data, whatever they are called; None: no two in different groups do.
    """

    movie_N: Ints
    family_N: Ints
    time_N2: Ints
    centre_N2: npt.NDArray[np.float64]
    extent_N2: npt.NDArray[np.float64]
    twin_N: Ints | None = None


def places_of(table: pd.DataFrame, clip: ClipShape) -> Places:
    """Return where each row of a table looks (columns as for :func:`cellvjepa.probing.grouping.choose_groups`)."""
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
            centre[here, axis] = np.maximum(np.minimum(position[here], np.nanmax(position[here], initial=0) - half), half)
        if f"drift_{name}_px" in table:  # a crop that follows its cell sees all the pixels on its way
            extent[:, axis] += table[f"drift_{name}_px"].abs().fillna(0).to_numpy(np.float64)
    # Where a row looks is not known: it may look anywhere.
    unknown = ~np.isfinite(centre).all(axis=1)
    centre[unknown], extent[unknown] = 0, np.inf
    time_N2 = table[["t_start", "t_stop"]].to_numpy(np.int64)
    return Places(movie_N, _families(table, movie_N), time_N2, centre, extent)


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
    place = [np.where(track < 0, np.nan_to_num(table[name].to_numpy(np.float64), nan=-1.0), 0.0) for name in ("y_px", "x_px")]
    own, mother = (pd.DataFrame({"movie": movie_N, "track": ids, "y": place[0], "x": place[1]}) for ids in (track, parent))
    node = pd.concat([own, mother]).groupby(["movie", "track", "y", "x"]).ngroup().to_numpy()
    edges = node[: len(table)], node[len(table) :]
    _, lineage = connected_components(coo_array((np.ones(len(table)), edges), shape=(node.max() + 1,) * 2), directed=False)
    families: Ints = lineage[edges[0]].astype(np.int64)
    return families
