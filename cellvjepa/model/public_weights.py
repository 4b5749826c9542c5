"""Public weights in our encoder: checked against the wanted shape before anything of theirs is copied, then folded."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder, EncoderShape
from cellvjepa.model.fold import fold_rgb, restandardise
from cellvjepa.model.public_files import PublicFile, Tensors, is_public, read_public
from cellvjepa.model.weights import load_encoder, require_shape

_KERNEL, _BIAS = "patch_embed.proj.weight", "patch_embed.proj.bias"
# Meta's checkpoints do not say how many heads share a width; these are the published ones, by width.
_PUBLISHED_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 22, 1664: 26}
_DAMAGED = "download the file again"


@dataclass(frozen=True)
class StartingWeights:
    """What the two encoders of a new run start from, as their state dicts; ``origin`` says in words where it is from."""

    context: Tensors
    target: Tensors
    origin: str


def starting_weights(source: str | os.PathLike[str], wanted: EncoderShape) -> StartingWeights:
    """Read weights to start from: another run's, or public ones.

    Parameters
    ----------
    source
        A run or its ``encoder.safetensors``; a checkpoint of V-JEPA 2 or 2.1 (``.pt``); its safetensors or their folder from
        Hugging Face.
    wanted
        The encoder of the new run. Its pixel statistics are kept: the first layer is brought to them, which changes no output.

    Returns
    -------
    StartingWeights
        Float32, on the CPU, no longer tied to the file.

    Raises
    ------
    UserError
        If the file is missing, damaged or unsafe, or its encoder is not of the wanted shape; what to set is then named.
    """
    path = Path(source)
    if is_public(path):
        file = read_public(path)
        _require_settings(file, wanted, path)
        target = _our_weights(file.target, wanted, path)
        context = target if file.context is file.target else _our_weights(file.context, wanted, path)
        return StartingWeights(context, target, f"{file.family}, {path.name}")
    encoder, _ = load_encoder(path)
    found = encoder.shape
    require_shape(replace(found, pixel_mean=wanted.pixel_mean, pixel_std=wanted.pixel_std), wanted, path)
    weights = dict(encoder.state_dict())
    if (found.pixel_mean, found.pixel_std) != (wanted.pixel_mean, wanted.pixel_std):
        was, becomes = (found.pixel_mean, found.pixel_std), (wanted.pixel_mean, wanted.pixel_std)
        weights[_KERNEL], weights[_BIAS] = restandardise(weights[_KERNEL], weights[_BIAS], was, becomes)
    return StartingWeights(weights, weights, str(path))


def _require_settings(file: PublicFile, wanted: EncoderShape, path: Path) -> None:
    """Refuse weights for other settings than the run's, naming all that differ and how to set them.

    The settings are not taken from the file silently: a run is resumed, and read by others, from its configuration alone.
    """
    kernel = file.target.get(_KERNEL)
    if kernel is None or kernel.ndim != 5 or kernel.shape[1] != 3:
        raise UserError(f"{_KERNEL} is {'missing' if kernel is None else tuple(kernel.shape)}, should be (width, 3, frames, y, x)", _DAMAGED, path)
    dim, depth = kernel.shape[0], _depth(file.target)
    hidden = file.target.get("blocks.0.mlp.fc1.weight")
    mlp_dim = 4 * dim if hidden is None or hidden.ndim != 2 else hidden.shape[0]
    heads = file.heads or _PUBLISHED_HEADS.get(dim, wanted.heads)
    theirs = {"dim": dim, "depth": depth, "heads": heads, "rope": file.rope, "mlp_dim": mlp_dim}
    ours = {"dim": wanted.dim, "depth": wanted.depth, "heads": wanted.heads, "rope": wanted.rope, "mlp_dim": wanted.mlp_dim or 4 * wanted.dim}
    if mlp_dim == 4 * dim and wanted.mlp_dim == 0:  # as usual, and left to follow the width
        theirs["mlp_dim"] = ours["mlp_dim"]
    differing = [name for name in theirs if theirs[name] != ours[name]]
    if differing:
        found = ", ".join(f"model.{name} {theirs[name]} where this run has {ours[name]}" for name in differing)
        remedy = "add " + " ".join(f"--set model.{name}={theirs[name]}" for name in differing)
        raise UserError(f"the encoder of this file ({file.family}) has {found}", remedy, path)
    if wanted.axes != ("t", "y", "x"):
        along = ", ".join(wanted.axes) or "no axis"
        raise UserError(
            f"the encoder of this file tells tokens apart along t, y and x, the clips of this run have several along {along}",
            "choose clip.frames, clip.size_px and model.tubelet so that there are several tubelets along t, y and x, and one along z",
            path,
        )


def _depth(tensors: Tensors) -> int:
    return len({found[1] for name in tensors if (found := re.match(r"blocks\.(\d+)\.", name))})


def _our_weights(theirs: Tensors, wanted: EncoderShape, path: Path) -> Tensors:
    _check_tensors(theirs, wanted, path)
    weight, bias = fold_rgb(theirs[_KERNEL], theirs[_BIAS], wanted)
    # Copied: else they would be windows into the file.
    copied = {name: tensor.to(torch.float32, copy=True) for name, tensor in theirs.items() if name not in (_KERNEL, _BIAS)}
    return {**copied, _KERNEL: weight, _BIAS: bias}


def _check_tensors(theirs: Tensors, wanted: EncoderShape, path: Path) -> None:
    with torch.device("meta"):
        sizes = {name: tuple(tensor.shape) for name, tensor in Encoder(wanted).state_dict().items()}
    kernel = theirs.get(_KERNEL)
    if kernel is None or kernel.ndim != 5 or tuple(kernel.shape[:2]) != (wanted.dim, 3):
        sizes[_KERNEL] = (wanted.dim, 3, 2, 16, 16)
    else:  # any tubelet will do
        sizes[_KERNEL] = tuple(kernel.shape)
    wrong = []
    for name, size in sizes.items():
        tensor = theirs.get(name)
        if tensor is None or tuple(tensor.shape) != size:
            wrong.append(f"{name} is {'missing' if tensor is None else tuple(tensor.shape)}, should be {size}")
        elif not _is_whole(tensor):
            wrong.append(f"{name} does not hold the numbers it claims to")
    wrong += [f"{name} is unknown" for name in theirs if name not in sizes]
    if wrong:
        raise UserError(f"the tensors are not those of an encoder of V-JEPA 2: {'; '.join(wrong[:3])}", _DAMAGED, path)


def _is_whole(tensor: torch.Tensor) -> bool:
    # A forged file can claim any size over a few bytes, by strides of 0: copying it would fill the memory.
    plain = tensor.layout == torch.strided and tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return plain and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
