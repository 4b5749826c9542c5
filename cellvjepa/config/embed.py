"""How embeddings are computed."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from cellvjepa.config.clip import ClipConfig
from cellvjepa.config.section import PositiveFloat, PositiveInt, Section, Share


class EmbedConfig(Section):
    """How embeddings are computed from a frozen encoder."""

    batch_size: PositiveInt = Field(32, title="Batch size", description="Clips per forward pass. [clips]")
    stride_frames: PositiveInt | None = Field(
        None, title="Stride", description="Frames between the starts of two windows of a track. None: windows do not overlap. [frames]"
    )
    stride_min: PositiveFloat | None = Field(
        None,
        title="Stride in time",
        description="The same in minutes, for movies that know their interval; the nearest number of frames is taken. [min]",
    )
    window_min: PositiveFloat | None = Field(
        None,
        title="Window in time",
        description="Time that the frames of a window are spread over, by leaving out whole frames. None: as in training (clip.interval_s). [min]",
    )
    min_cover: Share = Field(0.5, title="Smallest cover", description="Share of a window's frames in which the cell must be present. [0-1]")
    follow: Literal["still", "smooth"] = Field(
        "still",
        title="Follow the cell",
        description="still: the crop stands at the cell's mean position, so that the cell's motion is seen. smooth: it moves in a straight line at "
        "steady speed, the one that fits the track best during the window, so that a fast cell stays in it and steady motion is not seen.",
    )
    mask_weight: Share = Field(
        0.0,
        title="Weight of the outline",
        description="Share of the pooled average (of that of the middle, for dynamics) that comes from the tokens under the cell's mask. Needs label "
        "images. [0-1]",
    )
    hide_neighbours: bool = Field(
        False, title="Hide neighbours", description="Replace pixels of other cells by the background of the clip. Needs label images."
    )
    pool: Literal["mean", "moments", "dynamics", "motion"] = Field(
        "dynamics",
        title="Pooling",
        description="mean: average of all tokens. moments: average and spread, twice as many numbers. dynamics: average and change over time, of the "
        "whole crop and of its middle, four times as many. motion: dynamics, and how far the pattern of features moves (up to three eighths "
        "more numbers); for how fast cells go.",
    )
    device: str = Field("auto", title="Device", description="auto, cpu, cuda, cuda:0, mps.")

    def clip(self, trained: ClipConfig) -> ClipConfig:
        """Return what a clip is when it is embedded: as in training, unless the frames are spread over another time."""
        if self.window_min is None:
            return trained
        return trained.model_copy(update={"interval_s": 60 * self.window_min / trained.frames})

    @model_validator(mode="after")
    def _one_stride(self) -> Self:
        if self.stride_frames is not None and self.stride_min is not None:
            raise ValueError("the stride is given in frames (embed.stride_frames) and in minutes (embed.stride_min): give one of them")
        return self
