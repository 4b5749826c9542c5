"""What several tests of the model share: the reference's numbers, and the reference's weights in our networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cellvjepa.model.encoder import Encoder, EncoderShape
from cellvjepa.model.predictor import Predictor, PredictorShape

_GOLDEN = Path(__file__).parent.parent / "golden"


def _arrays(name: str) -> dict[str, torch.Tensor]:
    with np.load(_GOLDEN / name) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope="session")
def golden() -> dict[str, torch.Tensor]:
    """Inputs, weights and outputs of V-JEPA 2's encoder and predictor; golden/README.md of the reference says how they were made."""
    return _arrays("vjepa2_rope_encoder_predictor.npz")


@pytest.fixture(scope="session")
def golden_classifier() -> dict[str, torch.Tensor]:
    return _arrays("vjepa2_attentive_classifier_depth4.npz")


@pytest.fixture(scope="session")
def golden_shape() -> EncoderShape:
    """The reference takes pixels as they come, so mean 0 and standard deviation 1."""
    return EncoderShape((2, 1, 8, 8), dim=32, depth=2, heads=2, rope="tiled", axes=("t", "y", "x"), pixel_mean=0.0, pixel_std=1.0)


@pytest.fixture(scope="session")
def golden_encoder(golden: dict[str, torch.Tensor], golden_shape: EncoderShape) -> Encoder:
    weights = {name.removeprefix("enc."): value for name, value in golden.items() if name.startswith("enc.")}
    weights["patch_embed.proj.weight"] = weights["patch_embed.proj.weight"].flatten(1)
    encoder = Encoder(golden_shape)
    encoder.load_state_dict(weights)
    return encoder.requires_grad_(False)


@pytest.fixture(scope="session")
def golden_predictor(golden: dict[str, torch.Tensor], golden_shape: EncoderShape) -> Predictor:
    weights = {name.removeprefix("pred.").replace("predictor_", ""): value for name, value in golden.items() if name.startswith("pred.")}
    weights["mask_tokens"] = torch.cat([weights.pop(f"mask_tokens.{index}")[0] for index in range(3)])
    predictor = Predictor(PredictorShape(dim=24, depth=2, heads=2, generators=3), golden_shape)
    predictor.load_state_dict(weights)
    return predictor.requires_grad_(False)
