"""Embeddings that know where their cell is: crops that follow, weighted tokens, hidden neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cellvjepa.cells.outlines import Outlines, read_outline
from cellvjepa.cells.windows import Windows, windows_at
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.encoding import encode_tokens, encoded, vectors_of_clips
from cellvjepa.embedding.pooling import pool
from cellvjepa.embedding.reading import clips_of
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import UserError
from cellvjepa.movies.clips import read_clip
from cellvjepa.movies.movie import ArrayPixels
from cellvjepa.movies.reference import UNKNOWN

# Movie a.tif of the toy: a square of 8 px drifts to the right by 2 px per frame. In its label image it is track 3; a neighbour, 4, lies below.


@pytest.fixture(scope="module")
def labels(toy):
    pixels = np.zeros((12, 1, 1, 40, 48), np.uint16)
    for t in range(12):
        pixels[t, 0, 0, 10:18, 8 + 2 * t : 16 + 2 * t] = 3
        pixels[t, 0, 0, 20:26, 4:40] = 4
    return {"a.tif": replace(toy.movies[0], pixels=ArrayPixels(pixels), channels=("labels",), levels=None)}


def windows_that(toy, *, follow: bool) -> Windows:
    table = pd.DataFrame({"track_id": 3, "t_start": range(6), "y_px": 13.5, "x_px": [14.5 + 2 * t for t in range(6)]})
    return windows_at(toy.movies[0], toy.shape, table.assign(drift_y_px=0.0, drift_x_px=6.0) if follow else table)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("hide", [False, True])
def test_a_row_is_its_tokens_weighted_by_the_outline(toy, labels, tmp_path, follow, hide):
    windows = windows_that(toy, follow=follow)
    config = toy.config.model_copy(update={"pool": "dynamics", "mask_weight": 0.6, "hide_neighbours": hide})
    found = open_store(embed_windows(toy.encoder, toy.movies, windows, toy.shape, config, tmp_path / "s.zarr", toy.source, labels=labels))
    provenance = found.provenance
    assert (provenance.follow, provenance.mask_weight, provenance.hide_neighbours) == ("smooth" if follow else "still", 0.6, hide)
    assert clips_of(found, toy.movies) == windows.clips
    movie = toy.movies[0]
    for row in (0, 4):
        outline = read_outline(labels["a.tif"], movie, windows.clips[row], toy.shape)
        pixels = torch.from_numpy(read_clip(movie, windows.clips[row], toy.shape, outline.hidden() if hide else None))[None]
        grid = toy.encoder.grid_of(pixels[:, :1])
        cover = torch.from_numpy(outline.cover((grid.t, grid.z, grid.y, grid.x)))[None]
        expected = pool(encode_tokens(toy.encoder, pixels), "dynamics", grid, cover, 0.6)[0]
        np.testing.assert_allclose(found.vectors_ND[row : row + 1][0], expected.numpy(), atol=1e-5)


def test_in_a_crop_that_follows_the_cell_stands_still(toy, labels):
    clip = windows_that(toy, follow=True).clips[0]
    own = read_outline(labels["a.tif"], toy.movies[0], clip, toy.shape).own_TZYX
    assert (own == own[0]).all()
    assert own[0].sum() == 64
    still = read_outline(labels["a.tif"], toy.movies[0], windows_that(toy, follow=False).clips[0], toy.shape).own_TZYX
    assert not (still == still[0]).all()


def test_a_neighbour_that_is_hidden_leaves_no_trace(toy, labels):
    clips = windows_that(toy, follow=False).clips
    brighter = toy.movies[0].pixels.array.copy()
    brighter[:, :, :, 20:26, 4:40] += 900
    changed = (replace(toy.movies[0], pixels=ArrayPixels(brighter)),)

    def vectors(movies, hide):
        return vectors_of_clips(toy.encoder, movies, clips, toy.shape, "mean", outlines=Outlines(labels, 0.0, hide))

    assert np.abs(vectors(changed, False) - vectors(toy.movies, False)).max() > 0.01
    np.testing.assert_array_equal(vectors(changed, True), vectors(toy.movies, True))


def test_tokens_come_with_their_cover_only_where_it_counts(toy, labels):
    clips = windows_that(toy, follow=False).clips
    movies = {"a.tif": toy.movies[0]}
    for outlines, there in ((Outlines(), False), (Outlines(labels, 0.0, True), False), (Outlines(labels, 0.1), True)):
        for tokens_BCND, _, cover_BN in encoded(toy.encoder, movies, clips, toy.shape, UNKNOWN, 4, outlines):
            assert (cover_BN is not None) == there
            assert cover_BN is None or cover_BN.shape == (len(tokens_BCND), tokens_BCND.shape[2])


def test_missing_label_images_are_said_before_anything_is_written(toy, labels, tmp_path):
    config = toy.config.model_copy(update={"hide_neighbours": True})
    with pytest.raises(UserError, match="1 of 2 movies have no label image, the first is b.tif, and embed.hide_neighbours needs them"):
        embed_windows(toy.encoder, toy.movies, toy.windows, toy.shape, config, tmp_path / "s.zarr", toy.source, labels=labels)
    assert not list(tmp_path.iterdir())


def test_another_way_to_look_at_cells_is_another_store(toy, labels, tmp_path):
    def embed(follow=False, **changed):
        config = toy.config.model_copy(update=changed)
        windows = windows_that(toy, follow=follow)
        return embed_windows(toy.encoder, toy.movies, windows, toy.shape, config, tmp_path / "s.zarr", toy.source, labels=labels)

    embed()
    with pytest.raises(UserError, match="embed.follow is still in the store and smooth now"):
        embed(follow=True)
    with pytest.raises(UserError, match=r"embed.mask_weight is 0.0 in the store and 0.5 now"):
        embed(mask_weight=0.5)
