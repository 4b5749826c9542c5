"""Pretraining as a whole: it ends with the files of a run, and a run that was stopped anywhere continues exactly."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from cellvjepa.config import Config, load_config
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.batch import Batch
from cellvjepa.movies.buffers import Buffer
from cellvjepa.movies.clips import Clip
from cellvjepa.movies.readers import open_archive
from cellvjepa.movies.stream import Stream
from cellvjepa.training.checkpoint import list_checkpoints, save_checkpoint
from cellvjepa.training.examples import batch_positions, make_examples
from cellvjepa.training.loop import _resume
from cellvjepa.training.metrics import read_metrics
from cellvjepa.training.pretrain import _only_process, pretrain, run_config
from cellvjepa.training.trainer import Trainer

EXACT = ("step", "loss", "loss_ratio", "variance_covariance", "target_std", "rankme", "rankme_tokens", "grad_norm", "learning_rate", "momentum")

UNSCALED = {"movie": (1.0, 1.0, 1.0, 1.0)}


def with_training(config: Config, **values: object) -> Config:
    return config.model_copy(update={"training": config.training.model_copy(update=values)})


def history(run: Path) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in EXACT) for row in read_metrics(run / "metrics.jsonl")]  # type: ignore[literal-required]


@pytest.fixture(scope="module")
def finished(toy_archive: Path, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(open_archive(toy_archive).movies, tmp_path_factory.mktemp("runs") / "run", tiny_config)


def test_a_run_leaves_its_files(finished: Path, tiny_config: Config) -> None:
    assert run_config(finished) == tiny_config
    assert [row[0] for row in history(finished)] == list(range(tiny_config.training.steps + 1))
    assert [c.step for c in list_checkpoints(finished / "checkpoints")] == [2, 4, 6]
    encoder, card = load_encoder(finished)
    assert card.provenance["movies"] == ["field1.tif", "field2.tif"]
    assert card.provenance["interval_s"] == 60.0
    trained = torch.cat([p.flatten() for p in encoder.parameters()])
    fresh = torch.cat([p.flatten() for p in build_vjepa(tiny_config, seed=0).target_encoder.parameters()])
    assert not torch.equal(trained, fresh)


def test_metrics_are_finite_and_ranks_are_measured_when_due(finished: Path) -> None:
    rows = read_metrics(finished / "metrics.jsonl")
    for row in rows:
        assert all(np.isfinite(value) for value in row.values() if isinstance(value, float | int))
        assert 1 <= row["rankme"] <= 4
    assert rows[1]["rankme"] == rows[0]["rankme"]
    assert rows[4]["rankme"] != rows[0]["rankme"]


@pytest.mark.parametrize("stop", [1, 3])
def test_a_cancelled_run_continues_exactly(stop: int, finished: Path, toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    def stopping(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("pretraining", stop):
            raise Cancelled

    movies = open_archive(toy_archive).movies
    with pytest.raises(Cancelled):
        pretrain(movies, tmp_path / "run", tiny_config, progress=stopping)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].step == stop
    assert not (tmp_path / "run" / "encoder.safetensors").exists()
    pretrain(movies, tmp_path / "run", tiny_config, resume=True)
    assert history(tmp_path / "run") == history(finished)
    assert load_encoder(tmp_path / "run")[1].sha256 == load_encoder(finished)[1].sha256


def test_a_loss_that_is_not_finite_stops_before_the_step(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    config = with_training(tiny_config, learning_rate=1e25, warmup_share=0.0, checkpoint_every=1)
    with pytest.raises(UserError, match=r"the loss is not finite at step \d+ .*the last good checkpoint is kept\. lower training\.learning_rate"):
        pretrain(open_archive(toy_archive).movies, tmp_path / "run", config)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")
    assert not (tmp_path / "run" / "encoder.safetensors").exists()


def made_up_batch(pixels: np.ndarray) -> Batch:
    clips = tuple(Clip("movie", 0, 1, 0, 0, 0, (1, 32, 32), str(i)) for i in range(len(pixels)))
    shapes = (pixels.shape[2:],) * len(pixels)
    levels = np.tile([0.0, 1.0], (len(pixels), 1))
    return Batch(pixels.reshape(-1), shapes, levels, 32, clips, ("ch0",) * len(pixels), 0.0, Buffer(pixels.dtype))


def test_a_refused_step_changes_nothing(tiny_config: Config) -> None:
    model = build_vjepa(tiny_config, seed=0)
    trainer = Trainer(model, tiny_config, torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    examples = make_examples(0, made_up_batch(np.zeros((4, 1, 8, 1, 32, 32), np.float32)), tiny_config, UNSCALED, trainer.device)
    with pytest.raises(UserError, match="not finite at step 0"):
        trainer.step(0, replace(examples, pixels_B1TZYX=torch.full_like(examples.pixels_B1TZYX, torch.nan)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_accumulated_gradients_equal_those_of_the_whole_batch(tiny_config: Config) -> None:
    """The L1 part is a mean over clips, so cutting the batch must not change the step (terms with statistics of the batch see only their part)."""
    batch = made_up_batch(np.random.default_rng(0).random((4, 1, 8, 1, 32, 32), np.float32))
    norms = []
    for parts in (1, 2, 4):
        config = with_training(tiny_config, accumulation=parts, variance_covariance=0.0, auxiliary="none")
        trainer = Trainer(build_vjepa(config, seed=0), config, torch.device("cpu"))
        norms.append(trainer.step(0, make_examples(0, batch, trainer.config, UNSCALED, trainer.device)).grad_norm)
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-4)


def test_movies_at_another_sampling_keep_their_distances(tiny_config: Config) -> None:
    """A movie with twice the interval gets positions twice as far apart in time; one batch may hold both."""
    batch = made_up_batch(np.random.default_rng(0).random((4, 1, 8, 1, 32, 32), np.float32))
    plain, slow = ({"movie": (t, 1.0, 1.0, 1.0)} for t in (1.0, 2.0))
    assert batch_positions(batch, plain) is None
    assert batch_positions(batch, slow).tolist() == [[2.0, 1.0, 1.0, 1.0]] * 4  # type: ignore[union-attr]
    losses = []
    for scales in (plain, slow):
        trainer = Trainer(build_vjepa(tiny_config, seed=0), tiny_config, torch.device("cpu"))
        losses.append(trainer.evaluate(make_examples(0, batch, tiny_config, scales, trainer.device)).error)
    assert losses[0] != losses[1]


def test_single_frames_train(tmp_path: Path, tiny_config: Config) -> None:
    """I-JEPA is the same model with one time step."""
    rng = np.random.default_rng(0)
    for number in range(3):
        tifffile.imwrite(tmp_path / f"image{number}.tif", rng.integers(0, 255, (40, 40), dtype=np.uint8))
    config = load_config(None, ["clip.frames=1", "clip.size_px=32", "model.tubelet=[1, 1, 8, 8]", "model.dim=24", "model.depth=1", "model.heads=2",
                                "model.predictor_dim=12", "model.predictor_depth=1", "model.predictor_heads=1", "training.steps=2",
                                "training.batch_size=4", "training.live_blocks=2", "monitor.clips=4", "training.device=cpu"])  # fmt: skip
    run = pretrain(open_archive(tmp_path).movies, tmp_path / "run", config)
    encoder, _ = load_encoder(run)
    assert encoder(torch.rand(2, 1, 1, 1, 32, 32)).shape == (2, 16, 24)


def test_a_folder_with_a_run_is_not_overwritten(finished: Path, toy_archive: Path, tiny_config: Config) -> None:
    with pytest.raises(UserError, match=r"already holds a run\. add --resume"):
        pretrain(open_archive(toy_archive).movies, finished, tiny_config)


def test_resuming_with_another_configuration_is_refused(finished: Path, toy_archive: Path, tiny_config: Config) -> None:
    with pytest.raises(UserError, match=r"training\.steps: 6 there, 9 now"):
        pretrain(open_archive(toy_archive).movies, finished, with_training(tiny_config, steps=9), resume=True)
    assert run_config(finished) == tiny_config, "the refused configuration must not be written"


def test_resuming_where_there_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run to resume here"):
        run_config(tmp_path)


def test_weights_of_another_network_are_refused(finished: Path, toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    other = tiny_config.model_copy(update={"model": tiny_config.model.model_copy(update={"dim": 48})})
    with pytest.raises(UserError, match="a checkpoint of another configuration: dim is 24 there and 48 here"):
        pretrain(open_archive(toy_archive).movies, tmp_path / "run", other, init_from=finished)


def test_resuming_with_other_movies_is_refused(finished: Path, toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    """Clips would be others, and pixels would be standardised otherwise than the weights know them."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    movies = open_archive(toy_archive).movies
    with pytest.raises(UserError, match=r"other movies \(missing: field2\.tif; 2 then, 1 now\).*--init-from"):
        pretrain(movies[:1], run, tiny_config, resume=True)
    more = (*movies, replace(movies[0], name="field3.tif"))
    with pytest.raises(UserError, match=r"other movies \(new: field3\.tif; 2 then, 3 now\)"):
        pretrain(more, run, tiny_config, resume=True)
    (run / "begun_with.json").write_text("{")
    with pytest.raises(UserError, match=r"begun_with\.json: the file cannot be read"):
        pretrain(movies, run, tiny_config, resume=True)


def test_pixels_are_standardised_as_when_the_run_began(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    movies = open_archive(toy_archive).movies

    def stopping(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("pretraining", 1):
            raise Cancelled

    with pytest.raises(Cancelled):
        pretrain(movies, tmp_path / "run", tiny_config, progress=stopping)
    note = tmp_path / "run" / "begun_with.json"
    noted = json.loads(note.read_text())
    note.write_text(json.dumps(noted | {"pixel_mean": 0.125}))  # as if a part of the archive had been away then
    encoder, _ = load_encoder(pretrain(movies, tmp_path / "run", tiny_config, resume=True))
    assert (encoder.shape.pixel_mean, encoder.shape.pixel_std) == (0.125, noted["pixel_std"])


def test_a_resumed_run_computes_batches_in_as_many_parts(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    """How many fit the memory may be another number then, and what is a statistic of clips would change."""
    config = with_training(tiny_config, accumulation=None)
    model = build_vjepa(config, seed=0)
    first, second = Trainer(model, config, torch.device("cpu")), Trainer(build_vjepa(config, seed=0), config, torch.device("cpu"))
    first.parts["4x1x8x1x32x32"] = 2
    save_checkpoint(tmp_path / "checkpoints", 3, model, first.optimizer, config, first.parts)
    assert _resume(second, tmp_path / "checkpoints") == 3
    assert second.parts == {"4x1x8x1x32x32": 2}
    asked = with_training(tiny_config, accumulation=4)
    third = Trainer(build_vjepa(asked, seed=0), asked, torch.device("cpu"))
    assert _resume(third, tmp_path / "checkpoints") == 3
    assert third.parts == {}, "what is asked for comes first"


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(finished: Path, toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "checkpoints")
    before = (run / "metrics.jsonl").read_bytes(), (run / "encoder.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"no checkpoint left to go on from\. .*--init-from"):
        pretrain(open_archive(toy_archive).movies, run, tiny_config, resume=True)
    (run / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match=r"already holds an encoder \(encoder\.safetensors\)\. choose another --out"):
        pretrain(open_archive(toy_archive).movies, run, tiny_config)
    assert (run / "encoder.safetensors").read_bytes() == before[1]


def test_resuming_with_another_movie_of_the_same_name_is_refused(finished: Path, toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    note = json.loads((run / "begun_with.json").read_text())
    note["movies"]["field1.tif"] = "9x1x1x64x64 uint8"
    (run / "begun_with.json").write_text(json.dumps(note))
    with pytest.raises(UserError, match=r"other movies \(of another size or type: field1\.tif; 2 then, 2 now\)"):
        pretrain(open_archive(toy_archive).movies, run, tiny_config, resume=True)


def test_where_the_data_go_away_what_was_learnt_is_saved(
    toy_archive: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Stream.batch

    def away(self: Stream, step: int) -> Batch:
        if step == 3:
            raise UserError("the movies are away", "bring them back and resume")
        return batch(self, step)

    monkeypatch.setattr(Stream, "batch", away)
    with pytest.raises(UserError, match="bring them back"):
        pretrain(open_archive(toy_archive).movies, tmp_path / "run", tiny_config)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].step == 3


def test_a_run_that_is_being_trained_is_left_alone(finished: Path, toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    """By a second process: what the first one is writing would be removed as left over."""
    pytest.importorskip("fcntl")
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    half_written = run / "checkpoints" / ".step_00000007.safetensors.abcdefgh"
    half_written.mkdir()
    with _only_process(run), pytest.raises(UserError, match=r"another process trains this run\. wait for its end"):
        pretrain(open_archive(toy_archive).movies, run, tiny_config, resume=True)
    assert half_written.is_dir()
    pretrain(open_archive(toy_archive).movies, run, tiny_config, resume=True)
    assert not half_written.exists()
