"""How the encoder is pretrained."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from cellvjepa.config.section import PositiveFloat, PositiveInt, Section, Share


def _as_word(value: object) -> object:
    """Return a switch as its word: YAML takes on and off for true and false."""
    return ("on" if value else "off") if isinstance(value, bool) else value


Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_as_word)]


class TrainingConfig(Section):
    """How the encoder is pretrained."""

    steps: PositiveInt = Field(1500, title="Steps", description="Optimiser steps. [steps]")
    batch_size: PositiveInt = Field(32, title="Batch size", description="Clips per optimiser step. [clips]")
    accumulation: PositiveInt | None = Field(
        None,
        title="Gradient accumulation",
        description="Parts a batch is cut into to save memory; must divide batch_size. None: as few as fit the memory, found at the first step.",
    )
    learning_rate: PositiveFloat = Field(1e-3, title="Learning rate", description="Peak learning rate of AdamW.")
    final_learning_rate: Annotated[float, Field(ge=0)] = Field(1e-6, title="Final learning rate", description="Learning rate at the end.")
    warmup_share: Share = Field(0.1, title="Warm-up", description="Share of the steps over which the learning rate rises. [0-1]")
    cooldown_share: Share = Field(
        0.0,
        title="Cool-down",
        description="Last share of the steps, in which the learning rate falls linearly after having been constant (V-JEPA 2, arXiv 2506.09985). "
        "0: it falls as a cosine from the warm-up on. [0-1]",
    )
    cooldown_frames: PositiveInt | None = Field(
        None, title="Frames in the cool-down", description="Frames in a clip during the cool-down; None: as in clip.frames. [frames]"
    )
    cooldown_size_px: PositiveInt | None = Field(
        None, title="Size in the cool-down", description="Height and width of a clip during the cool-down; None: as in clip.size_px. [px]"
    )
    cooldown_batch_size: PositiveInt | None = Field(
        None, title="Batch size in the cool-down", description="Clips per optimiser step during the cool-down; None: as before. [clips]"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.04, title="Weight decay", description="AdamW weight decay; biases and 1-d tensors have none."
    )
    clip_grad_norm: PositiveFloat = Field(1.0, title="Gradient clipping", description="Largest gradient norm, from step 0.")
    ema_window_start: Annotated[float, Field(ge=0)] = Field(
        0.02,
        title="EMA window at the start",
        description="Averaging window 1/(1-m) of the target encoder as a share of all steps. 0: copy each step.",
    )
    ema_window_end: Annotated[float, Field(ge=0)] = Field(
        2.0, title="EMA window at the end", description="The same at the last step; in between m changes linearly."
    )
    objective: Literal["latent", "pixels", "frozen_teacher"] = Field(
        "latent",
        title="Objective",
        description="What is predicted of the hidden places. latent: features of the target encoder, a moving average (V-JEPA). pixels: the pixels "
        "(as VideoMAE). frozen_teacher: features of the finished run named in training.teacher (SALT, arXiv 2509.24317).",
    )
    teacher: str | None = Field(None, title="Teacher", description="Run or encoder.safetensors whose features are predicted; for frozen_teacher.")
    target_layers: PositiveInt = Field(
        1, title="Target layers", description="Targets are averaged over so many of the target encoder's last layers. [layers]"
    )
    variance_covariance: Annotated[float, Field(ge=0)] = Field(
        0.2, title="Variance-covariance weight", description="Weight of the term that keeps features from collapsing; 0 is the published V-JEPA."
    )
    variance_covariance_on: Literal["context", "predicted"] = Field(
        "context", title="Variance-covariance on", description="Which tokens that term sees: the context encoder's, or the predictor's."
    )
    sigreg: Annotated[float, Field(ge=0)] = Field(
        0.0, title="SIGReg weight", description="Weight of another term against collapse (LeJEPA, arXiv 2511.08544); 0: not used."
    )
    auxiliary: Literal["none", "unrest", "motion", "pixels", "differences"] = Field(
        "motion",
        title="Auxiliary target",
        description="What is predicted besides. unrest: how much, and how fast, hidden and seen places change. motion: that, and how far what is "
        "seen there moves. pixels: the hidden pixels. differences: those between their frames.",
    )
    auxiliary_weight: Annotated[float, Field(ge=0)] = Field(2.0, title="Auxiliary weight", description="Weight of the auxiliary target.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", title="Precision", description="auto: bfloat16 autocast where the device computes it natively."
    )
    compile: Switch = Field(
        "auto",
        title="Compile",
        description="Whether the blocks of the network are compiled (torch.compile), which takes a minute at the start. auto: on CUDA. Where that "
        "fails it is left, with a warning.",
    )
    activation_checkpointing: bool = Field(
        False,
        title="Activation checkpointing",
        description="Compute the blocks a second time in the backward pass instead of keeping what is in them: a third slower, far less memory.",
    )
    shard: Switch = Field(
        "auto",
        title="Shard",
        description="Whether several processes share the model, each keeping a part of every weight (FSDP2), instead of each having all of it. "
        "auto: where the encoder has more than 350 million weights, that is above ViT-L. The result is the same, to rounding.",
    )
    device: str = Field("auto", title="Device", description="auto, cpu, cuda, cuda:0, mps.")
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(0, title="Seed", description="Seed of weights, clips and masks.")
    log_every: PositiveInt = Field(10, title="Log interval", description="Steps between lines of metrics.jsonl. [steps]")
    checkpoint_every: PositiveInt = Field(100, title="Checkpoint interval", description="Steps between checkpoints. [steps]")
    checkpoints_kept: PositiveInt = Field(3, title="Checkpoints kept", description="Rolling checkpoints kept on disk.")
    data_workers: PositiveInt = Field(1, title="Reader threads", description="Threads that read and decode movies. [threads]")
    live_blocks: PositiveInt = Field(
        8, title="Live blocks", description="Decoded pieces of movies held in memory; clips of a batch are cut from these. [blocks]"
    )
    clips_per_block: PositiveInt = Field(
        64, title="Clips per block", description="Clips cut from a decoded piece before it makes room for the next. [clips]"
    )
    data_memory_mb: PositiveInt = Field(
        2048, title="Memory for clips", description="Memory for decoded pieces and batches, however many movies there are. [MB]"
    )
    data_patience_s: Annotated[float, Field(ge=0)] = Field(
        600.0, title="Patience with shares", description="How long to wait for a drive that has gone away before the run stops, to be resumed. [s]"
    )
    orientations: bool = Field(False, title="Orientations", description="Show clips in all eight orientations: flipped, and turned by quarters.")
    gain: Annotated[float, Field(ge=0, le=3)] = Field(
        0.0, title="Gain", description="Brightness of a clip is multiplied by a factor between 1/(1+gain) and 1+gain; 0: as it is."
    )

    @model_validator(mode="after")
    def _accumulation_divides(self) -> Self:
        if self.batch_size % self.parts_at_least:
            raise ValueError(f"accumulation ({self.accumulation}) must divide batch_size ({self.batch_size})")
        return self

    @model_validator(mode="after")
    def _cooldown_fits(self) -> Self:
        larger = [name for name in ("cooldown_frames", "cooldown_size_px", "cooldown_batch_size") if getattr(self, name) is not None]
        if larger and not self.cooldown_share:
            raise ValueError(f"training.{larger[0]} is for the cool-down, and there is none: set training.cooldown_share, e.g. to 0.2")
        if self.warmup_share + self.cooldown_share > 1:
            raise ValueError(f"warmup_share ({self.warmup_share}) and cooldown_share ({self.cooldown_share}) together must not exceed 1")
        if self.cooldown_batch_size is not None and self.cooldown_batch_size % self.parts_at_least:
            raise ValueError(f"accumulation ({self.accumulation}) must divide cooldown_batch_size ({self.cooldown_batch_size})")
        return self

    @property
    def parts_at_least(self) -> int:
        """Return the parts a batch is cut into, before anything is known of the memory."""
        return self.accumulation or 1

    @property
    def cooldown_step(self) -> int:
        """Return the step at which the cool-down begins; ``steps`` where there is none."""
        return self.steps - round(self.cooldown_share * self.steps)

    @model_validator(mode="after")
    def _teacher_is_named(self) -> Self:
        if (self.objective == "frozen_teacher") != (self.teacher is not None):
            raise ValueError("training.teacher names the run to learn from when training.objective is frozen_teacher, and only then")
        return self
