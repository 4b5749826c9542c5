from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.movies.batch import Batch
from cellvjepa.movies.buffers import Buffer
from cellvjepa.movies.clips import Clip
from cellvjepa.movies.finishing import Augmentation, augment, finish
from cellvjepa.movies.resampling import resample_and_scale

CPU = torch.device("cpu")


def batch_of(samples: list[np.ndarray], levels: list[list[float]], size_px: int) -> Batch:  # type: ignore[type-arg]
    clips = tuple(Clip("movie", 0, 1, 0, 0, 0, (1, 8, 8), str(i)) for i in range(len(samples)))
    native = np.concatenate([sample.ravel() for sample in samples])
    shapes = tuple(sample.shape for sample in samples)
    return Batch(native, shapes, np.array(levels), size_px, clips, ("ch0",) * len(samples), 0.0, Buffer(native.dtype))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["u1", "u2", "f4"]),
    st.lists(st.tuples(st.integers(3, 20), st.integers(3, 20)), min_size=1, max_size=5),
    st.integers(1, 2),
    st.floats(-1e4, 1e4),
    st.one_of(st.just(0.0), st.floats(1e-2, 1e4)),
    st.integers(0, 99),
)
def test_finished_samples_are_bit_for_bit_those_of_read_clip(
    dtype: str, sides: list[tuple[int, int]], planes: int, low: float, width: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    samples = [rng.integers(0, 200, (3, planes, *side)).astype(dtype) for side in sides]
    if dtype == "f4":
        samples[0][0, 0, 0, :3] = [np.nan, np.inf, -np.inf]
    level = [low, low + width]
    finished = finish(batch_of(samples, [level] * len(samples), 8), CPU)
    assert finished.shape == (len(samples), 1, 3, planes, 8, 8)
    assert finished.dtype == torch.float32
    for sample, out in zip(samples, finished[:, 0].numpy(), strict=True):
        np.testing.assert_array_equal(out, resample_and_scale(sample, 8, np.array(level)))


def clips() -> torch.Tensor:
    return torch.arange(64 * 2 * 3 * 4 * 4, dtype=torch.float32).reshape(64, 1, 2, 3, 4, 4) / 1e4


def test_without_augmentation_nothing_changes() -> None:
    pixels, turned = augment(clips(), Augmentation(False, 0.0), np.random.default_rng(0))
    assert torch.equal(pixels, clips())
    assert not turned.any()


def test_orientations_are_the_eight_of_a_square_and_all_occur() -> None:
    original = clips()
    pixels, turned = augment(original, Augmentation(True, 0.0), np.random.default_rng(0))
    found = set()
    for before, after, is_turned in zip(original, pixels, turned, strict=True):
        quarters = {(k, flip): torch.rot90(before.flip(-1) if flip else before, k, (-2, -1)) for k in range(4) for flip in (False, True)}
        (same,) = [key for key, value in quarters.items() if torch.equal(value, after)]
        found.add(same)
        assert bool(is_turned) == bool(same[0] % 2)
    assert len(found) == 8


def test_gain_scales_each_clip_by_a_factor_of_its_own() -> None:
    original = clips() * 0.1 + 0.01
    pixels, _ = augment(original, Augmentation(False, 0.5), np.random.default_rng(0))
    factors = (pixels / original).flatten(1)
    assert float(factors.std(1).max()) < 1e-5
    assert float(factors.min()) >= 1 / 1.5 - 1e-5
    assert float(factors.max()) <= 1.5 + 1e-5
    assert len(factors[:, 0].unique()) == 64


def test_the_same_draws_give_the_same_clips() -> None:
    one, other = (augment(clips(), Augmentation(True, 0.3), np.random.default_rng([1, 2]))[0] for _ in range(2))
    assert torch.equal(one, other)


def test_a_buffer_waits_for_what_copies_it() -> None:
    buffer = Buffer(np.dtype("u2"))
    first = buffer.of_length(10)
    happened = []
    buffer.busy_until(lambda: happened.append("copied"))
    again = buffer.of_length(8)
    assert happened == ["copied"]
    assert np.shares_memory(first, again)
    buffer.of_length(8)
    assert happened == ["copied"]
    assert len(buffer.of_length(20)) == 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finishes_as_the_cpu_does() -> None:
    samples = [np.random.default_rng(i).integers(0, 60000, (4, 1, 40 + i % 2, 30)).astype("u2") for i in range(8)]
    batch = batch_of(samples, [[100.0, 50000.0]] * 8, 32)
    assert torch.allclose(finish(batch, torch.device("cuda")).cpu(), finish(batch, CPU), atol=1e-5)
