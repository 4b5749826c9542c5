"""The baselines of a store, computed again from its movies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellvjepa.cells.windows import grid_windows
from cellvjepa.config import Config
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.provenance import Source
from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.errors import Cancelled
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder, save_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive
from cellvjepa.probing.baselines import HAND_MADE, SINGLE_FRAME, TIME_SHUFFLED, UNTRAINED, baseline_features

Made = tuple[Embeddings, Sequence[Movie], Encoder]


@pytest.fixture
def made(tiny_config: Config, tmp_path: Path) -> Callable[[Path], Made]:
    """Embed all of an archive by a network of random weights."""

    def make(archive: Path) -> Made:
        save_encoder(build_vjepa(tiny_config, seed=0).target_encoder, tmp_path / "run", {"config": tiny_config.model_dump(mode="json")})
        movies = [with_levels(movie) for movie in open_archive(archive).movies]
        encoder, card = load_encoder(tmp_path / "run")
        shape = ClipShape.of(tiny_config.clip)
        source = Source.of(card, tmp_path / "run", [archive])
        store = embed_windows(encoder, movies, grid_windows(movies, shape), shape, tiny_config.embed, tmp_path / "grid.zarr", source)
        return open_store(store), movies, encoder

    return make


@pytest.fixture
def still_archive(tmp_path: Path) -> Path:
    """One movie in which nothing ever happens."""
    frame = np.random.default_rng(0).poisson(200, (48, 40)).astype(np.uint16)
    (tmp_path / "still").mkdir()
    tifffile.imwrite(tmp_path / "still" / "field1.tif", np.repeat(frame[None], 24, axis=0), imagej=True, metadata={"axes": "TYX"})
    return tmp_path / "still"


def test_where_nothing_happens_time_is_worth_nothing(made: Callable[[Path], Made], still_archive: Path, tiny_config: Config) -> None:
    """And so the encoder without time gives the very vectors of the store, which proves that clips are read and encoded as those were."""
    embeddings, movies, encoder = made(still_archive)
    rows = np.arange(len(embeddings))
    found = baseline_features(embeddings, rows, movies, encoder, tiny_config.probe)
    for name in (SINGLE_FRAME, TIME_SHUFFLED):
        np.testing.assert_allclose(found[name], embeddings.vectors_at(rows), rtol=1e-4, atol=1e-5)
    assert np.abs(found[UNTRAINED] - embeddings.vectors_at(rows)).max() > 0.1


def test_baselines_follow_the_rows_that_are_asked_for(made: Callable[[Path], Made], toy_archive: Path, tiny_config: Config) -> None:
    embeddings, movies, encoder = made(toy_archive)
    told: list[tuple[str, int, int]] = []
    everything = baseline_features(embeddings, np.arange(len(embeddings)), movies, encoder, tiny_config.probe, lambda *step: told.append(step))
    assert list(everything) == [HAND_MADE, UNTRAINED, SINGLE_FRAME, TIME_SHUFFLED]
    assert told[-1] == ("baselines", len(embeddings), len(embeddings))
    assert all(values.dtype == np.float32 and np.isfinite(values).all() for values in everything.values())
    vectors = embeddings.vectors_at(np.arange(len(embeddings)))
    for name in (SINGLE_FRAME, TIME_SHUFFLED, UNTRAINED):
        assert everything[name].shape == vectors.shape
        assert np.abs(everything[name] - vectors).max() > 1e-3, f"{name} must not be the store itself"
    backwards = np.array([5, 3, 0])
    some = baseline_features(embeddings, backwards, movies, encoder, tiny_config.probe)
    for name, values in some.items():
        np.testing.assert_allclose(values, everything[name][backwards], rtol=1e-3, atol=1e-4)


def test_a_clip_of_one_frame_has_no_time_to_lose(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    one = tiny_config.model_copy(
        update={"clip": tiny_config.clip.model_copy(update={"frames": 1}), "model": tiny_config.model.model_copy(update={"tubelet": (1, 1, 8, 8)})}
    )
    save_encoder(build_vjepa(one, seed=0).target_encoder, tmp_path / "run", {"config": one.model_dump(mode="json")})
    movies = [with_levels(movie) for movie in open_archive(toy_archive).movies]
    encoder, card = load_encoder(tmp_path / "run")
    shape = ClipShape.of(one.clip)
    source = Source.of(card, tmp_path / "run", [toy_archive])
    store = open_store(embed_windows(encoder, movies, grid_windows(movies, shape), shape, one.embed, tmp_path / "grid.zarr", source))
    assert list(baseline_features(store, np.arange(4), movies, encoder, one.probe)) == [HAND_MADE, UNTRAINED]


def test_it_can_be_cancelled(made: Callable[[Path], Made], toy_archive: Path, tiny_config: Config) -> None:
    embeddings, movies, encoder = made(toy_archive)

    def stop(stage: str, done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        baseline_features(embeddings, np.arange(4), movies, encoder, tiny_config.probe, stop)
