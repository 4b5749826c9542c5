"""Survival: the log-rank test is lifelines', and shuffling movies says what whole movies can say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines.statistics import multivariate_logrank_test

from cellvjepa.probing.survival import logrank_statistic, survival_of


def tracks_of(frames: list[float], observed: list[bool], condition: list[str], movie: list[str] | None = None) -> pd.DataFrame:
    n = len(frames)
    return pd.DataFrame(
        {
            "movie": movie or [f"{c}{i}.tif" for i, c in enumerate(condition)],
            "track_id": np.arange(n),
            "condition": condition,
            "first": 0,
            "last": [f if not o else 100 for f, o in zip(frames, observed, strict=True)],
            "events": [int(o) for o in observed],
            "begun_before": False,
            "onset": [f if o else np.nan for f, o in zip(frames, observed, strict=True)],
            "frames": frames,
            "observed": observed,
            "interval_s": 360.0,
        }
    )


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("whole", [False, True], ids=["no ties", "ties"])
def test_the_statistic_is_that_of_lifelines(groups: int, whole: bool) -> None:
    rng = np.random.default_rng(groups)
    time, observed, codes = rng.exponential(10, 90), rng.random(90) < 0.6, rng.integers(0, groups, 90)
    time = np.ceil(time) if whole else time
    assert logrank_statistic(time, observed, codes) == pytest.approx(multivariate_logrank_test(time, codes, observed).test_statistic, rel=1e-9)


def test_a_curve_by_hand() -> None:
    # 4 tracks; events after 10 and 30 frames, one lost after 20: S = 3/4, then 3/4 * 1/2. A frame is 0.1 h.
    found = survival_of(tracks_of([10, 20, 30, 40], [True, False, True, False], [""] * 4), "dying")
    steps = dict(zip(found.curves["time"].round(9), found.curves["surviving"], strict=True))
    assert found.unit == "h"
    assert steps == pytest.approx({0: 1, 1: 0.75, 2: 0.75, 3: 0.375, 4: 0.375})
    (line,) = found.summary.to_dict("records")
    assert (line["tracks"], line["with the event"], line["censored"], line["median"]) == (4, 2, 2, 3)
    assert line["watched"] == pytest.approx(10 + 2 + 10 + 4)
    assert line["rate"] == pytest.approx(2 / 26)
    assert (line["rate low"], line["rate high"]) == pytest.approx((0.242209 / 26, 7.224688 / 26), rel=1e-5)  # Garwood's table for 2
    assert found.logrank is None


def test_movies_that_differ_of_themselves_are_not_taken_for_an_effect() -> None:
    """Two movies each; one of them is fast, as movies are. Its cells say p < 0.001; four movies cannot."""
    rng = np.random.default_rng(0)
    movie = np.repeat(["a1", "a2", "b1", "b2"], 100)
    frames = rng.exponential(np.repeat([5.0, 40, 40, 40], 100)) + 1
    found = survival_of(tracks_of(frames.tolist(), [True] * 400, [m[0] for m in movie], movie.tolist()), "dying").logrank
    assert found is not None
    assert found.p_tracks < 0.001
    assert found.smallest == pytest.approx(2 / 6)
    assert found.p_movies >= found.smallest
    assert found.movies == 4


def test_a_true_difference_over_many_movies_is_found_and_none_is_not() -> None:
    rng = np.random.default_rng(1)
    movie = np.repeat([f"m{i}" for i in range(12)], 10)
    condition = ["a" if int(m[1:]) < 6 else "b" for m in movie]
    base = rng.exponential(20, 120) + 1
    different = np.where(np.array(condition) == "a", base, 4 * base)
    found = [survival_of(tracks_of(time.tolist(), [True] * 120, condition, movie.tolist()), "dying").logrank for time in (different, base)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].p_movies < 0.01
    assert found[1].p_movies > 0.05


def test_conditions_within_a_movie_cannot_be_shuffled() -> None:
    found = survival_of(tracks_of([5, 6, 7, 8], [True] * 4, ["a", "b", "a", "b"], ["m"] * 4), "dying")
    assert found.logrank is not None
    assert np.isnan(found.logrank.p_movies)
    assert "Movies hold tracks of several conditions" in found.logrank.note


def test_what_was_there_from_the_start_is_left_out_and_said() -> None:
    tracks = tracks_of([10, 20, 30], [True, False, True], [""] * 3)
    tracks.loc[2, ["begun_before", "interval_s"]] = [True, np.nan]
    found = survival_of(tracks, "dying")
    assert found.summary["tracks"].tolist() == [2]
    assert found.unit == "frames"
    assert found.notes[0].startswith("1 of 3 tracks show 'dying' from their start")
    assert "times are in frames" in found.notes[1]


def test_without_any_event_there_is_a_flat_curve_and_a_word_instead_of_a_test() -> None:
    found = survival_of(tracks_of([10, 20], [False, False], ["a", "b"]), "dying")
    assert found.curves["surviving"].eq(1).all()
    assert np.isinf(found.summary["median"]).all()
    assert found.logrank is None
    assert found.notes == ("No event began while it was watched, so there is nothing to test.",)


def test_where_every_track_is_left_out_nothing_is_drawn() -> None:
    found = survival_of(tracks_of([10], [False], [""]).assign(begun_before=True), "dying")
    assert found.curves.empty
    assert found.summary.empty
