"""Saving and opening sessions of a viewer: what the menu, the Archive dock and napari's File > Open call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QWidget

import cellvjepa
from napari_cellvjepa.layers.opening import NO_LAYERS
from napari_cellvjepa.parts.work import Work
from napari_cellvjepa.session.file import ENDING, is_session, write_session
from napari_cellvjepa.session.restoring import Opened, bring_back, open_session
from napari_cellvjepa.session.saving import session_of

_FILES = f"Sessions (*{ENDING} *.yaml *.yml)"


def get_reader(path: str | list[str]) -> Callable[[str], list[Any]] | None:
    """Return the function that opens a session, or None where the path is none."""
    return read if isinstance(path, str) and is_session(Path(path)) else None


def read(path: str) -> list[Any]:
    """Open a session in the viewer that is looked at; its layers come when they are ready.

    Raises
    ------
    UserError
        If there is no viewer with a window.
    """
    viewer = napari.current_viewer()
    if viewer is None:
        raise cellvjepa.UserError("a session is opened in a window of napari, and there is none", "open it with napari.Viewer()", path)
    open_in(viewer, Path(path))
    return NO_LAYERS


def open_in(viewer: Any, path: Path) -> Work:
    """Begin to open a session in a viewer; layers come when they are ready."""
    work = Work(partial(open_session, path), "Opening the session")
    window: QWidget = viewer.window._qt_window  # the only way to hear that a window has gone
    work.setParent(window)  # so that nothing is delivered to a window that has been closed
    window.destroyed.connect(work.cancel)
    work.succeeded.connect(partial(_arrive, viewer))
    work.start()
    return work


def save_to(viewer: Any, path: Path) -> bool:
    """Save what a viewer shows; tells people what cannot come back, and returns whether the file was written."""
    if not path.name.endswith((".yaml", ".yml")):
        path = path.with_name(path.name + ENDING)
    content, left_out = session_of(viewer, path.absolute().parent)
    try:
        write_session(path, content)
    except cellvjepa.UserError as error:
        show_error(str(error))
        return False
    show_info(f"The session is saved in {path}.")
    if left_out:
        which = ", ".join(f"'{name}'" for name in left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        show_warning(f"Not in the session, because no file of a movie or a store is behind them: {which}. Save these layers with File > Save.")
    return True


def ask_and_save(viewer: Any, parent: QWidget | None = None) -> None:
    """Ask for a file and save a viewer's session to it."""
    path, _ = QFileDialog.getSaveFileName(parent, "Save the session", f"session{ENDING}", _FILES)
    if path:
        save_to(viewer, Path(path))


def ask_and_open(viewer: Any, parent: QWidget | None = None) -> None:
    """Ask for a file and open the session in it."""
    path, _ = QFileDialog.getOpenFileName(parent, "Open a session", "", _FILES)
    if path:
        open_in(viewer, Path(path))


def save_session(viewer: napari.Viewer) -> None:
    """Save the session (a command of napari's menu)."""
    ask_and_save(_itself(viewer))


def open_session_file(viewer: napari.Viewer) -> None:
    """Open a session (a command of napari's menu)."""
    ask_and_open(_itself(viewer))


def _itself(viewer: Any) -> Any:
    """Return the viewer behind what napari hands to commands, which Qt does not take for one of its own."""
    return getattr(viewer, "__wrapped__", viewer)


def _arrive(viewer: Any, opened: Opened) -> None:
    problems = bring_back(viewer, opened)
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        show_warning(f"The session {opened.path.name} is open, but not all of it: {'; '.join(problems[:3])}{more}")
