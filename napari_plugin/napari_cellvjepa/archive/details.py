"""What is known about one movie, or why something is not used: a page below the tree."""

from __future__ import annotations

from html import escape
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_cellvjepa.archive.catalogue import Entry

_PICTURE_PX = 120


class Details(QScrollArea):
    """The page."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.picture = QLabel()
        self.picture.setFixedSize(_PICTURE_PX, _PICTURE_PX)
        self.facts = _text()
        self.problems = _text()
        inside = QWidget()
        across = QHBoxLayout()
        across.addWidget(self.picture, 0, Qt.AlignmentFlag.AlignTop)
        across.addWidget(self.facts, 1)
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(across)
        layout.addWidget(self.problems)
        layout.addStretch(1)
        self.setWidget(inside)
        self.tell("")

    def tell(self, text: str) -> None:
        """Say something that is about no movie."""
        self.picture.hide()
        self.facts.hide()
        self.problems.setText(text)

    def show_movie(self, entry: Entry, picture: QPixmap | None) -> None:
        """Show what is known about a movie."""
        self.picture.setVisible(True)
        self.show_picture(picture)
        self.facts.setVisible(True)
        self.facts.setText(_facts(entry))
        self.problems.setText("<br>".join(f"⚠ {escape(p['what'])}. <i>{escape(p['remedy'])}.</i>" for p in entry.problems))

    def show_picture(self, picture: QPixmap | None) -> None:
        """Show the picture of the movie."""
        size = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        self.picture.setPixmap(QPixmap() if picture is None else picture.scaled(_PICTURE_PX, _PICTURE_PX, *size))


def _facts(entry: Entry) -> str:
    found, name = entry.facts, entry.movie.name
    shape = found["shape"]
    rows = [f"<b>{escape(name.rpartition('/')[2])}</b>", _time(found), f"{shape['Y']} x {shape['X']} px{_pixel(found['pixel_um'])}"]
    if shape["Z"] > 1:
        step = (found["pixel_um"] or {}).get("z")
        rows.append(f"{shape['Z']} planes" + (f", every {step:.3g} µm" if step else ""))
    rows.append(", ".join(map(escape, found["channels"])))
    rows.append(f"{found['dtype']}, {escape(found['codec'])}, {_bytes(found['bytes'])}" + _copies(len(found["levels"]) - 1))
    if found["groups"]:
        rows.append(escape(", ".join(f"{key} {value}" for key, value in found["groups"].items())))
    return "<br>".join(rows)


def _time(found: dict[str, Any]) -> str:
    frames, seconds = found["shape"]["T"], found["interval_s"]
    if frames == 1:
        return "1 frame"
    if not seconds:
        return f"{frames} frames, interval unknown"
    return f"{frames} frames, every {_duration(seconds)} ({_duration(seconds * (frames - 1))})"


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _pixel(size: dict[str, float] | None) -> str:
    return f" of {size['x']:.3g} µm" if size else ", pixel size unknown"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def _copies(number: int) -> str:
    return f", {number} coarser cop{'y' if number == 1 else 'ies'}" if number else ""


def _text() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
