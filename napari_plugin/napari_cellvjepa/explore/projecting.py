"""A page of the Explore dock: bring a store to the plane and find clusters in it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from napari.utils.notifications import show_error
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.parts.form import SectionForm
from napari_cellvjepa.parts.latest import Latest

CLUSTERS = "cluster"  # of the store, where clusters stand


class Projecting(QWidget):
    """The page.

    Attributes
    ----------
    finished
        Signal ``(column)``: the store has new maps, and clusters in this column.
    """

    finished = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._found: cellvjepa.Embeddings | None = None
        self.working = Latest(self)
        self.form = SectionForm(cellvjepa.ClusterConfig())
        self.begin = QPushButton("Project and cluster")
        self.begin.setToolTip("<qt>Both are written into the store; those that it has are replaced. Other windows that show it do not change.</qt>")
        self.begin.clicked.connect(self.run)
        self.copy = CopyCommand(self.command)
        self.status = QLabel()
        self.status.setWordWrap(True)
        buttons = QHBoxLayout()
        buttons.addWidget(self.begin, 1)
        buttons.addWidget(self.copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 6, 4, 4)
        layout.addWidget(self.form)
        layout.addLayout(buttons)
        layout.addWidget(self.status)
        layout.addStretch(1)
        self._enable()

    def follow(self, found: cellvjepa.Embeddings | None) -> None:
        """Work on this store from now on."""
        if found is None or self._found is None or found.path != self._found.path:
            self.working.cancel()
            self.status.setText("")
        self._found = found
        if found is not None and CLUSTERS in found.table and (step := found.steps.get(CLUSTERS)):
            clusters = found.table[CLUSTERS].nunique()
            self.status.setText(f"The store has {clusters} clusters by {step.get('method')}, of {step.get('landmarks', len(found)):,} rows.")
        self._enable()

    def run(self) -> None:
        """Begin."""
        if self._found is None:
            return
        try:
            options = self._options()
        except cellvjepa.UserError as error:
            show_error(str(error))
            return
        do = partial(_projected, self._found.path, options)
        self.status.setText("")
        self.working.do(do, "Project and cluster", lambda _: self.finished.emit(CLUSTERS), failed=self.status.setText, ended=self._enable)
        self._enable()

    def command(self) -> list[str]:
        """Return the words of the command that does the same."""
        if self._found is None:
            raise cellvjepa.UserError("no store is open", "open one first", "Project and cluster")
        options = self._options()
        words = [
            "cellvjepa",
            "cluster",
            str(self._found.path),
            "--projection",
            options.projection,
            "--method",
            options.method,
            "--seed",
            str(options.seed),
        ]
        return words if options.landmarks is None else [*words, "--landmarks", str(options.landmarks)]

    def cancel(self) -> None:
        """Give up what is under way."""
        self.working.cancel()

    def _options(self) -> cellvjepa.ClusterConfig:
        options = self.form.value()
        assert isinstance(options, cellvjepa.ClusterConfig)
        return options

    def _enable(self) -> None:
        self.begin.setEnabled(self._found is not None and not self.working.under_way)
        self.copy.setEnabled(self._found is not None)


def _projected(store: Path, options: cellvjepa.ClusterConfig, progress: cellvjepa.Progress) -> None:
    """Project and cluster (in the other thread): as `cellvjepa cluster` does."""
    cellvjepa.project(store, options.projection, seed=options.seed, landmarks=options.landmarks, progress=progress)
    cellvjepa.cluster(store, options.method, seed=options.seed, landmarks=options.landmarks, progress=progress)
