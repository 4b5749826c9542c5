"""How embeddings are computed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cellvjepa.config.section import PositiveInt, Section, Share


class EmbedConfig(Section):
    """How embeddings are computed from a frozen encoder."""

    batch_size: PositiveInt = Field(32, title="Batch size", description="Clips per forward pass. [clips]")
    stride_frames: PositiveInt | None = Field(
        None, title="Stride", description="Frames between the starts of two windows of a track. None: windows do not overlap. [frames]"
    )
    min_cover: Share = Field(0.5, title="Smallest cover", description="Share of a window's frames in which the cell must be present. [0-1]")
    pool: Literal["mean", "moments", "dynamics"] = Field(
        "dynamics",
        title="Pooling",
        description="mean: average of all tokens. moments: average and spread, twice as many numbers. dynamics: average and change over time, of the "
        "whole crop and of its middle, four times as many; best where motion matters.",
    )
    device: str = Field("auto", title="Device", description="auto, cpu, cuda, cuda:0, mps.")
