"""What a probe has learnt so far, as points of a curve: for whoever watches while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

Curve = Literal["loss", "held out", "labels"]


@dataclass(frozen=True)
class Learnt:
    """One point of one curve.

    Parameters
    ----------
    curve
        ``"loss"``: cross-entropy of a batch of the attentive probe (of the configured recipe, where several are tried) against its step;
        ``"held out"``: mean over classes of the share of a fold's rows that was recognised, by a probe that had not seen them, against the
        number of the fold, from 1; ``"labels"``: balanced accuracy against the labels per class.
    series
        Which line of it, for people: ``"fold 2 of 5"``, ``"split by movie"``, ``"hand-made features"``.
    x, y
        Where the point is; ``x`` is infinite for all labels.
    """

    curve: Curve
    series: str
    x: float
    y: float


Watch = Callable[[Learnt], None]


def unwatched(point: Learnt) -> None:
    """Take note of nothing: the default :data:`Watch`."""


def within(watch: Watch, series: str) -> Watch:
    """Return a watch for a part of the work, whose curves bear its name."""

    def tell(point: Learnt) -> None:
        watch(replace(point, series=f"{series}: {point.series}" if point.series else series))

    return unwatched if watch is unwatched else tell
