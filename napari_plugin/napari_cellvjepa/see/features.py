"""A page of the dock: the features of every place as colours, and what is like a place that was clicked."""

from __future__ import annotations

from functools import partial
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
        self._follows = False  # whether tokens are computed where the time slider goes
        self._waiting: Any = None  # a click that came before there were tokens
        self.scope = QComboBox()
        self.scope.addItems([CLIP, TIME, MOVIE])
        self.scope.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.show_colours = QPushButton("Show features")
        self.alike = QPushButton("What is like …")
        self.alike.setCheckable(True)
        self.alike.setToolTip(f"<qt>{_ALIKE}</qt>")
        self.copy = CopyCommand(self.command)
        self.copy.setToolTip("<qt>Copy the command that writes features and colours of the whole movie as OME-Zarr.</qt>")
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
            take = partial(self._take_movie, self.scope.currentText() == MOVIE)
            self._bench.begin(partial(looking.tokens_of_movie, asked, shown.space), "Looking at the movie", take)

    def forget(self) -> None:
        """Let go of the features; what shows them stays in the viewer."""
        self._tokens, self._follows, self._waiting = None, False, None

    def take_click(self, world: npt.NDArray[np.float64]) -> None:
        """Compare all places with the one that was clicked, if people want that."""
        if not self.alike.isChecked():
            return
        tokens = self._tokens
        if tokens is None:
            if not self._bench.running.busy:
                self.look()
                self._waiting = world
            return
        clicked = tokens.token_at(native_place(tokens.space, world))
        if clicked is None or clicked[0] not in tokens.field.steps:
            self._bench.running.tell("There are no features of this place: click inside what is shown in colours, or show features here.")
            return
        tokens.click(clicked)
        self._compare()

    def command(self) -> list[str]:
        """Return the words of the command that writes these maps, of the whole movie."""
        return ["cellvjepa", "embed", *self._bench.words_of_movie(), "--dense", "--out", "maps"]

    def layers_changed(self) -> None:
        """Let go of features that nothing shows any more."""
        tokens = self._tokens
        if tokens is not None and tokens.painted and not self._layers(COLOURS) and not self._layers(LIKENESS):
            if tokens.movie is not None:
                self._bench.running.cancel()
            self.forget()

    def close_page(self) -> None:
        """Let go of the viewer."""
        self._bench.viewer.dims.events.current_step.disconnect(self._follow_time)
        self.forget()

    def _take_clip(self, tokens: Tokens) -> str:
        self._tokens = tokens
        self._show()
        self._answer_waiting()
        return f"Features of the clip: {described_clip(tokens.sight)}"

    def _take_movie(self, everything: bool, tokens: Tokens) -> str:
        self._tokens, self._follows = tokens, not everything
        if everything:
            self._compute(partial(looking.compute_all, tokens), "Features of the whole movie.")
        else:
            step = tokens.step_of(self._frame())
            self._compute(partial(looking.compute_around, tokens, 0 if step is None else step), "Move the time slider to see other times.")
        return ""

    def _compute(self, do: Any, told: str) -> None:
        self._bench.begin(do, "Looking at the movie", partial(self._computed, told), self._ended)

    def _computed(self, told: str, result: object) -> str:
        self._show()
        self._answer_waiting()
        return told

    def _ended(self, cancelled: bool) -> None:
        if cancelled:
            self._follows = False
            self._show()
        else:
            self._follow_time()

    def _follow_time(self, event: object = None) -> None:
        """Compute what is to be seen at this time, if it is the whole image that is looked at."""
        tokens = self._tokens
        if tokens is None:
            return
        step = tokens.step_of(self._frame())
        if step is None:
            return
        if self._follows and step not in tokens.field.steps and not self._bench.running.busy:
            self._compute(partial(looking.compute_around, tokens, step), "Move the time slider to see other times.")
        elif tokens.clicked is not None and step in tokens.field.steps and np.isnan(tokens.likeness_tzyx[step]).all():
            self._compare()

    def show_progress(self) -> None:
        """Show what has been computed so far."""
        if self._tokens is not None and self._tokens.movie is not None:
            self._show()

    def _show(self) -> None:
        tokens = self._tokens
        if tokens is None or not tokens.paint():
            return
        if layers := self._layers(COLOURS):
            layers[0].refresh()
        else:
            self._bench.put(COLOURS, [looking.colour_layer(tokens)])
        if tokens.clicked is not None:
            self._compare()

    def _compare(self) -> None:
        tokens = self._tokens
        assert tokens is not None
        tokens.compare(tokens.step_of(self._frame()))
        data, settings, _ = looking.likeness_layer(tokens)
        if layers := self._layers(LIKENESS):
            layers[0].data = data
            layers[0].contrast_limits = settings["contrast_limits"]
        else:
            self._bench.put(LIKENESS, [looking.likeness_layer(tokens)])
            for layer in self._layers(COLOURS):
                layer.visible = False  # two maps upon each other can be read by nobody
        self._bench.mark(looking.CLICKED, looking.clicked_layer(tokens))

    def _answer_waiting(self) -> None:
        if self._waiting is not None:
            world, self._waiting = self._waiting, None
            self.take_click(world)

    def _layers(self, what: str) -> list[Any]:
        """Return the layers that show these very tokens."""
        return [layer for layer in self._bench.of(what) if layer.metadata.get(TOKENS_KEY) is self._tokens]

    def _frame(self) -> float:
        """Return the native frame at which the time slider stands."""
        tokens, point = self._tokens, np.array(self._bench.viewer.dims.point)
        assert tokens is not None
        return native_place(tokens.space, point)[0]

    def _recall(self) -> None:
        """Take up features that are shown already, and that a dock before this one has computed."""
        shown = [layer.metadata[TOKENS_KEY] for what in (COLOURS, LIKENESS) for layer in self._bench.of(what) if TOKENS_KEY in layer.metadata]
        self._tokens = shown[-1] if shown else None
        self._follows = self._tokens is not None and self._tokens.movie is not None
