"""Colours of points, told apart also by people who are colour-blind, and what a legend says about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.utils.colormaps import ensure_colormap

# Okabe and Ito 2008, black and white left out; then the same ones in light, which differ from the first also in lightness.
PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2")
LIGHT = ("#f5d9a0", "#c4e3f7", "#8fd9c2", "#fbf6bb", "#eed0e0", "#f5b48a", "#8cc0e0")
GRAY = "#8c8c8c"
NO_CLUSTER = "unassigned"
MISSING = "not known"
_MOST_WHOLE_NUMBERS = 12  # whole numbers with more different values than this are coloured as a scale
_STEPS = 256
_DARKEST = 0.15  # of viridis: below that nothing is seen on a dark ground
_TAILS_PERCENT = (1, 99)


@dataclass(frozen=True)
class Kind:
    """One line of a legend: rows of one kind.

    Parameters
    ----------
    label
        What it says.
    colour
        ``"#rrggbb"``.
    rows
        How many there are.
    """

    label: str
    colour: str
    rows: int


@dataclass(frozen=True, eq=False)
class Colouring:
    """A colour for each row.

    Parameters
    ----------
    name
        Of the column, or ``""`` where all are alike.
    index_N
        int16 (N,): which colour.
    colours_K4
        float32 (K, 4).
    kinds
        What the colours stand for, one for each; empty for a scale of numbers.
    limits
        The numbers at both ends of the scale, or None for kinds. What is beyond has the colour of the end.
    """

    name: str
    index_N: npt.NDArray[np.int16]
    colours_K4: npt.NDArray[np.float32]
    kinds: tuple[Kind, ...] = ()
    limits: tuple[float, float] | None = None

    def rgba(self, rows: Any = slice(None)) -> npt.NDArray[np.float32]:
        """Return the colours of some rows, (M, 4)."""
        found: npt.NDArray[np.float32] = self.colours_K4[self.index_N[rows]]
        return found

    def background(self) -> npt.NDArray[np.bool_]:
        """Tell which rows are gray, and so belong behind the others: (N,)."""
        gray = np.ptp(self.colours_K4[:, :3], axis=1) < 1e-6
        found: npt.NDArray[np.bool_] = gray[self.index_N]
        return found


def kind_colours(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each kind, the same ones for the same names, and gray for none and for those beyond the palette."""
    both = (*PALETTE, *LIGHT)
    named = sorted(set(names) - {NO_CLUSTER, MISSING}, key=lambda name: (len(name), name))
    return {name: both[i] if i < len(both) else GRAY for i, name in enumerate(named)} | {NO_CLUSTER: GRAY, MISSING: GRAY}


def plain(rows: int) -> Colouring:
    """Return one colour for all."""
    return Colouring("", np.zeros(rows, np.int16), _rgba([PALETTE[1]]))


def colouring(name: str, values_N: npt.NDArray[Any], given: Mapping[str, str] | None = None) -> Colouring:
    """Return colours for a column: one for each kind of texts, truth values and few whole numbers; a scale for other numbers.

    Where texts are of more kinds than there are colours, the most frequent get them.

    Parameters
    ----------
    name
        Of the column.
    values_N
        (N,) numbers or texts; NaN and None are gray.
    given
        Colours that some kinds have already.
    """
    if values_N.dtype.kind == "f":
        return _scale(name, values_N)
    if values_N.dtype.kind in "iu" and len(pd.unique(values_N)) > _MOST_WHOLE_NUMBERS:
        return _scale(name, values_N)
    return _kinds(name, values_N, given or {})


def _scale(name: str, values_N: npt.NDArray[Any]) -> Colouring:
    known = np.isfinite(values_N)
    low, high = map(float, np.percentile(values_N[known], _TAILS_PERCENT)) if known.any() else (0.0, 1.0)
    if high <= low:
        low, high = (float(values_N[known].min()), float(values_N[known].max())) if known.any() else (0.0, 1.0)
    share = (values_N - low) / ((high - low) or 1.0)
    index = np.where(known, np.clip(np.nan_to_num(share), 0, 1) * (_STEPS - 1), _STEPS).astype(np.int16)
    colours = ensure_colormap("viridis").map(np.linspace(_DARKEST, 1, _STEPS))
    return Colouring(name, index, np.vstack([colours, _rgba([GRAY])]).astype(np.float32), limits=(low, high))


def _kinds(name: str, values_N: npt.NDArray[Any], given: Mapping[str, str]) -> Colouring:
    codes, found = pd.factorize(values_N, use_na_sentinel=True)
    labels = [str(value) for value in found]
    counts = np.bincount(codes[codes >= 0], minlength=len(labels))
    most = len(PALETTE) + len(LIGHT)
    frequent = sorted(range(len(labels)), key=lambda i: (labels[i] == NO_CLUSTER, -counts[i]))[:most]
    colours = {**kind_colours(labels[i] for i in frequent), **given}
    order = sorted(range(len(labels)), key=lambda i: (labels[i] not in colours, labels[i] == NO_CLUSTER, len(labels[i]), labels[i]))
    kinds = [Kind(labels[i], colours.get(labels[i], GRAY), int(counts[i])) for i in order]
    place = np.empty(len(labels) + 1, np.int16)
    place[order] = np.arange(len(labels))
    place[-1] = len(labels)  # code -1: missing
    if missing := int((codes < 0).sum()):
        kinds.append(Kind(MISSING, GRAY, missing))
    return Colouring(name, place[codes], _rgba([kind.colour for kind in kinds] or [GRAY]), tuple(kinds))


def _rgba(colours: list[str]) -> npt.NDArray[np.float32]:
    rgb = [[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1.0] for colour in colours]
    return np.asarray(rgb, np.float32)
