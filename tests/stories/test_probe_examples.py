"""Examples are the very clips of the rows that are named."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cellvjepa.cells.windows import grid_windows
from cellvjepa.config import Config
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.provenance import Source
from cellvjepa.embedding.store import open_store
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder, save_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import read_clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.readers import open_archive
from cellvjepa.stories.probe_examples import examples_or_trouble, examples_section, read_examples


@pytest.fixture
def store(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> Path:
    """A grid of two movies, three windows in time each, beside the movies."""
    shutil.copytree(toy_archive, tmp_path / "movies")
    save_encoder(build_vjepa(tiny_config, seed=0).target_encoder, tmp_path / "run", {"config": tiny_config.model_dump(mode="json")})
    movies = [with_levels(movie) for movie in open_archive(tmp_path / "movies").movies]
    shape = ClipShape.of(tiny_config.clip)
    encoder, card = load_encoder(tmp_path / "run")
    source = Source.of(card, tmp_path / "run", [tmp_path / "movies"])
    return embed_windows(encoder, movies, grid_windows(movies, shape), shape, tiny_config.embed, tmp_path / "grid.zarr", source)


def examples(*found: tuple[str, int, str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(found, columns=["kind", "row", "label", "predicted", "probability"])


def test_the_clips_of_the_rows_are_shown(store: Path, tiny_config: Config) -> None:
    rows = [5, 0, 2]
    asked = examples(*(("most certain", row, "early", "early", 0.9 - row / 100) for row in rows), ("confidently wrong", 2, "early", "late", 0.7))
    certain, wrong = read_examples(str(store), asked)
    assert (certain.kind, certain.label, certain.caption) == ("most certain", "early", "probability 0.85, 0.90, 0.88")
    assert wrong.caption == "taken for late (0.70)"
    movies = [with_levels(movie) for movie in open_archive(store.parent / "movies").movies]
    shape = ClipShape.of(tiny_config.clip)
    windows = grid_windows(movies, shape)
    named = {movie.name: movie for movie in movies}
    with Image.open(io.BytesIO(certain.gif)) as gif:
        assert gif.n_frames == 8  # type: ignore[attr-defined]
        shown = np.asarray(gif.convert("L"), np.float64)
    zoom = 96 // shape.size_px
    for place, row in enumerate(rows):
        left = place * (32 * zoom + 4)
        clip = windows.clips[list(open_store(store).table["clip_id"]).index(windows.clips[row].clip_id)]
        wanted = read_clip(named[clip.movie], clip, shape)[0, 0].max(axis=0).clip(0, 1) * 254
        np.testing.assert_allclose(shown[::zoom, left : left + 32 * zoom : zoom], wanted, atol=4)


def test_of_many_only_a_few_are_read(store: Path) -> None:
    many = examples(*(("most uncertain", row, f"class {k}", "other", 0.5) for k in range(30) for row in range(6)))
    told: list[tuple[str, int, int]] = []
    shown = read_examples(str(store), many, lambda *step: told.append(step))
    assert len(shown) == 8
    assert told == [("reading examples", 3, 3)]


def test_what_cannot_be_shown_is_said(store: Path) -> None:
    asked = examples(("most certain", 0, "early", "early", 0.9))
    assert examples_or_trouble("", asked) == ((), "")
    assert examples_or_trouble(str(store), asked.iloc[:0]) == ((), "")
    shutil.rmtree(store.parent / "movies")
    shown, trouble = examples_or_trouble(str(store), asked)
    assert shown == ()
    assert "movies" in trouble
    (note,) = examples_section(shown, trouble).blocks
    assert note.text == f"The clips cannot be shown: {trouble}"  # type: ignore[union-attr]
