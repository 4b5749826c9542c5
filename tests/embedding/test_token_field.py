from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellvjepa.embedding import token_field
from cellvjepa.embedding.dense import COLOURS, FEATURES, write_dense_maps
from cellvjepa.embedding.encoding import encode_tokens
from cellvjepa.embedding.map_image import open_map
from cellvjepa.embedding.tiles import tile_movie, tiles_around
from cellvjepa.embedding.token_field import TokenField, field_of_clip, movie_tokens, token_similarity
from cellvjepa.embedding.token_places import TokenPlaces
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.model.grid import Grid
from cellvjepa.movies.clips import clip_at, read_clip
from cellvjepa.movies.reference import UNKNOWN
from tests.embedding.conftest import SHAPE


def some_field(steps=3, size=4, dim=6) -> TokenField:
    field = TokenField(TokenPlaces(Grid(steps, 1, size, size), (0, 0, 0, 0), (2, 1, 8, 8)))
    rng = np.random.default_rng(0)
    for step in range(steps):
        field.put(step, rng.normal(size=(1, size, size, dim)))
    return field


def test_similarity_is_the_cosine_and_one_at_the_token_itself():
    field = some_field()
    found = np.stack([token_similarity(field.tokens(step), field.tokens(1)[0, 2, 3]) for step in field.steps])
    assert found[1, 0, 2, 3] == pytest.approx(1, abs=1e-6)
    assert found.argmax() == np.ravel_multi_index((1, 0, 2, 3), found.shape)
    one, other = field.tokens(1)[0, 2, 3], field.tokens(0)[0, 1, 1]
    assert found[0, 0, 1, 1] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-6)
    # It is symmetric, and knows directions only.
    assert token_similarity(field.tokens(1), other)[0, 2, 3] == pytest.approx(found[0, 0, 1, 1], abs=1e-6)
    np.testing.assert_allclose(token_similarity(np.stack([3 * one, -one, 0 * one]), one), [1, -1, 0], atol=1e-6)


def test_the_tokens_of_a_clip_are_those_of_the_encoder(toy):
    movie, shape = toy.movies[0], replace(SHAPE, channels=("actin", "dna"))
    clip = clip_at(movie, shape, 3, 20.0, 21.0)
    field = field_of_clip(toy.encoder, movie, clip, shape, UNKNOWN)
    tokens_CND = encode_tokens(toy.encoder, torch.from_numpy(read_clip(movie, clip, shape))[None])[0].numpy()
    assert field.steps == (0, 1)
    for number, token in enumerate(np.ndindex(field.places.shape)):
        np.testing.assert_allclose(field.tokens(token[0])[token[1:]], np.concatenate([tokens_CND[0, number], tokens_CND[1, number]]), atol=1e-5)


def test_all_steps_of_a_movie_are_what_the_command_writes(toy, tmp_path):
    """Features equal to half precision, and the same colours."""
    movie = toy.movies[0]
    (folder,) = write_dense_maps(toy.encoder, [movie], SHAPE, UNKNOWN, tmp_path)
    looked = movie_tokens(toy.encoder, movie, SHAPE, UNKNOWN, batch_size=7)
    looked.compute_all()
    found = np.stack([looked.field.tokens(step) for step in looked.field.steps])
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), np.asarray(open_map(folder / FEATURES)[:]), atol=2e-3)
    painted = looked.field.colours().rgb(found)
    written = np.moveaxis(np.asarray(open_map(folder / COLOURS)[:]), 1, -1)
    assert np.abs(painted.astype(int) - written).max() <= 2


def test_steps_do_not_depend_on_the_order_in_which_they_are_asked_for(toy):
    movie = toy.movies[0]
    forth, back = (movie_tokens(toy.encoder, movie, SHAPE, UNKNOWN) for _ in range(2))
    for looked, steps in ((forth, (0, 2, 5)), (back, (5, 0, 3, 1))):
        for step in steps:
            looked.compute_around(step)
            assert step in looked.field.steps
    for step in set(forth.field.steps) & set(back.field.steps):
        np.testing.assert_array_equal(forth.field.tokens(step), back.field.tokens(step))


def test_each_step_is_looked_at_by_the_clips_in_whose_middle_it_lies(toy):
    movie = replace(toy.movies[0], pixels=type(toy.movies[0].pixels)(np.zeros((40, 2, 1, 32, 32), np.uint16)))
    tiling = tile_movie(movie, replace(SHAPE, frames=8), (2, 1, 8, 8))
    owned = []
    for step in range(tiling.grid.t):
        some, first, own = tiles_around(tiling, step)
        assert step in own
        assert first <= own[0] <= own[-1] < first + some.grid.t
        assert {tile.corner[0] for tile in some.tiles} == {0}
        assert {tile.clip.t0 for tile in some.tiles} == {first * tiling.frames_per_token}
        nearest = min(abs(2 * (step - tile.corner[0]) - tiling.clip_grid.t + 1) for tile in tiling.tiles)
        assert abs(2 * (step - first) - tiling.clip_grid.t + 1) == nearest
        owned += list(own) if step == own[0] else []
    assert owned == list(range(tiling.grid.t))


def test_what_was_put_in_first_is_forgotten_when_there_is_too_much(monkeypatch):
    monkeypatch.setattr(token_field, "_MOST_BYTES", 3 * 16 * 6 * 4)
    field = TokenField(TokenPlaces(Grid(4, 1, 4, 4), (0, 0, 0, 0), (2, 1, 8, 8)))
    for step in (2, 0, 1):
        field.put(step, np.ones((1, 4, 4, 6)))
    assert field.steps == (0, 1, 2)
    field.put(3, np.ones((1, 4, 4, 6)))
    assert field.steps == (0, 1, 3)


def test_a_movie_whose_features_do_not_fit_is_refused(toy, monkeypatch):
    monkeypatch.setattr(token_field, "_MOST_BYTES", 100)
    with pytest.raises(UserError, match=r"the features of the whole movie take 0\.0 GB of memory\. look at them as time goes"):
        movie_tokens(toy.encoder, toy.movies[0], SHAPE, UNKNOWN).compute_all()


def test_what_is_done_when_it_is_cancelled_is_kept(toy):
    looked = movie_tokens(toy.encoder, toy.movies[0], SHAPE, UNKNOWN, batch_size=4)

    def stop(stage: str, done: int, total: int) -> None:
        if len(looked.field.steps) >= 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        looked.compute_all(stop)
    assert 2 <= len(looked.field.steps) < looked.field.places.grid.t
