"""Undo and redo: strokes in the chosen labels, which napari keeps, then whole steps."""

from __future__ import annotations

from typing import Any

from napari_cellvjepa.masks.steps import Undone, bring_back, take_back


class History:
    """Takes back and brings back.

    Parameters
    ----------
    viewer
        The viewer whose layers are the steps.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._undone: list[Undone] = []

    def undo(self, layer: Any | None) -> str:
        """Take back the last stroke in a Labels layer or, where there is none, the last step; return what was done, in a sentence."""
        if strokes(layer):
            assert layer is not None
            layer.undo()
            return f"The last stroke in {layer.name} is taken back."
        undone = take_back(self._viewer)
        if undone is None:
            return "There is nothing to take back."
        self._undone.append(undone)
        return f"{undone.layers[-1].name} is taken back; its file stays."

    def redo(self, layer: Any | None) -> str:
        """Bring back the last stroke that was taken back in a Labels layer, else the last step; return what was done, in a sentence."""
        if strokes_taken_back(layer):
            assert layer is not None
            layer.redo()
            return f"The stroke in {layer.name} is there again."
        if not self._undone:
            return "There is nothing to bring back."
        undone = self._undone.pop()
        bring_back(self._viewer, undone)
        return f"{undone.layers[-1].name} is there again."

    def forget_undone(self) -> None:
        """Forget what was taken back: something new was made, and it no longer follows. Its files stay."""
        self._undone.clear()


def strokes(layer: Any | None) -> int:
    """Return how many strokes napari could take back in a Labels layer."""
    return len(getattr(layer, "_undo_history", ()))  # napari has no public way to ask


def strokes_taken_back(layer: Any | None) -> int:
    """Return how many strokes napari could paint again in a Labels layer."""
    return len(getattr(layer, "_redo_history", ()))
