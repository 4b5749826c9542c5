"""Every tunable of every room, once. The defaults are the preset ``tiny``.

A run keeps its complete configuration in ``config.yaml``; the command line, the plugin's forms and the
documentation read titles, descriptions and units from here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cellvjepa.errors import UserError
from cellvjepa.shipped import presets_folder
from cellvjepa.writing import atomic_path

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class ClipConfig(_Section):
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


class BlockMaskConfig(_Section):
    """One mask generator: blocks that span all time steps (V-JEPA, arXiv 2404.08471, section 3)."""

    blocks: PositiveInt = Field(8, title="Blocks", description="Blocks whose union is hidden.")
    area: Annotated[float, Field(gt=0, lt=1)] = Field(0.15, title="Area of a block", description="Area of one block as a share of the image. [0-1]")
    aspect: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.75, 1.5), title="Aspect ratio", description="Range of height over width of a block, drawn uniformly."
    )
    context_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1875, title="Context share", description="Tokens shown to the context encoder, as an exact share of all tokens. [0-1]"
    )
    target_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, title="Target share", description="Tokens to predict, as an exact share of all tokens. [0-1]"
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.context_share + self.target_share > 1:
            raise ValueError("context_share + target_share must not exceed 1")
        if self.aspect[0] > self.aspect[1]:
            raise ValueError("aspect must be given as (smallest, largest)")
        return self


class MaskConfig(_Section):
    """The mask generators; each has a mask token of its own in the predictor."""

    generators: Annotated[tuple[BlockMaskConfig, ...], Field(min_length=1)] = Field(
        (
            BlockMaskConfig(),
            BlockMaskConfig(blocks=2, area=0.7, context_share=0.09375, target_share=0.25),
        ),
        title="Mask generators",
        description="Short-range (many small blocks) and long-range (few large blocks) masks.",
    )


class ModelConfig(_Section):
    """The network: encoder (a vision transformer over tubelets) and predictor."""

    tubelet: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        (4, 1, 8, 8), title="Tubelet", description="Extent of one token along t, z, y, x. [frames, planes, px, px]"
    )
    dim: PositiveInt = Field(128, title="Width", description="Width of the encoder; an embedding has this many numbers per channel.")
    depth: PositiveInt = Field(6, title="Depth", description="Transformer blocks of the encoder.")
    heads: PositiveInt = Field(4, title="Heads", description="Attention heads of the encoder.")
    predictor_dim: PositiveInt = Field(64, title="Predictor width", description="Width of the predictor.")
    predictor_depth: PositiveInt = Field(4, title="Predictor depth", description="Transformer blocks of the predictor.")
    predictor_heads: PositiveInt = Field(4, title="Predictor heads", description="Attention heads of the predictor.")
    rope: Literal["interleaved", "tiled"] = Field(
        "interleaved", title="RoPE frequencies", description="interleaved (V-JEPA 2.1) or tiled (as released with V-JEPA 2)."
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        for width, heads, name in ((self.dim, self.heads, "dim"), (self.predictor_dim, self.predictor_heads, "predictor_dim")):
            if width % heads:
                raise ValueError(f"{name} ({width}) must be a multiple of its heads ({heads})")
        return self


class TrainingConfig(_Section):
    """How the encoder is pretrained."""

    steps: PositiveInt = Field(1500, title="Steps", description="Optimiser steps. [steps]")
    batch_size: PositiveInt = Field(32, title="Batch size", description="Clips per optimiser step. [clips]")
    accumulation: PositiveInt = Field(
        1, title="Gradient accumulation", description="Parts a batch is cut into to save memory; must divide batch_size."
    )
    learning_rate: PositiveFloat = Field(5e-4, title="Learning rate", description="Peak learning rate of AdamW.")
    final_learning_rate: Annotated[float, Field(ge=0)] = Field(
        1e-6, title="Final learning rate", description="Learning rate at the end of the cosine."
    )
    warmup_share: Share = Field(0.1, title="Warm-up", description="Share of the steps over which the learning rate rises. [0-1]")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.04, title="Weight decay", description="AdamW weight decay; biases and 1-d tensors have none."
    )
    clip_grad_norm: PositiveFloat = Field(1.0, title="Gradient clipping", description="Largest gradient norm, from step 0.")
    ema_window_start: Annotated[float, Field(ge=0)] = Field(
        0.5, title="EMA window at the start", description="Averaging window 1/(1-m) of the target encoder as a share of all steps. 0: copy each step."
    )
    ema_window_end: Annotated[float, Field(ge=0)] = Field(
        20.0, title="EMA window at the end", description="The same at the last step; in between m changes linearly."
    )
    variance_covariance: Annotated[float, Field(ge=0)] = Field(
        0.2, title="Variance-covariance weight", description="Weight of the term that keeps features from collapsing; 0 is the published V-JEPA."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", title="Precision", description="auto: bfloat16 autocast where the device computes it natively."
    )
    device: str = Field("auto", title="Device", description="auto, cpu, cuda, cuda:0, mps.")
    seed: Annotated[int, Field(ge=0)] = Field(0, title="Seed", description="Seed of weights, clips and masks.")
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
        if self.batch_size % self.accumulation:
            raise ValueError(f"accumulation ({self.accumulation}) must divide batch_size ({self.batch_size})")
        return self


class MonitorConfig(_Section):
    """What is measured while training, on a fixed set of clips."""

    clips: Annotated[int, Field(ge=2)] = Field(64, title="Monitor clips", description="Fixed clips on which ranks are measured. [clips]")
    every: PositiveInt = Field(50, title="Monitor interval", description="Steps between measurements; in between the last value is repeated. [steps]")


class EmbedConfig(_Section):
    """How embeddings are computed from a frozen encoder."""

    batch_size: PositiveInt = Field(32, title="Batch size", description="Clips per forward pass. [clips]")
    stride_frames: PositiveInt | None = Field(
        None, title="Stride", description="Frames between the starts of two windows of a track. None: windows do not overlap. [frames]"
    )
    min_cover: Share = Field(0.5, title="Smallest cover", description="Share of a window's frames in which the cell must be present. [0-1]")
    pool: Literal["mean", "moments", "dynamics"] = Field(
        "moments",
        title="Pooling",
        description="mean: average of all tokens. moments: average and spread, twice as many numbers. dynamics: average and change over time, of the "
        "whole crop and of its middle, four times as many; best where motion matters.",
    )
    device: str = Field("auto", title="Device", description="auto, cpu, cuda, cuda:0, mps.")


class ProbeConfig(_Section):
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


class Config(_Section):
    """The complete configuration of a run."""

    clip: ClipConfig = Field(default_factory=ClipConfig, title="Clips")
    masks: MaskConfig = Field(default_factory=MaskConfig, title="Masks")
    model: ModelConfig = Field(default_factory=ModelConfig, title="Model")
    training: TrainingConfig = Field(default_factory=TrainingConfig, title="Training")
    monitor: MonitorConfig = Field(default_factory=MonitorConfig, title="Monitor")
    embed: EmbedConfig = Field(default_factory=EmbedConfig, title="Embedding")
    probe: ProbeConfig = Field(default_factory=ProbeConfig, title="Probing")

    @model_validator(mode="after")
    def _tubelets_fit(self) -> Self:
        t, _, y, x = self.model.tubelet
        if self.clip.frames % t:
            raise ValueError(f"clip.frames ({self.clip.frames}) must be a multiple of the tubelet's {t} frames (model.tubelet)")
        if self.clip.size_px % y or self.clip.size_px % x:
            raise ValueError(f"clip.size_px ({self.clip.size_px}) must be a multiple of the tubelet's {y} and {x} px (model.tubelet)")
        return self


def load_config(source: str | os.PathLike[str] | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration from a preset name or a YAML file, and apply ``section.field=value`` overrides.

    Parameters
    ----------
    source
        ``"tiny"``, ``"small"``, ``"base"``, or the path of a YAML file; ``None`` gives the defaults.
    overrides
        E.g. ``["training.steps=60", "clip.size_px=32"]``; values are written as in YAML.

    Raises
    ------
    UserError
        If the file is missing or no YAML, a key is unknown or a value is not allowed.
    """
    values = {} if source is None else _read_yaml(_config_path(source))
    return config_from(values, overrides, "the configuration" if source is None else source)


def config_from(values: Mapping[str, Any], overrides: Sequence[str] = (), where: str | os.PathLike[str] = "the configuration") -> Config:
    """Make a configuration of plain values, e.g. those kept beside an encoder, and apply overrides.

    Raises
    ------
    UserError
        As :func:`load_config`; ``where`` is named in it.
    """
    changed = {section: dict(fields) if isinstance(fields, Mapping) else fields for section, fields in values.items()}
    for override in overrides:
        _override(changed, override)
    try:
        return Config.model_validate(changed)
    except ValidationError as error:
        raise _readable(error, os.fspath(where)) from None


def save_config(config: Config, path: str | os.PathLike[str]) -> None:
    """Write the complete configuration as YAML."""
    with atomic_path(path) as part:
        part.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def differences(one: Config, other: Config) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two configurations differ, as ``{"training.steps": (one, other)}``."""
    left, right = one.model_dump(mode="json"), other.model_dump(mode="json")
    return {
        f"{section}.{field}": (value, right[section][field])
        for section, fields in left.items()
        for field, value in fields.items()
        if value != right[section][field]
    }


def _config_path(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if path.suffix:
        return path
    presets = {p.stem: p for p in presets_folder().glob("*.yaml")}
    if path.name in presets and path.parent == Path():
        return presets[path.name]
    raise UserError(f"there is no preset named '{source}'", f"choose one of {', '.join(sorted(presets))}, or give the path of a .yaml file")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("the configuration file does not exist", "check the path", path) from None
    except IsADirectoryError:
        raise UserError("this is a folder", "give the path of a .yaml file", path) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"this is not valid YAML ({error})", "compare it with workflows/configs/tiny.yaml", path) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError("the file holds no sections", "write 'training:' and below it, indented, 'steps: 60'", path)
    return values


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, field = key.strip().partition(".")
    if not equals or not dot:
        raise UserError(f"'{override}' is not of the form section.field=value", "write for example training.steps=60", "--set")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"the value of '{override}' is not valid YAML", "write for example training.steps=60", "--set") from None
    # YAML reads 1e-3 as text (it wants 1.0e-3); people and papers write 1e-3.
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            pass
    fields = values.setdefault(section, {})
    if not isinstance(fields, dict):
        raise UserError(f"the section '{section}' holds no fields", "write fields below it, indented", "--set")
    fields[field] = value


def _readable(error: ValidationError, where: str) -> UserError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return UserError(f"unknown key '{key}'", f"known here: {', '.join(_siblings(first['loc']))}", where)
    found = f"{key} = {first['input']!r}: {first['msg']}" if key else first["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return UserError(found + more, "correct the value", where)


def _siblings(loc: tuple[int | str, ...]) -> list[str]:
    fields = Config.model_fields
    if len(loc) > 1 and loc[0] in fields:
        section = fields[str(loc[0])].annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            return list(section.model_fields)
    return list(fields)
