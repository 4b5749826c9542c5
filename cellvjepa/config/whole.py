"""All sections together: the complete configuration of a run."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from cellvjepa.config.clip import ClipConfig
from cellvjepa.config.embed import EmbedConfig
from cellvjepa.config.link import LinkConfig
from cellvjepa.config.masks import LARGE_BLOCKS, ForecastMaskConfig, MaskConfig, MaskGenerator
from cellvjepa.config.model import ModelConfig
from cellvjepa.config.monitor import MonitorConfig
from cellvjepa.config.probe import ProbeConfig
from cellvjepa.config.section import Section
from cellvjepa.config.segment import SegmentConfig
from cellvjepa.config.training import TrainingConfig


class Config(Section):
    """The complete configuration of a run."""

    clip: ClipConfig = Field(default_factory=ClipConfig, title="Clips")
    masks: MaskConfig = Field(default_factory=MaskConfig, title="Masks")
    model: ModelConfig = Field(default_factory=ModelConfig, title="Model")
    training: TrainingConfig = Field(default_factory=TrainingConfig, title="Training")
    monitor: MonitorConfig = Field(default_factory=MonitorConfig, title="Monitor")
    embed: EmbedConfig = Field(default_factory=EmbedConfig, title="Embedding")
    probe: ProbeConfig = Field(default_factory=ProbeConfig, title="Probing")
    segment: SegmentConfig = Field(default_factory=SegmentConfig, title="Segmentation")
    link: LinkConfig = Field(default_factory=LinkConfig, title="Linking")

    @model_validator(mode="after")
    def _tubelets_fit(self) -> Self:
        _whole_tubelets(self.clip, self.model, "clip.frames", "clip.size_px")
        _whole_tubelets(self.cooldown_clip, self.model, "training.cooldown_frames", "training.cooldown_size_px")
        if self.training.auxiliary == "differences" and self.model.tubelet[0] < 2:
            raise ValueError("tubelets of one frame (model.tubelet) have no differences between frames to predict (training.auxiliary)")
        return self

    @property
    def mask_generators(self) -> tuple[MaskGenerator, ...]:
        """Return the mask generators; where a clip is a single time step, which has no future, large blocks take the forecast's place."""
        if self.clip.frames > self.model.tubelet[0]:
            return self.masks.generators
        return tuple(LARGE_BLOCKS if isinstance(generator, ForecastMaskConfig) else generator for generator in self.masks.generators)

    @property
    def cooldown_clip(self) -> ClipConfig:
        """Return what a clip is in the cool-down; where there is none, or it changes nothing, what it is anyway."""
        return self.clip.model_copy(
            update={"frames": self.training.cooldown_frames or self.clip.frames, "size_px": self.training.cooldown_size_px or self.clip.size_px}
        )


def differences(one: Config, other: Config) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two configurations differ, as ``{"training.steps": (one, other)}``."""
    left, right = one.model_dump(mode="json"), other.model_dump(mode="json")
    return {
        f"{section}.{field}": (value, right[section][field])
        for section, fields in left.items()
        for field, value in fields.items()
        if value != right[section][field]
    }


def _whole_tubelets(clip: ClipConfig, model: ModelConfig, frames_field: str, size_field: str) -> None:
    t, _, y, x = model.tubelet
    if clip.frames % t:
        raise ValueError(f"{frames_field} ({clip.frames}) must be a multiple of the tubelet's {t} frames (model.tubelet)")
    if clip.size_px % y or clip.size_px % x:
        raise ValueError(f"{size_field} ({clip.size_px}) must be a multiple of the tubelet's {y} and {x} px (model.tubelet)")
