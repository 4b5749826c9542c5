"""What changes from step to step: learning rate and EMA momentum, as functions of the step alone."""

from __future__ import annotations

import math

from cellvjepa.config import TrainingConfig


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Return the learning rate of an optimiser step: linear warm-up, then a cosine down to the final rate.

    Where there is a cool-down, the rate stays constant after the warm-up, and falls linearly to the final one during the cool-down
    (V-JEPA 2, arXiv 2506.09985).

    Parameters
    ----------
    step
        Optimiser steps already taken, 0 .. ``config.steps - 1``.
    """
    warmup = round(config.warmup_share * config.steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.cooldown_share:
        left = min(1.0, (config.steps - step) / max(1, config.steps - config.cooldown_step))
    else:
        left = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, config.steps - warmup)))
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * left


def ema_momentum(step: int, config: TrainingConfig) -> float:
    """Return m of ``target <- m target + (1 - m) context`` after an optimiser step.

    The averaging window 1 / (1 - m) is configured as a share of all steps, because the published momenta
    (V-JEPA: .998 -> 1, arXiv 2404.08471, appendix) belong to runs of 90,000 steps; m itself moves linearly.
    """
    start = _momentum(config.ema_window_start * config.steps)
    end = _momentum(config.ema_window_end * config.steps)
    return start + (end - start) * step / max(1, config.steps - 1)


def _momentum(window_steps: float) -> float:
    return 1 - 1 / max(1.0, window_steps)
