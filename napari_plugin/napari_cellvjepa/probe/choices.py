"""Two lists: which kind of probe, and what is held out together."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QComboBox

import cellvjepa

AUTOMATIC = "automatic"
_KINDS = {
    "linear": "linear (default)",
    "attentive": "attentive: asks where and when to look",
    "knn": "k nearest neighbours",
    "auto": "auto: what does best on an inner split",
}
_WHY_LINEAR = (
    "<qt><b>linear</b>: logistic regression on the vectors of the store; seconds. It is the default because with few labels it did best in our "
    "measurements (workflows/studies/few_labels.md).<br><b>attentive</b>: reads all tokens of each clip, for which it needs the movies and the model "
    "again; minutes.<br><b>knn</b>: the most similar labelled windows vote.<br><b>auto</b>: tries all, and leaves linear only for what is surely "
    "better on an inner split.</qt>"
)
_WHY_GROUPS = (
    "<qt>Windows of one group never stand on both sides of a split, so the score holds for other groups. <b>automatic</b>: the coarsest level that "
    "there is enough of (experiment, plate, well, movie; within a movie cell families or blocks of time).</qt>"
)
_LEVELS = ("lineage", "field", "time")  # that every store has


class KindBox(QComboBox):
    """The kinds of probe; the configured one is chosen."""

    def __init__(self) -> None:
        super().__init__()
        _stay_narrow(self)
        for kind, text in _KINDS.items():
            self.addItem(text, kind)
        self.choose(cellvjepa.Config().probe.kind)
        self.setToolTip(_WHY_LINEAR)

    def chosen(self) -> str:
        """Return the kind."""
        return str(self.currentData())

    def choose(self, kind: str) -> None:
        """Choose a kind."""
        self.setCurrentIndex(self.findData(kind))


class GroupBox(QComboBox):
    """Columns whose values are held out together."""

    def __init__(self) -> None:
        super().__init__()
        _stay_narrow(self)
        self.setToolTip(_WHY_GROUPS)
        self.offer(())

    def offer(self, columns: Sequence[str]) -> None:
        """Offer these columns beside what every store has; what was chosen stays chosen."""
        chosen = self.chosen()
        self.clear()
        self.addItems([AUTOMATIC, *dict.fromkeys((*_LEVELS, *columns))])
        self.choose(chosen)

    def chosen(self) -> str | None:
        """Return the column, or None where the program chooses."""
        return self.currentText() if self.currentIndex() > 0 else None

    def choose(self, column: str | None) -> None:
        """Choose a column, also one that is not offered yet; None: the program chooses."""
        if column is not None and self.findText(column) < 0:
            self.addItem(column)
        self.setCurrentText(column or AUTOMATIC)


def _stay_narrow(box: QComboBox) -> None:
    """Keep a long name from widening the dock."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)
