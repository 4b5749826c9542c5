"""What sample_data promises: small, licensed, exact, balanced, and reproducible bit for bit."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import tifffile
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cellvjepa.cells.table import read_cells
from cellvjepa.config import Config
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.readers import open_archive
from cellvjepa.shipped import sample_data_folder

SAMPLES = sample_data_folder()
SIMULATED = SAMPLES / "simulated"
ENCODER = SAMPLES / "encoder_tiny"
FIELDS = [f"field{number}.ome.tif" for number in range(1, 7)]
ORDINARY = ["jittering", "migrating", "pulsing", "resting"]


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    return pd.read_csv(SIMULATED / "cells.csv").set_index(["movie", "track_id", "t"]).sort_index()


@pytest.fixture(scope="module")
def deeds() -> pd.DataFrame:
    return pd.read_csv(SIMULATED / "labels.csv")


@pytest.fixture(scope="module")
def movies() -> dict[str, npt.NDArray[np.uint8]]:
    return {name: tifffile.imread(SIMULATED / name) for name in FIELDS}


@pytest.fixture(scope="module")
def masks() -> dict[str, npt.NDArray[np.uint8]]:
    return {name: tifffile.imread(SIMULATED / "labels" / name.replace(".ome", "_labels")) for name in FIELDS}


@pytest.fixture
def make_sample(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the script as it is run: its folder comes first on the path, and nothing is left in it."""
    monkeypatch.syspath_prepend(str(SAMPLES))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("make_sample")
    for name in ("make_sample", "drawing"):
        monkeypatch.delitem(sys.modules, name)
    return module


def frames_of(deed: pd.Series, cells: pd.DataFrame) -> pd.DataFrame:
    return cells.loc[(deed.movie, deed.track_id)].loc[deed.t_start : deed.t_stop - 1]


def test_movies_and_encoder_are_small() -> None:
    files = [file for file in SAMPLES.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    encoder = sum(file.stat().st_size for file in files if ENCODER in file.parents)
    assert encoder <= 6e6
    assert sum(file.stat().st_size for file in files) - encoder <= 8e6


def test_the_shipped_encoder_is_found_by_name_and_says_where_it_is_from() -> None:
    encoder, card = load_encoder("encoder_tiny")
    assert json.loads((ENCODER / "encoder.json").read_text(encoding="utf-8"))["sha256"] == card.sha256
    assert encoder.shape.dim == Config().model.dim
    assert encoder.shape.tubelet == Config().model.tubelet
    assert {*FIELDS, "images_TYX.tif", "cancer_cell_migration_crop.tif", "oocyte_mip_TYX.ome.tif"} == set(card.provenance["movies"])
    assert card.provenance["chosen"]["step"] == card.provenance["config"]["training"]["steps"]
    said = (ENCODER / "README.md").read_text(encoding="utf-8")
    for file in ("encoder.safetensors", "predictor.safetensors"):
        assert hashlib.sha256((ENCODER / file).read_bytes()).hexdigest() in said


@pytest.mark.parametrize(
    ("folder", "licence", "names", "shape", "pixel_um", "interval_s"),
    [
        ("simulated", "BSD-3-Clause", FIELDS, (48, 1, 1, 192, 192), 0.65, 300.0),
        ("mdamb231_phase", "Licence: MIT", ["movie.ome.tif"], (64, 1, 1, 256, 256), None, 360.0),
        ("migration_nuclei", "Licence: Creative Commons Attribution 4.0", ["movie.ome.tif"], (48, 1, 1, 130, 130), None, None),
    ],
)
def test_each_folder_is_an_archive_with_licence_scale_and_cells(
    folder: str, licence: str, names: list[str], shape: tuple[int, ...], pixel_um: float | None, interval_s: float | None
) -> None:
    assert licence in (SAMPLES / folder / "README.md").read_text(encoding="utf-8")
    archive = open_archive(SAMPLES / folder)
    assert [movie.name for movie in archive.movies] == names
    for movie in archive.movies:
        assert movie.pixels.shape == shape
        assert (movie.pixel_um.x if movie.pixel_um else None, movie.interval_s) == (pixel_um, interval_s)
        assert set(movie.axes.values()) == {"file"}
    table = read_cells(SAMPLES / folder / "cells.csv", archive).table
    assert set(table["movie"]) == set(names)
    assert table["y_px"].between(0, shape[3] - 1).all()
    assert table["x_px"].between(0, shape[4] - 1).all()
    assert table["t"].between(0, shape[0] - 1).all()
    assert not table.duplicated(["movie", "track_id", "t"]).any()


def test_the_nuclei_stand_where_their_masks_are() -> None:
    place = SAMPLES / "migration_nuclei"
    labels = tifffile.imread(place / "labels" / "movie_labels.tif")
    for cell in pd.read_csv(place / "cells.csv").itertuples():
        y, x = np.nonzero(labels[cell.t] == cell.track_id)
        assert len(y) == cell.area_px
        assert (y.mean(), x.mean()) == pytest.approx((cell.y_px, cell.x_px), abs=6e-4)


def test_a_field_is_made_again_bit_for_bit(
    make_sample: ModuleType, movies: dict[str, npt.NDArray[np.uint8]], masks: dict[str, npt.NDArray[np.uint8]]
) -> None:
    number = 2
    movie, labels, cells, deeds = make_sample.make_field(number)
    name = f"field{number}.ome.tif"
    np.testing.assert_array_equal(movie, movies[name])
    np.testing.assert_array_equal(labels, masks[name])
    for made, file, order in ((cells, "cells.csv", ["track_id", "t"]), (deeds, "labels.csv", ["track_id", "t_start"])):
        shipped = pd.read_csv(SIMULATED / file)
        pd.testing.assert_frame_equal(
            made.sort_values(order).reset_index(drop=True), shipped[shipped["movie"] == name].reset_index(drop=True), check_dtype=False
        )


def test_the_script_writes_every_file_of_the_folder(
    make_sample: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: pd.DataFrame, deeds: pd.DataFrame
) -> None:
    made = {
        name: (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4), np.uint8), cells.loc[[name]].reset_index(), deeds[deeds["movie"] == name])
        for name in FIELDS
    }
    monkeypatch.setattr(make_sample, "make_field", lambda number: made[f"field{number}.ome.tif"])
    make_sample.write(tmp_path)
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {str(path.relative_to(SIMULATED)) for path in SIMULATED.rglob("*") if path.is_file()} - {"README.md"}
    for table in ("cells.csv", "labels.csv"):
        assert (tmp_path / table).read_bytes() == (SIMULATED / table).read_bytes()


def test_classes_are_balanced_and_every_label_covers_a_whole_window(cells: pd.DataFrame, deeds: pd.DataFrame) -> None:
    counts = deeds.groupby(["movie", "label"]).size()
    assert len(counts) == 6 * 6
    assert (counts == 7).all()
    for deed in deeds.itertuples():
        assert (deed.t_start % 16, deed.t_stop - deed.t_start) == (0, 16)
        assert list(frames_of(deed, cells).index) == list(range(deed.t_start, deed.t_stop))
    assert deeds["t_stop"].sub(deeds["t_start"]).sum() == len(cells), "every frame of every cell is labelled"


def test_label_images_and_cells_agree(cells: pd.DataFrame, masks: dict[str, npt.NDArray[np.uint8]], deeds: pd.DataFrame) -> None:
    for name, stack in masks.items():
        for t, mask in enumerate(stack):
            here = cells.loc[name].xs(t, level="t")
            ids, areas = np.unique(mask[mask > 0], return_counts=True)
            assert dict(zip(ids.tolist(), areas.tolist(), strict=True)) == here["area_px"].to_dict()
    for deed in deeds[deeds["label"].isin(ORDINARY)].itertuples():
        for t, cell in frames_of(deed, cells).iterrows():
            assert masks[deed.movie][t, round(cell.y_px), round(cell.x_px)] == deed.track_id


def test_cells_do_what_their_label_says(
    cells: pd.DataFrame, deeds: pd.DataFrame, movies: dict[str, npt.NDArray[np.uint8]], masks: dict[str, npt.NDArray[np.uint8]]
) -> None:
    for deed in deeds.itertuples():
        window = frames_of(deed, cells)
        path = window[["y_px", "x_px"]].to_numpy()
        net_px, step_px = np.hypot(*(path[-1] - path[0])), np.median(np.hypot(*np.diff(path, axis=0).T))
        glow = [movies[deed.movie][t][masks[deed.movie][t] == deed.track_id].mean() for t in window.index]
        assert (net_px > 8) == (deed.label == "migrating")
        assert (step_px > 0.5) == (deed.label in ("migrating", "jittering"))
        if deed.label in ORDINARY:
            # The light of a neighbour that pulses or dies falls on resting cells too.
            assert (np.std(glow) / np.mean(glow) > 0.12) == (deed.label == "pulsing")


def test_tracks_end_with_division_or_death_and_daughters_follow(cells: pd.DataFrame, deeds: pd.DataFrame) -> None:
    tracks = cells.reset_index().groupby(["movie", "track_id"]).agg(parent=("parent_track_id", "first"), first=("t", "min"), last=("t", "max"))
    for deed in deeds[deeds["label"].isin(["dividing", "dying"])].itertuples():
        assert tracks.loc[(deed.movie, deed.track_id), "last"] == deed.t_stop - 1
        daughters = tracks.loc[deed.movie].query(f"parent == {deed.track_id}")
        # Those that divide at the very end of the movie have their daughters after it.
        assert list(daughters["first"]) == [deed.t_stop] * (2 if deed.label == "dividing" and deed.t_stop < 48 else 0)
    assert tracks["parent"].eq(-1).groupby("movie").sum().eq(14).all()


def test_a_single_frame_does_not_tell_what_an_ordinary_cell_does(
    cells: pd.DataFrame, deeds: pd.DataFrame, movies: dict[str, npt.NDArray[np.uint8]], masks: dict[str, npt.NDArray[np.uint8]]
) -> None:
    rng = np.random.default_rng(0)
    ordinary = deeds[deeds["label"].isin(ORDINARY)].reset_index(drop=True)
    y_YX, x_YX = np.mgrid[:192, :192]
    scores = []
    for _ in range(3):
        features = []
        for deed in ordinary.itertuples():
            t = int(rng.integers(deed.t_start, deed.t_stop))
            cell, frame = cells.loc[(deed.movie, deed.track_id, t)], movies[deed.movie][t]
            inside = frame[masks[deed.movie][t] == deed.track_id].astype(float)
            away_px = np.hypot(y_YX - cell.y_px, x_YX - cell.x_px)
            rings = [frame[(away_px >= r) & (away_px < r + 3)].mean() for r in range(0, 24, 3)]
            features.append([len(inside), inside.mean(), inside.std(), *np.percentile(inside, [5, 25, 75, 95]), cell.y_px, cell.x_px, *rings])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000))
        found = cross_val_predict(model, np.array(features), ordinary["label"], groups=ordinary["movie"], cv=LeaveOneGroupOut())
        scores.append(balanced_accuracy_score(ordinary["label"], found))
    # Chance is 0.25; the standard error of one draw of 168 cells is 0.033.
    assert np.mean(scores) < 0.32
