"""What is watched while training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cellvjepa.config.section import PositiveInt, Section


class MonitorConfig(Section):
    """What is measured while training, on a fixed set of clips."""

    clips: Annotated[int, Field(ge=2)] = Field(
        64, title="Monitor clips", description="Fixed clips on which ranks and label-free probes are measured. [clips]"
    )
    every: PositiveInt = Field(
        100,
        title="Monitor interval",
        description="Steps between measurements, each at the next step that is logged; in between the last values are repeated. [steps]",
    )
    stop_on_collapse: bool = Field(
        True, title="Stop on collapse", description="Stop when the monitors see a collapse (red), and keep the best encoder from before it."
    )
    labelled_every: PositiveInt = Field(
        4, title="Labelled probe interval", description="Measurements between two probes of the labels given with --labels. [measurements]"
    )
    labelled_windows: PositiveInt = Field(
        256, title="Labelled windows", description="Most labelled windows that this probe reads; more are drawn evenly from the classes. [windows]"
    )
