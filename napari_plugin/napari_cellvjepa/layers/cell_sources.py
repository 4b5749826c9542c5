"""Where the cells of a movie are, as values that hold nothing of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

import cellvjepa


@dataclass(frozen=True, eq=False)
class LabelImage:
    """Cells as a label image whose pixel values are track ids."""

    movie: cellvjepa.Movie


@dataclass(frozen=True, eq=False)
class Tracked:
    """Cells as a table: track_id, t, [z_px], y_px, x_px."""

    table: pd.DataFrame
    name: str


@dataclass(frozen=True, eq=False)
class Places:
    """Single places, each seen for the length of one window: t (the middle), y_px, x_px."""

    table: pd.DataFrame
    name: str


CellSource: TypeAlias = LabelImage | Tracked | Places
