from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellvjepa.cells.link import linked, why_unlinked
from cellvjepa.cells.table import read_cells
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Archive, open_archive
from cellvjepa.shipped import sample_data_folder

MakeMovie = Callable[..., Movie]


def walkers(frames: int = 12, cells: int = 9, step_px: float = 2.0, seed: int = 0) -> pd.DataFrame:
    """Cells on a grid of 20 px that walk about; ``true`` is who they are."""
    rng = np.random.default_rng(seed)
    start = np.stack(np.divmod(np.arange(cells), 3), axis=1) * 20.0 + 10
    at = start + np.cumsum(rng.normal(0, step_px, (frames, cells, 2)), axis=0)
    t, track = np.divmod(np.arange(frames * cells), cells)
    places = at.reshape(-1, 2)
    return pd.DataFrame({"track_id": track + 1, "t": t, "y_px": places[:, 0], "x_px": places[:, 1], "area_px": 80.0, "true": track})


def numbered_anew(table: pd.DataFrame) -> pd.DataFrame:
    """As segmentation does: 1, 2, 3, ... in each frame, by rows."""
    table = table.sort_values(["t", "y_px"], ignore_index=True)
    return table.assign(track_id=table.groupby("t").cumcount() + 1)


def test_ids_that_follow_cells_are_tracks_and_others_are_not() -> None:
    assert why_unlinked(walkers()) is None
    assert "another cell is nearer" in str(why_unlinked(numbered_anew(walkers())))
    each = walkers().assign(track_id=np.arange(12 * 9))
    assert why_unlinked(each) == "108 of 108 ids are in one frame only"
    assert why_unlinked(walkers(frames=1)) is None


def test_the_labels_of_the_sample_data_are_tracks() -> None:
    folder = sample_data_folder()
    for images, labels in (("simulated/movies", "simulated/labels"), ("migration_nuclei/movie.ome.tif", "migration_nuclei/labels/movie_labels.tif")):
        place = folder / images
        archive = open_archive(place if place.exists() else place.parent, remember=False)
        assert len(read_cells(folder / labels, archive).table)


def test_laptrack_finds_who_is_who() -> None:
    table = linked(numbered_anew(walkers()))
    assert table.groupby("true")["track_id"].nunique().tolist() == [1] * 9
    assert table["track_id"].nunique() == 9


def test_laptrack_bridges_gaps_and_empty_frames() -> None:
    table = walkers(step_px=0.5)
    table = table[~((table["true"] == 3) & table["t"].isin([4, 5])) & (table["t"] != 8)]
    found = linked(numbered_anew(table))
    assert found.groupby("true")["track_id"].nunique().tolist() == [1] * 9


@pytest.fixture
def unlinked(tmp_path: Path, make_movie: MakeMovie) -> tuple[Path, Archive, pd.DataFrame]:
    """A label image of squares that are numbered anew in each frame."""
    table = numbered_anew(walkers(step_px=1.5))
    labels = np.zeros((12, 70, 70), np.uint16)
    for row in table.itertuples():
        y, x = int(row.y_px), int(row.x_px)
        labels[row.t, max(0, y - 3) : y + 3, max(0, x - 3) : x + 3] = row.track_id
    tifffile.imwrite(tmp_path / "pos4_labels.tif", labels, metadata={"axes": "TYX"})
    return tmp_path / "pos4_labels.tif", Archive("/archive", (make_movie(t=12, y=70, x=70),), ()), table


def test_unlinked_labels_are_refused_linked_or_taken_at_their_word(unlinked: tuple[Path, Archive, Any]) -> None:
    path, archive, table = unlinked
    with pytest.raises(
        UserError, match="pos4_labels.tif: the cells of this label image are not linked .* link them with --link laptrack; .* --link done"
    ):
        read_cells(path, archive)
    cells = read_cells(path, archive, link="laptrack")
    assert cells.table["track_id"].nunique() == 9
    pixels = cells.labels["pos4.tif"].pixels
    for row in cells.table.itertuples():
        assert pixels[int(row.t), 0, 0, round(row.y_px), round(row.x_px)] == row.label
    done = read_cells(path, archive, link="done").table
    assert "label" not in done.columns
    assert len(done) == len(table)


def test_a_table_without_tracks_is_linked_on_request(tmp_path: Path, make_movie: MakeMovie) -> None:
    archive = Archive("/archive", (make_movie(t=12, y=70, x=70),), ())
    walkers(step_px=1).drop(columns=["track_id", "true"]).to_csv(tmp_path / "cells.csv", index=False)
    with pytest.raises(UserError, match="there is no column track_id: the cells are not linked from frame to frame. link them with --link laptrack"):
        read_cells(tmp_path / "cells.csv", archive)
    assert read_cells(tmp_path / "cells.csv", archive, link="laptrack").table["track_id"].value_counts().tolist() == [12] * 9
    walkers(step_px=1).to_csv(tmp_path / "tracks.csv", index=False)
    with pytest.raises(UserError, match="tracks.csv: the table has track ids already. leave --link out"):
        read_cells(tmp_path / "tracks.csv", archive, link="laptrack")


def test_without_laptrack_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "laptrack", None)
    with pytest.raises(UserError, match=r'linking cells needs the library laptrack. install it with: pip install "cellvjepa\[tracking\]"'):
        linked(walkers())


def divided(daughters: float) -> pd.DataFrame:
    """A cell of 100 px that is two cells from frame 6 on, each with a share of its area; and one that rests far away."""
    rows = [(t, 20.0, 20.0, 100.0) for t in range(6)]
    rows += [(t, 20.0, 20.0 + side * 3, 100.0 * daughters) for t in range(6, 12) for side in (-1, 1)]
    rows += [(t, 80.0, 80.0, 100.0) for t in range(12)]
    return pd.DataFrame(rows, columns=["t", "y_px", "x_px", "area_px"])


def test_divisions_are_looked_for_on_request_and_areas_must_fit() -> None:
    from cellvjepa.config import LinkConfig

    assert "parent_track_id" not in linked(divided(0.5)).columns
    found = linked(divided(0.5), LinkConfig(divisions=True))
    born = found.drop_duplicates("track_id").set_index("track_id")["parent_track_id"]
    mother = int(found.loc[(found["t"] == 0) & (found["y_px"] == 20), "track_id"].iloc[0])
    assert sorted(born) == [-1, -1, mother, mother]
    assert set(found.loc[found["t"] < 6, "track_id"]) & set(born.index[born == mother]) == set()
    # A neighbour of the same size that comes up is no daughter.
    assert set(linked(divided(1.0), LinkConfig(divisions=True))["parent_track_id"]) == {-1}


def test_a_gap_of_no_frame_is_not_bridged() -> None:
    from cellvjepa.config import LinkConfig

    table = walkers(step_px=0.5)
    table = table[~((table["true"] == 3) & (table["t"] == 5))]
    assert numbered_anew(table).pipe(linked)["track_id"].nunique() == 9
    assert linked(numbered_anew(table), LinkConfig(gap_frames=0))["track_id"].nunique() == 10
