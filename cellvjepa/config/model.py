"""The network."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from cellvjepa.config.section import PositiveInt, Section, Share


class ModelConfig(Section):
    """The network: encoder (a vision transformer over tubelets) and predictor."""

    tubelet: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        (4, 1, 8, 8), title="Tubelet", description="Extent of one token along t, z, y, x. [frames, planes, px, px]"
    )
    dim: PositiveInt = Field(128, title="Width", description="Width of the encoder; an embedding has this many numbers per channel.")
    depth: PositiveInt = Field(6, title="Depth", description="Transformer blocks of the encoder.")
    heads: PositiveInt = Field(4, title="Heads", description="Attention heads of the encoder.")
    mlp_dim: PositiveInt | None = Field(
        None, title="Hidden width", description="Width of the encoder's hidden layers; None: four times model.dim. Other public models have others."
    )
    predictor_dim: PositiveInt = Field(64, title="Predictor width", description="Width of the predictor.")
    predictor_depth: PositiveInt = Field(4, title="Predictor depth", description="Transformer blocks of the predictor.")
    predictor_heads: PositiveInt = Field(4, title="Predictor heads", description="Attention heads of the predictor.")
    change_gain: Share = Field(
        0.5,
        title="Eye for change",
        description="How strongly a new encoder sees change within a tubelet beside what stays: 0 as it is in the pixels, 1 as if both were equally "
        "strong. Initial weights only. [0-1]",
    )
    rope: Literal["interleaved", "tiled"] = Field(
        "interleaved", title="RoPE frequencies", description="interleaved (V-JEPA 2.1) or tiled (as released with V-JEPA 2)."
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        for width, heads, name in ((self.dim, self.heads, "dim"), (self.predictor_dim, self.predictor_heads, "predictor_dim")):
            if width % heads:
                raise ValueError(f"{name} ({width}) must be a multiple of its heads ({heads})")
        return self
