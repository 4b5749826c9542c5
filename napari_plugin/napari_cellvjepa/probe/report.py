"""The page that tells how good a probe is, compared with what, on which split, and which windows it takes for what."""

from __future__ import annotations

import math
from html import escape

from qtpy.QtCore import QSignalBlocker, Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QScrollArea, QSplitter, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.clips.gallery import Gallery
from napari_cellvjepa.probe.bars import Bar, Bars
from napari_cellvjepa.probe.confusion import ConfusionTable
from napari_cellvjepa.probe.curves import Curves, Line
from napari_cellvjepa.probe.learning import colours_of
from napari_cellvjepa.probe.tables import CountsTable, ScoresTable

_NOTHING = "Train a probe, or choose the folder of one under <b>Use</b>: its report is shown here."
_WHY = (
    "Brackets: 95 % intervals. Why two splits: windows of one track share pixels, and cells of one movie share its light. Split by group, no window "
    "is asked that shares them with one that was learnt from. Split row by row, many do, and are recognised rather than understood: only the first "
    "score says what to expect of new cells."
)
_ALL = "all"


class Report(QWidget):
    """The page.

    Attributes
    ----------
    gallery
        Of the windows of one cell of the confusion matrix.
    """

    def __init__(self) -> None:
        super().__init__()
        self._report: cellvjepa.ReportedProbe | None = None
        self._row_of: dict[str, int] = {}
        self._make_parts()
        self._lay_out()
        self.question.currentIndexChanged.connect(self._show_question)
        self.confusion.asked.connect(self.show_windows)
        self.open.clicked.connect(self._open_page)
        self.show_report(None)

    def _make_parts(self) -> None:
        self.score, self.lead, self.gap, self.missing = (_text() for _ in range(4))
        self.versus, self.learning, self.notes, self.why, self.hint = (_text() for _ in range(5))
        self.question = QComboBox()
        self.question.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.scores, self.confusion, self.counts = ScoresTable(), ConfusionTable(), CountsTable()
        self.bars = Bars()
        self.curve = Curves("How many labels does it take?", "labels per class", named=True, limits=(0.0, 1.0))
        self.open = QPushButton("Open the whole report")
        self.open.setToolTip("Opens report.html in your browser.")
        self.gallery = Gallery()
        self.caption = _text()
        self.why.setText(_WHY)
        self.hint.setText("Lines: what people said. Columns: what the probe said. Click a number to see these windows.")

    def _lay_out(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(4, 6, 4, 4)
        head = QHBoxLayout()
        head.addWidget(self.score, 1)
        head.addWidget(self.open, 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(head)
        self._headings: dict[str, QLabel] = {}
        parts: dict[str, tuple[QWidget, ...]] = {
            "": (self.lead, self.missing, self.question),
            "What is taken for what?": (self.hint, self.confusion),
            "Split by group, and row by row": (self.scores, self.gap, self.why),
            "Compared with what?": (self.bars, self.versus),
            " ": (self.curve, self.learning),
            "Labelled windows by group": (self.counts,),
            "Notes": (self.notes,),
        }
        for title, widgets in parts.items():
            if title.strip():
                self._headings[title] = _text(f"<b>{title}</b>")
                layout.addWidget(self._headings[title])
            for widget in widgets:
                layout.addWidget(widget)
        self._parts = (*self._headings.values(), *(widget for widgets in parts.values() for widget in widgets))
        layout.addStretch(1)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setWidget(inside)
        self._shown = QWidget()
        below = QVBoxLayout(self._shown)
        below.setContentsMargins(4, 2, 4, 4)
        below.addWidget(self.caption)
        below.addWidget(self.gallery, 1)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self._scroll)
        split.addWidget(self._shown)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        split.setChildrenCollapsible(False)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(split)

    def show_report(self, report: cellvjepa.ReportedProbe | None, found: cellvjepa.Embeddings | None = None) -> None:
        """Show a report, whose windows are rows of a store; None: there is none."""
        self._report = report
        self._row_of = {} if found is None else {str(clip): row for row, clip in enumerate(found.table["clip_id"])}
        self.hide_windows()
        for widget in (self.open, *self._parts):
            widget.setVisible(report is not None)
        if report is None:
            self.score.setText(_NOTHING)
            return
        with QSignalBlocker(self.question):
            self.question.clear()
            self.question.addItems(list(report.questions))
        self.question.setVisible(len(report.questions) > 1)
        self._tell(report)
        self._show_question()

    def _tell(self, report: cellvjepa.ReportedProbe) -> None:
        self.lead.setText(f"{escape(report.in_short)}<br>Probe: {escape(report.kind)}.")
        lost = sum(clip not in self._row_of for clip in report.windows["clip_id"])
        self.missing.setText(
            f"⚠ {lost:,} of {len(report.windows):,} windows of this report are not in this store (any more): it is another store, or it has been "
            "made again. They cannot be shown; train again for a report of the store as it is."
        )
        self.missing.setVisible(lost > 0)
        self.gap.setText(("⚠ " if report.gap_matters == "warn" else "") + escape(report.gap))
        self.versus.setText(_listed(report.sentences))
        self.learning.setText(escape(report.learning))
        self.counts.show_counts(report.counts)
        self.notes.setText(_listed(report.notes))
        for widget in (self.notes, self._headings["Notes"]):
            widget.setVisible(bool(report.notes))

    def _show_question(self) -> None:
        report = self._report
        if report is None:
            return
        name = self.question.currentText()
        question = report.questions[name]
        first = question.scores[0]
        self.score.setText(f"<span style='font-size: x-large'>{first.grouped}</span><br>{escape(first.name)}")
        self.scores.show_scores(question.scores)
        self.confusion.show_question(question)
        for widget in (self.hint, self.confusion, self._headings["What is taken for what?"]):
            widget.setVisible(bool(question.classes))
        self._shown.hide()
        self._compare(report, question)

    def _compare(self, report: cellvjepa.ReportedProbe, question: cellvjepa.ReportedQuestion) -> None:
        table, measure = question.comparison, report.measure
        names = list(dict.fromkeys(table["features"]))
        colours = colours_of(names)
        whole = table[table["labels per class"] == _ALL].sort_values(measure, ascending=False)
        numbers = (measure, f"{measure} low", f"{measure} high")
        guess = table.loc[table["features"] == report.guess, measure]
        level = float(guess.mean()) if len(guess) else math.nan
        values = zip(whole["features"], *(whole[number].astype(float) for number in numbers), strict=True)
        bars = [Bar(name, value, low, high, colours[name]) for name, value, low, high in values]
        self.bars.show_bars(bars, level)
        lines = []
        for name in names:
            own = table[table["features"] == name]
            if name == report.guess or len(own) < 2:
                continue
            x = [math.inf if labels == _ALL else float(labels) for labels in own["labels per class"]]
            points = tuple(zip(x, own[measure].astype(float), strict=True))
            ends = tuple(zip(own[numbers[1]].astype(float), own[numbers[2]].astype(float), strict=True)) if name == report.own else ()
            lines.append(Line(name, points, colours[name], ends, faded=False))
        self.curve.show_lines(lines, None if math.isnan(level) else (level, "guessing"))
        for widget in (self.curve, self.learning):
            widget.setVisible(bool(lines))

    def show_windows(self, truth: int, answer: int) -> None:
        """Show the windows of one cell of the confusion matrix, those first of which the probe is surest."""
        report = self._report
        if report is None:
            return
        question = report.questions[self.question.currentText()]
        places = question.which(truth, answer)
        windows = report.windows.iloc[places]
        rows = [self._row_of.get(str(clip), -1) for clip in windows["clip_id"]]
        pairs = [(row, certain) for row, certain in zip(rows, question.certain_N[places], strict=True) if row >= 0]
        said, taken = question.classes[truth], question.classes[answer]
        text = f"{len(pairs):,} windows labelled <b>{escape(said)}</b> and taken for <b>{escape(taken)}</b>"
        self.caption.setText(f"{text}, the surest first." if pairs else f"{text}." if not len(places) else "These windows are not in this store.")
        self._shown.show()
        self.gallery.show_rows([row for row, _ in pairs], [f"{taken} {certain:.2f}" for _, certain in pairs])

    def hide_windows(self) -> None:
        """Put the gallery away until a number is clicked."""
        self._shown.hide()

    def cancel(self) -> None:
        """Give up reading pictures."""
        self.gallery.cancel()

    def _open_page(self) -> None:
        if self._report is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._report.page.resolve())))


def _listed(sentences: tuple[str, ...]) -> str:
    return "<br>".join(f"• {escape(sentence)}" for sentence in sentences)


def _text(words: str = "") -> QLabel:
    label = QLabel(words)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    return label
