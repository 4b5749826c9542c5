"""What the monitors say, in words: green, yellow or red, from the history of a run and never from one value alone.

Ranks may fall first and recover later, and single values waver. So what counts is what stayed low over several measurements and is
not on its way back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cellvjepa.config import Config, TrainingConfig
from cellvjepa.errors import UserError
from cellvjepa.training.metrics import MetricsRow
from cellvjepa.training.phases import phases_of

Colour = Literal["green", "yellow", "red"]

_CONFIRMED = 3  # measurements that must all be low
_RECOVERING = 1.1  # the last of them is so many times the first
_LONGEST_GRACE = 1000  # steps
_DROP_WINDOW, _DROP_LINES, _DROP_SD = 300, 10, 3.0  # steps, fewest lines in them, standard deviations
_DROP_LEAST = 0.02  # of the mean loss
_FORGOTTEN = 0.1  # lost balanced accuracy
_FAST = 4.0  # times the default learning rate


class CollapsedError(UserError):
    """Training was stopped because the monitors saw a collapse; the best encoder from before it was kept."""


@dataclass(frozen=True)
class Verdict:
    """How a run goes.

    Parameters
    ----------
    colour
        green: as it should. yellow: to be watched. red: collapsed.
    seen
        What was seen and what it means.
    remedy
        What to change; empty where there is nothing.
    """

    colour: Colour
    seen: str
    remedy: str = ""

    @property
    def reason(self) -> str:
        """All in one sentence."""
        return f"{self.seen}; {self.remedy}." if self.remedy else f"{self.seen}."


@dataclass(frozen=True)
class Collapse:
    """A collapse that ends a run: when it was certain, and what was seen."""

    step: int
    verdict: Verdict

    def error(self, run: Path, kept_step: int) -> CollapsedError:
        """Return what the user is told; ``kept_step`` is the step of the encoder that was kept."""
        untrained = ", before any training: no later one was healthy" if kept_step == 0 else ""
        return CollapsedError(
            f"training was stopped at step {self.step}: {self.verdict.seen}. The encoder of step {kept_step} was kept{untrained}",
            f"{self.verdict.remedy[:1].upper()}{self.verdict.remedy[1:]} and start a new run with another --out",
            run,
        )


@dataclass(frozen=True)
class _Sign:
    """A quantity of the monitors that a collapse brings down to ``floor``; below which shares of its highest value it alarms."""

    key: Literal["rankme", "rankme_tokens", "clip_std"]
    floor: float
    yellow: float
    red: float
    words: str


# In published-form runs that collapsed ranks fell to .15-.3 of their highest value, in runs that only dipped (pixel reconstruction) to
# .6. Within a clip random features have the highest rank of all: in the preset's own healthy runs it settles at .45-.7 of that, while
# the rank across clips doubles and every probe improves (workflows/studies/recipe.md).
_SIGNS = (
    _Sign("rankme", 1.0, 0.6, 0.3, "the features of different clips have become alike (rank across clips {now:.1f}, it was {best:.1f})"),
    _Sign(
        "rankme_tokens", 1.0, 0.35, 0.25, "the features of places within a clip have become alike (rank within a clip {now:.1f}, it was {best:.1f})"
    ),
    _Sign("clip_std", 0.0, 0.6, 0.3, "the features hardly vary from clip to clip any more (spread {now:.2g}, it was {best:.2g})"),
)


def verdict(measured: Sequence[MetricsRow], rows: Sequence[MetricsRow], config: Config) -> Verdict:
    """Judge a run at its newest line.

    Parameters
    ----------
    measured
        Lines of the steps at which the monitors were measured, oldest first.
    rows
        All lines, at least those of the last 300 steps; the last is the newest, whose ``health`` is not looked at.
    config
        The complete configuration of the run.
    """
    newest = rows[-1]
    if newest["measured"] == newest["step"] or len(rows) < 2:
        found = judge(measured, config)
    else:
        found = Verdict(rows[-2]["health"], rows[-2]["health_reason"].rstrip("."))
    if found.colour == "green" and (drop := _sudden_drop(rows, config)) is not None:
        return drop
    return found


def judge(measured: Sequence[MetricsRow], config: Config) -> Verdict:
    """Judge a run by its measurements alone; the arguments are those of :func:`verdict`."""
    low = [found for sign in _SIGNS if (found := _fallen(measured, sign, sign.red, _patience(config), True)) is not None]
    if low and measured[-1]["step"] >= _grace(config):
        return Verdict("red", f"{' and '.join(low)} and do not recover: the network has collapsed", advice(config))
    low = low or [found for sign in _SIGNS if (found := _fallen(measured, sign, sign.yellow, 0, False)) is not None]
    if low:
        return Verdict("yellow", f"{' and '.join(low)}, which may come back or be the beginning of a collapse", f"if it goes on, {advice(config)}")
    labelled = [value for row in measured if (value := row.get("labelled")) is not None]
    if len(labelled) > 2 and max(labelled[-2:]) < max(labelled) - _FORGOTTEN:
        return Verdict(
            "yellow",
            f"labelled behaviours are told apart less well than before (balanced accuracy {labelled[-1]:.2f}, it was {max(labelled):.2f}), "
            "so the encoder forgets what you look for",
            "the best encoder so far is kept; fewer training.steps would do",
        )
    return _healthy(measured, config)


def doubtful(measured: Sequence[MetricsRow]) -> list[bool]:
    """Tell for each measurement whether a value of it alone is so low that, if it stays, the verdict will be yellow or worse."""
    low = np.zeros(len(measured), dtype=bool)
    for sign in _SIGNS:
        values = np.array([row[sign.key] for row in measured]) - sign.floor
        low |= values < sign.yellow * np.maximum.accumulate(values)
    return [bool(value) for value in low]


def advice(config: Config) -> str:
    """Say what to change after a collapse: what is far from the defaults, else the learning rate."""
    training, usual = config.training, TrainingConfig()
    said = []
    if training.learning_rate > _FAST * usual.learning_rate:
        said.append(f"lower training.learning_rate (now {training.learning_rate:g}) to {usual.learning_rate:g}")
    if training.variance_covariance < usual.variance_covariance and not training.sigreg and training.objective == "latent":
        said.append(f"raise training.variance_covariance (now {training.variance_covariance:g}) to {usual.variance_covariance:g}")
    if training.ema_window_start == 0 and training.objective == "latent":
        said.append(f"raise training.ema_window_start (now 0) to {usual.ema_window_start:g}")
    return " and ".join(said) or f"lower training.learning_rate (now {training.learning_rate:g}) to {training.learning_rate / 3:.1g}"


def _fallen(measured: Sequence[MetricsRow], sign: _Sign, share: float, patience: int, recovering_counts: bool) -> str | None:
    """Say that a quantity fell below a share of its highest value and stayed there; else None.

    It stayed there if it is so at ``_CONFIRMED`` measurements, and at all within the last ``patience`` steps; where
    ``recovering_counts``, only if it is not on its way back.
    """
    values = np.array([row[sign.key] for row in measured]) - sign.floor
    steps = np.array([row["step"] for row in measured])
    looked_at = max(_CONFIRMED, int((steps >= steps[-1] - patience).sum()))
    if len(values) <= looked_at or steps[-1] - steps[0] < patience:  # the first is where it all began
        return None
    best, last = values.max(), values[-looked_at:]
    if best <= 0 or last.max() >= share * best:
        return None
    if recovering_counts and last[-1] > _RECOVERING * max(last[0], 0.1 * share * best):
        return None
    return sign.words.format(now=last[-1] + sign.floor, best=best + sign.floor)


def _patience(config: Config) -> int:
    """Return over how many steps a collapse must be seen: in a long run, features have time to come back."""
    return config.training.steps // 50


def _grace(config: Config) -> int:
    """Return the steps before which nothing is red: while the rate rises, features are in upheaval."""
    return min(round(config.training.warmup_share * config.training.steps), _LONGEST_GRACE)


def _sudden_drop(rows: Sequence[MetricsRow], config: Config) -> Verdict | None:
    """Look for the mark of a partial collapse: the loss of the last two lines is 3 sd below that of the 300 steps before."""
    step = rows[-1]["step"]
    settled = max(_grace(config), *(phase.first_step for phase in phases_of(config) if phase.first_step <= step))
    before = [row["loss"] for row in rows[:-2] if row["step"] >= max(settled, step - _DROP_WINDOW)]
    if len(before) < _DROP_LINES:
        return None
    mean, now = float(np.mean(before)), max(row["loss"] for row in rows[-2:])
    if now >= mean - max(_DROP_SD * float(np.std(before)), _DROP_LEAST * abs(mean)):
        return None
    return Verdict(
        "yellow",
        f"the loss fell suddenly, from {mean:.3g} to {now:.3g}, as it does when a part of the features collapses",
        "watch the ranks at the next measurement",
    )


def _healthy(measured: Sequence[MetricsRow], config: Config) -> Verdict:
    first, last = measured[0], measured[-1]
    ranks = f"rank across clips {last['rankme']:.1f}, {first['rankme']:.1f} at the start"
    if last["step"] < _grace(config) or len(measured) <= _CONFIRMED:
        return Verdict("green", f"no sign of a collapse so far, but it is early ({ranks})")
    if last["rankme"] > first["rankme"]:
        return Verdict("green", f"no sign of a collapse, and clips differ in more ways than at the start ({ranks})")
    return Verdict("green", f"no sign of a collapse, but clips do not differ in more ways than at the start ({ranks})", "longer training may help")
