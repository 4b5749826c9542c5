"""Progressive training: short and small clips first, then longer and larger ones, each step still a function of (seed, step)."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from cellvjepa.config import Config, config_from, load_config
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.model.grid import Grid, positions_N4
from cellvjepa.model.layers import RotaryPositions
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.readers import open_archive
from cellvjepa.movies.reference import reference_sampling
from cellvjepa.training.checkpoint import list_checkpoints
from cellvjepa.training.metrics import read_metrics
from cellvjepa.training.phases import Phase, movies_of_phases, phases_of
from cellvjepa.training.pretrain import monitor_batch, pretrain

TIMES = {"clips_per_s", "data_wait", "seconds"}
COOLDOWN = ["training.cooldown_share=0.5", "training.cooldown_frames=16", "training.cooldown_size_px=40", "training.cooldown_batch_size=2"]


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    return config_from(config.model_dump(mode="json"), overrides)


@pytest.fixture(scope="module")
def progressive(tiny_config: Config) -> Config:
    """Steps 0-2 with clips of 8 frames x 32 px, steps 3-5 with 16 frames x 40 px."""
    return with_overrides(tiny_config, COOLDOWN)


@pytest.fixture(scope="module")
def finished(toy_archive: Path, progressive: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(open_archive(toy_archive).movies, tmp_path_factory.mktemp("runs") / "run", progressive)


def losses(run: Path) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in read_metrics(run / "metrics.jsonl")]


def shape_of(config: Config, frames: int, size_px: int) -> ClipShape:
    return ClipShape.of(config.clip.model_copy(update={"frames": frames, "size_px": size_px}))


def test_a_run_without_cool_down_has_one_phase(tiny_config: Config) -> None:
    one = (Phase(0, 6, ClipShape.of(tiny_config.clip), 4),)
    assert phases_of(tiny_config) == one
    assert phases_of(with_overrides(tiny_config, ["training.cooldown_share=0.5"])) == one, "only the rate differs"


def test_the_cool_down_is_a_phase_of_its_own(progressive: Config) -> None:
    assert phases_of(progressive) == (Phase(0, 3, shape_of(progressive, 8, 32), 4), Phase(3, 6, shape_of(progressive, 16, 40), 2))


def test_a_cool_down_too_short_for_a_step_is_none(progressive: Config) -> None:
    assert phases_of(with_overrides(progressive, ["training.cooldown_share=0.01"])) == (Phase(0, 6, shape_of(progressive, 8, 32), 4),)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.cooldown_frames=32"], "training.cooldown_frames is for the cool-down, and there is none: set training.cooldown_share"),
        (["training.cooldown_share=0.95"], r"warmup_share \(0.1\) and cooldown_share \(0.95\) together must not exceed 1"),
        (["training.cooldown_share=0.2", "training.cooldown_frames=18"], r"training.cooldown_frames \(18\) must be a multiple of the tubelet's"),
        (["training.cooldown_share=0.2", "training.cooldown_size_px=70"], r"training.cooldown_size_px \(70\) must be a multiple of the tubelet's"),
        (
            ["training.cooldown_share=0.2", "training.cooldown_batch_size=6", "training.accumulation=4"],
            r"accumulation \(4\) must divide cooldown_batch_size \(6\)",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(None, ["model.tubelet=[4, 1, 8, 8]", *overrides])


def test_smaller_clips_in_the_cool_down_are_refused_when_training(progressive: Config) -> None:
    """Not when embedding, where clips may be larger than any that were trained on."""
    config = with_overrides(progressive, ["clip.frames=24"])
    with pytest.raises(UserError, match=r"training\.cooldown_frames: .* has frames = 16 after 24 \(clip\.frames\)\. raise it, or lower clip\.frames"):
        phases_of(config)


def test_positions_carry_over() -> None:
    """The grid of a larger clip holds that of a smaller one, and its tokens are rotated alike there."""
    small, large = Grid(2, 1, 3, 3), Grid(4, 1, 5, 6)
    rotations = RotaryPositions(("t", "y", "x"), 16, "interleaved")
    query = torch.rand(1, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0))
    where = {tuple(position): index for index, position in enumerate(positions_N4(large).tolist())}
    inside = torch.tensor([where[tuple(position)] for position in positions_N4(small).tolist()])
    for scale in (None, torch.tensor([2.0, 1.0, 1.5, 1.5])):
        there, here = (rotations(grid, torch.device("cpu"), scale)(query.repeat(1, grid.tokens, 1, 1, 1)) for grid in (large, small))
        torch.testing.assert_close(there[:, inside], here, rtol=0, atol=1e-6)


def test_an_axis_that_only_the_cool_down_has_is_told_apart_from_the_start(tiny_config: Config) -> None:
    """Single images first, clips later: the encoder has positions in time from its first step."""
    config = with_overrides(tiny_config, ["clip.frames=2", "training.cooldown_share=0.5", "training.cooldown_frames=8"])
    assert build_vjepa(config, seed=0).context_encoder.shape.axes == ("t", "y", "x")


def test_a_progressive_run(finished: Path, progressive: Config) -> None:
    rows = read_metrics(finished / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(7))
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert [row["learning_rate"] for row in rows[1:4]] == [progressive.training.learning_rate] * 3
    assert rows[5]["learning_rate"] < rows[4]["learning_rate"] < rows[3]["learning_rate"]
    card = load_encoder(finished)[1]
    phases = [(phase["first_step"], phase["shape"]["frames"], phase["shape"]["size_px"], phase["batch_size"]) for phase in card.provenance["phases"]]
    assert phases == [(0, 8, 32, 4), (3, 16, 40, 2)]


def test_the_first_phase_does_not_depend_on_the_second(toy_archive: Path, progressive: Config, finished: Path, tmp_path: Path) -> None:
    """And the monitors' clips are the same in both, so that ranks can be compared all along."""
    other = with_overrides(progressive, ["training.cooldown_frames=12", "training.cooldown_size_px=32"])
    run = pretrain(open_archive(toy_archive).movies, tmp_path / "run", other)
    assert losses(run)[:3] == losses(finished)[:3]
    assert losses(run)[3]["loss"] != losses(finished)[3]["loss"]
    movies = open_archive(toy_archive).movies
    shape = ClipShape.of(progressive.clip)
    assert monitor_batch(movies, shape, other).clips == monitor_batch(movies, shape, progressive).clips


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_run_cancelled_in_either_phase_continues_exactly(stop: int, finished: Path, toy_archive: Path, progressive: Config, tmp_path: Path) -> None:
    """Stop in the first phase, between the two, in the second. Whatever else draws random numbers in between does not matter."""

    def stopping(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("pretraining", stop):
            raise Cancelled

    movies = open_archive(toy_archive).movies
    with pytest.raises(Cancelled):
        pretrain(movies, tmp_path / "run", progressive, progress=stopping)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].step == stop
    torch.manual_seed(stop)
    pretrain(movies, tmp_path / "run", progressive, resume=True)
    assert losses(tmp_path / "run") == losses(finished)
    weights = load_encoder(finished)[0].state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in load_encoder(tmp_path / "run")[0].state_dict().items())


def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(
    finished: Path, toy_archive: Path, progressive: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def stopping(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("pretraining", 5):
            raise Cancelled

    movies = open_archive(toy_archive).movies
    with pytest.raises(Cancelled):
        pretrain(movies, tmp_path / "run", progressive, progress=stopping)
    newest = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    newest.path.write_bytes(newest.path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, "cellvjepa"):
        pretrain(movies, tmp_path / "run", progressive, resume=True)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "step_00000005.safetensors: the checkpoint is damaged" in warning
    assert warning.endswith("going on from step 4")
    assert losses(tmp_path / "run") == losses(finished)


def test_no_generator_of_the_process_is_touched(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    """All randomness is a function of (seed, step): so there is none to save in a checkpoint."""
    movies = open_archive(toy_archive).movies
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - the legacy one is what must not be used
    pretrain(movies, tmp_path / "run", with_overrides(tiny_config, ["training.steps=2", "training.orientations=true", "training.gain=0.2"]))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert all(np.array_equal(now, then) for now, then in zip(np.random.get_state(), before[1], strict=True))  # noqa: NPY002
    assert random.getstate() == before[2]


@pytest.fixture
def mixed_archive(toy_archive: Path, tmp_path: Path) -> Path:
    """The toy movies, cut: ``short.tif`` is too short for the longer clips, ``narrow.tif`` too small for the larger ones."""
    root = tmp_path / "mixed"
    root.mkdir()
    movie = tifffile.imread(toy_archive / "field1.tif")
    for name, part in {"whole": movie, "short": movie[:12], "narrow": movie[:, :36]}.items():
        tifffile.imwrite(root / f"{name}.tif", part, imagej=True, metadata={"axes": "TYX", "finterval": 60.0})
    return root


def test_movies_too_short_or_too_small_for_the_cool_down_are_left_out_of_it_alone(
    mixed_archive: Path, progressive: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    movies = open_archive(mixed_archive).movies
    with caplog.at_level(logging.WARNING, "cellvjepa"):
        pretrain(movies, tmp_path / "run", progressive)
    (warning,) = [record.getMessage() for record in caplog.records if record.name.endswith("phases")]
    assert warning.startswith("left out from step 3 on, in the cool-down: ")
    assert "narrow.tif: the movie has 36 x 40 px, but a clip needs 40 x 40 (1 more movies yield none either)" in warning
    reference = reference_sampling(movies, ClipShape.of(progressive.clip))
    first, second = movies_of_phases(phases_of(progressive), movies, reference)
    assert [movie.name for movie in first.movies] == ["narrow.tif", "short.tif", "whole.tif"]
    assert [movie.name for movie in second.movies] == ["whole.tif"]


def test_images_smaller_than_every_clip_stay_padded_in_a_cool_down_that_is_only_longer(mixed_archive: Path, tiny_config: Config) -> None:
    config = with_overrides(tiny_config, ["clip.size_px=48", "training.cooldown_share=0.5", "training.cooldown_frames=16"])
    movies = tuple(movie for movie in open_archive(mixed_archive).movies if movie.name == "narrow.tif")
    phases = movies_of_phases(phases_of(config), movies, reference_sampling(movies, ClipShape.of(config.clip)))
    assert [phase.movies for phase in phases] == [movies, movies]


def test_an_archive_without_movies_for_the_cool_down_is_refused_before_the_first_step(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    config = with_overrides(tiny_config, ["training.cooldown_share=0.5", "training.cooldown_frames=32"])
    with pytest.raises(UserError, match=r"no movie yields clips for the cool-down: the movie has 24 .* \(1 more .*\)\. lower training\.cooldown_f"):
        pretrain(open_archive(toy_archive).movies, tmp_path / "run", config)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
