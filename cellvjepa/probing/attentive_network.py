"""The network of the attentive probe, and how several of them are trained at once."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from cellvjepa.config import ProbeConfig
from cellvjepa.model.pooler import AttentiveClassifier, initialise_classifier
from cellvjepa.probing.learnt import Learnt, Watch, unwatched
from cellvjepa.progress import Progress, silent

_BATCH = 32
_ASKED_AT_ONCE = 128
_SEEN_SHARE = 0.5  # of the places, in each step of training
_NOISE = 0.5  # added to all places of a clip alike, in standard deviations of a place
_WARMUP_STEPS = 20
_MLP_RATIO = 1.0
_POSITION_SCALE = 0.2
_ROWS_AT_ONCE = 256  # while means and spreads are taken

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Grid5 = tuple[int, ...]  # tokens along channels, t, z, y, x


class PositionedClassifier(nn.Module):
    """An attentive classifier that is told where each place is; the encoder's own positions are only relative.

    Parameters
    ----------
    grid
        Places along each axis: channels, t, z, y, x.
    dim, classes
        Numbers per place, number of classes.
    depth, dropout
        As for :class:`cellvjepa.model.pooler.AttentivePooler`.
    """

    def __init__(self, grid: Sequence[int], dim: int, classes: int, depth: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        codes_LF = position_codes(grid)
        self.register_buffer("codes_LF", codes_LF, persistent=False)
        self.place = nn.Linear(codes_LF.shape[1], dim, bias=False)
        heads = max(heads for heads in (4, 2, 1) if dim % heads == 0)
        self.classifier = AttentiveClassifier(dim, heads, classes, depth, _MLP_RATIO, dropout)

    def forward(self, tokens_BLD: torch.Tensor, seen_L: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B, K) logits; ``seen_L`` are the indices of the tokens given, ``None`` for all."""
        codes_LF = self.get_buffer("codes_LF")
        logits: torch.Tensor = self.classifier(tokens_BLD + self.place(codes_LF if seen_L is None else codes_LF[seen_L]))
        return logits

    def attention(self, tokens_BLD: torch.Tensor) -> torch.Tensor:
        """Return how much each head of the query attends to each place, (B, heads, L), which sum to 1 over L."""
        return self.classifier.pooler.attention(tokens_BLD + self.place(self.get_buffer("codes_LF")))


def position_codes(grid: Sequence[int]) -> torch.Tensor:
    """Return (L, F) standardised waves over the axes of a grid (last fastest): half and whole, sine and cosine, from border to border."""
    axes = [torch.linspace(-1, 1, length) for length in grid if length > 1]
    if not axes:
        return torch.zeros(math.prod(grid), 1)
    places = torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], dim=1)
    waves = torch.cat([wave(places * (math.pi / 2 * k)) for k in (1, 2) for wave in (torch.sin, torch.cos)], dim=1)
    centred = waves - waves.mean(dim=0)
    return centred / centred.std(dim=0, correction=0).clamp(min=1e-3)


def empty_network(grid: Grid5, dim: int, classes: int, depth: int, dropout: float = 0.0) -> PositionedClassifier:
    """Return a network whose weights have yet to be filled in; PyTorch's own generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        return PositionedClassifier(grid, dim, classes, depth, dropout)


@dataclass(frozen=True, eq=False)
class Places:
    """What the network reads of each clip, and how it is standardised.

    Parameters
    ----------
    values_NCLE
        (N, C, L, E) float16 or float32: numbers of each place of each channel.
    mean_CE, scale_CE
        float32: of each channel.
    """

    values_NCLE: npt.NDArray[Any]
    mean_CE: Floats
    scale_CE: Floats

    @classmethod
    def of(cls, values_NCLE: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> Places:
        """Standardise by some of the rows: those that are learnt from."""
        channels, places, width = values_NCLE.shape[1:]
        total, squares = np.zeros((2, channels, width))
        # From the first row, so that squares of large equal numbers do not drown what differs.
        shift_CE = values_NCLE[rows[0]].astype(np.float64).mean(axis=1)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = values_NCLE[rows[start : start + _ROWS_AT_ONCE]].astype(np.float32) - shift_CE[:, None].astype(np.float32)
            total += part.sum(axis=(0, 2), dtype=np.float64)
            squares += np.einsum("ncle,ncle->ce", part, part, dtype=np.float64, casting="unsafe")
        count = len(rows) * places
        mean_CE = total / count
        scale_CE = np.sqrt(np.maximum(squares / count - mean_CE**2, 0)) + 1e-6
        return cls(values_NCLE, (mean_CE + shift_CE).astype(np.float32), scale_CE.astype(np.float32))

    def batch(self, rows: npt.NDArray[np.int64] | slice, seen_L: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B, L, E) float32 standardised numbers of some rows; ``seen_L`` are the places wanted, of all channels in one row."""
        part = self.values_NCLE[rows]
        flat = torch.from_numpy(part).flatten(1, 2)
        mean, scale = (
            torch.from_numpy(each)[:, None].expand(-1, part.shape[2], -1).reshape(flat.shape[1:]) for each in (self.mean_CE, self.scale_CE)
        )
        if seen_L is not None:
            flat, mean, scale = flat[:, seen_L], mean[seen_L], scale[seen_L]
        return (flat.float() - mean) / scale


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: peak learning rate, weight decay of AdamW."""

    learning_rate: float
    weight_decay: float


def new_networks(grid: Grid5, dim: int, classes: int, config: ProbeConfig, count: int) -> tuple[list[PositionedClassifier], torch.Generator]:
    """Return networks with the same initial weights, so that only recipes make them differ, and the generator to train them with."""
    first = empty_network(grid, dim, classes, config.attentive_depth, config.attentive_dropout)
    rng = torch.Generator().manual_seed(config.seed)
    initialise_classifier(first.classifier, rng)
    nn.init.normal_(first.place.weight, std=_POSITION_SCALE, generator=rng)
    return [first, *(copy.deepcopy(first) for _ in range(count - 1))], rng


def training(
    networks: Sequence[PositionedClassifier],
    recipes: Sequence[Recipe],
    places: Places,
    rows: npt.NDArray[np.int64],
    codes_N: npt.NDArray[np.int64],
    config: ProbeConfig,
    rng: torch.Generator,
    progress: Progress = silent,
    watch: Watch = unwatched,
) -> Iterator[int]:
    """Train networks at once on the same batches, each by its recipe; yields the number of steps done after each of them.

    The networks are fit for use (``eval``) whenever a number is yielded, and whoever has seen enough stops asking.

    Parameters
    ----------
    networks, recipes
        One recipe per network.
    places
        What they read.
    rows
        int64: rows to learn from.
    codes_N
        int64 (N,): class of each row of ``places``.
    config
        ``attentive_steps``, over which the rate rises and falls, ``class_weights`` and ``seed``.
    rng
        Draws batches, places and noise.
    progress
        Told of the steps; may cancel.
    watch
        Told of the loss of the first network.
    """
    steps, total_places = config.attentive_steps, math.prod(places.values_NCLE.shape[1:3])
    # A small matrix is multiplied by every network: one after the other, on what the processor still has at hand.
    groups = [
        {"params": list(network.parameters()), "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
        for network, recipe in zip(networks, recipes, strict=True)
    ]
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / _WARMUP_STEPS) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    codes = torch.from_numpy(codes_N[rows])
    weights = class_weights(codes_N[rows], networks[0].classifier.linear.out_features, config)
    for step in range(steps):
        chosen = torch.randperm(len(rows), generator=rng)[:_BATCH]
        seen_L = torch.randperm(total_places, generator=rng)[: max(1, round(_SEEN_SHARE * total_places))]
        batch = places.batch(rows[chosen.numpy()], seen_L)
        batch += _NOISE * torch.randn((len(batch), 1, batch.shape[2]), generator=rng)
        optimizer.zero_grad()
        with torch.random.fork_rng(devices=[]):  # dropout knows no other generator than PyTorch's own
            torch.manual_seed(config.seed * steps + step)
            losses = []
            for network in networks:
                network.train()
                losses.append(F.cross_entropy(network(batch, seen_L), codes[chosen], weight=weights))
                losses[-1].backward()  # type: ignore[no-untyped-call]
                network.eval()
        optimizer.step()
        schedule.step()
        progress("training the attentive probe", step + 1, steps)
        if watch is not unwatched:
            watch(Learnt("loss", "", step + 1, losses[0].item()))
        yield step + 1


def class_weights(codes_N: npt.NDArray[np.int64], classes: int, config: ProbeConfig) -> torch.Tensor:
    """Return the weight of a row of each class, (K,) float32; 0 for a class without rows."""
    counts = np.bincount(codes_N, minlength=classes)
    if config.class_weights == "none":
        return torch.ones(classes)
    return torch.from_numpy(len(codes_N) / np.maximum(counts, 1) / (counts > 0).sum()).float()


def attend(network: PositionedClassifier, places: Places, rows: npt.NDArray[np.int64] | slice = slice(None)) -> Array:
    """Return (B, K) logits of some rows, 0 on average over classes."""
    wanted = np.arange(len(places.values_NCLE))[rows]
    with torch.inference_mode():
        parts = [network(places.batch(wanted[start : start + _ASKED_AT_ONCE])) for start in range(0, len(wanted), _ASKED_AT_ONCE)]
    found: Array = torch.cat(parts).double().numpy() if parts else np.empty((0, network.classifier.linear.out_features))
    found -= found.mean(axis=1, keepdims=True)
    return found
