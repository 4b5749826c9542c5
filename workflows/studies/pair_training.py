"""Pretrain our encoder on pairs of successive windows of a place, as other methods do, to compare them with ours at equal compute.

Everything but the objective is ours: the network, its initial weights (those of our run with the same seed), the movies and how places
are chosen, the optimiser, its schedule and weight decay, windows per step. Used by few_labels.py; the methods are tarrow.py and
time_contrastive.py. No target encoder follows here: probed are the weights of the last step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from cellvjepa.config import Config
from cellvjepa.model.device import autocast, choose_device
from cellvjepa.model.encoder import Encoder, EncoderShape, new_encoder
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import save_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.finishing import finish
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.stream import Stream
from cellvjepa.progress import Progress, silent
from cellvjepa.training.examples import make_examples
from cellvjepa.training.schedules import learning_rate
from cellvjepa.training.trainer import Trainer

GAIN = 0.3

Views: TypeAlias = torch.Tensor  # (P, 2, C, T, Z, Y, X) pixels of pairs, the earlier window first
Movies: TypeAlias = tuple[Movie, ...]


@dataclass(frozen=True)
class Method:
    """What distinguishes one method from another.

    Parameters
    ----------
    views
        Varies pairs of windows at random.
    head
        Makes, for the width of the tokens, the module that turns the tokens of pairs, (P, 2, t, L, D), into a loss.
    """

    views: Callable[[Views, torch.Generator], Views]
    head: Callable[[int], nn.Module]


class PairTrainer:
    """An encoder in training on pairs.

    Parameters
    ----------
    method
        The objective.
    shape
        Of the encoder.
    config
        Its ``training`` gives steps, rates, weight decay, precision, device and seed.
    """

    def __init__(self, method: Method, shape: EncoderShape, config: Config) -> None:
        self.method, self.config, self.device = method, config, choose_device(config.training.device)
        self.rng = torch.Generator().manual_seed(config.training.seed)
        self.encoder = new_encoder(shape, torch.Generator().manual_seed(config.training.seed)).to(self.device)
        with torch.random.fork_rng():
            torch.manual_seed(config.training.seed)
            self.head = method.head(shape.dim).to(self.device)
        trained = [*self.encoder.parameters(), *self.head.parameters()]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.training.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=config.training.learning_rate, betas=(0.9, 0.999), eps=1e-8)

    def step(self, step: int, clips_PCTZYX: torch.Tensor) -> float:
        """Take one optimiser step on clips that are two windows long; return the loss."""
        pairs = torch.stack(clips_PCTZYX.chunk(2, dim=2), dim=1)
        varied = self.method.views(pairs, self.rng).flatten(0, 1).to(self.device)
        with autocast(self.device, self.config.training.precision):
            tokens = self.encoder(varied)
        grid = self.encoder.grid_of(varied)
        loss: torch.Tensor = self.head(tokens.float().reshape(len(pairs), 2, grid.t, -1, tokens.shape[-1]))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*self.encoder.parameters(), *self.head.parameters()], self.config.training.clip_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config.training)
        self.optimizer.step()
        return float(loss.detach())


def train_on_pairs(method: Method, movies: Movies, shape: EncoderShape, config: Config, run: Path, progress: Progress = silent) -> Encoder:
    """Pretrain, and write the encoder to ``run``.

    Raises
    ------
    Cancelled
        If ``progress`` cancels; nothing is written then.
    """
    trainer, losses = PairTrainer(method, shape, config), []
    began = time.process_time()
    with pairs_stream(movies, config) as stream:
        for step in range(config.training.steps):
            progress("pretraining", step, config.training.steps)
            losses.append(trainer.step(step, finish(stream.batch(step), torch.device("cpu"))))
    tenth = max(1, len(losses) // 10)
    about = {"first and last loss": [float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))], "processor_s": time.process_time() - began}
    encoder = trainer.encoder.cpu().requires_grad_(False).eval()
    save_encoder(encoder, run, {"config": config.model_dump(mode="json"), "movies": [movie.name for movie in movies], **about})
    return encoder


@contextmanager
def pairs_stream(movies: Movies, config: Config) -> Iterator[Stream]:
    """Open a stream of clips of two windows, half as many at a time as our own has of one."""
    shape = ClipShape.of(config.clip)
    with _stream(movies, replace(shape, frames=2 * shape.frames), config, config.training.batch_size // 2) as stream:
        yield stream


def processor_seconds_per_step(methods: dict[str, Method], movies: Movies, shape: EncoderShape, config: Config, rounds: int = 6) -> dict[str, float]:
    """Measure what a step of each method, and of ours (``"ours"``), costs in processor seconds; they take turns, and medians are returned.

    Reading is left out: it is the same for all.
    """
    device = choose_device(config.training.device)
    with _stream(movies, ClipShape.of(config.clip), config, config.training.batch_size) as stream:
        examples = make_examples(0, stream.batch(0), config, {movie.name: (1.0, 1.0, 1.0, 1.0) for movie in movies}, device)
    with pairs_stream(movies, config) as stream:
        clips = finish(stream.batch(0), torch.device("cpu")).clone()
    ours = Trainer(build_vjepa(config, 0).to(device), config, device)
    others = {name: PairTrainer(method, shape, config) for name, method in methods.items()}
    spent: dict[str, list[float]] = {name: [] for name in ("ours", *methods)}
    for turn in range(rounds + 1):
        for name, seconds in spent.items():
            began = time.process_time()
            if name == "ours":
                ours.step(turn, examples)
            else:
                others[name].step(turn, clips)
            if turn:  # the first one allocates
                seconds.append(time.process_time() - began)
    return {name: float(np.median(seconds)) for name, seconds in spent.items()}


def turned(pairs_P2CTZYX: Views, rng: torch.Generator, alike: bool) -> Views:
    """Flip and turn windows by quarters at random, both of a pair alike or each for itself."""
    count = pairs_P2CTZYX.shape[:2]
    draws = torch.rand((3, count[0], 1 if alike else 2), generator=rng).expand(3, *count) < 0.5
    down, across, exchanged = draws.reshape(3, *count, *[1] * (pairs_P2CTZYX.ndim - 2))
    found = torch.where(down, pairs_P2CTZYX.flip(-2), pairs_P2CTZYX)
    found = torch.where(across, found.flip(-1), found)
    return torch.where(exchanged, found.transpose(-1, -2), found)


def brightened(pairs_P2CTZYX: Views, rng: torch.Generator) -> Views:
    """Multiply the values of each window by a factor between 1 / 1.3 and 1.3."""
    draws = torch.rand(pairs_P2CTZYX.shape[:2], generator=rng).reshape(*pairs_P2CTZYX.shape[:2], *[1] * (pairs_P2CTZYX.ndim - 2))
    return pairs_P2CTZYX * (1 + GAIN) ** (2 * draws - 1)


def _stream(movies: Movies, shape: ClipShape, config: Config, batch_size: int) -> Stream:
    training = config.training
    return Stream(
        movies,
        shape,
        batch_size=batch_size,
        seed=training.seed,
        live_blocks=training.live_blocks,
        clips_per_block=training.clips_per_block,
        foreground_share=config.clip.foreground_share,
        workers=training.data_workers,
        memory_mb=training.data_memory_mb,
    )
