"""A made-up screen: 2 plates of 4 movies, 8 cells in each, 2 windows of each cell; what the embedding knows is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.probing import nuisances
from cellvjepa.probing.nuisances import Reading, StoreReport, read_target, score_nuisances
from cellvjepa.probing.targets import Target, as_features, nuisances_of
from tests.embedding.made_up import SHAPE, rows_of_tracks, store_of_table

CONFIG = ProbeConfig(folds=4, bootstrap=30)


def screen() -> pd.DataFrame:
    tracks = [(f"day{1 + m % 2}/pos{m}.tif", c, (0, 20)) for m in range(8) for c in range(1, 9)]
    table = rows_of_tracks(*tracks)
    number = table["movie"].str.extract(r"pos(\d)")[0].astype(int)
    return table.assign(
        y_px=100.0 * table["track_id"],
        plate=np.where(number < 4, "p1", "p2"),
        well=["ABCD"[n % 4] + str(1 + n // 4) for n in number],
        border_px=np.random.default_rng(5).uniform(0, 50, len(table)),
        intensity=np.random.default_rng(6).uniform(0, 9, len(table)),
        state=np.where(table["track_id"] % 2 == 0, "even", "odd"),
    )


def vectors(table: pd.DataFrame, **strength: float) -> np.ndarray:
    """Return noise of 12 dimensions, in some of which a column of the table is added."""
    found = np.random.default_rng(0).normal(size=(len(table), 12))
    for place, (name, much) in enumerate(strength.items()):
        values = table[name] if pd.api.types.is_numeric_dtype(table[name]) else pd.Series(pd.factorize(table[name])[0])
        found[:, place] += much * (values - values.mean()) / values.std()
    return found


def write(folder: Path, table: pd.DataFrame, **strength: float) -> Path:
    """Write a store of this table, and labels.csv with its states."""
    table[["movie", "track_id", "t_start", "t_stop"]].assign(label=table["state"]).to_csv(folder / "labels.csv", index=False)
    return store_of_table(folder / "s.zarr", table, vectors(table, **strength))


def read(table: pd.DataFrame, name: str, **strength: float) -> Reading:
    """Return how well one nuisance is read."""
    (target,) = (target for target in nuisances_of(table) if target.name == name)
    return read_target(vectors(table, **strength), table, target, SHAPE, CONFIG)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> StoreReport:
    folder = tmp_path_factory.mktemp("screen")
    table = screen().assign(microscope=np.where(np.arange(128) % 3 == 0, "left", "right"))
    store = write(folder, table, state=1.0, plate=4.0, t_start=4.0, microscope=5.0)
    return score_nuisances(store, folder / "labels.csv", CONFIG, ["microscope"])


def test_what_is_in_the_vectors_is_read_and_what_is_not_is_not(found: StoreReport) -> None:
    by_name = {reading.name: reading for reading in found.nuisances}
    assert found.phenotype is not None
    assert 0.7 < found.phenotype.scores["linear"].value < 0.98
    for name in ("plate", "frame number", "microscope"):
        assert by_name[name].scores["linear"].value > 0.98
        assert by_name[name].scores["knn"].value > 0.9
        assert by_name[name].scores["linear"].low > found.phenotype.scores["linear"].value
    for name in ("distance to the border", "intensity"):
        for score in by_name[name].scores.values():
            assert abs(score.value - 0.5) < 0.17, name
    assert (by_name["plate"].groups, by_name["plate"].grouped_by, by_name["plate"].classes) == (8, "well", 2)
    assert found.shortcut is not None
    assert abs(found.shortcut.scores["linear"].value - 0.5) < 0.17


def test_too_few_groups_give_a_reason_and_no_number(found: StoreReport) -> None:
    (well,) = (reading for reading in found.nuisances if reading.name == "well")
    assert well.scores == {}
    assert well.reason.startswith("too few independent groups: class 'A1' occurs in one group only")
    three = screen().query("movie in ['day1/pos0.tif', 'day2/pos5.tif', 'day1/pos6.tif']").reset_index(drop=True)
    assert "occurs in one group only" in read(three.assign(plate=three["movie"].str[-5:]), "plate").reason
    assert read(three, "frame number", t_start=4.0).groups == 3


def test_the_same_movie_is_recognised_on_other_cells() -> None:
    table = screen()
    looks = {f"looks{m}": (table["movie"].str[-5] == str(m)).astype(float) for m in range(8)}
    reading = read(table.assign(**looks), "movie", **dict.fromkeys(looks, 6.0))
    assert (reading.grouped_by, reading.groups, reading.classes) == ("track family", 64, 8)
    assert reading.scores["linear"].value > 0.9


def test_labels_that_follow_the_plate_are_a_shortcut() -> None:
    table = screen()
    target = Target("phenotype", table["plate"].to_numpy(object))
    features = as_features(table, nuisances_of(table))
    assert read_target(features, table, target, SHAPE, CONFIG).scores["linear"].value == 1


def test_what_a_store_does_not_know_is_said() -> None:
    table = screen().drop(columns=["border_px", "intensity", "plate", "well"]).assign(movie="a.tif")
    tracks = np.repeat(np.arange(64), 2)
    table = table.assign(track_id=tracks, y_px=100.0 * tracks, y_um=50.0 * tracks, day="monday")
    assert read(table, "distance to the border").reason == "the store does not know it (no column 'border_px')"
    assert read(table, "intensity").reason == "the store does not know it (no column 'intensity')"
    assert read(table, "well position").reason == "the store does not know it (no column 'well')"
    assert read(table, "day").reason == read(table, "movie").reason == "it is the same in all rows"
    assert read(table, "frame number", t_start=4.0).grouped_by == "track family"
    assert read(table.drop(columns="day"), "folder of the movie").reason == "movies lie in no folders"


def test_rows_are_drawn_where_there_are_many_and_the_work_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write(tmp_path, screen())
    monkeypatch.setattr(nuisances, "_MOST_ROWS", 90)
    monkeypatch.setattr(nuisances, "read_target", lambda features, table, target, *rest: Reading(target.name, f"{features.shape} {len(table)}", {}))
    drawn = score_nuisances(store, tmp_path / "labels.csv", CONFIG)
    assert (drawn.rows, drawn.rows_of_store, drawn.nuisances[0].what) == (90, 128, "(90, 12) 90")
    assert drawn.notes[0].startswith("90 of 128 rows were drawn at random")

    def cancel(stage: str, done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        score_nuisances(store, None, CONFIG, progress=cancel)
    with pytest.raises(UserError, match="there is no column 'lens'. name one of these: clip_id, movie"):
        score_nuisances(store, None, CONFIG, ["lens"])
