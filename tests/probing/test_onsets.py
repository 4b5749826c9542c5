"""Found onsets beside known ones, and averages around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.probing.alignment import aligned_averages, step_frames
from cellvjepa.probing.events import find_events
from cellvjepa.probing.onsets import onset_errors, read_known
from tests.probing.test_events import joined, track

CONFIG = ProbeConfig()


def known_file(folder: Path, *lines: str) -> Path:
    path = folder / "known.csv"
    path.write_text("\n".join(["movie,track_id,label,t_start,t_stop", *lines]) + "\n")
    return path


def test_errors_are_counted_in_frames(tmp_path: Path) -> None:
    table = joined(
        track([0, 0, 1, 1, 1, 1]),  # found at 14, known at 12
        track([0, 0, 0, 1, 1, 1], track_id=2),  # found at 18, known at 20
        track([0.0] * 6, track_id=3),  # missed
        track([0, 0, 1, 1, 1, 1], track_id=4),  # found, but known to rest
        track([0, 0, 1, 1, 1, 1], track_id=5),  # found; nobody knows
        track([1, 1, 1, 1, 0, 0], track_id=6),  # there from the start
    )
    path = known_file(tmp_path, "m,1,dying,12,28", "m,1,dying,28,36", "m,2,dying,20,36", "m,3,dying,12,28", "m,4,resting,0,36", "m,6,dying,0,20")
    known = read_known(path, table, ["dying"])
    assert known["t_start"].tolist() == [12, 20, 12, 0]  # two lines without a gap are one event
    found = find_events(table, ["dying"], CONFIG)
    errors = onset_errors(found, known, "dying", 16, 4)
    assert (errors.known, errors.found, errors.matched, errors.timed) == (4, 3, 3, 2)
    assert (errors.median_frames, errors.mean_frames, errors.within_step) == (2, 0, 1)
    assert errors.pairs["error"].tolist()[:2] == [2, -2]
    assert errors.pairs["error"].isna().tolist() == [False, False, True, True]


def test_each_event_is_matched_once_with_the_nearest() -> None:
    table = track([0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0])
    known = pd.DataFrame({"movie": "m.tif", "event": "dying", "track_id": [1, 1], "t_start": [40, 13], "t_stop": [50, 30]})
    errors = onset_errors(find_events(table, ["dying"], CONFIG), known, "dying", 16, 4)
    assert errors.pairs[["onset", "found"]].to_numpy().tolist() == [[40, 42], [13, 14]]


def test_where_nothing_is_found_there_are_no_numbers() -> None:
    known = pd.DataFrame({"movie": "m.tif", "event": "dying", "track_id": [1], "t_start": [0], "t_stop": [9]})
    errors = onset_errors(find_events(track([0.0] * 5), ["dying"], CONFIG), known, "dying", 16, 4)
    assert (errors.known, errors.matched) == (1, 0)
    assert np.isnan(errors.median_frames)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("movie,track_id,label\nm,1,dying\n", r"missing columns: t_start, t_stop"),
        ("movie,track_id,label,t_start,t_stop\nm,1,resting,0,9\n", r"no line speaks of dying in the movies of this store"),
        ("movie,track_id,label,t_start,t_stop\nother,1,dying,0,9\n", r"no line speaks of dying in the movies of this store"),
        ("movie,track_id,label,t_start,t_stop\nm,1,dying,,9\n", r"a known event lacks track_id, t_start or t_stop"),
        ("", r"the known events cannot be read"),
    ],
)
def test_known_events_that_say_nothing_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "known.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_known(tmp_path / "known.csv", track([0.0] * 3), ["dying"])


def test_a_feature_is_averaged_by_its_time_from_the_onset() -> None:
    table = joined(track([0, 0, 1, 1, 1, 1]), track([0, 0, 0, 1, 1, 1], track_id=2), track([1, 1, 1, 0, 0, 0], track_id=3))
    onset = np.repeat([14.0, 18.0, 0.0], 6)
    size = (table["t_start"] + 8 - onset) * 1.0 + np.repeat([1.0, 3.0, 100.0], 6)
    found = aligned_averages(table.assign(size=size), find_events(table, ["dying"], CONFIG), "dying", ["size"])
    assert step_frames(table) == 4
    assert found["events"].eq(2).all()
    assert found["frames"].tolist() == [-6, -2, 2, 6, 10]
    np.testing.assert_allclose(found["mean"], found["frames"] + 2)
    np.testing.assert_allclose(found["high"] - found["mean"], 1.959964)


def test_before_and_after_the_onset_are_never_averaged_together() -> None:
    table = joined(*(track([0.0, 1.0, 1.0], step=16, track_id=i) for i in (1, 2)))
    found = aligned_averages(table, find_events(table, ["dying"], CONFIG), "dying", ["p_dying"])
    assert found[["frames", "mean"]].to_numpy().tolist() == [[-8, 0], [8, 1], [24, 1]]


def test_an_average_needs_numbers() -> None:
    table = track([0, 0, 1, 1, 1, 1])
    with pytest.raises(UserError, match=r"--feature: there is no column of numbers 'movie'\. choose from track_id"):
        aligned_averages(table, find_events(table, ["dying"], CONFIG), "dying", ["movie"])


def test_one_window_per_cell_has_the_step_of_its_length() -> None:
    assert step_frames(track([0.0])) == 16
