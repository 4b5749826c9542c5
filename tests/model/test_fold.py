"""A folded patch embedding answers to grey clips as the RGB one: the identities that hold exactly, for any tubelet."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from timm.layers.patch_embed import resample_patch_embed

from cellvjepa.model.encoder import EncoderShape, PatchEmbed
from cellvjepa.model.fold import RGB_MEAN, RGB_STD, fold_rgb, resize_kernel, restandardise

SHAPE = EncoderShape((2, 1, 16, 16), dim=24, depth=1, heads=2, rope="tiled", axes=("t", "y", "x"), pixel_mean=0.31, pixel_std=0.17)
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture
def conv() -> torch.nn.Conv3d:
    torch.manual_seed(0)
    return torch.nn.Conv3d(3, 24, (2, 16, 16), stride=(2, 16, 16)).requires_grad_(False)


def public_tokens(conv: torch.nn.Conv3d, grey_BTYX: torch.Tensor) -> torch.Tensor:
    """Give the public embedding three equal channels, standardised as it expects; (B, N, D)."""
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1, 1) for numbers in (RGB_MEAN, RGB_STD))
    rgb = grey_BTYX[:, None].expand(-1, 3, -1, -1, -1)
    return conv((rgb - mean) / std).flatten(2).transpose(1, 2)


def our_tokens(conv: torch.nn.Conv3d, grey_BTYX: torch.Tensor, tubelet: tuple[int, int, int, int], **shape: float) -> torch.Tensor:
    ours = dataclasses.replace(SHAPE, tubelet=tubelet, **shape)
    embed = PatchEmbed(ours).requires_grad_(False)
    weight, bias = fold_rgb(conv.weight, conv.bias, ours)
    embed.load_state_dict({"proj.weight": weight, "proj.bias": bias})
    planes = tubelet[1]
    return embed(grey_BTYX[:, None, :, None].expand(-1, -1, -1, planes, -1, -1))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.25), (0.03, 0.001)])
def test_one_channel_says_what_three_equal_ones_say(conv: torch.nn.Conv3d, mean: float, std: float):
    clip = torch.rand(2, 8, 48, 32)
    torch.testing.assert_close(our_tokens(conv, clip, (2, 1, 16, 16), pixel_mean=mean, pixel_std=std), public_tokens(conv, clip), **CLOSE)


def test_single_frames_are_seen_as_frames_that_last(conv: torch.nn.Conv3d):
    clip = torch.rand(2, 4, 32, 32)
    torch.testing.assert_close(our_tokens(conv, clip, (1, 1, 16, 16)), public_tokens(conv, clip.repeat_interleave(2, dim=1)), **CLOSE)


def test_four_frames_are_seen_as_the_averages_of_two(conv: torch.nn.Conv3d):
    clip = torch.rand(2, 8, 32, 32)
    torch.testing.assert_close(our_tokens(conv, clip, (4, 1, 16, 16)), public_tokens(conv, clip.unflatten(1, (4, 2)).mean(dim=2)), **CLOSE)


def test_the_rules_of_time_in_numbers():
    kernel = torch.arange(1.0, 3.0).view(1, 2, 1, 1)
    assert resize_kernel(kernel, (1, 1, 1, 1)).flatten().tolist() == pytest.approx([3])
    assert resize_kernel(kernel, (4, 1, 1, 1)).flatten().tolist() == pytest.approx([0.5, 0.5, 1, 1])


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 8])
def test_where_nothing_moves_the_length_of_a_tubelet_does_not_matter(conv: torch.nn.Conv3d, frames: int):
    still = torch.rand(2, 1, 32, 32)
    ours = our_tokens(conv, still.expand(-1, frames, -1, -1), (frames, 1, 16, 16))
    torch.testing.assert_close(ours, public_tokens(conv, still.expand(-1, 2, -1, -1)), **CLOSE)


def test_planes_are_seen_as_their_average(conv: torch.nn.Conv3d):
    stack_BTZYX = torch.rand(2, 2, 3, 32, 32)
    shape = dataclasses.replace(SHAPE, tubelet=(2, 3, 16, 16))
    embed = PatchEmbed(shape).requires_grad_(False)
    embed.load_state_dict(dict(zip(("proj.weight", "proj.bias"), fold_rgb(conv.weight, conv.bias, shape), strict=True)))
    torch.testing.assert_close(embed(stack_BTZYX[:, None]), public_tokens(conv, stack_BTZYX.mean(dim=2)), **CLOSE)


@pytest.mark.parametrize("size", [(8, 8), (8, 12), (14, 14), (32, 16), (24, 40)])
def test_patches_are_resampled_as_timm_does(size: tuple[int, int]):
    kernel = torch.randn(6, 2, 16, 16)
    torch.testing.assert_close(resize_kernel(kernel, (2, 1, *size))[:, :, 0].float(), resample_patch_embed(kernel, list(size)), atol=5e-5, rtol=0)


def test_larger_patches_say_of_enlarged_images_what_was_said_of_the_images(conv: torch.nn.Conv3d):
    clip = torch.rand(2, 2, 32, 32)
    patches = clip.unfold(2, 16, 16).unfold(3, 16, 16)  # enlarged one by one: a patch knows nothing of its neighbours
    large = F.interpolate(patches.reshape(-1, 1, 16, 16), size=(32, 32), mode="bicubic", antialias=True)
    enlarged = large.reshape(2, 2, 2, 2, 32, 32).permute(0, 1, 2, 4, 3, 5).reshape(2, 2, 64, 64)
    torch.testing.assert_close(our_tokens(conv, enlarged, (2, 1, 32, 32)), public_tokens(conv, clip), atol=1e-4, rtol=0)


def test_smaller_patches_say_the_same_where_nothing_was_lost(conv: torch.nn.Conv3d):
    """Of patches that reducing loses nothing of, i.e. those in the span of the rows of B, around the mean grey."""
    identity = torch.eye(16, dtype=torch.float64)[None, None]
    reduce = F.interpolate(identity, size=(8, 16), mode="bicubic", antialias=True)[0, 0]
    small = torch.rand(2, 2, 8, 8)
    restore = torch.linalg.pinv(reduce).float()
    large = SHAPE.pixel_mean + restore @ (small - SHAPE.pixel_mean) @ restore.T
    torch.testing.assert_close(reduce.float() @ large @ reduce.T.float(), small, atol=1e-5, rtol=0)
    torch.testing.assert_close(our_tokens(conv, small, (2, 1, 8, 8)), public_tokens(conv, large), **CLOSE)


@pytest.mark.parametrize("tubelet", [(1, 1, 8, 8), (4, 2, 12, 16), (2, 1, 7, 32)])
def test_mean_grey_is_exact_for_any_tubelet(conv: torch.nn.Conv3d, tubelet: tuple[int, int, int, int]):
    grey = torch.full((1, tubelet[0], tubelet[2], tubelet[3]), SHAPE.pixel_mean)
    torch.testing.assert_close(our_tokens(conv, grey, tubelet), public_tokens(conv, torch.full((1, 2, 16, 16), SHAPE.pixel_mean)), **CLOSE)


def test_pixels_standardised_otherwise_give_the_same_tokens():
    weight, bias, pixels = torch.randn(6, 32), torch.randn(6), torch.rand(5, 32)
    new_weight, new_bias = restandardise(weight, bias, (0.4, 0.3), (0.1, 0.02))
    torch.testing.assert_close(F.linear((pixels - 0.1) / 0.02, new_weight, new_bias), F.linear((pixels - 0.4) / 0.3, weight, bias), **CLOSE)
