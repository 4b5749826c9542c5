"""The line that chooses an encoder, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.parts.choosers import PathLine

_MOST_RUNS = 6
_TYPING_MS = 300  # a path that is being typed is looked at when the typing rests
_NONE = "Pretrain makes one from your movies; encoder_tiny comes along, to try things out."


class ModelLine(QWidget):
    """The line; the encoders of the latest runs and the one that comes along can be chosen without looking for them.

    Parameters
    ----------
    about
        Says what the encoder is.

    Attributes
    ----------
    found
        Signal: the configuration that the chosen encoder was trained with.
    """

    found = Signal(object)

    def __init__(self, about: QLabel) -> None:
        super().__init__()
        self._about = about
        self._line = PathLine("folder of a run", {"Folder of a run …": _ask_run, "encoder.safetensors …": _ask_weights, **_known()})
        self._line.setToolTip("<qt>What <tt>cellvjepa pretrain</tt> left behind: its folder, or the file <tt>encoder.safetensors</tt> in it.</qt>")
        self._typed = QTimer(self)
        self._typed.setSingleShot(True)
        self._typed.setInterval(_TYPING_MS)
        self._typed.timeout.connect(self.look)
        self._line.changed.connect(lambda _: self._typed.start())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        self.look()

    def text(self) -> str:
        """Return the path, or ``"encoder_tiny"``."""
        return self._line.text()

    def set_text(self, path: str) -> None:
        """Set the path."""
        self._line.set_text(path)

    def ask(self, number: int) -> None:
        """Choose by the entry of the button's menu."""
        self._line.ask(number)

    def look(self) -> None:
        """Say what the encoder is, and tell how its own run embeds: a command would start from that too."""
        self._typed.stop()
        if not self.text():
            self._about.setText(_NONE)
            return
        try:
            trained = cellvjepa.encoder_config(Path(self.text()).expanduser())
        except cellvjepa.UserError as error:
            self._about.setText(error.what)
            return
        clip = trained.clip
        every = f" every {clip.interval_s:g} s" if clip.interval_s else ""
        pixel = f" of {clip.pixel_um:g} µm" if clip.pixel_um else ""
        self._about.setText(f"clips of {clip.frames} frames{every}, {clip.size_px} x {clip.size_px} px{pixel}")
        self.found.emit(trained)


def _known() -> dict[str, Callable[[QWidget], str]]:
    runs = [run for run in cellvjepa.recent_runs() if (run / "encoder.safetensors").is_file()][:_MOST_RUNS]

    def chooses(path: str) -> Callable[[QWidget], str]:
        return lambda _: path

    return {**{f"{run.parent.name}/{run.name}": chooses(str(run)) for run in runs}, "encoder_tiny, which comes along": chooses("encoder_tiny")}


def _ask_run(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Folder of a run")


def _ask_weights(parent: QWidget) -> str:
    return QFileDialog.getOpenFileName(parent, "Weights of an encoder", "", "Encoders (*.safetensors)")[0]
