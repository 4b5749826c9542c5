"""A crash loses nothing: napari is killed while somebody labels, and every label that the dock called saved stands in the file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cellvjepa

CELLS = 4000
SESSION = f"""
import sys
import napari, numpy as np
from napari_cellvjepa.label.cells import Cell
from napari_cellvjepa.label.dock import LabelWidget

file, first = sys.argv[1], int(sys.argv[2])
viewer = napari.Viewer(show=False)
viewer.add_labels(np.ones((4, 8, 8), int), name="film")
widget = LabelWidget(viewer)
viewer.window.add_dock_widget(widget)
todo = iter(range(first, {CELLS}))

def next_label():
    track = next(todo)
    widget.choose(Cell("film", track))
    widget.press(1 + track % 2)

def told(title, lines):
    print("saved", title, flush=True)
    next_label()

def begin(subject):
    widget.form.file.set_text(file)
    widget.form.annotator.setText("ada")
    widget.classes.edited.emit(["even", "odd"])
    next_label()

widget.pen.saved.connect(told)
widget.choice.chosen.connect(begin)
if widget.subject is not None:
    begin(widget.subject)
napari.run(force=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_napari_loses_no_label_that_it_called_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels, script = tmp_path / "labels.csv", tmp_path / "session.py"
    script.write_text(SESSION)
    first = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, str(script), str(labels), str(first)], stdout=subprocess.PIPE, text=True) as session:
            assert session.stdout is not None
            told = [session.stdout.readline() for _ in range(int(rng.integers(5, 25)))]
            time.sleep(float(rng.random() * 0.1))  # it is not a moment of its own choice
            session.send_signal(signal.SIGKILL)
            told += session.stdout.read().splitlines()
        book = cellvjepa.LabelBook.read(labels, ["film"])
        said = {track: [one.label for one in book.of_cell("film", track)] for _, track in book.cells()}
        assert all(names == ["odd" if track % 2 else "even"] for track, names in said.items())
        assert book.left_out == 0
        saved = [int(line.split("track ")[1].split(":")[0]) for line in told if line.startswith("saved track") and "'" in line]
        assert len(saved) >= 5
        assert set(saved) <= set(said)
        first = max(said) + 1
