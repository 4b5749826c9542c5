"""How classifiers are trained and judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cellvjepa.config.section import PositiveFloat, PositiveInt, Section


class ProbeConfig(Section):
    """How a classifier is trained on frozen features and how its score is made honest."""

    kind: Literal["attentive", "linear", "knn"] = Field(
        "linear", title="Kind", description="attentive (on tokens), linear or knn (on pooled vectors)."
    )
    group: str | None = Field(
        None, title="Group", description="Column whose values never stand on both sides of a split. None: movie, else track family and block of time."
    )
    folds: Annotated[int, Field(ge=2)] = Field(5, title="Folds", description="Cross-validation folds, by group.")
    bootstrap: PositiveInt = Field(500, title="Bootstrap draws", description="Resamplings of groups behind each interval.")
    neighbours: PositiveInt = Field(5, title="Neighbours", description="Neighbours of the knn probe.")
    attentive_steps: PositiveInt = Field(200, title="Attentive steps", description="Optimiser steps of the attentive probe. [steps]")
    attentive_learning_rate: PositiveFloat = Field(1e-3, title="Attentive learning rate", description="Peak learning rate of the attentive probe.")
    attentive_weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.1, title="Attentive weight decay", description="AdamW weight decay of the attentive probe."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, title="Seed", description="Seed of folds, draws and initial weights.")
