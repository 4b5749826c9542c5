from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.cells.lineage import ordered_links, tracks_of

#   t    0   1   2   3   4
#        0 - 1 - 2               a cell that divides
#                 \- 3 - 5       into this one
#                  \ 4           and this one
#        6 ------- 7 - 8         one that is missed in frame 1
#        9                       one alone
FRAMES = np.array([0, 1, 2, 3, 3, 4, 0, 2, 3, 0])
LINKS = np.array([[0, 1], [1, 2], [2, 3], [2, 4], [3, 5], [6, 7], [7, 8]])


def test_a_division_begins_two_tracks() -> None:
    found = tracks_of(FRAMES, LINKS)
    assert found.track_id_N.tolist() == [0, 0, 0, 3, 4, 3, 1, 1, 1, 2]
    assert found.parent_track_id_N.tolist() == [-1, -1, -1, 0, 0, 0, -1, -1, -1, -1]
    assert found.merged == 0


def test_where_two_become_one_a_track_begins_that_has_one_mother() -> None:
    found = tracks_of(np.array([0, 0, 1, 2]), np.array([[0, 2], [1, 2], [2, 3]]))
    assert found.track_id_N.tolist() == [0, 1, 2, 2]
    assert found.parent_track_id_N.tolist() == [-1, -1, 0, 0]
    assert found.merged == 1


def test_cells_without_links_are_tracks_of_their_own() -> None:
    assert tracks_of(np.array([3, 1, 2]), np.zeros((0, 2), np.int64)).track_id_N.tolist() == [2, 0, 1]


def test_links_are_turned_and_kept_once() -> None:
    links, dropped = ordered_links(np.array([0, 1, 1, 2]), np.array([[1, 0], [0, 1], [1, 2], [1, 3]]))
    assert links.tolist() == [[0, 1], [1, 3]]
    assert dropped == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_a_track_has_no_frame_twice_and_every_link_is_within_or_to_a_daughter(seed: int, cells: int) -> None:
    rng = np.random.default_rng(seed)
    t = rng.integers(0, 8, cells)
    links, _ = ordered_links(t, rng.integers(0, cells, (2 * cells, 2)))
    found = tracks_of(t, links)
    pairs = list(zip(found.track_id_N.tolist(), t.tolist(), strict=True))
    assert len(set(pairs)) == cells
    predecessors = np.bincount(links[:, 1], minlength=cells)
    for source, target in links:
        same = found.track_id_N[source] == found.track_id_N[target]
        assert same or predecessors[target] > 1 or found.parent_track_id_N[target] == found.track_id_N[source]
