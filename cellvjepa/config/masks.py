"""What is hidden from the encoder, and what it has to predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Discriminator, Field, Tag, model_validator

from cellvjepa.config.section import PositiveFloat, PositiveInt, Section


class BlockMaskConfig(Section, title="Blocks"):
    """One mask generator: blocks that span all time steps (V-JEPA, arXiv 2404.08471, section 3)."""

    blocks: PositiveInt = Field(8, title="Blocks", description="Blocks whose union is hidden.")
    area: Annotated[float, Field(gt=0, lt=1)] = Field(0.15, title="Area of a block", description="Area of one block as a share of the image. [0-1]")
    aspect: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.75, 1.5), title="Aspect ratio", description="Range of height over width of a block, drawn uniformly."
    )
    context_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1875, title="Context share", description="Tokens shown to the context encoder, as an exact share of all tokens. [0-1]"
    )
    target_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, title="Target share", description="Tokens to predict, as an exact share of all tokens. [0-1]"
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.context_share + self.target_share > 1:
            raise ValueError("context_share + target_share must not exceed 1")
        if self.aspect[0] > self.aspect[1]:
            raise ValueError("aspect must be given as (smallest, largest)")
        return self


class ForecastMaskConfig(Section, title="Forecast"):
    """A generator that shows places early in a clip and asks what places late in it will be."""

    past: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, title="Past", description="Share of the time steps that may be seen. [0-1]")
    context_places: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, title="Context places", description="Share of the places that are seen, each at all steps of the past. [0-1]"
    )
    target_places: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, title="Target places", description="Share of the places to predict, each at all steps of the future. [0-1]"
    )


def _kind(value: object) -> str:
    """Return which generator is meant, so that a mistake in one is not told of all."""
    forecast = isinstance(value, ForecastMaskConfig) or (isinstance(value, Mapping) and not value.keys().isdisjoint(ForecastMaskConfig.model_fields))
    return (ForecastMaskConfig if forecast else BlockMaskConfig).__name__


MaskGenerator = BlockMaskConfig | ForecastMaskConfig
_Generator = Annotated[
    Annotated[BlockMaskConfig, Tag(BlockMaskConfig.__name__)] | Annotated[ForecastMaskConfig, Tag(ForecastMaskConfig.__name__)], Discriminator(_kind)
]
LARGE_BLOCKS = BlockMaskConfig(blocks=2, area=0.7, context_share=0.09375, target_share=0.25)


class MaskConfig(Section):
    """The mask generators; each has a mask token of its own in the predictor."""

    generators: Annotated[tuple[_Generator, ...], Field(min_length=1)] = Field(
        (
            BlockMaskConfig(),
            ForecastMaskConfig(),
        ),
        title="Mask generators",
        description="Each hides in its own way: blocks that last for the whole clip, and the future.",
    )
