"""What is watched while training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cellvjepa.config.section import PositiveInt, Section


class MonitorConfig(Section):
    """What is measured while training, on a fixed set of clips."""

    clips: Annotated[int, Field(ge=2)] = Field(64, title="Monitor clips", description="Fixed clips on which ranks are measured. [clips]")
    every: PositiveInt = Field(50, title="Monitor interval", description="Steps between measurements; in between the last value is repeated. [steps]")
