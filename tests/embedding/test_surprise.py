from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cellvjepa.cells.table import checked_cells
from cellvjepa.embedding.cell_surprise import add_surprise, cells_surprise, write_cells_surprise
from cellvjepa.embedding.map_image import open_map
from cellvjepa.embedding.provenance import reference_of
from cellvjepa.embedding.store import open_store
from cellvjepa.embedding.surprise import MAP, Foreteller, surprise_of_movie, write_surprise
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.model.encoder import EncoderShape, cut_tubelets
from cellvjepa.model.grid import grid_of
from cellvjepa.model.layers import gather_tokens
from cellvjepa.model.predictor import PredictorShape
from cellvjepa.model.predictor_file import PredictorCard, load_predictor
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.readers import open_movie
from cellvjepa.movies.reference import UNKNOWN
from tests.embedding.conftest import SHAPE, make_movie

CARD = PredictorCard(PredictorShape(12, 1, 1, 2), ("blocks", "future"), 1, True, "0" * 64)


class Averages(torch.nn.Module):
    """Says of each tubelet the mean of its pixels."""

    shape = EncoderShape((2, 1, 8, 8), 1, 1, 1, "interleaved", ("t", "y", "x"))

    def grid_of(self, pixels):
        return grid_of(*pixels.shape[2:], self.shape.tubelet)

    def forward(self, pixels, keep=None, scale_4=None, groups=()):
        means = cut_tubelets(pixels, self.shape.tubelet).mean(-1, keepdim=True)
        return means if keep is None else gather_tokens(means, keep)


class Persistence(torch.nn.Module):
    """Foretells of each place the mean of what is seen there at other times."""

    def forward(self, context, masks, tokens, grid, scale_4):
        said = []
        for seen, mask in zip(torch.split(context, [m.context_BK.shape[1] for m in masks], dim=1), masks, strict=True):
            said.append(seen.reshape(len(seen), -1, grid.per_step, 1).mean(dim=1))
            assert mask.target_BM.shape[1] == grid.per_step
        return said


class Persistent(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.context_encoder, self.target_encoder, self.predictor = Averages(), Averages(), Persistence()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def targets(self, pixels, scale):
        return self.target_encoder(pixels)


def flashing():
    """A still movie of 12 frames, 32 x 48 px; the token at (1, 3) flashes in frames 6 and 7.

    ::

        . . . . . .
        . . . * . .   track 1 is there, track 2 at (2, 1), where nothing happens
        . 2 . . . .
        . . . . . .
    """
    pixels = np.full((12, 1, 1, 32, 48), 100, np.uint16)
    pixels[6:8, 0, 0, 8:16, 24:32] = 900
    movie = make_movie("flash.tif", pixels, ("dna",))
    table = pd.DataFrame(
        [{"movie": "flash.tif", "track_id": i, "t": t, "y_px": y, "x_px": x} for i, y, x in ((1, 11.5, 27.5), (2, 19.5, 11.5)) for t in range(12)]
    )
    return movie, checked_cells(table, [movie], Path("cells.csv"))


@pytest.mark.parametrize("seen", ["rest", "past"])
def test_surprise_is_where_and_when_something_happens(tmp_path, seen):
    movie, cells = flashing()
    foreteller = Foreteller(Persistent(), CARD, SHAPE, UNKNOWN, seen, refit=False)
    (path,) = write_surprise(foreteller, [movie], tmp_path)
    assert path == tmp_path / "flash.tif" / MAP
    found = np.asarray(open_map(path)[:])
    assert found.shape == (6, 1, 1, 4, 6)
    assert np.unravel_index(np.nanargmax(found), found.shape) == (3, 0, 0, 1, 3)
    assert found[3, 0, 0, 1, 3] == pytest.approx(0.8, abs=1e-5)  # 900 against 100, on levels of 0 and 1000
    elsewhere = np.ones((4, 6), bool)
    elsewhere[1, 3] = False
    np.testing.assert_allclose(np.nan_to_num(found[:, 0, 0, elsewhere]), 0, atol=1e-6)
    assert np.isnan(found[0]).all() == (seen == "past")
    table = cells_surprise(foreteller, [movie], cells, [path])
    assert list(table.columns) == ["movie", "track_id", "t", "y_px", "x_px", "surprise"]
    assert table["surprise"].idxmax() == 6
    # From the past, the end of the flash comes as a surprise as well.
    assert table["t"][table["surprise"] > 0.7].tolist() == ([6, 7] if seen == "rest" else [6, 7, 8, 9])
    assert (table.loc[table["track_id"] == 2, "surprise"].dropna() < 1e-6).all()
    written = pd.read_csv(write_cells_surprise(table, tmp_path))
    np.testing.assert_allclose(written["surprise"], table["surprise"], rtol=1e-4)


def test_a_fitted_layer_finds_the_same_and_is_what_a_command_without_more_uses(tmp_path):
    """Over a noisy ground: where nothing varies there is nothing to fit."""
    movie, _ = flashing()
    noise = np.random.default_rng(0).integers(-30, 30, movie.pixels.array.shape)
    movie = make_movie("flash.tif", (movie.pixels.array + noise).astype(np.uint16), ("dna",))
    foreteller = Foreteller(Persistent(), CARD, SHAPE, UNKNOWN)
    (path,) = write_surprise(foreteller, [movie], tmp_path)
    found = np.asarray(open_map(path)[:])
    assert np.unravel_index(found.argmax(), found.shape) == (3, 0, 0, 1, 3)
    assert found.max() > 10 * np.median(found)
    with pytest.raises(UserError, match=r"made in another way \(refit is .* there and None now\)"):
        write_surprise(replace(foreteller, refit=False), [movie], tmp_path)


def test_a_movie_in_which_nothing_is_said_can_be_fitted(tmp_path):
    still = make_movie("still.tif", np.full((8, 1, 1, 16, 16), 100, np.uint16), ("dna",))
    (path,) = write_surprise(Foreteller(Persistent(), CARD, SHAPE, UNKNOWN), [still], tmp_path)
    np.testing.assert_allclose(np.asarray(open_map(path)[:]), 0, atol=1e-3)


def test_a_cell_is_the_mean_over_its_disc(tmp_path):
    movie, _ = flashing()
    rows = [
        {"movie": "flash.tif", "track_id": i, "t": 6, "y_px": 11.5, "x_px": x, "area_px": a}
        for i, (x, a) in enumerate([(27.5, 40), (31.5, 40), (27.5, 400)])
    ]
    rows.append({"movie": "flash.tif", "track_id": 9, "t": 0, "y_px": -0.4, "x_px": 47.4, "area_px": 1.0})  # in the very corner
    foreteller = Foreteller(Persistent(), CARD, SHAPE, UNKNOWN, refit=False)
    maps = write_surprise(foreteller, [movie], tmp_path)
    inside, half, wide, corner = cells_surprise(foreteller, [movie], checked_cells(pd.DataFrame(rows), [movie], Path("c.csv")), maps)["surprise"]
    assert inside == pytest.approx(0.8 * 0.97, abs=0.05)  # a disc of one token reaches a little beyond the square token
    assert half == pytest.approx(inside / 2, abs=0.05)
    assert wide == pytest.approx(0.8 * 64 / 400, rel=0.15)
    assert corner == 0


def test_frames_that_fill_no_token_have_no_surprise(tmp_path):
    movie, cells = flashing()
    short = replace(movie, pixels=type(movie.pixels)(movie.pixels.array[:11]))
    foreteller = Foreteller(Persistent(), CARD, SHAPE, UNKNOWN, refit=False)
    table = replace(cells, table=cells.table[cells.table["t"] < 11].reset_index(drop=True))
    found = cells_surprise(foreteller, [short], table, write_surprise(foreteller, [short], tmp_path))
    assert found["surprise"].isna().tolist() == (found["t"] == 10).tolist()


def test_channels_are_foretold_apart(tmp_path):
    movie, _ = flashing()
    still = np.full_like(movie.pixels.array, 100)
    both = make_movie("flash.tif", np.concatenate([still, movie.pixels.array], axis=1), ("phase", "dna"))
    foreteller = Foreteller(Persistent(), CARD, SHAPE, UNKNOWN, refit=False)
    maps = write_surprise(foreteller, [both], tmp_path)
    _, cells = flashing()
    found = cells_surprise(foreteller, [both], cells, maps)
    assert found["surprise_phase"].max() == 0
    np.testing.assert_allclose(found["surprise"], found["surprise_dna"] / 2, rtol=1e-6)
    assert open_movie(maps[0]).channels == ("phase", "dna")


def test_clips_of_one_step_are_refused(tmp_path):
    movie, _ = flashing()
    with pytest.raises(UserError, match="a clip of this model is one time step, so nothing can be foretold from the rest"):
        write_surprise(Foreteller(Persistent(), CARD, replace(SHAPE, frames=2), UNKNOWN), [movie], tmp_path)


def test_a_cancelled_map_is_not_there_and_another_way_is_refused(tmp_path):
    movie, _ = flashing()
    foreteller = Foreteller(Persistent(), CARD, SHAPE, UNKNOWN, refit=False)

    def cancel(stage, done, total):
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        write_surprise(foreteller, [movie], tmp_path, batch_size=2, progress=cancel)
    assert not list(tmp_path.rglob("*.zarr"))
    write_surprise(foreteller, [movie], tmp_path)
    with pytest.raises(UserError, match=r"made in another way \(foretold_from is rest there and past now\)"):
        write_surprise(replace(foreteller, seen="past"), [movie], tmp_path)


def test_windows_of_a_store_get_the_mean_and_the_peak(store_of, toy):
    """The store's first rows are tracks 0 and 1 of a.tif, whose windows are [t_start, t_start + 4)."""
    store = store_of(np.zeros((3, 4), np.float32))  # three times the first window of track 0, 1, 2
    starts = open_store(store).table["t_start"]
    rows = [
        {"movie": "a.tif", "track_id": 1, "t": t, "y_px": 0.0, "x_px": 0.0, "surprise": s} for t, s in ((0, 0.1), (1, 0.5), (3, np.nan), (4, 9.0))
    ]
    assert starts.tolist() == [0, 0, 0]
    assert add_surprise(store, pd.DataFrame(rows), "rest") == 1
    found = open_store(store)
    np.testing.assert_allclose(found.table["surprise"], [np.nan, 0.3, np.nan])
    np.testing.assert_allclose(found.table["surprise_peak"], [np.nan, 0.5, np.nan])
    assert found.steps["surprise"] == {"foretold_from": "rest"}
    with pytest.raises(UserError, match="none of its rows is a cell of this table. give the store of the same movies and cells"):
        add_surprise(store, pd.DataFrame(rows).assign(movie="other.tif"), "rest")


def test_the_shipped_encoder_has_its_predictor(tmp_path, capsys):
    """It is answered to by the encoder itself, since the one it was trained with would take as much room again."""
    network, _, card = load_predictor("encoder_tiny")
    assert card.hides == ("blocks", "future")
    context, target = (part.state_dict() for part in (network.context_encoder, network.target_encoder))
    assert all(torch.equal(context[name], tensor) for name, tensor in target.items())
    pixels = np.random.default_rng(0).integers(0, 1000, (16, 1, 1, 64, 64)).astype(np.uint16)
    movie = make_movie("noise.tif", pixels, ("dna",))
    (path,) = write_surprise(Foreteller(network, card, ClipShape(16, None, 64, None, None, "max"), UNKNOWN), [movie], tmp_path)
    found = np.asarray(open_map(path)[:])
    assert found.shape == (4, 1, 1, 8, 8)
    assert (found > 0).all()


def test_the_map_of_one_movie_is_what_is_written_and_lies_where_it_was_made(tmp_path):
    """Of the model that comes along; a map that is there already is read and not made again."""
    network, card, predictor = load_predictor("encoder_tiny")
    pixels = np.random.default_rng(0).integers(0, 1000, (16, 2, 1, 64, 72)).astype(np.uint16)
    movie = make_movie("two.tif", pixels, ("dna", "actin"))
    found = surprise_of_movie("encoder_tiny", movie, tmp_path, ("actin",))
    shape = ClipShape(16, None, 64, None, ("actin",), "max")
    (path,) = write_surprise(Foreteller(network, predictor, shape, reference_of(card)), [movie], tmp_path / "again")
    np.testing.assert_array_equal(found.values_Ctzyx[0], np.asarray(open_map(path)[:, 0]))
    assert (found.places.shape, found.places.pitch) == ((4, 1, 8, 9), (4, 1, 8, 8))
    told = []
    again = surprise_of_movie("encoder_tiny", movie, tmp_path, ("actin",), progress=lambda *event: told.append(event))
    assert not told
    np.testing.assert_array_equal(again.values_Ctzyx, found.values_Ctzyx)
