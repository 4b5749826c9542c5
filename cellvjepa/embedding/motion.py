"""How far the pattern of tokens moves: optical flow in the space of features, told in a few numbers a clip.

Averages over places forget where a thing was, and with it how far it went. Here each place looks for its likeness among the places around it
one to three steps later, softly (as in RAFT's correlation, Teed & Deng 2020, section 3.2, and soft-argmax), once for each group of features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

LAGS = (1, 2, 3)  # steps of the grid
_REACH = 3  # how far a place looks [tokens]
_GROUP = 16  # features that are compared together
_TEMPERATURE = 0.1  # of the softmax over cosine similarities; 0.2 scores alike, but tells a third less than the true distance
_AREAS, _NUMBERS = 2, 4  # the whole crop and its middle; distance, likeness of the same place, gain by moving, common motion
_TINY = 1e-6


def motion_width(dim: int, steps: int) -> int:
    """Return how many numbers :func:`motion` gives for tokens of ``dim`` features and ``steps`` steps of time."""
    return _groups(dim) * _AREAS * _NUMBERS * len(_lags(steps))


def motion(tokens_tzyxD: torch.Tensor) -> torch.Tensor:
    """Return how the pattern of tokens moves.

    Of each frame of tokens its mean is taken off, so that what is everywhere (a change of light) does not count, and features are cut into
    groups of 16. The likeness of two places is the cosine between their groups; where a place goes is the average of the shifts up to
    three tokens along y and x, weighted by the softmax of the likeness. Four averages over places, weighted by how far they differ from the
    mean, are kept for each lag of one to three steps, for the whole crop and for its middle half: the distance [tokens], the likeness of
    the same place, how much more alike the best place is, and the length of the average shift [tokens], the motion that all have in common.

    Parameters
    ----------
    tokens_tzyxD
        (..., t, z, y, x, D).

    Returns
    -------
    torch.Tensor
        (..., M), float32, with M of :func:`motion_width`: by lag, area, number, and group. Clips of one step have none.
    """
    lead, (steps, _, _, _, dim) = tokens_tzyxD.shape[:-5], tokens_tzyxD.shape[-5:]
    if not _lags(steps):
        return tokens_tzyxD.new_zeros((*lead, 0), dtype=torch.float32)
    centred = tokens_tzyxD.float().flatten(0, -6) if lead else tokens_tzyxD.float()[None]
    centred = centred - centred.mean(dim=(2, 3, 4), keepdim=True)
    parts = centred.reshape(*centred.shape[:-1], _groups(dim), -1)
    strength = parts.norm(dim=-1)  # (B, t, z, y, x, G)
    units = parts / (strength[..., None] + _TINY)
    found = [number for lag in _lags(steps) for number in _numbers(units[:, :-lag], units[:, lag:], strength[:, :-lag])]
    return torch.cat(found, dim=-1).reshape(*lead, -1)


def _numbers(now: torch.Tensor, later: torch.Tensor, strength: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield what is kept of one lag, (B, G) each."""
    total, best = torch.zeros_like(strength), torch.full_like(strength, -1)
    shift = torch.zeros(*strength.shape, 2, dtype=strength.dtype, device=strength.device)
    same = (now * later).sum(dim=-1)
    for dy, dx in _shifts(*strength.shape[3:5]):
        here, there = _overlap(dy, dx)
        likeness = (now[here] * later[there]).sum(dim=-1)
        # A cosine is at most 1, so nothing overflows without looking for the largest first.
        weight = ((likeness - 1) / _TEMPERATURE).exp()
        total[here] += weight
        shift[here] += weight[..., None] * weight.new_tensor([dy, dx])
        best[here] = torch.maximum(best[here], likeness)
    shift = shift / total[..., None]
    height, width = strength.shape[3:5]
    middle = (slice(None), slice(None), slice(None), slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    for area in ((slice(None),) * 5, middle):
        weights = strength[area] + _TINY
        for number in (shift.norm(dim=-1), same, best - same):
            yield _average(number[area], weights)
        yield torch.stack([_average(shift[(*area, slice(None), k)], weights) for k in range(2)]).norm(dim=0)


def _average(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    places = (1, 2, 3, 4)
    return (values * weights).sum(dim=places) / weights.sum(dim=places)


def _shifts(height: int, width: int) -> Iterator[tuple[int, int]]:
    up, across = min(_REACH, height - 1), min(_REACH, width - 1)
    yield from ((dy, dx) for dy in range(-up, up + 1) for dx in range(-across, across + 1))


def _overlap(dy: int, dx: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return which places have one at this shift, and where that is."""
    lead = (slice(None),) * 3
    here = tuple(slice(max(0, -d), -d if d > 0 else None) for d in (dy, dx))
    there = tuple(slice(max(0, d), d if d < 0 else None) for d in (dy, dx))
    return (*lead, *here), (*lead, *there)


def _groups(dim: int) -> int:
    return max(1, dim // _GROUP) if math.gcd(dim, _GROUP) == _GROUP else 1


def _lags(steps: int) -> tuple[int, ...]:
    return tuple(lag for lag in LAGS if lag < steps)
