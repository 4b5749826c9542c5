"""All sections together: the complete configuration of a run."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from cellvjepa.config.clip import ClipConfig
from cellvjepa.config.embed import EmbedConfig
from cellvjepa.config.masks import MaskConfig
from cellvjepa.config.model import ModelConfig
from cellvjepa.config.monitor import MonitorConfig
from cellvjepa.config.probe import ProbeConfig
from cellvjepa.config.section import Section
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

    @model_validator(mode="after")
    def _tubelets_fit(self) -> Self:
        t, _, y, x = self.model.tubelet
        if self.clip.frames % t:
            raise ValueError(f"clip.frames ({self.clip.frames}) must be a multiple of the tubelet's {t} frames (model.tubelet)")
        if self.clip.size_px % y or self.clip.size_px % x:
            raise ValueError(f"clip.size_px ({self.clip.size_px}) must be a multiple of the tubelet's {y} and {x} px (model.tubelet)")
        return self


def differences(one: Config, other: Config) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two configurations differ, as ``{"training.steps": (one, other)}``."""
    left, right = one.model_dump(mode="json"), other.model_dump(mode="json")
    return {
        f"{section}.{field}": (value, right[section][field])
        for section, fields in left.items()
        for field, value in fields.items()
        if value != right[section][field]
    }
