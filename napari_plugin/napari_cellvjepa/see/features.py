"""A page of the dock: the features of every place as colours, and what is like a place that was clicked."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_cellvjepa.layers.maps import native_place
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.see import tokens as looking
from napari_cellvjepa.see.bench import Bench
from napari_cellvjepa.see.sight import described_clip
from napari_cellvjepa.see.tokens import COLOURS, LIKENESS, TOKENS_KEY, Tokens

CLIP, TIME, MOVIE = "the clip", "the whole image, as time goes", "the whole movie"
_ABOUT = (
    "What the model says of each place, as colours: the first three principal components of its features as red, green and blue. "
    "Places of one colour look alike to the model; colours of two maps cannot be compared."
)
_ALIKE = "Then click a place in the image to see how much every other place is like it: the cosine between their features, 1 where they agree."


class FeaturesPage(QWidget):
    """The page."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench
        self._tokens: Tokens | None = None
        self._canvas: npt.NDArray[np.uint8] | None = None
        self._painted: set[int] = set()
        self._waiting: Any = None  # a click that came before there were tokens
        self.scope = QComboBox()
        self.scope.addItems([CLIP, TIME, MOVIE])
        self.scope.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.show_colours = QPushButton("Show features")
        self.alike = QPushButton("What is like …")
        self.alike.setCheckable(True)
        self.alike.setToolTip(f"<qt>{_ALIKE}</qt>")
        self.copy = CopyCommand(self.command)
        self.show_colours.clicked.connect(self.look)
        self._lay_out()
        bench.viewer.dims.events.current_step.connect(self._follow_time)
        self._recall()

    def _lay_out(self) -> None:
        about, alike = QLabel(_ABOUT), QLabel(_ALIKE)
        for text in (about, alike):
            text.setWordWrap(True)
        line = QHBoxLayout()
        line.addWidget(QLabel("Of"))
        line.addWidget(self.scope, 1)
        line.addWidget(self.show_colours)
        layout = QVBoxLayout(self)
        layout.addWidget(about)
        layout.addLayout(line)
        layout.addWidget(self.copy)
        layout.addSpacing(8)
        layout.addWidget(alike)
        layout.addWidget(self.alike)
        layout.addStretch(1)

    def look(self) -> None:
        """Compute the features of what is chosen and show their colours."""
        if (found := self._bench.ask()) is None:
            return
        asked, shown = found
        self.forget()
        if self.scope.currentText() == CLIP:
            self._bench.begin(partial(looking.tokens_of_clip, asked, shown.space), "Looking at the clip", self._take_clip)
        else:
            frame = native_place(shown.space, np.array(self._bench.viewer.dims.point))[0]
            take = partial(self._take_movie, frame, self.scope.currentText() == MOVIE)
            self._bench.begin(partial(looking.tokens_of_movie, asked, shown.space), "Looking at the movie", take)

    def forget(self) -> None:
        """Let go of the features; what shows them stays in the viewer."""
        self._tokens, self._canvas, self._painted, self._waiting = None, None, set(), None

    def take_click(self, world: npt.NDArray[np.float64]) -> None:
        """Compare all places with the one that was clicked, if people want that."""
        if not self.alike.isChecked():
            return
        tokens = self._tokens
        if tokens is None:
            if not self._bench.running.busy:
                self._waiting = world
                self.look()
                self._waiting = world
            return
        clicked = tokens.token_at(native_place(tokens.space, world))
        if clicked is None or clicked[0] not in tokens.field.steps:
            self._bench.running.tell("There are no features of this place yet: click inside what is shown in colours.")
            return
        tokens.clicked = clicked
        self._compare()

    def command(self) -> list[str]:
        """Return the words of the command that writes these maps, of the whole movie."""
        return ["cellvjepa", "embed", *self._bench.words_of_movie(), "--dense", "--out", "maps"]

    def close_page(self) -> None:
        """Let go of the viewer."""
        self._bench.viewer.dims.events.current_step.disconnect(self._follow_time)

    def _take_clip(self, tokens: Tokens) -> str:
        self._take(tokens)
        self._paint()
        return f"Features of the clip: {described_clip(tokens.sight)}"

    def _take_movie(self, frame: float, everything: bool, tokens: Tokens) -> str:
        self._take(tokens)
        if everything:
            self._compute(partial(looking.compute_all, tokens))
        else:
            step = tokens.step_of(frame)
            self._compute(partial(looking.compute_around, tokens, 0 if step is None else step))
        return ""

    def _take(self, tokens: Tokens) -> None:
        self._tokens, self._canvas, self._painted = tokens, looking.empty_canvas(tokens), set()

    def _compute(self, do: Any) -> None:
        ...
