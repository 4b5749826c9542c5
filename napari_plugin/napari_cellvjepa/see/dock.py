"""The See dock: what a model sees in a movie, as layers upon it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.compat import isalive
from qtpy.QtWidgets import QPushButton, QScrollArea, QTabWidget, QVBoxLayout, QWidget

from napari_cellvjepa.layers.clicks import Clicks
from napari_cellvjepa.parts.docked import Docked
from napari_cellvjepa.parts.running import Running
from napari_cellvjepa.see.attention import AttentionPage
from napari_cellvjepa.see.bench import Bench
from napari_cellvjepa.see.features import FeaturesPage
from napari_cellvjepa.see.masks import MasksPage
from napari_cellvjepa.see.surprise import SurprisePage
from napari_cellvjepa.see.where import Where


class SeeWidget(Docked):
    """Shows masks, features, attention and surprise of a movie.

    Parameters
    ----------
    napari_viewer
        The viewer whose image layers are looked at.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.where, self.running = Where(napari_viewer), Running()
        self.clicks = Clicks(napari_viewer, self._click)
        bench = self._bench = Bench(napari_viewer, self.where, self.running)
        self.masks, self.features = MasksPage(bench), FeaturesPage(bench)
        self.attention, self.surprise = AttentionPage(bench), SurprisePage(bench)
        self.clear = QPushButton("Clear")
        self.clear.setToolTip("Take all that this dock has shown out of the viewer.")
        self.clear.clicked.connect(self.clear_all)
        self._lay_out()
        self.running.changed.connect(self._show_busy)
        self.running.progressed.connect(self.features.show_progress)
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed, self._viewer.layers.selection.events.active):
            event.connect(self._offer_layers)
        self._offer_layers()
        self.where.recall()

    def _lay_out(self) -> None:
        self.tabs = QTabWidget()
        self.tabs.addTab(_scrolling(self.masks), "Masks")
        self.tabs.addTab(_scrolling(self.features), "Features")
        self.tabs.addTab(_scrolling(self.attention), "Attention")
        self.tabs.addTab(_scrolling(self.surprise), "Surprise")
        layout = QVBoxLayout(self)
        layout.addWidget(self.where)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.running)
        layout.addWidget(self.clear)

    def clear_all(self) -> None:
        """Give up the work and take all maps out of the viewer."""
        self.running.cancel()
        self.features.forget()
        self.surprise.forget()
        self._bench.clear()
        self.running.tell("")

    def _click(self, event: object, world: Any) -> None:
        self._take_click(world)

    def _take_click(self, world: npt.NDArray[np.float64]) -> None:
        if self.where.pick.isChecked():
            self.where.take_click(world)
        else:
            self.features.take_click(world)

    def _offer_layers(self, event: object = None) -> None:
        if not isalive(self):  # type: ignore[no-untyped-call]
            return  # the window has been closed and its layers go one by one
        self.where.offer_layers()
        self.features.layers_changed()

    def _show_busy(self, busy: bool) -> None:
        for button in (self.masks.show_masks, self.masks.again, self.features.show_colours, self.attention.show_attention, self.surprise.show_map):
            button.setEnabled(not busy)

    def leave(self) -> None:
        """Stop all work and let go of the viewer."""
        self.running.cancel()
        self.clicks.close()
        self.features.close_page()
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed, self._viewer.layers.selection.events.active):
            event.disconnect(self._offer_layers)
        super().leave()


def _scrolling(page: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidget(page)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    return area
