"""The same weights in transformers' VJEPA2Model and in ours give the same numbers.

transformers applies the context mask after full encoding, so this says nothing about masked encoding; the golden arrays do.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cellvjepa.model.encoder import Encoder, EncoderShape
from cellvjepa.model.layers import gather_tokens
from cellvjepa.model.masking import Mask
from cellvjepa.model.predictor import Predictor, PredictorShape

SHAPE = EncoderShape((2, 1, 8, 8), dim=32, depth=2, heads=2, rope="tiled", axes=("t", "y", "x"), pixel_mean=0.0, pixel_std=1.0)
NARROW = PredictorShape(dim=24, depth=2, heads=2, generators=3)


def _our_blocks(theirs: dict[str, torch.Tensor], prefix: str, depth: int) -> dict[str, torch.Tensor]:
    ours = {}
    for layer in range(depth):
        weights = {name.removeprefix(f"{prefix}.layer.{layer}."): value for name, value in theirs.items() if f"{prefix}.layer.{layer}." in name}
        for kind in ("weight", "bias"):
            weights[f"attn.qkv.{kind}"] = torch.cat([weights.pop(f"attention.{part}.{kind}") for part in ("query", "key", "value")])
            weights[f"attn.proj.{kind}"] = weights.pop(f"attention.proj.{kind}")
        ours |= {f"blocks.{layer}.{name}": value for name, value in weights.items()}
    return ours


def _our_encoder(theirs: dict[str, torch.Tensor], shape: EncoderShape) -> Encoder:
    weights = _our_blocks(theirs, "encoder", shape.depth)
    weights["patch_embed.proj.weight"] = theirs["encoder.embeddings.patch_embeddings.proj.weight"].flatten(1)
    weights["patch_embed.proj.bias"] = theirs["encoder.embeddings.patch_embeddings.proj.bias"]
    weights |= {f"norm.{kind}": theirs[f"encoder.layernorm.{kind}"] for kind in ("weight", "bias")}
    encoder = Encoder(shape)
    encoder.load_state_dict(weights)
    return encoder


def _our_predictor(theirs: dict[str, torch.Tensor], shape: EncoderShape) -> Predictor:
    weights = _our_blocks(theirs, "predictor", NARROW.depth)
    for name, their_name in (("embed", "embeddings.predictor_embeddings"), ("norm", "layernorm"), ("proj", "proj")):
        weights |= {f"{name}.{kind}": theirs[f"predictor.{their_name}.{kind}"] for kind in ("weight", "bias")}
    weights["mask_tokens"] = theirs["predictor.embeddings.mask_tokens"][:, 0, 0]
    predictor = Predictor(NARROW, shape)
    predictor.load_state_dict(weights)
    return predictor


@pytest.mark.filterwarnings("ignore")  # transformers' own, at import
@pytest.mark.parametrize("channels", [1, 3])
def test_encoder_and_predictor_are_those_of_transformers(channels: int):
    transformers = pytest.importorskip("transformers")
    config = transformers.VJEPA2Config(
        patch_size=8, crop_size=32, frames_per_clip=8, tubelet_size=2, in_chans=channels, hidden_size=32, num_attention_heads=2,
        num_hidden_layers=2, pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=2, pred_num_mask_tokens=3,
    )  # fmt: skip
    model = transformers.VJEPA2Model(config).eval().requires_grad_(False)
    rng = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(0.15 * torch.randn(parameter.shape, generator=rng) + (parameter == 1))
    pixels_BTCYX = torch.randn(2, 8, channels, 32, 32, generator=rng)
    order = torch.stack([torch.randperm(64, generator=rng) for _ in range(2)])
    mask = Mask(order[:, :20].sort(dim=1).values, order[:, 20:50].sort(dim=1).values)
    theirs = model(pixels_BTCYX, context_mask=[mask.context_BK], target_mask=[mask.target_BM])

    shape = dataclasses.replace(SHAPE, in_channels=channels)
    encoder, predictor = _our_encoder(model.state_dict(), shape), _our_predictor(model.state_dict(), shape)
    pixels = pixels_BTCYX.transpose(1, 2).unsqueeze(3)
    tokens = encoder(pixels)
    torch.testing.assert_close(tokens, theirs.last_hidden_state, atol=1e-5, rtol=0)
    predicted = predictor(gather_tokens(tokens, mask.context_BK), [mask], [1], encoder.grid_of(pixels))[0]
    torch.testing.assert_close(predicted, theirs.predictor_output.last_hidden_state, atol=1e-5, rtol=0)
