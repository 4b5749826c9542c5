from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cellvjepa.cells.table import checked_cells
from cellvjepa.cli import run
from cellvjepa.config import Config, save_config
from cellvjepa.embedding.cell_surprise import add_surprise, cells_surprise, write_cells_surprise
from cellvjepa.embedding.foretelling import answers, hidden_steps, latent_errors, mask_token, step_masks, step_weights
from cellvjepa.embedding.map_image import open_map
from cellvjepa.embedding.readout import FOLDS, Sums
from cellvjepa.embedding.store import open_store
from cellvjepa.embedding.surprise import MAP, Foreteller, write_surprise
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.model.encoder import EncoderShape, cut_tubelets
from cellvjepa.model.grid import Grid, grid_of
from cellvjepa.model.layers import gather_tokens
from cellvjepa.model.predictor import PredictorShape
from cellvjepa.model.predictor_file import PredictorCard, load_predictor
from cellvjepa.model.vjepa import VJepa, build_vjepa
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.readers import open_movie
from cellvjepa.movies.reference import UNKNOWN
from cellvjepa.training.objectives.latent_l1 import latent_l1
from tests.embedding.conftest import SHAPE, make_movie

CARD = PredictorCard(PredictorShape(12, 1, 1, 2), ("blocks", "future"), 1, True, "0" * 64)


@pytest.fixture(scope="module")
def model(tiny_config: Config) -> VJepa:
    built = build_vjepa(tiny_config, 0)
    with torch.no_grad():  # else all positions and mask tokens would say nearly the same
        built.predictor.mask_tokens.normal_(generator=torch.Generator().manual_seed(1))
    return built.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.rand(2, 1, 8, 1, 32, 32, generator=torch.Generator().manual_seed(2))


GRID = Grid(4, 1, 4, 4)


def errors_of(model, pixels, seen, token=0):
    return latent_errors(answers(model, pixels, seen, token), GRID)


@pytest.mark.parametrize("seen", ["rest", "past"])
def test_the_error_is_the_one_that_training_makes_small(model, pixels, seen):
    """For each hidden step, the mean over its tokens is the loss of V-JEPA for that mask."""
    errors = errors_of(model, pixels, seen).reshape(2, 4, 16)
    for step, mask in zip(hidden_steps(GRID, seen), step_masks(GRID, seen, 2), strict=True):
        prediction = model(pixels, [mask])
        torch.testing.assert_close(errors[:, step].mean(), latent_l1(prediction.predicted[0], prediction.targets[0]), atol=1e-5, rtol=0)
    assert torch.isnan(errors[:, [i for i in range(4) if i not in hidden_steps(GRID, seen)]]).all()


def test_what_is_hidden_is_not_seen(model, pixels, monkeypatch):
    """Measured against constant targets, the error at a step does not change when its own pixels do, and that of others does."""
    monkeypatch.setattr(model, "targets", lambda clips, scale: torch.zeros(len(clips), 64, 24))
    other = pixels.clone()
    other[:, :, 4:6] = 0  # step 2
    before, after = (errors_of(model, clips, "rest").reshape(2, 4, 16) for clips in (pixels, other))
    torch.testing.assert_close(before[:, 2], after[:, 2], atol=0, rtol=0)
    assert not any(torch.equal(before[:, step], after[:, step]) for step in (0, 1, 3))


def test_the_past_does_not_see_the_future(model, pixels, monkeypatch):
    monkeypatch.setattr(model, "targets", lambda clips, scale: torch.zeros(len(clips), 64, 24))
    other = pixels.clone()
    other[:, :, 6:] = 0  # step 3
    before, after = (errors_of(model, clips, "past").reshape(2, 4, 16) for clips in (pixels, other))
    torch.testing.assert_close(before[:, 2:], after[:, 2:], atol=0, rtol=0)
    assert torch.isnan(before[:, :2]).all()


def test_it_asks_with_the_token_that_hid_whole_steps(model, pixels):
    assert mask_token(("blocks", "future", "blocks")) == 1
    assert mask_token(("blocks", "blocks")) == 1
    assert not torch.equal(errors_of(model, pixels, "rest", 0), errors_of(model, pixels, "rest", 1))


def test_all_that_a_layer_may_look_at_is_blind_to_the_hidden_step(model, pixels):
    other = pixels.clone()
    other[:, :, 4:6] = 0  # step 2
    before, after = (answers(model, clips, "rest", 0) for clips in (pixels, other))
    assert torch.equal(before[2].known, after[2].known)
    assert not torch.equal(before[2].target, after[2].target)
    assert not any(torch.equal(before[step].known, after[step].known) for step in (0, 1, 3))


class Clock(torch.nn.Module):
    """Says of each place which time step it is, as a vector with a one at that number."""

    def forward(self, pixels, keep, scale_4, groups):
        return torch.nn.functional.one_hot(keep // 16, 24).float()


@pytest.mark.parametrize(("seen", "nearest"), [("rest", [(1, 1), (0, 2), (1, 3), (2, 2)]), ("past", [(1, 1), (2, 2)])])
def test_the_layer_looks_at_the_same_place_just_before_and_after(model, pixels, monkeypatch, seen, nearest):
    monkeypatch.setitem(model._modules, "context_encoder", Clock())
    found = answers(model, pixels, seen, 0)
    assert [(set(one.before.argmax(-1).reshape(-1).tolist()), set(one.after.argmax(-1).reshape(-1).tolist())) for one in found] == [
        ({before}, {after}) for before, after in nearest
    ]
    place = Grid(1, 1, 4, 4)
    monkeypatch.setitem(model._modules, "context_encoder", model.target_encoder)
    kept = answers(model, pixels, seen, 0)[-1]
    seen_tokens = model.target_encoder(pixels, kept.mask.context_BK)[:, -place.tokens :]
    torch.testing.assert_close(kept.before, torch.nn.functional.layer_norm(seen_tokens, (24,)), atol=1e-5, rtol=0)


class Shrunk(torch.nn.Module):
    """A predictor that knows all and says a hundredth of it, turned round."""

    def __init__(self, turn_DD, known):
        super().__init__()
        self.turn_DD, self.known = turn_DD, known

    def forward(self, context, masks, tokens, grid, scale_4):
        return [gather_tokens(self.known, mask.target_BM) @ self.turn_DD / 100 + 3 for mask in masks]


def test_a_fitted_layer_brings_out_what_the_predictor_knows(model, monkeypatch):
    pixels = torch.rand(24, 1, 8, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    turn = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(3)))[0]
    known = model.targets(pixels)
    monkeypatch.setitem(model._modules, "predictor", Shrunk(turn * 100, known))
    folds_Bt = torch.arange(24)[:, None].expand(24, 4) % FOLDS
    sums, found = Sums(), answers(model, pixels, "rest", 0)
    for answer in found:
        sums.add(answer.known, answer.target, folds_Bt[:, answer.step])
    readout = sums.readout()
    fitted = [(readout.said(answer.known, folds_Bt[:, answer.step]) - answer.target).abs().mean() for answer in found]
    assert latent_errors(found, GRID).mean() > 2
    assert max(fitted) < 0.3 * (known - known.mean(dim=(0, 1))).abs().mean()
    # In units of how wrong the layer usually is.
    assert latent_errors(found, GRID, readout, folds_Bt).square().mean() == pytest.approx(1, abs=0.5)


def test_a_movie_in_which_nothing_is_said_can_be_fitted(tmp_path):
    still = make_movie("still.tif", np.full((8, 1, 1, 16, 16), 100, np.uint16), ("dna",))
    (path,) = write_surprise(Foreteller(Persistent(), CARD, SHAPE, UNKNOWN), [still], tmp_path)
    np.testing.assert_allclose(np.asarray(open_map(path)[:]), 0, atol=1e-3)


def test_steps_seen_from_both_sides_count_most():
    grid = Grid(4, 1, 2, 2)
    np.testing.assert_allclose(step_weights(grid, "rest"), [0.5, 1, 1, 0.5])
    np.testing.assert_allclose(step_weights(grid, "past"), [0, 0, 1, 1])
    assert hidden_steps(Grid(1, 1, 2, 2), "rest") == []


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


@pytest.fixture(scope="module")
def trained(toy_archive: Path, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    save_config(tiny_config, folder / "config.yaml")
    assert run(["pretrain", str(toy_archive), "--out", str(folder / "run"), "--config", str(folder / "config.yaml")]) == 0
    return folder / "run"


def test_the_command_from_a_run_to_maps_and_a_table(trained, toy_archive, tmp_path, capsys):
    import yaozarrs

    (tmp_path / "cells.csv").write_text("movie,track_id,t,y_px,x_px\n" + "".join(f"field1.tif,1,{t},12,{8 + t}\n" for t in range(24)))
    out = tmp_path / "maps"
    arguments = ["surprise", str(toy_archive), "--model", str(trained), "--out", str(out), "--cells", str(tmp_path / "cells.csv")]
    assert run(arguments) == 0
    assert "surprise.csv (24 rows)" in capsys.readouterr().out
    found = pd.read_csv(out / "surprise.csv")
    assert len(found) == 24
    assert (found["surprise"] > 0).all()
    for name in ("field1.tif", "field2.tif"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = yaozarrs.validate_zarr_store(str(out / name / MAP)).ome_metadata()
        assert isinstance(image, yaozarrs.v05.Image)
        assert [axis.name for axis in image.multiscales[0].axes] == list("tczyx")
        assert open_movie(out / name / MAP).shape == {"T": 12, "C": 1, "Z": 1, "Y": 6, "X": 5}
    written = (out / "field1.tif" / MAP / "zarr.json").stat().st_mtime_ns
    assert run(arguments) == 0
    assert (out / "field1.tif" / MAP / "zarr.json").stat().st_mtime_ns == written


def test_the_command_adds_columns_to_a_store_of_the_same_cells(trained, toy_archive, tmp_path, capsys):
    cells, store, out = tmp_path / "cells.csv", tmp_path / "cells.zarr", tmp_path / "maps"
    cells.write_text("movie,track_id,t,y_px,x_px\n" + "".join(f"field{n}.tif,1,{t},12,{8 + t}\n" for n in (1, 2) for t in range(24)))
    archive = [str(toy_archive), "--model", str(trained), "--cells", str(cells)]
    assert run(["embed", *archive, "--out", str(store)]) == 0
    before = open_store(store).table
    assert run(["surprise", *archive, "--out", str(out), "--store", str(store)]) == 0
    assert f"Store: {store} (surprise of {len(before)} rows)" in " ".join(capsys.readouterr().out.split())
    after = open_store(store).table
    pd.testing.assert_frame_equal(after[before.columns], before)
    each = pd.read_csv(out / "surprise.csv")
    for row in after.itertuples():
        window = each[(each["movie"] == row.movie) & (each["track_id"] == row.track_id) & each["t"].between(row.t_start, row.t_stop - 1)]["surprise"]
        assert len(window) == 8
        assert (row.surprise, row.surprise_peak) == pytest.approx((window.mean(), window.max()), rel=1e-4)
    assert run(["surprise", str(toy_archive), "--model", str(trained), "--out", str(out), "--store", str(store)]) == 2
    assert "a store has rows of cells, and no cells are given. add --cells" in " ".join(capsys.readouterr().err.split())


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


def test_a_model_without_predictor_is_said_in_one_line(trained, toy_archive, tmp_path, capsys):
    import shutil

    shutil.copytree(trained, tmp_path / "old")
    (tmp_path / "old" / "predictor.safetensors").unlink()
    capsys.readouterr()
    assert run(["surprise", str(toy_archive), "--model", str(tmp_path / "old"), "--out", str(tmp_path / "maps")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"cellvjepa: {tmp_path / 'old'}: this model comes without its predictor (no predictor.safetensors). ")
    assert error.count("\n") == 1
    assert not (tmp_path / "maps").exists()
