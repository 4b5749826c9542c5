from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellvjepa.config import EmbedConfig
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.encoding import encode_tokens, tokens_of_clips, vectors_of_clips
from cellvjepa.embedding.pooling import pool
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import UserError
from cellvjepa.movies.clips import read_clip
from cellvjepa.movies.movie import PixelSize
from cellvjepa.movies.reference import Reference, position_scale


def test_channels_are_encoded_apart(encoder):
    pixels = torch.rand(3, 2, 4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    tokens = encode_tokens(encoder, pixels)
    assert tokens.shape == (3, 2, 8, 24)
    assert tokens.dtype == torch.float32
    assert not tokens.requires_grad
    for channel in range(2):
        assert torch.equal(tokens[:, channel], encoder(pixels[:, channel : channel + 1]))


def test_pooling_is_mean_and_spread_per_channel():
    tokens = torch.rand(3, 2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, moments = pool(tokens, "mean"), pool(tokens, "moments")
    assert mean.shape == (3, 10)
    assert moments.shape == (3, 20)
    assert torch.equal(mean[:, 5:], pool(tokens[:, 1], "mean"))
    assert torch.equal(moments[:, :10], pool(tokens[:, 0], "moments"))
    np.testing.assert_allclose(moments[:, 5:10], tokens[:, 0].numpy().std(axis=1), rtol=1e-12)


@pytest.mark.parametrize("how", ["mean", "moments"])
def test_a_row_is_the_pooled_encoding_of_its_clip(toy, tmp_path, how):
    store = embed_windows(
        toy.encoder, toy.movies, toy.windows, toy.shape, toy.config.model_copy(update={"pool": how}), tmp_path / "s.zarr", toy.source
    )
    found = open_store(store)
    assert found.table["clip_id"].tolist() == toy.windows.table["clip_id"].tolist()
    named = {movie.name: movie for movie in toy.movies}
    for row in (0, 7, 20, 36, 71):
        clip = toy.windows.clips[row]
        # Channels come in the order of the first movie, whatever their order in this one.
        pixels = read_clip(named[clip.movie], clip, replace(toy.shape, channels=("dna", "actin")))
        expected = pool(encode_tokens(toy.encoder, torch.from_numpy(pixels)[None]), how)[0].numpy()
        np.testing.assert_allclose(found.vectors_ND[row : row + 1][0], expected, atol=1e-5)
    statistics = ["mean"] * 24 + ["std"] * 24 if how == "moments" else ["mean"] * 24
    assert found.features["statistic"].tolist() == statistics * 2
    assert found.features["channel"].tolist() == ["dna"] * len(statistics) + ["actin"] * len(statistics)
    assert found.features.index[0] == "e000"


def test_tokens_of_clips_are_those_that_are_pooled(toy, tmp_path):
    clips = toy.windows.clips[30:45]
    seen = []
    tokens = tokens_of_clips(
        toy.encoder, toy.movies, clips, toy.shape, batch_size=4, progress=lambda stage, done, total: seen.append((stage, done, total))
    )
    assert tokens.shape == (15, 2 * 8, 24)
    assert seen == [("encoding clips", done, 15) for done in (4, 8, 12, 15)]
    vectors = vectors_of_clips(toy.encoder, toy.movies, clips, toy.shape, "mean", batch_size=4)
    np.testing.assert_allclose(vectors, pool(tokens.unflatten(1, (2, 8)), "mean"), atol=1e-6)
    found = open_store(embed_windows(toy.encoder, toy.movies, toy.windows, toy.shape, toy.config, tmp_path / "s.zarr", toy.source))
    np.testing.assert_allclose(found.vectors_ND[30:45], vectors, atol=1e-5)


def test_positions_are_scaled_by_the_sampling(toy):
    movie = toy.movies[0]
    assert position_scale(movie, toy.shape, Reference()) == (1, 1, 1, 1)
    assert position_scale(movie, toy.shape, Reference(60.0, PixelSize(None, 0.5, 0.5))) == (1, 1, 1, 1)
    assert position_scale(movie, toy.shape, Reference(30.0, PixelSize(1.0, 0.25, 1.0))) == (2, 1, 2, 0.5)
    assert position_scale(replace(movie, pixel_um=None, interval_s=None), toy.shape, Reference(30.0, PixelSize(1.0, 0.25, 1.0))) == (1, 1, 1, 1)
    clips = toy.windows.clips[:3]
    tokens = tokens_of_clips(toy.encoder, toy.movies, clips, toy.shape, reference=Reference(30.0, None))
    pixels = torch.stack([torch.from_numpy(read_clip(movie, clip, toy.shape)) for clip in clips])
    expected = toy.encoder(pixels[:, :1], scale_4=torch.tensor([2.0, 1, 1, 1]))
    np.testing.assert_allclose(tokens[:, :8], expected, atol=1e-5)
    assert not np.allclose(tokens[:, :8], toy.encoder(pixels[:, :1]), atol=1e-5)


def test_the_same_embedding_twice_is_computed_once(toy, tmp_path):
    args = (toy.movies, toy.windows, toy.shape, toy.config, tmp_path / "s.zarr", toy.source)
    embed_windows(toy.encoder, *args)
    calls = []

    class Counting(torch.nn.Module):
        shape = toy.encoder.shape

        def forward(self, *_, **__):
            calls.append(1)

    seen = []
    embed_windows(Counting(), *args, progress=lambda *event: seen.append(event))
    assert not calls
    assert seen == [("embedding", 72, 72)]


def test_movies_with_other_channels_are_refused(toy, tmp_path):
    other = (toy.movies[0], replace(toy.movies[1], channels=("actin", "golgi")))
    with pytest.raises(UserError, match=r"b.tif: its channels \(actin, golgi\) are not those of a.tif \(dna, actin\)\. .*clip.channels=\[actin\]"):
        embed_windows(toy.encoder, other, toy.windows, toy.shape, toy.config, tmp_path / "s.zarr", toy.source)
    none = (toy.movies[0], replace(toy.movies[1], channels=("er", "golgi")))
    with pytest.raises(UserError, match="embed them into stores of their own"):
        embed_windows(toy.encoder, none, toy.windows, toy.shape, toy.config, tmp_path / "s.zarr", toy.source)
    assert not list(tmp_path.iterdir())
    chosen = replace(toy.shape, channels=("actin",))
    store = embed_windows(toy.encoder, other, toy.windows, chosen, toy.config, tmp_path / "s.zarr", toy.source)
    assert open_store(store).vectors_ND.shape == (72, 24)


def test_nothing_to_embed_is_said(toy, tmp_path, first_rows):
    with pytest.raises(UserError, match="nothing to embed: no windows. give cells"):
        embed_windows(toy.encoder, toy.movies, first_rows(toy.windows, 0), toy.shape, toy.config, tmp_path / "s.zarr", toy.source)


def test_an_unknown_device_is_refused_before_anything_is_written(toy, tmp_path):
    with pytest.raises(UserError, match="there is no device named 'gpu'"):
        embed_windows(toy.encoder, toy.movies, toy.windows, toy.shape, EmbedConfig(device="gpu"), tmp_path / "s.zarr", toy.source)
    assert not list(tmp_path.iterdir())


def test_a_diverged_encoder_is_said(toy, tmp_path):
    import copy

    broken = copy.deepcopy(toy.encoder)
    broken.norm.weight.data[0] = float("nan")
    with pytest.raises(UserError, match="runs/toy: the encoder's output is not finite. its training has diverged"):
        embed_windows(broken, toy.movies, toy.windows, toy.shape, toy.config, tmp_path / "s.zarr", toy.source)
    assert not (tmp_path / "s.zarr").exists()
