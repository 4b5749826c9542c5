"""Events: where a probability crosses the threshold on its way from window to window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.probing.events import find_events, followed_tracks, intervals_s, runs_above

CONFIG = ProbeConfig()


def track(p: list[float], *, step: int = 4, window: int = 16, movie: str = "m.tif", track_id: int = 1, first: int = 0) -> pd.DataFrame:
    """One track whose windows begin every ``step`` frames, and the probability of 'dying' in each."""
    starts = first + step * np.arange(len(p))
    return pd.DataFrame(
        {
            "movie": movie,
            "track_id": track_id,
            "t_start": starts,
            "t_stop": starts + window,
            "time_s": 300.0 * starts,
            "y_px": 5.0,
            "x_px": 7.0,
            "p_dying": p,
            "p_resting": 1 - np.array(p),
        }
    )


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True)


def coverage(onset: int, end: int, *, step: int, window: int, frames: int) -> list[float]:
    """What share of each window an event from onset to end fills: what a perfect probe goes by."""
    return [max(0, min(end, t + window) - max(onset, t)) / window for t in range(0, frames - window + 1, step)]


@given(onset=st.integers(10, 40), length=st.integers(16, 40), step=st.sampled_from([1, 2, 4]), flip=st.booleans())
def test_a_probe_that_goes_by_half_a_window_gives_the_true_onset_and_end(onset: int, length: int, step: int, flip: bool) -> None:
    share = coverage(onset, onset + length, step=step, window=16, frames=120)
    p = [float(s >= 0.5) for s in share] if flip else share
    (found,) = find_events(track(p, step=step), ["dying"], CONFIG).itertuples()
    # Where the probability says how full the window is, the line crosses exactly there; a probe that flips is known to half a step.
    tolerance = step / 2 if flip else 1e-9
    assert abs(found.onset - onset) <= tolerance
    assert abs(found.end - (onset + length)) <= tolerance
    assert found.onset_low <= onset <= found.onset_high
    assert not found.begun_before
    assert not found.ongoing
    assert found.onset_s == pytest.approx(300 * found.onset)


def test_windows_that_do_not_overlap_give_the_border_between_them() -> None:
    (found,) = find_events(track([0.0, 1.0, 0.0], step=16), ["dying"], CONFIG).itertuples()
    assert (found.onset, found.end, found.onset_low, found.onset_high) == (16, 32, 8, 24)


def test_an_event_at_either_end_of_a_track_says_so() -> None:
    before, after = find_events(joined(track([0.9, 0.9, 0.1, 0.1]), track([0.1, 0.1, 0.9, 0.9], track_id=2)), ["dying"], CONFIG).itertuples()
    assert (before.onset, before.begun_before, before.ongoing) == (0, True, False)
    assert np.isnan(before.onset_low)
    assert (after.onset, after.end, after.begun_before, after.ongoing) == (14, 28, False, True)


def test_a_window_may_reach_beyond_its_track() -> None:
    table = track([0.0, 0.9, 0.9, 0.9]).assign(covered=[1.0, 1.0, 0.75, 0.5])
    assert find_events(table, ["dying"], CONFIG)["end"].tolist() == [20.0]
    assert followed_tracks(table, find_events(table, ["dying"], CONFIG), "dying")["last"].tolist() == [20.0]


def test_a_flicker_is_no_event_and_a_gap_does_not_make_two() -> None:
    assert find_events(track([0.1, 0.1, 0.6, 0.1, 0.1]), ["dying"], CONFIG).empty
    assert len(find_events(track([0, 0, 1, 1, 1, 0.4, 1, 1, 1, 0, 0]), ["dying"], CONFIG)) == 1
    strict = CONFIG.model_copy(update={"event_gap_frames": 0.0, "event_min_frames": 0.0})
    assert len(find_events(track([0, 0, 1, 1, 1, 0.4, 1, 1, 1, 0, 0]), ["dying"], strict)) == 2
    assert len(find_events(track([0.1, 0.1, 0.6, 0.1, 0.1]), ["dying"], strict)) == 1


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=30), threshold=st.floats(0.05, 0.95))
def test_stretches_are_ordered_apart_and_inside_the_track(p: list[float], threshold: float) -> None:
    times = np.stack([4.0 * np.arange(len(p)), 4.0 * np.arange(len(p)) + 16], axis=1)
    runs = runs_above(np.array(p), times, threshold, 0.0, 0.0, times[-1, 1])
    borders = [border for run in runs for border in (run.onset, run.end)]
    assert borders == sorted(borders)
    assert all(0 <= border <= times[-1, 1] for border in borders)
    inside = {i for run in runs for i in range(run.first, run.last + 1)}
    assert inside >= {i for i, value in enumerate(p) if value >= threshold}


def test_windows_without_a_probability_are_passed_over() -> None:
    (found,) = find_events(track([0.0, 0.0, np.nan, 1.0, 1.0, 1.0, 0.0]), ["dying"], CONFIG).itertuples()
    assert (found.onset_low, found.onset, found.onset_high) == (12, 16, 20)
    assert find_events(track([np.nan] * 4), ["dying"], CONFIG).empty


def test_the_order_of_rows_plays_no_part() -> None:
    table = joined(track([0, 0, 1, 1, 1, 0]), track([0, 1, 1, 1, 0, 0], movie="n.tif"), track([0.0] * 6, track_id=3))
    mixed = table.sample(frac=1, random_state=1).reset_index(drop=True)
    pd.testing.assert_frame_equal(find_events(mixed, ["dying"], CONFIG), find_events(table, ["dying"], CONFIG))


def test_tracks_are_followed_to_their_first_event_or_their_end() -> None:
    table = joined(
        track([0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1]),
        track([0.0] * 5, track_id=2, first=8),
        track([1.0, 1.0, 1.0, 0.0, 0.0], track_id=3),
    ).assign(treatment="drug")
    tracks = followed_tracks(table, find_events(table, ["dying"], CONFIG), "dying", "treatment").set_index("track_id")
    assert tracks["events"].tolist() == [2, 0, 1]
    assert tracks["observed"].tolist() == [True, False, False]
    assert tracks["begun_before"].tolist() == [False, False, True]
    assert tracks["frames"].tolist() == [14.0, 32.0, 32.0]
    assert set(tracks["condition"]) == {"drug"}
    assert set(tracks["interval_s"]) == {300.0}


def test_an_unknown_interval_stays_unknown() -> None:
    table = track([0, 0, 1, 1, 1, 0]).assign(time_s=np.nan)
    assert np.isnan(intervals_s(table)["m.tif"])
    assert find_events(table, ["dying"], CONFIG)["onset_s"].isna().all()


@pytest.mark.parametrize(
    ("change", "events", "by", "message"),
    [
        ({}, ["born"], None, r"--event: the probe knows no class 'born'\. choose from dying, resting"),
        ({}, ["dying"], "drug", r"--by: there is no column 'drug' to compare by\. name an existing one"),
        ({"well": ["A", "A", "B", "B"]}, ["dying"], "well", r"'well' changes along 1 tracks \(the first: track 1 of m.tif\)"),
        ({"well": ["A", None, "A", "A"]}, ["dying"], "well", r"column 'well' is empty in 1 of 4 rows"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, list[str | None]], events: list[str], by: str | None, message: str) -> None:
    table = track([0.0, 0.0, 1.0, 1.0]).assign(**change)
    with pytest.raises(UserError, match=message):
        followed_tracks(table, find_events(table, events, CONFIG), "dying", by)


def test_without_predictions_the_command_that_makes_them_is_named() -> None:
    with pytest.raises(UserError, match=r"no predictions in this store. add them first: cellvjepa predict STORE --probe DIR"):
        find_events(track([0.0]).drop(columns=["p_dying", "p_resting"]), ["dying"], CONFIG)
