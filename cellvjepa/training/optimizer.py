"""The optimiser of pretraining."""

from __future__ import annotations

import torch

from cellvjepa.config import Config
from cellvjepa.model.vjepa import VJepa


def make_optimizer(model: VJepa, config: Config) -> torch.optim.AdamW:
    """Return AdamW over everything that is trained; biases and 1-d tensors are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.training.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.training.learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)
