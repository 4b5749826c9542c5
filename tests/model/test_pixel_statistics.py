"""A new encoder starts with what it will see."""

from __future__ import annotations

import pytest
import torch

from cellvjepa.config import Config, load_config
from cellvjepa.model.pixel_statistics import PixelStatistics, pixel_statistics
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.waves import cosine_waves


def clips(change: float) -> torch.Tensor:
    """Still random pictures plus independent noise in each frame of the given strength, (8, 1, 8, 1, 32, 32)."""
    rng = torch.Generator().manual_seed(0)
    still = torch.randn(8, 1, 1, 1, 32, 32, generator=rng)
    return 0.5 + 0.2 * (still + change * torch.randn(8, 1, 8, 1, 32, 32, generator=rng))


@pytest.mark.parametrize("frames", [1, 2, 4, 7])
def test_cosine_waves_are_orthonormal(frames: int) -> None:
    waves = cosine_waves(frames)
    assert torch.allclose(waves @ waves.T, torch.eye(frames), atol=1e-6)
    assert torch.allclose(waves[0], torch.full((frames,), frames**-0.5))


def test_statistics_are_those_of_the_clips() -> None:
    """White change of variance c2 beside a still picture: the constant wave has frames + c2, every other one c2."""
    found = pixel_statistics(clips(0.5), (4, 1, 8, 8))
    assert found.mean == pytest.approx(0.5, abs=0.01)
    assert found.std == pytest.approx(0.2 * 1.25**0.5, abs=0.01)
    assert found.waves == pytest.approx([1.0] + [(0.25 / 4.25) ** 0.5] * 3, abs=0.01)


def test_with_full_gain_every_wave_reaches_the_first_layer_equally_strong(tiny_config: Config) -> None:
    pixels = clips(0.1)
    config = load_config(None, ["clip.frames=8", "clip.size_px=32", "model.tubelet=[4, 1, 8, 8]", "model.change_gain=1"])
    statistics = pixel_statistics(pixels, (4, 1, 8, 8))
    model = build_vjepa(config, seed=0, pixels=statistics)
    weight = model.context_encoder.patch_embed.proj.weight.reshape(-1, 4, 64)
    # The weight of each wave times its strength in the pixels: as much for change as for what stays.
    strength = torch.einsum("kt,dtp->dkp", cosine_waves(4), weight).std(dim=(0, 2)) * torch.tensor(statistics.waves)
    assert torch.allclose(strength, strength.mean().expand(4), rtol=0.05)
    assert torch.equal(weight, model.target_encoder.patch_embed.proj.weight.reshape(-1, 4, 64))


def test_without_gain_or_measured_waves_weights_are_as_drawn() -> None:
    plain = load_config(None, ["model.change_gain=0"])
    drawn = build_vjepa(plain, seed=0).state_dict()
    statistics = PixelStatistics(0.5, 0.25, (1.0, 0.1, 0.1, 0.1))
    assert all(torch.equal(tensor, drawn[name]) for name, tensor in build_vjepa(plain, 0, pixels=statistics).state_dict().items())
    unmeasured = PixelStatistics(0.5, 0.25, ())
    assert all(torch.equal(tensor, drawn[name]) for name, tensor in build_vjepa(Config(), 0, pixels=unmeasured).state_dict().items())


def test_camera_noise_is_not_raised_without_end() -> None:
    config = load_config(None, ["model.change_gain=1"])
    still = PixelStatistics(0.5, 0.25, (1.0, 0.0, 0.0, 0.0))
    raised = build_vjepa(config, 0, pixels=still).context_encoder.patch_embed.proj.weight
    drawn = build_vjepa(config, 0).context_encoder.patch_embed.proj.weight
    assert raised.norm() < 30 * drawn.norm()
