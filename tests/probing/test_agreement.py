"""Cohen's kappa, by the book and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from cellvjepa.errors import UserError
from cellvjepa.probing.agreement import agreements, cohen_kappa, summary


def lines_of(**labels: list[str]) -> pd.DataFrame:
    """Labels of annotators for windows 0, 1, ... of as many tracks."""
    parts = [
        pd.DataFrame(
            {"movie": "a.tif", "track_id": [str(i) for i in range(len(said))], "t_start": "0", "t_stop": "8", "annotator": who, "label": said}
        )
        for who, said in labels.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_the_number_of_cohens_own_example() -> None:
    # Cohen 1960, table 1: proportions of 200 cases; p_o = .70, p_e = .41, kappa = .492.
    observed, by_chance, kappa = cohen_kappa(np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]]))
    assert (observed, by_chance, kappa) == pytest.approx((0.70, 0.41, 0.492), abs=0.001)


def test_it_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    one = rng.choice(["a", "b", "c"], 60)
    two = np.where(rng.random(60) < 0.7, one, rng.choice(["a", "b", "c"], 60))
    (found,) = agreements(lines_of(kim=one.tolist(), lee=two.tolist()), rng)
    assert found.kappa == pytest.approx(cohen_kappa_score(one, two))
    assert found.low < found.kappa < found.high
    assert found.counts_KK.sum() == found.windows == 60
    assert len(found.disagreements) == (one != two).sum()
    assert str(found).startswith(f"kim and lee: kappa {found.kappa:.2f} [")


def test_only_what_both_gave_a_label_counts() -> None:
    lines = lines_of(kim=["a", "b", "unsure", "a", "b"], lee=["a", "b", "a", "", "b", "a", "a"])
    (found,) = agreements(lines, np.random.default_rng(0))
    assert (found.windows, found.unsure, found.unshared) == (3, 1, 3)
    assert found.kappa == 1


def test_a_changed_mind_counts_once() -> None:
    lines = pd.concat([lines_of(kim=["b", "b"]), lines_of(kim=["a"], lee=["a", "b"])], ignore_index=True)
    (found,) = agreements(lines, np.random.default_rng(0))
    assert (found.windows, found.observed) == (2, 1)


def test_each_pair_of_three_is_compared() -> None:
    found = agreements(lines_of(kim=["a", "b"], lee=["a", "a"], max=["b", "b"]), np.random.default_rng(0))
    assert [(pair.first, pair.second) for pair in found] == [("kim", "lee"), ("kim", "max"), ("lee", "max")]


def test_where_both_only_ever_say_one_thing_kappa_is_undefined() -> None:
    (found,) = agreements(lines_of(kim=["a", "a"], lee=["a", "a"]), np.random.default_rng(0))
    assert str(found) == "kim and lee: kappa is undefined, because both only ever said 'a' (2 windows, the same label on 100%)"
    assert summary(found)["kappa"] is None


def test_one_track_gives_no_interval() -> None:
    (found,) = agreements(lines_of(kim=["a", "b"], lee=["a", "a"]).assign(track_id="1", t_start=["0", "8"] * 2), np.random.default_rng(0))
    assert np.isnan(found.low)
    assert "all windows are of one track" in found.note


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (lines_of(kim=["a", "b"]), r"only 'kim' is named in the column 'annotator'"),
        (lines_of(kim=["a"]).assign(annotator=""), r"nobody is named"),
        (pd.concat([lines_of(kim=["a"]), lines_of(lee=["a"]).assign(t_start="4")]), r"no two of kim, lee gave a label to the same window"),
    ],
)
def test_who_cannot_be_compared_is_said(lines: pd.DataFrame, message: str) -> None:
    with pytest.raises(UserError, match=message):
        agreements(lines, np.random.default_rng(0))
