"""How tokens go through the blocks of a network: compiled where that works, or computed twice to keep less."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from cellvjepa.model.device import Precision, autocast
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.grid import Grid
from cellvjepa.model.layers import Rotation, Through, through
from cellvjepa.model.predictor import Predictor
from cellvjepa.model.vjepa import VJepa

_LOG = logging.getLogger(__name__)

# Variants of a block that may be compiled: encoder and predictor, whole clips and groups, with gradients and without, before and in a
# cool-down. Beyond PyTorch's own limit of 8 what comes last would be computed as it is, slowly and without a word.
_VARIANTS = 64

Compile = Literal["auto", "on", "off"]


def choose_through(
    model: VJepa, compile_blocks: Compile, activation_checkpointing: bool, device: torch.device, precision: Precision = "auto"
) -> bool:
    """Set how the blocks of a model are run in training, and tell whether they are compiled.

    Blocks are compiled one by one, because all of one width share what is compiled. Whether it works is tried on one block first, there
    and back; where it does not, one warning says why, and blocks run as they are.

    Parameters
    ----------
    model
        On ``device``; what it computes stays the same, to rounding.
    compile_blocks
        ``"auto"``: on CUDA. On CPUs nothing is gained that would pay for the minutes it takes.
    activation_checkpointing
        Keep only what enters a block, and compute the rest again in the backward pass.
    device
        Where the model is.
    precision
        In which it will be trained, and is tried.
    """
    chosen: Through = through
    if compile_blocks == "on" or (compile_blocks == "auto" and device.type == "cuda"):
        chosen = _compiled(model, device, precision)
    done = chosen is not through
    if activation_checkpointing:
        chosen = _keeping_less(chosen)
    for part in (model.context_encoder, model.target_encoder, model.predictor):
        part.through = chosen
    return done


@contextmanager
def uncompiled(model: VJepa) -> Iterator[None]:
    """Run blocks as they are in between: what looks at a model now and then, with other shapes and types, is not worth compiling."""
    parts: list[Encoder | Predictor] = [model.context_encoder, model.target_encoder, model.predictor]
    chosen = [part.through for part in parts]
    try:
        for part in parts:
            part.through = through
        yield
    finally:
        for part, one in zip(parts, chosen, strict=True):
            part.through = one


def _compiled(model: VJepa, device: torch.device, precision: Precision) -> Through:
    try:
        limits = torch._dynamo.config  # there is no public name for it in all versions that we run with
        limits.recompile_limit = max(limits.recompile_limit, _VARIANTS)
        compiled = cast(Through, torch.compile(through))
        with autocast(device, precision):
            _try(compiled, model, device)
    except Exception as error:  # whatever a compiler may come to: there are many, none belongs to us, and none is needed
        reason = str(error).strip() or type(error).__name__
        _LOG.warning("torch.compile does not work here (%s); going on without it, more slowly", reason.splitlines()[0])
        return through
    return compiled


def _try(chosen: Through, model: VJepa, device: torch.device) -> None:
    """Send a few tokens through a block of the predictor and back; no gradient is left."""
    predictor = model.predictor
    rotation = predictor.positions(Grid(2, 1, 2, 2), device)
    tokens = torch.zeros(1, 8, predictor.shape.dim, device=device, requires_grad=True)
    answer = chosen(predictor.blocks[0], tokens, rotation, [3, 5])
    torch.autograd.grad(answer.sum(), [tokens, *predictor.blocks[0].parameters()])


def _keeping_less(inner: Through) -> Through:
    def recomputed(block: nn.Module, tokens_BND: torch.Tensor, rotation: Rotation, groups: Sequence[int]) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return inner(block, tokens_BND, rotation, groups)
        # No dropout: there are no random numbers whose state would have to be kept.
        again = checkpoint(inner, block, tokens_BND, rotation, groups, use_reentrant=False, preserve_rng_state=False)
        return cast(torch.Tensor, again)

    return recomputed
