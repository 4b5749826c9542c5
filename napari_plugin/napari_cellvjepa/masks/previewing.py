"""Keeping the preview of outlines as the form and the time slider say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

import cellvjepa
from napari_cellvjepa.layers.of_movies import Shown
from napari_cellvjepa.masks.pages import OutlinePage
from napari_cellvjepa.masks.preview import Outliner, Previewed, part_in_view, remove_preview, show_preview
from napari_cellvjepa.parts.latest import Latest

_SETTLED_MS = 120  # between the last change and the preview


class Previewing(QObject):
    """Makes the preview anew whenever something has changed.

    Parameters
    ----------
    viewer
        The viewer.
    page
        The page with the form, and the box that says whether a preview is wanted.
    chosen
        Returns the image layer and its movie, or None where nothing is to be previewed.
    dock
        The dock that all of this stands in.

    Attributes
    ----------
    changed
        Signal: there is another preview now, or none.
    found
        What is shown.
    work
        What is under way.
    """

    changed = Signal()

    def __init__(self, viewer: Any, page: OutlinePage, chosen: Callable[[], tuple[Any, Shown] | None], dock: QWidget) -> None:
        super().__init__(dock)
        self._viewer, self._page, self._chosen = viewer, page, chosen
        self._outliner = Outliner()
        self.work = Latest(self)
        self.found: Previewed | None = None
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(_SETTLED_MS)
        self._settling.timeout.connect(self._make)
        self.destroyed.connect(self.work.cancel)
        page.edited.connect(self.ask)
        viewer.dims.events.current_step.connect(self.ask)

    def ask(self, event: object = None) -> None:
        """Make the preview anew, if one is wanted, once changes have settled; else take it away."""
        if not isalive(self):  # type: ignore[no-untyped-call]
            return
        if self._page.preview.isChecked() and self._chosen() is not None:
            self._settling.start()
        else:
            self.forget()

    def forget(self) -> None:
        """Take the preview away."""
        self._settling.stop()
        self.work.cancel()
        self.found = None
        self._page.found.setText("")
        remove_preview(self._viewer)
        self.changed.emit()

    def _make(self) -> None:
        chosen = self._chosen()
        if chosen is None:
            return
        layer, shown = chosen
        try:
            config = self._page.form.value()
        except cellvjepa.UserError as error:
            self._page.found.setText(str(error))
            return
        part = part_in_view(layer, shown.movie, self._viewer)
        work = partial(self._outliner.outline, shown.movie, channel_of(shown), config, part)
        self.work.do(work, "Preview", partial(self._show, shown), failed=self._page.found.setText)

    def _show(self, shown: Shown, found: Previewed) -> None:
        self.found = found
        show_preview(self._viewer, found, shown.space.settings())
        known = shown.movie.pixel_um is not None
        size = f"; a cell measures about {found.diameter_um:.3g} {'µm' if known else 'px'}" if found.diameter_um else ""
        part = "" if found.part.whole else " (in the part in view; on whole frames thresholds may differ a little)"
        unknown = "" if known else " The movie does not say its pixel size: um are px here."
        self._page.found.setText(f"{int(found.labels.max(initial=0)):,} cells in frame {found.part.t}{part}{size}.{unknown}")
        self.changed.emit()


def channel_of(shown: Shown) -> str | None:
    """Return the channel that cells are looked for in; None where there is only one."""
    return shown.channel if len(shown.movie.channels) > 1 else None
