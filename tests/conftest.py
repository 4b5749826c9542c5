"""Fixtures for every room: a toy archive that can be seen, and a configuration small enough for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import settings

from cellvjepa.config import Config, load_config

# A machine that has other work to do is slow now and then; how fast things are is for the benchmarks.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def toy_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two movies of 24 frames, 48 x 40 px, uint16, each with two spots on a noisy ground.

    ::

        t=0                t=23
        +----------+       +----------+
        | o        |       |        o |   track 1 walks to the right
        |          |       |          |
        |      O   |       |      .   |   track 2 stays and fades
        +----------+       +----------+
    """
    root = tmp_path_factory.mktemp("toy_archive")
    for number in (1, 2):
        tifffile.imwrite(root / f"field{number}.tif", _toy_movie(number), imagej=True, metadata={"axes": "TYX", "finterval": 60.0})
    return root


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """Four time steps of 2 frames, 4 x 4 patches, 2 blocks of width 24: a step takes milliseconds."""
    return load_config(
        None,
        [
            "clip.frames=8",
            "clip.size_px=32",
            "model.tubelet=[2, 1, 8, 8]",
            "model.dim=24",
            "model.depth=2",
            "model.heads=2",
            "model.predictor_dim=12",
            "model.predictor_depth=1",
            "model.predictor_heads=1",
            "training.steps=6",
            "training.batch_size=4",
            "training.log_every=1",
            "training.checkpoint_every=2",
            "training.live_blocks=2",
            "training.clips_per_block=8",
            "training.device=cpu",
            "training.precision=float32",
            "monitor.clips=4",
            "monitor.every=4",
            "embed.device=cpu",
            "embed.batch_size=4",
        ],
    )


def _toy_movie(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:48, :40]
    frames = []
    for t in range(24):
        walker = np.exp(-((y - 12) ** 2 + (x - 8 - t) ** 2) / 12)
        fader = np.exp(-((y - 34) ** 2 + (x - 26) ** 2) / 20) * (1 - t / 30)
        frames.append(rng.poisson(100 + 800 * walker + 900 * fader))
    return np.stack(frames).astype(np.uint16)


@pytest.fixture(scope="session", autouse=True)
def memory_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests learn about movies out of the user's own memory of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLVJEPA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
