"""The monitors' clips: fixed, each with the same place at another time, and measured alike again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.grid import Grid
from cellvjepa.model.masking import Mask
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import read_clip
from cellvjepa.movies.levelled import levelled
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive
from cellvjepa.training.monitor import measure_health, nearest_context
from cellvjepa.training.monitor_clips import MonitorClips, gather_monitor_clips, refuse_blank
from cellvjepa.training.pretrain import monitor_batch, pretrain


@pytest.fixture(scope="module")
def movies(toy_archive: Path) -> tuple[Movie, ...]:
    return levelled(open_archive(toy_archive).movies)


@pytest.fixture(scope="module")
def config(tiny_config: Config) -> Config:
    return tiny_config.model_copy(update={"monitor": tiny_config.monitor.model_copy(update={"clips": 16})})


@pytest.fixture(scope="module")
def clips(movies: tuple[Movie, ...], config: Config) -> MonitorClips:
    shape = ClipShape.of(config.clip)
    scales = {movie.name: (1.0, 1.0, 1.0, 1.0) for movie in movies}
    return gather_monitor_clips(monitor_batch(movies, shape, config), movies, shape, config, scales)


def test_the_later_clip_shows_the_same_place_at_another_time(movies: tuple[Movie, ...], clips: MonitorClips, config: Config) -> None:
    """In movies of three clip lengths there is always room for a second clip that does not overlap."""
    shape, named = ClipShape.of(config.clip), {movie.name: movie for movie in movies}
    for row, clip in enumerate(clips.clips):
        t0 = int(clips.later_t0_B[row])
        assert abs(t0 - clip.t0) >= 8
        whole = read_clip(named[clip.movie], clip, shape)
        assert np.array_equal(clips.pixels_B1TZYX[row].numpy(), whole)
        if clips.follows_B[row]:
            assert t0 == clip.t0 + 8
            faster = clips.faster_B1TZYX[row, 0, :, 0]
            native = torch.cat([clips.pixels_B1TZYX[row], clips.later_B1TZYX[row]], dim=1)[0, :, 0]
            assert torch.equal(faster, native[[0, 2, 4, 6, 8, 10, 12, 14]])


def test_movies_are_the_sources_where_there_are_no_wells(clips: MonitorClips) -> None:
    assert clips.sources == tuple(clip.movie for clip in clips.clips)
    same_movie = np.array([[a.movie == b.movie for b in clips.clips] for a in clips.clips])
    assert np.array_equal(clips.overlap_BB, same_movie), "crops of 32 px in fields of 48 x 40 all share pixels"


@pytest.mark.parametrize("fill", [7.0, np.nan])
def test_movies_that_show_nothing_are_refused(fill: float, tmp_path: Path, config: Config) -> None:
    tifffile.imwrite(tmp_path / "blank.tif", np.full((20, 48, 48), fill, np.float32), metadata={"axes": "TYX"})
    with pytest.raises(UserError, match=r"blank\.tif: there is nothing to learn from: in each of the 16 clips looked at all pixels have one value"):
        pretrain(open_archive(tmp_path / "blank.tif").movies, tmp_path / "run", config)
    assert not (tmp_path / "run" / "encoder.safetensors").exists()


@pytest.mark.parametrize(("blank", "told"), [(8, False), (9, True)])
def test_a_warning_where_most_clips_show_nothing(blank: int, told: bool, clips: MonitorClips, caplog: pytest.LogCaptureFixture) -> None:
    pixels = clips.pixels_B1TZYX.clone()
    pixels[:blank] = 0.25
    refuse_blank(replace(clips, pixels_B1TZYX=pixels))
    assert (f"in {blank} of the 16 clips looked at all pixels have one value" in caplog.text) == told


def test_measuring_twice_gives_the_same_and_changes_nothing(clips: MonitorClips, config: Config) -> None:
    model = build_vjepa(config, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    assert measure_health(model, clips, config) == measure_health(model, clips, config)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_constant_encoder_has_no_spread_and_guesses(clips: MonitorClips, config: Config) -> None:
    model = build_vjepa(config, seed=0)
    torch.nn.init.zeros_(model.target_encoder.norm.weight)
    found = measure_health(model, clips, config)
    assert found.clip_std == pytest.approx(0, abs=1e-6)
    assert found.time_order == found.frame_gap == 0.5


def test_the_nearest_visible_place_is_nearest_on_the_grid() -> None:
    """2 times x 3 x 3 places; visible are two corners at time 0 and the centre at time 1."""
    grid = Grid(2, 1, 3, 3)
    mask = Mask(torch.tensor([[0, 8, 13]]), torch.tensor([[1, 5, 9, 4, 17]]))
    #                                       right of 0, above 8, below 0 in time, below 13 in time, below 8 in time
    assert nearest_context(mask, grid).tolist() == [[0, 8, 0, 13, 8]]


def test_clips_in_which_nothing_happens_tell_nothing_of_time_in_half_precision(clips: MonitorClips, config: Config) -> None:
    """Both versions of a clip are the same then; features of two precisions would not be, and a probe tells these apart."""
    config = config.model_copy(update={"training": config.training.model_copy(update={"precision": "bfloat16"})})
    still = replace(clips, pixels_B1TZYX=clips.pixels_B1TZYX[:, :, :1].expand_as(clips.pixels_B1TZYX).contiguous())
    assert measure_health(build_vjepa(config, seed=0), still, config).time_order == 0.5


def test_monitors_go_on_with_fewer_clips_at_once_where_the_memory_is_short(
    clips: MonitorClips, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_vjepa(config, seed=0)
    whole, tried = measure_health(model, clips, config), list[int]()
    forward = model.encoder.forward

    def failing(pixels: torch.Tensor, *others: object, **named: object) -> torch.Tensor:
        tried.append(len(pixels))
        if len(pixels) > 2:
            raise MemoryError
        return forward(pixels, *others, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(model.encoder, "forward", failing)
    monkeypatch.setattr("cellvjepa.training.monitor._LOSS_CLIPS", 2)
    found = measure_health(model, clips, config)
    assert tried[:3] == [4, 2, 2]
    assert (found.rankme, found.time_order) == pytest.approx((whole.rankme, whole.time_order), rel=1e-4)
