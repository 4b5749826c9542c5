"""A page of the dock: what training hides of a clip, and what it asks for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.layers.maps import map_layer
from napari_cellvjepa.layers.of_movies import LayerData, Space
from napari_cellvjepa.see.bench import Bench
from napari_cellvjepa.see.sight import Asked, Sight, about_clip, described_clip, laid, open_sight

WHAT = "masks"
_COLOURS = {1: (0.34, 0.71, 0.91, 0.35), 2: (0.90, 0.62, 0.0, 0.60), 3: (0.05, 0.05, 0.05, 0.60)}
_MEANS = {0: "beside the clip", 1: "seen (context)", 2: "to be predicted", 3: "neither seen nor predicted"}
_ABOUT = (
    "In training the encoder sees some places of a clip (context) and has to say what is at others, as features. "
    "Each mask of the model hides in its own way."
)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Masks of a clip, (G, t, z, y, x) uint8, with a name for each."""

    sight: Sight
    masks: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    seed: int


class MasksPage(QWidget):
    """The page."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench
        about = QLabel(_ABOUT)
        about.setWordWrap(True)
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.seed.setPrefix("seed ")
        self.seed.setToolTip("The same seed draws the same masks.")
        self.show_masks = QPushButton("Show masks")
        self.again = QPushButton("Draw again")
        self.again.setToolTip("Draw with the next seed.")
        self.legend = QLabel(_legend())
        self.legend.setWordWrap(True)
        self.show_masks.clicked.connect(self.draw)
        self.again.clicked.connect(self.draw_again)
        line = QHBoxLayout()
        line.addWidget(self.show_masks, 1)
        line.addWidget(self.again)
        line.addWidget(self.seed)
        layout = QVBoxLayout(self)
        layout.addWidget(about)
        layout.addLayout(line)
        layout.addWidget(self.legend)
        layout.addStretch(1)

    def draw(self) -> None:
        """Draw masks with the seed in the form."""
        if (found := self._bench.ask()) is not None:
            asked, shown = found
            do = partial(drawn_masks, asked, self.seed.value())
            self._bench.begin(do, "Drawing masks", partial(self._add, shown.space))

    def draw_again(self) -> None:
        """Draw other masks."""
        self.seed.setValue(self.seed.value() + 1)
        self.draw()

    def _add(self, space: Space, drawn: Drawn) -> str:
        self._bench.put(WHAT, mask_layers(drawn, space))
        return f"{len(drawn.names)} masks, drawn with seed {drawn.seed}: {described_clip(drawn.sight)}"


def drawn_masks(asked: Asked, seed: int, progress: cellvjepa.Progress) -> Drawn:
    """Draw the masks of a clip (in the other thread)."""
    sight = open_sight(asked, progress)
    progress("drawing masks", 0, 0)
    generators = sight.config.masks.generators
    return Drawn(sight, cellvjepa.mask_of_clip(sight.places.grid, generators, seed), tuple(map(_described, generators)), seed)


def mask_layers(drawn: Drawn, space: Space) -> list[LayerData]:
    """Return one layer for each mask, of which the first is shown."""
    layers = []
    for number, (values, name) in enumerate(zip(drawn.masks, drawn.names, strict=True)):
        pixels, places = laid(drawn.sight, values, 0)
        about = {**about_clip(drawn.sight, WHAT), "mask": number, "seed": drawn.seed}
        looks: dict[str, Any] = {
            "name": f"mask {number + 1}: {name}",
            "colormap": DirectLabelColormap(color_dict=_colours()),
            "features": pd.DataFrame({"index": list(_MEANS), "token": list(_MEANS.values())}),
            "opacity": 1.0,
            "visible": number == 0,
        }
        layers.append(map_layer(pixels, places, space, about, "labels", looks))
    return layers


def _described(generator: Any) -> str:
    if hasattr(generator, "past"):
        return "the future"
    return f"{generator.blocks} blocks of {generator.area:.0%}"


def _colours() -> defaultdict[int | None, npt.NDArray[np.float32]]:
    found: defaultdict[int | None, npt.NDArray[np.float32]] = defaultdict(lambda: np.zeros(4, np.float32))
    found[None] = np.zeros(4, np.float32)
    found.update((value, np.array(colour, np.float32)) for value, colour in _COLOURS.items())
    return found


def _legend() -> str:
    lines = []
    for value, (red, green, blue, _) in _COLOURS.items():
        colour = f"rgb({round(255 * red)}, {round(255 * green)}, {round(255 * blue)})"
        lines.append(f'<span style="color: {colour}">■</span> {_MEANS[value]}')
    return "<qt>" + " &nbsp; ".join(lines) + "</qt>"
