from __future__ import annotations

import numpy as np

from cellvjepa.embedding.surprise_events import surprise_events
from cellvjepa.embedding.token_places import TokenPlaces
from cellvjepa.model.grid import Grid

PLACES = TokenPlaces(Grid(5, 1, 8, 8), (0, 0, 0, 0), (4, 1, 8, 8))


def test_the_highest_come_first_and_neighbours_of_a_higher_one_are_left_out():
    values = np.random.default_rng(0).random((5, 1, 8, 8))
    values[1, 0, 2, 3], values[1, 0, 3, 3], values[3, 0, 2, 3], values[1, 0, 6, 6] = 9, 8, 7, 6
    events = surprise_events(values, PLACES, count=3)
    assert events["surprise"].tolist() == [9, 7, 6]  # 8 is beside 9
    first = events.iloc[0]
    assert (first["t_start"], first["t_stop"], first["y_px"], first["x_px"]) == (4, 8, 19.5, 27.5)
    assert PLACES.token_at((5, 0, first["y_px"], first["x_px"])) == (1, 0, 2, 3)


def test_events_are_apart_and_none_that_is_high_is_missed():
    values = np.random.default_rng(1).random((5, 1, 8, 8))
    events = surprise_events(values, PLACES, count=10_000)
    tokens = [PLACES.token_at((row.t_start, 0, row.y_px, row.x_px)) for row in events.itertuples()]
    for one, (t, _, y, x) in enumerate(tokens):
        assert values[t, 0, y, x] == events["surprise"].iloc[one]
        for other in tokens[:one]:
            assert abs(t - other[0]) > 1 or max(abs(y - other[2]), abs(x - other[3])) > 2
    listed = np.array(tokens)
    for token in np.ndindex(values.shape):  # each place is in the list, or beside one that is higher
        near = (np.abs(listed[:, 0] - token[0]) <= 1) & (np.abs(listed[:, 2:] - token[2:]).max(axis=1) <= 2)
        assert values[tuple(listed[near].T)].max() >= values[token]


def test_what_is_not_foretold_is_no_event():
    values = np.full((5, 1, 8, 8), np.nan)
    assert surprise_events(values, PLACES).empty
    values[2, 0, 0, 0] = 1.0
    assert len(surprise_events(values, PLACES)) == 1
