"""Every tunable of every room, once. The defaults are the preset ``tiny``.

A run keeps its complete configuration in ``config.yaml``; the command line, the plugin's forms and the
documentation read titles, descriptions and units from here.
"""

from cellvjepa.config.clip import ClipConfig
from cellvjepa.config.cluster import ClusterConfig
from cellvjepa.config.embed import EmbedConfig
from cellvjepa.config.link import LinkConfig
from cellvjepa.config.loading import config_from, load_config, overrides_for, presets, save_config
from cellvjepa.config.masks import BlockMaskConfig, ForecastMaskConfig, MaskConfig, MaskGenerator
from cellvjepa.config.model import ModelConfig
from cellvjepa.config.monitor import MonitorConfig
from cellvjepa.config.probe import ProbeConfig
from cellvjepa.config.segment import SegmentConfig
from cellvjepa.config.training import TrainingConfig
from cellvjepa.config.whole import Config, differences

__all__ = [
    "BlockMaskConfig",
    "ClipConfig",
    "ClusterConfig",
    "Config",
    "EmbedConfig",
    "ForecastMaskConfig",
    "LinkConfig",
    "MaskConfig",
    "MaskGenerator",
    "ModelConfig",
    "MonitorConfig",
    "ProbeConfig",
    "SegmentConfig",
    "TrainingConfig",
    "config_from",
    "differences",
    "load_config",
    "overrides_for",
    "presets",
    "save_config",
]
