"""What one clip is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cellvjepa.config.section import PositiveFloat, PositiveInt, Section, Share


class ClipConfig(Section):
    """What one clip is: how long, how wide, sampled how."""

    frames: PositiveInt = Field(16, title="Frames", description="Frames in a clip; 1 trains on single images (I-JEPA). [frames]")
    interval_s: PositiveFloat | None = Field(
        None,
        title="Frame interval",
        description="Wanted time between frames; reached by skipping whole frames, never by interpolation. None: every frame as it is. [s]",
    )
    size_px: PositiveInt = Field(64, title="Size", description="Height and width of a clip after resampling. [px]")
    pixel_um: PositiveFloat | None = Field(
        None, title="Pixel size", description="Wanted pixel size; movies are resampled to it. None: pixels as they are. [um]"
    )
    channels: tuple[str, ...] | None = Field(
        None, title="Channels", description="Channels to use, by name. None: all. The encoder sees one channel at a time."
    )
    z: Literal["max", "middle", "stack"] | int = Field(
        "max",
        title="Depth",
        description="What becomes of a z-stack: maximum projection, middle plane, the plane with this index, or the whole stack.",
    )
    foreground_share: Share = Field(
        0.5,
        title="Share of foreground clips",
        description="Share of training clips placed where the image varies most among several random places; the rest is placed blindly. [0-1]",
    )
