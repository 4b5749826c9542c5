from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import cellvjepa
from napari_cellvjepa.masks.files import folder_beside, saved_file, stem_of, step_file, table_of


@pytest.fixture
def movie(toy: Path) -> cellvjepa.Movie:
    return cellvjepa.open_movie(toy / "toy.ome.tif")


def test_names_of_movies_become_names_of_files(movie: cellvjepa.Movie) -> None:
    names = {
        "pos4.ome.tif": "pos4",
        "plate1.zarr/B/3/0": "plate1_B_3_0",
        "day 2/pos 4.TIF": "day_2_pos_4",
        "..": "movie",
        "the layer 'a'": "the_layer__a_",
    }
    assert {name: stem_of(replace(movie, name=name)) for name in names} == names


def test_labels_go_beside_the_movie_and_never_into_a_store(movie: cellvjepa.Movie, toy: Path, tmp_path: Path) -> None:
    assert folder_beside(movie) == toy
    field = tmp_path / "plate.zarr" / "B" / "3" / "0"
    field.mkdir(parents=True)
    assert folder_beside(replace(movie, uri=str(field))) == tmp_path
    for elsewhere in ("https://somewhere/a.zarr", "the layer 'mine'"):
        assert folder_beside(replace(movie, uri=elsewhere)) == Path.home()


def test_each_step_has_a_file_of_its_own(movie: cellvjepa.Movie, tmp_path: Path) -> None:
    assert step_file(tmp_path, movie, "segmented") == tmp_path / "toy_steps" / "1_segmented.zarr"
    (tmp_path / "toy_steps" / "9_linked.zarr").mkdir(parents=True)
    (tmp_path / "toy_steps" / "notes.txt").touch()
    assert step_file(tmp_path, movie, "painted").name == "10_painted.zarr"
    assert table_of(tmp_path / "9_linked.zarr").name == "9_linked_cells.csv"
    assert table_of(saved_file(tmp_path, movie, ".tif")) == tmp_path / "toy_cells.csv"
