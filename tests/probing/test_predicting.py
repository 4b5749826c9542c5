"""A probe on a whole store: linear on its vectors, attentive on its movies, which are read again."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from cellvjepa.cells.windows import grid_windows
from cellvjepa.config import Config
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.provenance import Source
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder, save_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.readers import open_archive
from cellvjepa.probing import tokens as tokens_module
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.predicting import predict_store
from cellvjepa.probing.probe import FeatureSpec, Kind, fit_probe, predict, save_probe
from cellvjepa.probing.token_cache import TokenCache
from cellvjepa.probing.tokens import TokenSource

LONG_AGO_S = 1_600_000_000


@pytest.fixture
def store(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> Path:
    shutil.copytree(toy_archive, tmp_path / "movies")
    for path in [*(tmp_path / "movies").rglob("*"), tmp_path / "movies"]:
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    save_encoder(build_vjepa(tiny_config, seed=0).target_encoder, tmp_path / "run", {"config": tiny_config.model_dump(mode="json")})
    movies = [with_levels(movie) for movie in open_archive(tmp_path / "movies").movies]
    shape = ClipShape.of(tiny_config.clip)
    encoder, card = load_encoder(tmp_path / "run")
    source = Source.of(card, tmp_path / "run", [tmp_path / "movies"])
    embed_windows(encoder, movies, grid_windows(movies, shape), shape, tiny_config.embed, tmp_path / "grid.zarr", source)
    return tmp_path / "grid.zarr"


def fitted(store: Path, kind: Kind, config: Config) -> np.ndarray:
    """Fit a probe on all rows, save it beside the store, and return the features."""
    embeddings = open_store(store)
    rows = np.arange(len(embeddings))
    features = TokenSource.of(embeddings).tokens(rows) if kind == "attentive" else embeddings.vectors_at(rows)
    labels = Labels(rows, np.array(["a", "b"])[rows % 2], embeddings.table, "labels.csv")
    settings = config.probe.model_copy(update={"kind": kind, "attentive_steps": 3, "attentive_search": False})
    probe = fit_probe(features, labels, FeatureSpec.of(embeddings.provenance, features), settings)
    save_probe(probe, store.parent / "probe")
    return predict(probe, features)[["p_a", "p_b"]].to_numpy()


@pytest.mark.parametrize("kind", ["linear", "attentive"])
def test_a_store_is_predicted_block_by_block(store: Path, tiny_config: Config, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fitted(store, kind, tiny_config)
    monkeypatch.setattr(tokens_module, "_ROWS_AT_ONCE", 3)
    told: list[tuple[str, int, int]] = []
    table, probe = predict_store(store, store.parent / "probe", progress=lambda *step: told.append(step))
    assert probe.kind == kind
    np.testing.assert_allclose(table[["p_a", "p_b"]], expected, atol=2e-3)
    rows = len(expected)
    assert told[-1] == ("predicting", rows, rows)
    assert {(stage, total) for stage, _, total in told} == {("predicting", rows)}
    assert {done for _, done, _ in told} >= ({rows} if kind == "linear" else set(range(3, rows + 1, 3)))


def test_tokens_are_computed_once(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, cache = TokenSource.of(open_store(store)), TokenCache(tmp_path / "cache", 10**9)
    rows = np.array([3, 0, 2])
    first = source.tokens(rows, cache)
    assert np.array_equal(first, source.tokens(rows))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    files = sorted((tmp_path / "cache").rglob("*.tokens"))
    assert len(files) == 3
    files[0].write_bytes(files[0].read_bytes()[:-2])
    assert np.array_equal(source.tokens(rows, cache), first)  # the damaged one is computed again, and kept
    monkeypatch.setattr(tokens_module, "token_features", refuse)
    assert np.array_equal(source.tokens(rows[::-1], cache), first[::-1])
    with pytest.raises(AssertionError, match="computed again"):
        source.tokens(np.array([1]), cache)


def test_what_was_done_before_a_cancellation_is_kept(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "_ROWS_AT_ONCE", 2)

    def stop(stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("encoding clips", 6)
        if done >= 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        TokenSource.of(open_store(store)).tokens(np.arange(6), TokenCache(tmp_path / "cache", 10**9), stop)
    assert len(list((tmp_path / "cache").rglob("*.tokens"))) == 2  # the block that was being encoded is not


def test_rows_that_are_not_finite_get_no_class(store: Path, tiny_config: Config) -> None:
    fitted(store, "linear", tiny_config)
    vectors = zarr.open_array(store / "X", mode="r+")
    vectors[1, 0] = np.nan
    table, _ = predict_store(store, store.parent / "probe")
    assert table.isna().all(axis=1).tolist() == [row == 1 for row in range(len(table))]


def test_movies_that_are_gone_and_other_encoders_are_named(store: Path, tiny_config: Config) -> None:
    fitted(store, "attentive", tiny_config)
    shutil.move(store.parent / "movies", store.parent / "elsewhere")
    with pytest.raises(UserError, match=r"this probe reads tokens, so it needs the movies and the model again: .*--kind linear"):
        predict_store(store, store.parent / "probe")
    embeddings = open_store(store)
    source = replace(embeddings.provenance.source, checkpoint_sha256="b" * 64)
    other = replace(embeddings.provenance, source=source)
    features = embeddings.vectors_at(np.arange(4))
    labels = Labels(np.arange(4), np.array(["a", "b", "a", "b"]), embeddings.table[:4], "labels.csv")
    save_probe(fit_probe(features, labels, FeatureSpec.of(other, features), tiny_config.probe), store.parent / "other")
    with pytest.raises(UserError, match="the probe was made from other features: encoder_sha256 is bbbbbbbbbbbb there"):
        predict_store(store, store.parent / "other")
