from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder, EncoderShape, PatchEmbed, new_encoder
from cellvjepa.model.layers import gather_tokens

SMALL = EncoderShape((2, 1, 4, 4), dim=24, depth=2, heads=2, rope="interleaved", axes=("t", "y", "x"))


def _small(shape: EncoderShape = SMALL) -> Encoder:
    """Random weights, large enough that attention is not uniform."""
    encoder = new_encoder(shape, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(8 if parameter.ndim > 1 else 1)
    return encoder.requires_grad_(False)


def test_full_encoding_is_that_of_vjepa_2(golden: dict[str, torch.Tensor], golden_encoder: Encoder):
    torch.testing.assert_close(golden_encoder(golden["x"].unsqueeze(3)), golden["out_full"], atol=1e-5, rtol=0)


def test_masked_encoding_is_that_of_vjepa_2(golden: dict[str, torch.Tensor], golden_encoder: Encoder):
    torch.testing.assert_close(golden_encoder(golden["x"].unsqueeze(3), golden["mask_ctx"]), golden["out_masked"], atol=1e-5, rtol=0)


def test_rectangular_encoding_is_that_of_vjepa_2(golden: dict[str, torch.Tensor], golden_encoder: Encoder):
    pixels = golden["x_rect_T6_H24_W40"].unsqueeze(3)
    torch.testing.assert_close(golden_encoder(pixels), golden["out_rect"], atol=1e-5, rtol=0)


def test_a_scale_of_one_gives_the_numbers_of_vjepa_2(golden: dict[str, torch.Tensor], golden_encoder: Encoder):
    pixels = golden["x"].unsqueeze(3)
    for scale in (torch.ones(4), torch.ones(2, 4)):
        torch.testing.assert_close(golden_encoder(pixels, scale_4=scale), golden["out_full"], atol=1e-5, rtol=0)
        torch.testing.assert_close(golden_encoder(pixels, golden["mask_ctx"], scale), golden["out_masked"], atol=1e-5, rtol=0)
    assert not torch.allclose(golden_encoder(pixels, scale_4=torch.tensor([1.0, 1.0, 2.0, 2.0])), golden["out_full"], atol=1e-2)


@pytest.mark.parametrize("tubelet", [(2, 1, 16, 16), (1, 1, 8, 8), (4, 1, 16, 8), (2, 4, 16, 16), (1, 2, 4, 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_tubelets_of_any_shape_equal_a_strided_convolution(tubelet: tuple[int, int, int, int], channels: int):
    torch.manual_seed(0)
    t, z, y, x = tubelet
    shape = dataclasses.replace(SMALL, tubelet=tubelet, in_channels=channels, pixel_mean=0.0, pixel_std=1.0)
    embed, pixels = PatchEmbed(shape), torch.randn(2, channels, 4, 4, 32, 32)
    weight_DCtzyx = embed.proj.weight.reshape(-1, channels, t, z, y, x)
    # PyTorch convolves over three axes: planes stand in for channels, one group of z planes after the other.
    per_group = [
        F.conv3d(group.transpose(2, 3).flatten(1, 2), weight_DCtzyx.transpose(2, 3).flatten(1, 2), embed.proj.bias, stride=(t, y, x))
        for group in pixels.split(z, dim=3)
    ]
    expected = torch.stack(per_group, dim=3).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed(pixels), expected, atol=1e-5, rtol=0)


def test_pixels_are_standardised():
    plain = dataclasses.replace(SMALL, pixel_mean=0.0, pixel_std=1.0)
    ours, theirs = PatchEmbed(SMALL), PatchEmbed(plain)
    theirs.load_state_dict(ours.state_dict())
    pixels = torch.rand(1, 1, 2, 1, 8, 8)
    torch.testing.assert_close(ours(pixels), theirs((pixels - 0.5) / 0.25), atol=1e-6, rtol=0)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(16)), st.integers(1, 16))
def test_the_order_of_kept_tokens_is_the_order_of_the_output(order: list[int], count: int):
    encoder, pixels = _small(), torch.linspace(0, 1, 512).reshape(1, 1, 4, 1, 8, 16).sin()
    shuffled, ascending = torch.tensor([order[:count]]), torch.tensor([sorted(order[:count])])
    expected = gather_tokens(encoder(pixels, ascending), shuffled.argsort().argsort())
    torch.testing.assert_close(encoder(pixels, shuffled), expected, atol=1e-5, rtol=0)


def test_keeping_all_tokens_is_full_encoding_and_hidden_pixels_are_not_seen():
    encoder, pixels = _small(), torch.rand(2, 1, 4, 1, 8, 8)
    everything = torch.arange(8).expand(2, -1)
    torch.testing.assert_close(encoder(pixels, everything), encoder(pixels), atol=1e-5, rtol=0)
    first_step, other = torch.arange(4).expand(2, -1), pixels.clone()
    other[:, :, 2:] = 7.0
    assert torch.equal(encoder(pixels, first_step), encoder(other, first_step))


def test_clips_of_a_batch_do_not_see_each_other():
    encoder, pixels = _small(), torch.rand(3, 1, 4, 1, 8, 8)
    torch.testing.assert_close(encoder(pixels)[1:2], encoder(pixels[1:2]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("axes", "move"), [(("t", "y", "x"), "t"), (("t", "y", "x"), "x"), (("t", "z", "y", "x"), "z"), (("y", "x"), "y")])
def test_the_encoder_knows_where_things_are(axes: tuple[str, ...], move: str):
    # Two different tubelets change places along one axis: without positions their tokens would just change places too.
    encoder = _small(dataclasses.replace(SMALL, tubelet=(1, 1, 4, 4), axes=axes))
    size = {"t": 1, "z": 1, "y": 1, "x": 1} | {move: 3}
    pixels = torch.rand(1, 1, size["t"], size["z"], 4 * size["y"], 4 * size["x"], generator=torch.Generator().manual_seed(1))
    index = ("t", "z", "y", "x").index(move) + 2
    first, second, third = pixels.chunk(3, dim=index)
    swapped = torch.cat([second, first, third], dim=index)
    assert (encoder(swapped)[:, [1, 0, 2]] - encoder(pixels)).abs().max() > 1e-3


def test_a_coarser_clip_at_its_scale_is_seen_as_the_same_tokens_further_apart():
    # Tokens 0, 2, 4 of a row of 6, and a row of 3 at twice the distance, hold the same pixels at the same places.
    encoder = _small(dataclasses.replace(SMALL, tubelet=(1, 1, 4, 4)))
    fine = torch.rand(1, 1, 1, 1, 4, 24)
    coarse = fine.reshape(1, 1, 1, 1, 4, 6, 4)[..., ::2, :].flatten(-2)
    kept = encoder(fine, torch.tensor([[0, 2, 4]]))
    torch.testing.assert_close(encoder(coarse, scale_4=torch.tensor([1.0, 1.0, 1.0, 2.0])), kept, atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    one, same, other = (new_encoder(SMALL, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(before, torch.random.get_rng_state())
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, same.state_dict()[name])
        assert weight.is_contiguous()
    assert not torch.equal(one.patch_embed.proj.weight, other.patch_embed.proj.weight)


def test_a_clip_that_cannot_be_cut_is_refused():
    with pytest.raises(UserError, match="a clip of 3 frames cannot be cut into tubelets of 2"):
        _small()(torch.rand(1, 1, 3, 1, 8, 8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, r"dim \(24\) must be a multiple of heads \(5\)"),
        ({"depth": 0}, "must be 1 or more"),
        ({"axes": ("t", "t")}, "must differ"),
        ({"pixel_std": 0.0}, "pixel_std above 0"),
        ({"pixel_mean": float("nan")}, "pixel_mean must be finite"),
    ],
)
def test_an_impossible_shape_is_refused(change: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
