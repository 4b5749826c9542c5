"""What the dock says about a cell and about a file."""

from __future__ import annotations

import cellvjepa
from napari_cellvjepa.label.cells import Cell
from napari_cellvjepa.label.subject import Subject


def told_of_cell(subject: Subject | None, cell: Cell | None, book: cellvjepa.LabelBook | None, frame: int) -> str:
    """Say which cell is chosen and what it is at a frame, or what to do."""
    if subject is None:
        return "Open a store of embeddings, or a movie with tracks or labels."
    if cell is None:
        return "Click a cell in the image."
    said = [one for one in (book.of_cell(*cell) if book else ()) if one.start <= frame < one.stop]
    now = ", ".join(f"{one.label} ({one.annotator or 'nobody in particular'})" for one in said) or "no label"
    several = len({one.label for one in said}) > 1
    return f"track {cell.track_id} of {cell.movie} · frame {frame}: {now}" + (". A probe refuses a file that contradicts itself." if several else "")


def told_of_file(book: cellvjepa.LabelBook) -> str:
    """Say what is odd about a file that was read; ``""`` if nothing is."""
    torn = f"The last line of the label file was not written to its end ('{book.torn[:40]}'): it does not count, and the next label takes its place."
    out = f"{book.left_out:,} lines of the label file name no cell of these movies, or no time."
    return " ".join(text for text, holds in ((torn, book.torn), (out, book.left_out)) if holds)
