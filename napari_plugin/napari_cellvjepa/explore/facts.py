"""What is known about a row of a store, in words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import cellvjepa
from napari_cellvjepa.plot.columns import Columns


def described_row(found: cellvjepa.Embeddings, row: int, colour: str) -> str:
    """Say in a line or two what a row is: movie, track, frames, and the value that colours it."""
    facts = found.table.iloc[row]
    track = f" · track {facts['track_id']}" if facts["track_id"] >= 0 else ""
    text = f"{facts['movie']}{track} · frames {facts['t_start']}-{facts['t_stop'] - 1}"
    shown = [name for name in dict.fromkeys((colour, "cluster")) if name in facts.index and name not in ("movie", "track_id")]
    values = [f"{name} {facts[name]:.4g}" if isinstance(facts[name], float) else f"{name} {facts[name]}" for name in shown]
    return "\n".join([text, " · ".join(values)]).strip()


def described_selection(columns: Columns, chosen_N: npt.NDArray[np.bool_]) -> str:
    """Say how many rows a store has, and how many are selected, in how many movies."""
    text, rows = f"{len(chosen_N):,} embeddings", np.count_nonzero(chosen_N)
    if not rows:
        return text
    movie_N, movies = columns.movies()
    selected_in = np.count_nonzero(np.bincount(movie_N[chosen_N]))
    return f"{rows:,} of {text} selected, in {selected_in:,} of {movies:,} movies"
