"""The upper end of the dock: which image, through which model, and which clip of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QHBoxLayout, QLabel, QPushButton, QWidget

import cellvjepa
from napari_cellvjepa.layers.linking import stores_in
from napari_cellvjepa.layers.maps import MAP_KEY, is_map, maps_in, native_place
from napari_cellvjepa.layers.of_movies import Shown, shown_by
from napari_cellvjepa.layers.points import ROW_COLUMN
from napari_cellvjepa.parts.choosers import LayerBox, PathLine
from napari_cellvjepa.see.sight import SHIPPED, Asked

MIDDLE, CELL, CLICKED = "in the middle of the view", "of the selected cell", "at the place clicked"


class Where(QWidget):
    """The form.

    Parameters
    ----------
    viewer
        The viewer whose image layers are offered.

    Attributes
    ----------
    picking
        Signal ``(on)``: the next click in the image is the place of the clip.
    """

    picking = Signal(bool)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._place: tuple[float, float, float, float] | None = None
        self.image = LayerBox("no image layer")
        self.model = PathLine(f"{SHIPPED}, or the model of the cell's store", {"Folder of a run …": _ask_run})
        self.model.setToolTip("<qt>A run of <tt>cellvjepa pretrain</tt>. Empty: the model of the selected cell, else the one that comes along.</qt>")
        self.clip = QComboBox()
        self.clip.addItems([MIDDLE, CELL, CLICKED])
        self.clip.setToolTip("<qt>Which clip the model is shown: as long and wide as those it was trained on.</qt>")
        self.clip.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.pick = QPushButton("Pick")
        self.pick.setCheckable(True)
        self.pick.setToolTip("Then click in the image, where the middle of the clip is to be.")
        self.pick.toggled.connect(self.picking)
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.about.setStyleSheet("color: palette(mid); font-size: 90%")
        line = QHBoxLayout()
        line.addWidget(self.clip, 1)
        line.addWidget(self.pick)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Image", self.image)
        form.addRow("Model", self.model)
        form.addRow("Clip", line)
        form.addRow(self.about)

    def offer_layers(self, event: object = None) -> None:
        """Offer the image layers that are there now."""
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image) and not is_map(layer)]
        active = self._viewer.layers.selection.active
        best = next((layer for layer in (active, self.image.layer(), *images) if layer in images), None)
        self.image.offer(images, best=best)

    def recall(self) -> None:
        """Take the model from a map that is there already."""
        models = [layer.metadata[MAP_KEY].get("model", "") for layer in maps_in(self._viewer)]
        if models and not self.model.text() and models[-1] != SHIPPED:
            self.model.set_text(models[-1])

    def take_click(self, world: npt.NDArray[np.float64]) -> None:
        """Take a click in the image as the place of the clip."""
        self.pick.setChecked(False)
        try:
            space = self.shown().space
        except cellvjepa.UserError:
            return
        self._place = native_place(space, world)
        self.clip.setCurrentText(CLICKED)
        t, _, y, x = self._place
        self.about.setText(f"clip around frame {round(t)}, row {round(y)}, column {round(x)}")

    def shown(self) -> Shown:
        """Return what the chosen image shows.

        Raises
        ------
        UserError
            If there is no image, or it is no movie.
        """
        layer = self.image.layer()
        if layer is None:
            raise cellvjepa.UserError("there is no image layer to look at", "open a movie, or one of File > Open Sample > cellvjepa", "Image")
        return shown_by(layer)

    def asked(self) -> tuple[Asked, Shown]:
        """Return what people want to look at, with nothing in it that belongs to a layer.

        Raises
        ------
        UserError
            If there is no image, or no place for the clip.
        """
        shown, chosen = self.shown(), self.clip.currentText()
        place = native_place(shown.space, self._middle_of_view())
        store, row = "", -1
        if chosen == CELL:
            store, row = self._selected_cell(shown)
        elif chosen == CLICKED:
            if self._place is None:
                raise cellvjepa.UserError("no place has been clicked", "press Pick, then click in the image", "Clip")
            place = self._place
        return Asked(shown.movie, shown.channel, self.model.text(), place, store, row), shown

    def model_words(self) -> str:
        """Return the model as a command takes it.

        Raises
        ------
        UserError
            If it is that of a store, and no cell of it is selected.
        """
        if self.model.text() or self.clip.currentText() != CELL:
            return self.model.text() or SHIPPED
        store, _ = self._selected_cell(self.shown())
        return cellvjepa.open_store(store).provenance.source.model

    def _middle_of_view(self) -> npt.NDArray[np.float64]:
        world = np.array(self._viewer.dims.point, float)
        if self._viewer.dims.ndisplay == 2:
            world[list(self._viewer.dims.displayed)] = self._viewer.scene.camera.center[-2:]
        return world

    def _selected_cell(self, shown: Shown) -> tuple[str, int]:
        for store, layers in stores_in(self._viewer).items():
            for layer in layers:
                if layer.selected_data:
                    facts = layer.features.iloc[min(layer.selected_data)]
                    if facts["movie"] != shown.movie.name:
                        raise cellvjepa.UserError(f"the selected cell is in {facts['movie']}", "choose the image layer of that movie", "Clip")
                    return store, int(facts[ROW_COLUMN])
        raise cellvjepa.UserError("no cell of a store is selected", "open a store, and select one of its points", "Clip")


def _ask_run(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Folder of a run")
