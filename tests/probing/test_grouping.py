from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.movies.clips import ClipShape
from cellvjepa.probing.grouping import choose_groups
from cellvjepa.probing.splits import grouped_folds


@pytest.fixture
def plates() -> pd.DataFrame:
    """Two experiments of two plates each; wells A/1 to A/3 of each plate, two fields a well, two cells a field."""
    fields = itertools.product((1, 2), (1, 2), (1, 2, 3), (0, 1), (1, 2))
    rows = [(f"e{e}", f"e{e}p{p}.zarr/A/{well}/{field}", cell, 500.0 * cell) for e, p, well, field, cell in fields]
    found = pd.DataFrame(rows, columns=["of", "movie", "track_id", "y_px"])
    return found.assign(t_start=0, t_stop=8, x_px=0.0)


def test_the_coarsest_level_with_enough_groups_is_held_out(plates: pd.DataFrame, shape: ClipShape) -> None:
    found = {folds: choose_groups(plates, shape, ProbeConfig(folds=folds)) for folds in (2, 4, 5, 12, 13)}
    assert [(g.basis, len(g.names)) for g in found.values()] == [("plate", 4), ("plate", 4), ("well", 12), ("well", 12), ("movie", 24)]
    assert found[2].notes == ()
    assert found[5].names[0] == "e1p1.zarr A/1"
    assert "come from 4 plates, fewer than the 5 folds" in found[5].notes[0]
    assert "`--group plate` holds out one plate at a time" in found[5].notes[0]
    by_experiment = choose_groups(plates.assign(experiment=plates["of"]), shape, ProbeConfig(folds=2))
    assert (by_experiment.basis, by_experiment.names) == ("experiment", ("e1", "e2"))


def test_columns_say_more_than_names(plates: pd.DataFrame, shape: ClipShape) -> None:
    """The same well of two plates is two wells."""
    named = plates.assign(movie=[f"m{i // 2}.tif" for i in range(len(plates))], well="A1", plate=[f"p{i // 12}" for i in range(len(plates))])
    assert choose_groups(named, shape, ProbeConfig(folds=4, group="well")).names == ("p0 A1", "p1 A1", "p2 A1", "p3 A1")
    without = choose_groups(named.drop(columns=["well", "plate"]), shape, ProbeConfig(folds=4))
    assert (without.basis, len(without.names)) == ("movie", 24)
    gaps = choose_groups(named.assign(plate=[None, *named["plate"][1:]]), shape, ProbeConfig(folds=4))
    assert gaps.basis == "movie"


def test_each_experiment_is_held_out_once(plates: pd.DataFrame, shape: ClipShape) -> None:
    table = plates.assign(experiment=np.repeat([f"day{d}" for d in range(8)], 6))
    groups = choose_groups(table, shape, ProbeConfig(folds=5, group="experiment"))
    folds = grouped_folds(groups, np.arange(48) % 2, ("a", "b"), ProbeConfig(folds=5))
    assert sorted(set(table["experiment"].iloc[fold.test]).pop() for fold in folds) == sorted(set(table["experiment"]))
    assert all(table["experiment"].iloc[fold.test].nunique() == 1 for fold in folds)


def test_named_columns_with_few_values_are_held_out_one_by_one(plates: pd.DataFrame, shape: ClipShape) -> None:
    groups = choose_groups(plates.assign(donor=np.arange(48) % 3), shape, ProbeConfig(folds=5, group="donor"))
    assert (groups.basis, groups.names, groups.folds) == ("column 'donor'", ("0", "1", "2"), 3)
    assert len(grouped_folds(groups, np.arange(48) // 3 % 2, ("a", "b"), ProbeConfig(folds=5))) == 3
    assert choose_groups(plates, shape, ProbeConfig(group="lineage")).basis == "track family"
    assert choose_groups(plates, shape, ProbeConfig(group="field")).basis == "movie"
    with pytest.raises(UserError, match=r"no column 'experiment' to group by. name an existing column: .*; or lineage, field or time"):
        choose_groups(plates, shape, ProbeConfig(group="experiment"))


def test_few_movies_are_no_reason_to_split_within_them_unasked(plates: pd.DataFrame, shape: ClipShape) -> None:
    few = plates.assign(movie=np.where(np.arange(48) < 24, "a.tif", "b.tif"), track_id=np.arange(48))
    with pytest.raises(UserError, match=r"48 labelled rows form 2 group\(s\) by movie, fewer than the 5 folds: there is no honest score"):
        choose_groups(few, shape, ProbeConfig(folds=5))
    assert len(choose_groups(few, shape, ProbeConfig(folds=5, group="lineage")).names) == 48


def test_of_three_movies_each_is_held_out_once_and_that_is_said(plates: pd.DataFrame, shape: ClipShape) -> None:
    three = plates.assign(movie=np.repeat(["a.tif", "b.tif", "c.tif"], 16), track_id=np.arange(48))
    groups = choose_groups(three, shape, ProbeConfig(folds=5))
    assert (groups.basis, groups.folds) == ("movie", 3)
    (note,) = groups.notes
    assert note.startswith("There are 3 movies, so there are 3 folds instead of 5: each movie is held out once")
    folds = grouped_folds(groups, np.arange(48) % 2, ("x", "y"), ProbeConfig(folds=5))
    assert [set(groups.codes_N[fold.test]) for fold in folds] in [[{i}, {j}, {k}] for i, j, k in itertools.permutations(range(3))]
    assert choose_groups(three, shape, ProbeConfig(folds=3)).notes == ()
