"""How cells are outlined in movies that have no label images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cellvjepa.config.section import PositiveFloat, Section


class SegmentConfig(Section):
    """How cells are outlined, frame by frame. In a movie that does not say its pixel size, um are pixels."""

    method: Literal["threshold", "cellpose", "stardist"] = Field(
        "threshold",
        title="Method",
        description="threshold: brightness and shape (scikit-image); cellpose, stardist: a trained network, by its own library from a model on disk.",
    )
    cells: Literal["bright", "dark"] = Field(
        "bright", title="Cells are", description="bright or dark, compared with what is around them. In phase contrast they are both: use cellpose."
    )
    diameter_um: PositiveFloat | None = Field(
        None, title="Diameter", description="What a cell measures across. None: measured in five frames; cellpose: as its model is used to. [um]"
    )
    smoothing_um: PositiveFloat | None = Field(
        None, title="Smoothing", description="Standard deviation of the blur that removes noise. None: 1/15 of a diameter, at least 0.7 px. [um]"
    )
    background_um: PositiveFloat | None = Field(
        None, title="Background over", description="What varies over longer distances is background, and is taken away. None: 4 diameters. [um]"
    )
    threshold: Literal["otsu", "li", "triangle", "local"] = Field(
        "li",
        title="Threshold",
        description="otsu, li, triangle: one for each frame, from its histogram; local: the mean brightness around each pixel.",
    )
    threshold_factor: PositiveFloat = Field(
        1.0, title="Threshold times", description="Below 1 more and larger cells are found, above 1 fewer and smaller ones."
    )
    split: Literal["both", "distance", "intensity", "none"] = Field(
        "both",
        title="Split touching cells",
        description="distance: at necks of the outline; intensity: at dark lines; both: by the two together; none: what touches is one cell.",
    )
    neck: Annotated[float, Field(ge=0, le=1)] = Field(
        0.8,
        title="Neck",
        description="How narrow (or dark) a neck must be for two cells, as a share of the smaller one's width (or brightness); 0: never split. [0-1]",
    )
    min_area_um2: PositiveFloat | None = Field(
        None, title="Smallest area", description="What is smaller is no cell. None: 1/8 of a disk of one diameter. [um²]"
    )
    max_area_um2: PositiveFloat | None = Field(None, title="Largest area", description="What is larger is no cell. None: no limit. [um²]")
    model: str = Field(
        "", title="Model", description="cellpose: the file of its model; stardist: the folder of one. Nothing is downloaded: fetch it yourself, once."
    )
