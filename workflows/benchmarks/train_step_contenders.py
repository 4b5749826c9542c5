"""One training step, as three programs take it: the same network, clips and masks; phases are timed one by one."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from cellvjepa.config import Config, load_config
from cellvjepa.model.device import autocast
from cellvjepa.model.grid import Grid
from cellvjepa.model.masking import Mask, draw_masks
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.training.examples import Examples
from cellvjepa.training.trainer import Trainer

FRAMES, SIZE_PX, TUBELET = 16, 224, (2, 1, 16, 16)
SIZES = {"Ti": (192, 12, 3, 192, 6, 3), "S": (384, 12, 6, 192, 6, 6), "B": (768, 12, 12, 384, 12, 12)}
GRID = Grid(8, 1, 14, 14)
_PUBLISHED = """masks.generators=[{blocks: 8, area: 0.15, context_share: 0.25, target_share: 0.7},
                                  {blocks: 2, area: 0.7, context_share: 0.1, target_share: 0.85}]"""
PHASES = ("target", "context", "predictor", "backward", "optimiser", "EMA")


@dataclass
class Clock:
    """Seconds spent in each phase; waits for the device, so only where phases are wanted."""

    device: torch.device
    spent_s: dict[str, float] = field(default_factory=dict)
    on: bool = False

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = self._now()
        yield
        self.spent_s[phase] = self.spent_s.get(phase, 0.0) + self._now() - began

    def _now(self) -> float:
        if self.on and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def around(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time taken."""

        def timed(*given: Any, **named: Any) -> Any:
            with self(phase):
                return function(*given, **named)

        return timed


@dataclass(frozen=True)
class Setting:
    """What all contenders train, and on what."""

    size: str
    batch: int
    precision: str
    device: str
    masks: str

    def config(self) -> Config:
        dim, depth, heads, predictor_dim, predictor_depth, predictor_heads = SIZES[self.size]
        values = [f"clip.frames={FRAMES}", f"clip.size_px={SIZE_PX}", f"model.tubelet={list(TUBELET)}", f"model.dim={dim}", f"model.depth={depth}"]
        values += [f"model.heads={heads}", f"model.predictor_dim={predictor_dim}", f"model.predictor_depth={predictor_depth}"]
        values += [f"model.predictor_heads={predictor_heads}", f"training.batch_size={self.batch}", "training.accumulation=1"]
        values += [f"training.precision={self.precision}", f"training.device={self.device}", "training.learning_rate=1e-4"]
        return load_config(None, values + ([_PUBLISHED] if self.masks == "published" else []))

    def examples(self, step: int) -> Examples:
        rng, device = np.random.default_rng(step), torch.device(self.device)
        pixels = torch.from_numpy(rng.random((self.batch, 1, FRAMES, 1, SIZE_PX, SIZE_PX), np.float32)).to(device)
        masks = draw_masks(GRID, self.config().masks.generators, self.batch, rng)
        return Examples(pixels, tuple(Mask(mask.context_BK.to(device), mask.target_BM.to(device)) for mask in masks), None, step)


@dataclass(frozen=True)
class Contender:
    """``step`` takes one step and leaves its loss on the device; ``trained`` counts weights of encoder and predictor."""

    step: Callable[[Examples], torch.Tensor]
    trained: int
    clock: Clock


def ours(setting: Setting) -> Contender:
    """Return our step, as pretraining takes it."""
    config, device = setting.config(), torch.device(setting.device)
    model = build_vjepa(config, seed=0).to(device)
    clock, trainer = Clock(device), Trainer(model, config, device)
    for part, phase in ((model.target_encoder, "target"), (model.context_encoder, "context"), (model.predictor, "predictor")):
        part.forward = clock.around(phase, part.forward)  # type: ignore[method-assign]
    trainer.optimizer.step = clock.around("optimiser", trainer.optimizer.step)  # type: ignore[method-assign]
    model.update_target = clock.around("EMA", model.update_target)  # type: ignore[method-assign]
    back = torch.Tensor.backward
    torch.Tensor.backward = clock.around("backward", back)  # type: ignore[method-assign]
    return Contender(lambda examples: trainer.step(examples.step, examples).losses[1], _count(model.context_encoder, model.predictor), clock)


def transformers(setting: Setting) -> Contender:
    """Return a step of Hugging Face's VJEPA2Model, trained the obvious way.

    Its context mask is applied after the whole clip was encoded, so the context encoder computes all tokens (and sees what it should
    predict: this is how fast it is, not a way to train).
    """
    from transformers import VJEPA2Config, VJEPA2Model

    dim, depth, heads, predictor_dim, predictor_depth, predictor_heads = SIZES[setting.size]
    made = VJEPA2Config(
        patch_size=TUBELET[3], crop_size=SIZE_PX, frames_per_clip=FRAMES, tubelet_size=TUBELET[0], in_chans=1, hidden_size=dim,
        num_attention_heads=heads, num_hidden_layers=depth, mlp_ratio=4, pred_hidden_size=predictor_dim,
        pred_num_attention_heads=predictor_heads, pred_num_hidden_layers=predictor_depth, pred_mlp_ratio=4, pred_num_mask_tokens=2,
    )  # fmt: skip
    model = VJEPA2Model(made).to(setting.device).train()

    def context(examples: Examples) -> list[torch.Tensor]:
        encoded = model.encoder(examples.pixels_B1TZYX[:, :, :, 0].transpose(1, 2)).last_hidden_state
        return [encoded] * len(examples.masks)

    def predict(encoded: torch.Tensor, mask: Mask) -> torch.Tensor:
        answer = model.predictor(encoder_hidden_states=encoded, context_mask=[mask.context_BK], target_mask=[mask.target_BM])
        return answer.last_hidden_state

    target = copy.deepcopy(model.encoder).requires_grad_(False)
    return _plainly(
        setting, model.encoder, model.predictor, target, context, predict, lambda e: target(e.pixels_B1TZYX[:, :, :, 0].transpose(1, 2))[0]
    )


def reference(setting: Setting, checkout: Path) -> Contender:
    """Return the published step of facebookresearch/vjepa2, imported from a checkout of it."""
    sys.path.insert(0, str(checkout))
    from functools import partial

    from src.models.predictor import vit_predictor
    from src.models.vision_transformer import VisionTransformer

    dim, depth, heads, predictor_dim, predictor_depth, predictor_heads = SIZES[setting.size]
    shape = {"img_size": SIZE_PX, "patch_size": TUBELET[3], "num_frames": FRAMES, "tubelet_size": TUBELET[0], "use_rope": True}
    norm = partial(nn.LayerNorm, eps=1e-6)
    encoder = VisionTransformer(in_chans=1, embed_dim=dim, depth=depth, num_heads=heads, use_sdpa=True, norm_layer=norm, **shape).to(setting.device)
    predictor = vit_predictor(
        embed_dim=dim, predictor_embed_dim=predictor_dim, depth=predictor_depth, num_heads=predictor_heads, use_mask_tokens=True,
        num_mask_tokens=2, use_sdpa=True, **shape,
    ).to(setting.device)  # fmt: skip
    target = copy.deepcopy(encoder).requires_grad_(False)

    def context(examples: Examples) -> list[torch.Tensor]:
        return [encoder(examples.pixels_B1TZYX[:, :, :, 0], mask.context_BK) for mask in examples.masks]

    return _plainly(
        setting, encoder, predictor, target, context,
        lambda seen, mask: predictor(seen, mask.context_BK, mask.target_BM), lambda e: target(e.pixels_B1TZYX[:, :, :, 0]),
    )  # fmt: skip


def _plainly(
    setting: Setting,
    encoder: nn.Module,
    predictor: nn.Module,
    target: nn.Module,
    context: Callable[[Examples], list[torch.Tensor]],
    predict: Callable[[torch.Tensor, Mask], torch.Tensor],
    targets: Callable[[Examples], torch.Tensor],
) -> Contender:
    """Return the step that one writes first: autocast, AdamW, an average of the weights, the loss read for the log."""
    device = torch.device(setting.device)
    clock = Clock(device)
    trained = [*encoder.parameters(), *predictor.parameters()]
    optimizer = torch.optim.AdamW([parameter for parameter in trained if parameter.requires_grad], lr=1e-4, weight_decay=0.04)

    def step(examples: Examples) -> torch.Tensor:
        with autocast(device, setting.precision):  # type: ignore[arg-type]
            with clock("target"), torch.no_grad():
                h = targets(examples)
                h = F.layer_norm(h, h.shape[-1:])
            with clock("context"):
                seen = context(examples)
            with clock("predictor"):
                z = [predict(tokens, mask) for tokens, mask in zip(seen, examples.masks, strict=True)]
            asked = [h.gather(1, mask.target_BM.unsqueeze(-1).expand(-1, -1, h.shape[-1])) for mask in examples.masks]
            loss = torch.stack([(one - other).abs().mean() for one, other in zip(z, asked, strict=True)]).mean()
        with clock("backward"):
            loss.backward()
        with clock("optimiser"):
            optimizer.step()
            optimizer.zero_grad()
        with clock("EMA"), torch.no_grad():
            own, others = list(target.parameters()), list(encoder.parameters())
            torch._foreach_mul_(own, 0.99)
            torch._foreach_add_(own, others, alpha=0.01)
        loss.item()
        return loss.detach()

    return Contender(step, _count(encoder, predictor), clock)


def needed_gflop(setting: Setting) -> float:
    """Return what a step has to compute, 10^9 operations: the target's pass, and three times (there, and back twice) the other passes.

    Products of matrices only: 24 D^2 for each token in each layer, 4 D for each pair that attends, and what projects in and out.
    """
    dim, depth, _, predictor_dim, predictor_depth, _ = SIZES[setting.size]
    pixels = int(np.prod(TUBELET))

    def blocks(tokens: int, width: int, layers: int) -> float:
        return layers * (24.0 * tokens * width**2 + 4.0 * tokens**2 * width)

    def encoded(tokens: int) -> float:
        return blocks(tokens, dim, depth) + 2.0 * tokens * pixels * dim

    total = encoded(GRID.tokens)
    for mask in setting.examples(0).masks:
        seen, asked = mask.context_BK.shape[1], mask.target_BM.shape[1]
        total += 3 * (encoded(seen) + blocks(seen + asked, predictor_dim, predictor_depth) + 2.0 * (seen + asked) * dim * predictor_dim)
    return setting.batch * total / 1e9


def _count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
