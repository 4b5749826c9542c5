"""Tracks from links: what trackers write is a graph, what we need is an id per track, and its mother."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellvjepa.cells.table import NO_PARENT

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lineage:
    """The tracks of N cells.

    Parameters
    ----------
    track_id_N
        int64, from 0 on in the order of first frames.
    parent_track_id_N
        int64: the track that divided into this one; -1 where there is none.
    merged
        How many tracks have more than one mother; the one that is listed first is theirs.
    """

    track_id_N: _Ints
    parent_track_id_N: _Ints
    merged: int


def tracks_of(t_N: _Ints, links_K2: _Ints) -> Lineage:
    """Cut a graph of cells into tracks: a track goes on where one cell has one successor, and that has one predecessor.

    Parameters
    ----------
    t_N
        ``(N,)`` int64: the frame of each cell.
    links_K2
        ``(K, 2)`` int64: indices of two cells, the earlier one first. No link twice.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    source, target = links_K2[:, 0], links_K2[:, 1]
    assert (t_N[source] < t_N[target]).all()
    successors, predecessors = np.bincount(source, minlength=len(t_N)), np.bincount(target, minlength=len(t_N))
    goes_on = (successors[source] == 1) & (predecessors[target] == 1)
    graph = coo_array((np.ones(goes_on.sum(), np.int8), (source[goes_on], target[goes_on])), shape=(len(t_N), len(t_N)))
    _, part_N = connected_components(graph, directed=False)
    track_N = _numbered(part_N.astype(np.int64), t_N)
    parents = np.full(len(t_N), NO_PARENT, np.int64)  # by track; there are never more tracks than cells
    # Backwards, so that of two mothers the first one stays.
    parents[track_N[target[~goes_on]][::-1]] = track_N[source[~goes_on]][::-1]
    return Lineage(track_N, parents[track_N], int((predecessors > 1).sum()))


def ordered_links(t_N: _Ints, links_K2: _Ints) -> tuple[_Ints, int]:
    """Turn links the right way round, once each, without those between cells of the same frame.

    Returns
    -------
    links_K2
        ``(K, 2)`` int64.
    dropped
        How many lay within a frame.
    """
    backwards = t_N[links_K2[:, 0]] > t_N[links_K2[:, 1]]
    turned = np.where(backwards[:, None], links_K2[:, ::-1], links_K2)
    within = t_N[turned[:, 0]] == t_N[turned[:, 1]]
    _, first = np.unique(turned[~within], axis=0, return_index=True)
    return turned[~within][np.sort(first)], int(within.sum())


def _numbered(part_N: _Ints, t_N: _Ints) -> _Ints:
    """Give numbers to the parts by their first frames, and within a frame by the order of cells."""
    first_row = np.unique(part_N[np.argsort(t_N, kind="stable")], return_index=True)[1]
    number = np.empty(len(first_row), np.int64)
    number[np.argsort(first_row)] = np.arange(len(first_row))
    return number[part_N]
