"""How outlined cells are linked from frame to frame."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cellvjepa.config.section import PositiveFloat, Section


class LinkConfig(Section):
    """How outlined cells are linked from frame to frame, by laptrack."""

    reach_diameters: PositiveFloat = Field(
        1.0, title="Reach", description="How far a cell may move from one frame to the next, in diameters of a typical cell. [diameters]"
    )
    gap_frames: Annotated[int, Field(ge=0, le=20)] = Field(
        2, title="Gap", description="For how many frames a cell may be missing and still be the same one. [frames]"
    )
    divisions: bool = Field(
        False,
        title="Divisions",
        description="Look for mothers: a new cell beside one that is there, if both are smaller than it was and add up to it. Check each by eye.",
    )
