"""The picture of labels over time."""

from __future__ import annotations

import numpy as np

from napari_cellvjepa.label.strip_picture import GROUND, THERE, Lanes, picture, title_of

RED, BLUE = (255, 0, 0), (0, 0, 255)
COLOURS = {"a": "#ff0000", "b": "#0000ff"}


def lanes(count: int, pieces: list[tuple[int, int, int, str]], frames: int = 10) -> Lanes:
    lane, begin, end, label = zip(*pieces, strict=True)
    whole = np.full(count, frames)
    return Lanes(list(range(count)), whole * 0, whole, np.array(lane), np.array(begin), np.array(end), list(label), frames)


def test_intervals_have_the_colours_of_their_classes() -> None:
    drawn = picture(lanes(2, [(0, 2, 5, "a"), (1, 0, 10, "b")]), COLOURS, 4, 20)
    assert [tuple(drawn[0, x]) for x in (3, 4, 9, 10)] == [THERE, RED, RED, THERE]
    assert (drawn[2:] == BLUE).all()


def test_labels_are_seen_where_several_tracks_share_a_line() -> None:
    drawn = picture(lanes(1000, [(500, 0, 10**15, "a"), (900, 3, 4, "b")], frames=1000), COLOURS, 10, 50)
    assert (drawn[5] == RED).all()
    assert (drawn[9] == BLUE).all(axis=-1).sum() == 1
    assert (drawn[0] == THERE).all()


def test_where_there_is_no_cell_it_is_dark() -> None:
    found = lanes(1, [(0, 0, 1, "what")])
    found = Lanes(["ada"], np.array([4]), np.array([6]), found.lane_P, np.array([4]), np.array([5]), ["unknown"], 10)
    drawn = picture(found, COLOURS, 3, 10)
    assert [tuple(drawn[1, x]) for x in (0, 4, 5, 6)] == [GROUND, (140, 140, 140), THERE, GROUND]
    assert title_of(found, 0) == "ada"
    assert title_of(lanes(1, [(0, 0, 1, "a")]), 0) == "track 0"
