"""What a probe needs besides the store, and what happens where that is gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from cellvjepa.cells.windows import grid_windows
from cellvjepa.config import Config
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.provenance import Source
from cellvjepa.errors import UserError
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder, save_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.readers import open_archive
from cellvjepa.probing.evaluation import HAND_MADE, THIS_ENCODER, UNTRAINED, evaluate


@pytest.fixture
def labelled(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> Path:
    """A folder with movies, an encoder, a store of a grid, and labels that say when, which the fading spot tells."""
    shutil.copytree(toy_archive, tmp_path / "movies")
    save_encoder(build_vjepa(tiny_config, seed=0).target_encoder, tmp_path / "run", {"config": tiny_config.model_dump(mode="json")})
    movies = [with_levels(movie) for movie in open_archive(tmp_path / "movies").movies]
    shape = ClipShape.of(tiny_config.clip)
    windows = grid_windows(movies, shape)
    encoder, card = load_encoder(tmp_path / "run")
    source = Source.of(card, tmp_path / "run", [tmp_path / "movies"])
    embed_windows(encoder, movies, windows, shape, tiny_config.embed, tmp_path / "grid.zarr", source)
    lines = [f"field{m}.tif,-1,{'early' if t < 8 else 'late'},{t},{t + 8}" for m in (1, 2) for t in (0, 8, 16)]
    (tmp_path / "labels.csv").write_text("\n".join(["movie,track_id,label,t_start,t_stop", *lines]))
    return tmp_path


def test_baselines_stand_beside_the_probe(labelled: Path, tiny_config: Config) -> None:
    found = evaluate(labelled / "grid.zarr", labelled / "labels.csv", tiny_config.probe.model_copy(update={"folds": 2}))
    assert {HAND_MADE, UNTRAINED, THIS_ENCODER} < set(found.comparison["features"])
    assert found.notes == ()
    assert found.report.provenance["grouped by"] == "movie"


@pytest.mark.parametrize("gone", ["movies", "run"])
def test_a_linear_probe_does_without_movies_and_model_and_says_what_is_missing(labelled: Path, tiny_config: Config, gone: str) -> None:
    shutil.rmtree(labelled / gone)
    config = tiny_config.probe.model_copy(update={"folds": 2})
    found = evaluate(labelled / "grid.zarr", labelled / "labels.csv", config)
    assert set(found.comparison["features"]) == {"class prior", THIS_ENCODER}
    assert "missing from the comparison" in found.notes[0]
    with pytest.raises(UserError, match=r"an attentive probe needs the movies and the model again.*use --kind linear"):
        evaluate(labelled / "grid.zarr", labelled / "labels.csv", config.model_copy(update={"kind": "attentive"}))


def test_all_that_a_report_needs_is_there(labelled: Path, tiny_config: Config) -> None:
    config = tiny_config.probe.model_copy(update={"folds": 2, "bootstrap": 30})
    found = evaluate(labelled / "grid.zarr", labelled / "labels.csv", config)
    assert found.naive is not None
    assert found.naive.confusion_KK.sum() == found.report.confusion_KK.sum() == len(found.labels.rows_N)
    naive = found.naive.scores["balanced accuracy"].value
    assert found.gap.startswith(f"Split row by row, the same probe would score {naive:.2f} (balanced accuracy); split by movie it scores")
    assert found.calibration is not None
    assert sum(part.rows for part in found.calibration.bins) == len(found.labels.rows_N)
    assert set(found.examples["row"]) <= set(found.labels.rows_N)
    assert {"label", "suggested", "reason"} <= set(found.suspects)
    assert found.learning_curve["labels per class"].tolist() == ["1", "5", "all"]
    assert set(found.learning_curve["features"]) == {THIS_ENCODER}
    assert np.isfinite(found.learning_curve["balanced accuracy low"].to_numpy(float)).all()
    assert found.comparison.groupby("features")["labels per class"].apply(list).map(lambda numbers: numbers == ["1", "5", "all"]).all()


def test_rows_of_nan_are_left_out_and_said_so(labelled: Path, tiny_config: Config) -> None:
    config = tiny_config.probe.model_copy(update={"folds": 2, "bootstrap": 1})
    shutil.rmtree(labelled / "movies")  # quicker without baselines
    whole = evaluate(labelled / "grid.zarr", labelled / "labels.csv", config)
    vectors = zarr.open_array(labelled / "grid.zarr" / "X")
    gone = int(whole.labels.rows_N[3])
    vectors[gone, 2] = np.nan
    found = evaluate(labelled / "grid.zarr", labelled / "labels.csv", config)
    assert found.labels.rows_N.tolist() == [row for row in whole.labels.rows_N if row != gone]
    assert found.notes[0] == "1 labelled rows are not used: their embeddings hold NaN or infinity"
    assert np.isfinite([score.value for score in found.report.scores.values()]).all()
    vectors[:] = np.nan
    with pytest.raises(UserError, match=r"of NaN or infinity, and the other 0 are of fewer than two classes. make the store again"):
        evaluate(labelled / "grid.zarr", labelled / "labels.csv", config)


def test_too_few_groups_give_a_sentence_and_no_number(labelled: Path, tiny_config: Config) -> None:
    config = tiny_config.probe.model_copy(update={"folds": 5})
    with pytest.raises(UserError, match=r"form 2 group\(s\) by movie, fewer than the 5 folds: there is no honest score"):
        evaluate(labelled / "grid.zarr", labelled / "labels.csv", config)
