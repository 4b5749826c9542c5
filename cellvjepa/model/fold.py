"""Patch embeddings brought to our pixels: from RGB to one channel, and to other tubelets.

Axes of a kernel in names: D width, C channels, T Z Y X extent of the tubelet.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from cellvjepa.model.encoder import EncoderShape

# What the public models were trained on: RGB between 0 and 1, standardised channel by channel (the numbers of ImageNet).
RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)


def fold_rgb(weight_DCTYX: torch.Tensor, bias_D: torch.Tensor, shape: EncoderShape) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the one-channel patch embedding that answers as an RGB one would to the same movie in grey.

    With the public model's input (g - mean_c) / std_c in each channel c, and ours z = (g - mu) / sigma, both of a grey value g:
    w' = sigma * sum_c w_c / std_c and b' = b + sum_{c,t,y,x} w_c * (mu - mean_c) / std_c. Exact, whatever mu and sigma are.
    A tubelet of another size is then reached by :func:`resize_kernel`, so that z = 0 (the mean grey) stays exact.

    Parameters
    ----------
    weight_DCTYX
        (D, 3, T, Y, X) kernel of the public model's convolution.
    bias_D
        (D,) its bias.
    shape
        The encoder it is for: gives tubelet, ``pixel_mean`` (mu) and ``pixel_std`` (sigma).

    Returns
    -------
    tuple of torch.Tensor
        (D, 1 * t * z * y * x) and (D,) float32: weight and bias of :class:`cellvjepa.model.encoder.PatchEmbed`.
    """
    weight = weight_DCTYX.double()
    mean, std = (torch.tensor(numbers, dtype=torch.float64).view(1, 3, 1, 1, 1) for numbers in (RGB_MEAN, RGB_STD))
    grey_DTYX = shape.pixel_std * (weight / std).sum(dim=1)
    bias = bias_D.double() + (weight * (shape.pixel_mean - mean) / std).sum(dim=(1, 2, 3, 4))
    return resize_kernel(grey_DTYX, shape.tubelet).flatten(1).float(), bias.float()


def resize_kernel(kernel_DTYX: torch.Tensor, tubelet: tuple[int, int, int, int]) -> torch.Tensor:
    """Return the kernel for tubelets of another size.

    Along each axis, with B the matrix that resizes a tubelet of the old extent to the new one, the new kernel is w pinv(B): of all
    kernels the one that answers to resized tubelets most nearly as the old one did to those before (FlexiViT, arXiv 2212.08013,
    section 3.4). Said the other way round, exactly: the answer to a tubelet v is the old kernel's answer to pinv(B) v.
    In time B averages (area): 2 -> 1 is the sum over both frames, 2 -> 4 repeats and halves. In y and x it is bicubic with
    antialiasing, as ``timm.layers.resample_patch_embed``. A plane is what the old kernel saw; with several it sees their average.

    Parameters
    ----------
    kernel_DTYX
        (D, T, Y, X).
    tubelet
        Extent wanted along t, z, y, x. [frames, planes, px, px]

    Returns
    -------
    torch.Tensor
        (D, t, z, y, x) float64.
    """
    frames, planes, size_y, size_x = tubelet
    _, old_frames, old_y, old_x = kernel_DTYX.shape
    in_t, in_y, in_x = _inverse(_averages(old_frames, frames)), _inverse(_bicubic(old_y, size_y)), _inverse(_bicubic(old_x, size_x))
    resized_DTYX = torch.einsum("dabc,at,by,cx->dtyx", kernel_DTYX.double(), in_t, in_y, in_x)
    return resized_DTYX.unsqueeze(2).expand(-1, -1, planes, -1, -1) / planes


def restandardise(
    weight: torch.Tensor, bias_D: torch.Tensor, was: tuple[float, float], becomes: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a patch embedding that gives the same from pixels standardised by another mean and standard deviation; exact.

    Parameters
    ----------
    weight, bias_D
        (D, tubelet pixels) and (D,).
    was, becomes
        Mean and standard deviation.

    Returns
    -------
    tuple of torch.Tensor
        Weight and bias, float32.
    """
    kernel = weight.double()
    bias = bias_D.double() + kernel.sum(dim=1) * ((becomes[0] - was[0]) / was[1])
    return (kernel * (becomes[1] / was[1])).float(), bias.float()


def _averages(old: int, new: int) -> torch.Tensor:
    """Return the (new, old) matrix that averages neighbouring frames, or repeats them."""
    return F.interpolate(torch.eye(old, dtype=torch.float64)[None], size=new, mode="area")[0].T


def _bicubic(old: int, new: int) -> torch.Tensor:
    """Return the (new, old) matrix that resizes a row of pixels."""
    identity = torch.eye(old, dtype=torch.float64)[None, None]
    return F.interpolate(identity, size=(new, old), mode="bicubic", antialias=True, align_corners=False)[0, 0]


def _inverse(matrix: torch.Tensor) -> torch.Tensor:
    """Return the pseudo-inverse; of the identity it is the identity itself, to the last digit."""
    return matrix if matrix.shape[0] == matrix.shape[1] else torch.linalg.pinv(matrix)
