"""How classifiers are trained and judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cellvjepa.config.section import PositiveFloat, PositiveInt, Section


class ProbeConfig(Section):
    """How a classifier is trained on frozen features and how its score is made honest."""

    kind: Literal["auto", "attentive", "linear", "knn"] = Field(
        "linear", title="Kind", description="attentive (on tokens), linear or knn (on pooled vectors); auto: what does best on an inner split."
    )
    group: str | None = Field(
        None, title="Group", description="Column whose values never stand on both sides of a split. None: movie, else track family and block of time."
    )
    folds: Annotated[int, Field(ge=2)] = Field(
        5, title="Folds", description="Cross-validation folds, by group; of three movies or more, but fewer than this, one each."
    )
    bootstrap: PositiveInt = Field(500, title="Bootstrap draws", description="Resamplings of groups behind each interval.")
    neighbours: PositiveInt = Field(5, title="Neighbours", description="Neighbours of the knn probe.")
    attentive_steps: PositiveInt = Field(200, title="Attentive steps", description="Optimiser steps of the attentive probe. [steps]")
    attentive_learning_rate: PositiveFloat = Field(1e-3, title="Attentive learning rate", description="Peak learning rate of the attentive probe.")
    attentive_weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.1, title="Attentive weight decay", description="AdamW weight decay of the attentive probe."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, title="Seed", description="Seed of folds, draws and initial weights.")
    inner_folds: Annotated[int, Field(ge=0)] = Field(
        3, title="Inner folds", description="Folds of the training rows, by group, on which settings and temperature are chosen. Below 2: neither is."
    )
    class_weights: Literal["balanced", "none"] = Field(
        "balanced", title="Class weights", description="balanced: classes weigh the same however many rows they have; none: rows do."
    )
    order: tuple[str, ...] = Field(
        (),
        title="Order of the classes",
        description="All classes from low to high, where they have an order: low, mid, high. None: they have no order.",
    )
    attentive_depth: Annotated[int, Field(ge=1, le=8)] = Field(
        1,
        title="Attentive depth",
        description="Blocks of the attentive probe: 1 asks the tokens at once (V-JEPA), 4 mixes them thrice before (V-JEPA 2). [blocks]",
    )
    attentive_reads: Literal["places", "tokens"] = Field(
        "places", title="Attentive input", description="places: what each place is on average and how it varies over time; tokens: all of them."
    )
    attentive_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, title="Attentive dropout", description="Share of attention weights and MLP outputs dropped while the attentive probe is trained."
    )
    attentive_search: bool = Field(
        True,
        title="Attentive search",
        description="Also try a third and three times the learning rate, and ten times the weight decay, on the inner split.",
    )
    token_cache_gb: Annotated[float, Field(ge=0)] = Field(
        20.0, title="Token cache", description="What tokens of clips may take on the disk, so that the next fit takes seconds; 0: none are kept. [GB]"
    )
    event_threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, title="Event threshold", description="Probability from which on a window shows an event. [0-1]"
    )
    event_min_frames: Annotated[float, Field(ge=0)] | None = Field(
        None, title="Shortest event", description="Events that last less are left out. None: half a window. [frames]"
    )
    event_gap_frames: Annotated[float, Field(ge=0)] | None = Field(
        None, title="Gap within an event", description="Two events of a track with less between them are one. None: half a window. [frames]"
    )
    suggest_representatives: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3,
        title="Representatives among suggestions",
        description="Share of suggested clips that stand for a cluster of clips; the others are those the probe is unsure of. [0-1]",
    )
