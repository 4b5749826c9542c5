"""A button that copies the command line which does the same as a dock."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QApplication, QPushButton

import cellvjepa


class CopyCommand(QPushButton):
    """The button.

    Parameters
    ----------
    words
        Returns the command's words, ``("cellvjepa", ...)``; a UserError it raises is shown, e.g. that something has not been chosen.
    """

    def __init__(self, words: Callable[[], Sequence[str]]) -> None:
        super().__init__("Copy as command")
        self._words = words
        self.setToolTip("<qt>Copy the command that does the same in a terminal or on a cluster.</qt>")
        self.clicked.connect(self._copy)

    def text_of_command(self) -> str:
        """Return the command as a shell takes it."""
        return shlex.join(map(str, self._words()))

    def _copy(self) -> None:
        try:
            command = self.text_of_command()
        except cellvjepa.UserError as error:
            show_error(str(error))
            return
        QApplication.clipboard().setText(command)
        show_info(f"Copied: {command}")
