from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.movies.clips import ClipShape
from cellvjepa.probing.splits import choose_groups, few_label_draws, grouped_folds, held_out, leaks, naive_folds, places_of


def random_table(seed: int, movies: int, tracks: int, windows: int) -> pd.DataFrame:
    """Tracks that wander through images of 200 px, each cut into windows of 8 frames that overlap by half; some have mothers."""
    rng = np.random.default_rng(seed)
    rows = []
    for movie in range(movies):
        for track in range(tracks):
            y, x = rng.uniform(0, 200, 2)
            start, parent = int(rng.integers(20)), int(rng.integers(track)) if track and rng.random() < 0.3 else -1
            for window in range(windows):
                t = start + 4 * window
                rows.append((f"m{movie}", track, parent, t, t + 8, *np.clip((y, x) + rng.normal(0, 5, 2) * window, 0, 199)))
    return pd.DataFrame(rows, columns=["movie", "track_id", "parent_track_id", "t_start", "t_stop", "y_px", "x_px"])


def crop(centre: float, size: int, length: int) -> tuple[int, int]:
    """Where clips really lie: whole pixels, shifted into the image."""
    start = min(max(int(np.floor(centre - (size - 1) / 2 + 0.5)), 0), length - size)
    return start, start + size


def overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def root(table: pd.DataFrame, movie: str, track: int) -> int:
    parents = table[(table.movie == movie) & (table.track_id == track)]["parent_track_id"]
    return track if parents.empty or parents.iloc[0] < 0 else root(table, movie, int(parents.iloc[0]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), movies=st.integers(1, 4), tracks=st.integers(1, 9), folds=st.integers(2, 4))
def test_nothing_leaks(seed: int, movies: int, tracks: int, folds: int) -> None:
    table = random_table(seed, movies, tracks, windows=6)
    shape = ClipShape(8, None, 32, None, None, "max")
    config = ProbeConfig(folds=folds)
    codes = np.random.default_rng(seed).permutation(np.arange(len(table)) % 2)
    try:
        groups = choose_groups(table, shape, config)
        made = grouped_folds(groups, codes, ("a", "b"), config)
    except UserError:  # too few groups for these labels: nothing to check
        return
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in made])), np.arange(len(table)))
    rows = list(table.itertuples())
    for fold in made:
        assert not set(groups.codes_N[fold.train]) & set(groups.codes_N[fold.test])
        for i in fold.train:
            for j in fold.test:
                one, other = rows[i], rows[j]
                if one.movie != other.movie:
                    continue
                same_time = overlap((one.t_start, one.t_stop), (other.t_start, other.t_stop))
                same_place = overlap(crop(one.y_px, 32, 200), crop(other.y_px, 32, 200)) and overlap(
                    crop(one.x_px, 32, 200), crop(other.x_px, 32, 200)
                )
                assert not (same_time and same_place)
                if root(table, one.movie, one.track_id) == root(table, other.movie, other.track_id):
                    assert groups.basis == "block of time"
                    assert max(one.t_start - other.t_stop, other.t_start - one.t_stop) >= 8


def test_what_a_group_is(table: pd.DataFrame, shape: ClipShape) -> None:
    two = ProbeConfig(folds=2)
    assert choose_groups(table, shape, two).names == ("a.tif", "b.tif")
    one_movie = table[table["movie"] == "a.tif"].reset_index(drop=True)
    families = choose_groups(one_movie, shape, two)
    assert families.basis == "track family"
    assert families.codes_N.tolist() == [0, 0, 0, 1, 1]
    # With track 2 the daughter of track 1 there is one family left, so time is cut.
    related = choose_groups(one_movie.assign(parent_track_id=[-1, -1, -1, 1, 1]), shape, two)
    assert related.basis == "block of time"
    assert related.codes_N.tolist() == [0, 1, 2, 0, 1]
    assert related.names[2] == "frames 16 to 24"
    named = choose_groups(table.assign(well=list("ABCABCA")), shape, ProbeConfig(folds=2, group="well"))
    assert (named.basis, named.names) == ("column 'well'", ("A", "B", "C"))
    assert choose_groups(table.assign(group=list("ABCABCA")), shape, two).basis == "column 'group'"


def test_families_reach_over_generations_that_were_not_embedded(shape: ClipShape) -> None:
    table = pd.DataFrame(
        {"movie": "m", "track_id": [4, 5, 6, 7, 0], "parent_track_id": [2, 2, 4, -1, -1], "t_start": 0, "t_stop": 8, "y_px": 0.0, "x_px": 0.0}
    )
    family = places_of(table, shape).family_N
    assert family[0] == family[1] == family[2]
    assert len({family[0], family[3], family[4]}) == 3


def test_places_without_tracks_are_families_of_their_own(shape: ClipShape) -> None:
    table = pd.DataFrame({"movie": "m", "track_id": -1, "t_start": [0, 8, 0, 8], "t_stop": [8, 16, 8, 16], "y_px": [16.0, 16, 48, 48], "x_px": 16.0})
    family = places_of(table, shape).family_N
    assert family[0] == family[1] != family[2] == family[3]


def test_crops_are_as_large_as_the_movie_sees_them() -> None:
    table = pd.DataFrame({"movie": "m", "track_id": [1, 2], "t_start": 0, "t_stop": 8, "y_px": [100.0, 400.0], "x_px": [100.0, 400.0]})
    in_um = table.assign(y_um=table["y_px"] * 0.25, x_um=table["x_px"] * 0.5)
    resampled = ClipShape(8, None, 64, 1.0, None, "max")
    assert places_of(in_um, resampled).extent_N2[0].tolist() == [64 * 4 + 1, 64 * 2 + 1]
    unknown = table.assign(y_um=np.nan, x_um=np.nan)
    assert places_of(unknown, resampled).extent_N2[0].tolist() == [65, 65]


def test_a_crop_that_follows_sees_all_pixels_on_its_way(shape: ClipShape) -> None:
    x_px = [100.0, 100.0 + shape.size_px + 9, 900.0]  # the third: so that the image ends far away
    table = pd.DataFrame({"movie": "m", "track_id": [1, 2, 3], "t_start": 0, "t_stop": 8, "y_px": [100.0, 100.0, 900.0], "x_px": x_px})
    still, moving = (places_of(part, shape) for part in (table, table.assign(drift_y_px=0.0, drift_x_px=[-20.0, 0.0, 0.0])))
    assert leaks(still, np.array([1]), np.array([0])).tolist() == [False]
    assert leaks(moving, np.array([1]), np.array([0])).tolist() == [True]


def test_a_neighbour_in_the_same_pixels_is_left_out(shape: ClipShape) -> None:
    """Four cells at the same time, test cell first: a near one, the near one later, a far one, and one in another movie."""
    table = pd.DataFrame(
        {
            "movie": ["m", "m", "m", "m", "n"],
            "track_id": [1, 2, 2, 3, 1],
            "t_start": [0, 7, 8, 0, 0],
            "t_stop": [8, 15, 16, 8, 8],
            "y_px": [100.0, 120, 120, 140, 100],
            "x_px": [100.0, 80, 80, 100, 100],
        }
    )
    border = table[:1].assign(track_id=9, y_px=500.0, x_px=500.0)
    places = places_of(pd.concat([table, border, border.assign(movie="n")], ignore_index=True), shape)
    assert leaks(places, np.array([1, 2, 3, 4]), np.array([0])).tolist() == [True, False, False, False]


def test_the_same_family_needs_a_window_between(shape: ClipShape) -> None:
    starts = [0, 8, 15, 16, 40]
    table = pd.DataFrame(
        {"movie": "m", "track_id": 1, "t_start": starts, "t_stop": [s + 8 for s in starts], "y_px": [0.0, 500, 500, 500, 500], "x_px": 0.0}
    )
    assert leaks(places_of(table, shape), np.array([1, 2, 3, 4]), np.array([0])).tolist() == [True, True, False, False]


def test_blocks_of_time_are_a_window_apart(shape: ClipShape) -> None:
    """Two cells far from each other, of one family as far as anybody knows; windows of 8 frames, without a gap."""
    starts = np.repeat(np.arange(20) * 8, 2)
    table = pd.DataFrame(
        {"movie": "m", "track_id": np.tile([1, 2], 20), "t_start": starts, "t_stop": starts + 8, "y_px": 500.0 * np.tile([0, 1], 20)}
    )
    table = table.assign(x_px=0.0, parent_track_id=np.tile([-1, 1], 20))
    for chosen in (table, table.drop(columns="parent_track_id")):
        groups = choose_groups(chosen, shape, ProbeConfig(folds=3, group="time"))
        assert groups.basis == "block of time"
        for fold in grouped_folds(groups, np.tile([0, 1], 20), ("a", "b"), ProbeConfig(folds=3)):
            between = np.abs(starts[fold.train][:, None] - starts[fold.test])
            assert between.min() >= 16
            assert fold.left_out > 0


def test_where_a_row_looks_may_be_unknown(shape: ClipShape) -> None:
    table = pd.DataFrame({"movie": "m", "track_id": [1, 2, 3], "t_start": [0, 0, 80], "t_stop": [8, 8, 88], "y_px": [np.nan, 900, 900], "x_px": 50.0})
    places = places_of(table, shape)
    assert leaks(places, np.array([1, 2]), np.array([0])).tolist() == [True, False]
    grid = places_of(table.assign(track_id=-1), shape)
    assert grid.family_N[1] == grid.family_N[2] != grid.family_N[0]


def test_the_same_pictures_under_two_names_never_stand_on_both_sides(shape: ClipShape) -> None:
    table = pd.DataFrame({"movie": list("aabbcc"), "track_id": 1, "t_start": [0, 99] * 3, "t_stop": [8, 107] * 3, "y_px": 9.0, "x_px": 9.0})
    features = np.arange(6, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    plain = choose_groups(table, shape, ProbeConfig(folds=3))
    assert plain.holding(features) is plain
    features[5] = features[0]
    found = plain.holding(features)
    assert found.notes[0].startswith("2 labelled rows have exactly the features of a row in another group (movie)")
    fold = held_out(found, np.array([0, 1]))
    assert (fold.train.tolist(), fold.left_out) == ([2, 3, 4], 1)


def test_naive_folds_are_even_and_know_nothing_of_groups() -> None:
    codes = np.repeat([0, 1, 2], [50, 12, 1])
    folds = naive_folds(codes, 5, seed=0)
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(63))
    assert all(np.array_equal(np.sort(np.r_[fold.train, fold.test]), np.arange(63)) for fold in folds)
    counts = np.array([np.bincount(codes[fold.test], minlength=3) for fold in folds])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert all(np.array_equal(a.test, b.test) for a, b in zip(folds, naive_folds(codes, 5, seed=0), strict=True))


def test_a_held_out_fold_counts_what_it_drops(table: pd.DataFrame, shape: ClipShape) -> None:
    crowded = table[table["movie"] == "a.tif"].assign(x_px=10.0).reset_index(drop=True)
    groups = choose_groups(crowded, shape, ProbeConfig(folds=2))
    fold = held_out(groups, np.array([4, 3]))
    assert (fold.train.tolist(), fold.test.tolist(), fold.left_out) == ([2], [3, 4], 2)


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (
            {},
            ProbeConfig(folds=3),
            r"7 labelled rows form 2 group\(s\) by movie, fewer than the 3 folds: there is no honest score. label more",
        ),
        ({"movie": "m"}, ProbeConfig(folds=5), r"form 3 group\(s\) by block of time, fewer than the 5 folds"),
        ({}, ProbeConfig(folds=2, group="well"), r"probe.group: there is no column 'well' to group by. name an existing column: movie, track_id"),
        ({"well": "A"}, ProbeConfig(folds=2, group="well"), r"all 7 labelled rows are of one group by column 'well' \(A\), so none can be held out"),
        ({"group": "A"}, ProbeConfig(folds=2), r"all 7 labelled rows are of one group by column 'group'"),
        ({"well": ["A", "", None, "B", "B", "B", "B"]}, ProbeConfig(folds=2, group="well"), r"column 'well' is empty in 2 of 7 labelled rows"),
    ],
)
def test_too_few_groups_are_refused(table: pd.DataFrame, shape: ClipShape, change: dict[str, object], config: ProbeConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_groups(table.assign(**change), shape, config)


def test_a_class_in_one_group_cannot_be_tested(table: pd.DataFrame, shape: ClipShape) -> None:
    groups = choose_groups(table, shape, ProbeConfig(folds=2))
    with pytest.raises(UserError, match=r"class 'x' occurs in one group only \(b.tif; movie\), so it cannot be both learnt and tested"):
        grouped_folds(groups, np.array([0, 0, 0, 0, 0, 0, 1]), ("o", "x"), ProbeConfig(folds=2))


def test_a_class_that_is_always_beside_its_test_rows_is_refused(shape: ClipShape) -> None:
    table = pd.DataFrame({"movie": "m", "track_id": [1, 2, 3, 4], "t_start": 0, "t_stop": 8, "y_px": [50.0, 51, 500, 900], "x_px": 50.0})
    with pytest.raises(UserError, match=r"class 'x' has too few independent examples: in some fold none is left to learn from"):
        grouped_folds(choose_groups(table, shape, ProbeConfig(folds=2)), np.array([1, 1, 0, 0]), ("o", "x"), ProbeConfig(folds=2))


def test_folds_are_balanced_and_repeatable(shape: ClipShape) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"movie": "m", "track_id": np.arange(60), "t_start": 0, "t_stop": 8, "y_px": 100.0 * np.arange(60), "x_px": 0.0})
    codes = rng.permutation(np.repeat([0, 1, 2], [40, 15, 5]))
    config = ProbeConfig(folds=5)
    groups = choose_groups(table, shape, config)
    folds = grouped_folds(groups, codes, ("a", "b", "c"), config)
    assert [np.bincount(codes[fold.test], minlength=3).tolist() for fold in folds] == [[8, 3, 1]] * 5
    again = grouped_folds(groups, codes, ("a", "b", "c"), config)
    assert all(np.array_equal(one.test, other.test) for one, other in zip(folds, again, strict=True))


def test_few_labels_are_drawn_per_class_without_repeats() -> None:
    codes = np.repeat([0, 1, 2], [50, 30, 3])
    train = np.arange(2, len(codes))
    draws = few_label_draws(train, codes, 5, draws=4, seed=0)
    for rows in draws:
        assert np.bincount(codes[rows]).tolist() == [5, 5, 3]
        assert len(np.unique(rows)) == len(rows)
        assert set(rows) <= set(train)
    assert len({tuple(rows) for rows in draws}) == 4
    assert all(np.array_equal(a, b) for a, b in zip(draws, few_label_draws(train, codes, 5, draws=4, seed=0), strict=True))
    assert np.array_equal(few_label_draws(train, codes, None, draws=1, seed=0)[0], train)
