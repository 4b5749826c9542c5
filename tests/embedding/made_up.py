"""A store whose table is given, for tests of what is made of stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cellvjepa.embedding.provenance import Provenance, Source
from cellvjepa.embedding.unfinished import begin_store
from cellvjepa.movies.clip_shape import ClipShape

SHAPE = ClipShape(frames=4, interval_s=None, size_px=16, pixel_um=None, channels=None, z="max")


def rows_of_tracks(*tracks: tuple[str, int, tuple[int, ...]], interval_s: float = 60.0) -> pd.DataFrame:
    """Return the table of windows of 4 frames: of each ``(movie, track_id, first frames)``, at y = 10 track_id and x = 8 + t_start."""
    lines = [(movie, track, t) for movie, track, starts in tracks for t in starts]
    table = pd.DataFrame(lines, columns=["movie", "track_id", "t_start"])
    return pd.DataFrame(
        {
            "clip_id": [f"{movie}#id{track}_t{t}" for movie, track, t in lines],
            "movie": table["movie"],
            "track_id": table["track_id"],
            "t_start": table["t_start"],
            "t_stop": table["t_start"] + 4,
            "time_s": table["t_start"] * interval_s,
            "z_px": 0.0,
            "y_px": 10.0 * table["track_id"],
            "x_px": 8.0 + table["t_start"],
            "y_um": 5.0 * table["track_id"],
            "x_um": 4.0 + table["t_start"] / 2,
        }
    )


def store_of_table(path: Path, table: pd.DataFrame, vectors_ND: np.ndarray) -> Path:
    """Write a finished store of these rows."""
    dim = vectors_ND.shape[1]
    features = pd.DataFrame({"channel": ["dna"] * dim, "statistic": "mean"}, index=[f"e{i:03d}" for i in range(dim)])
    levels = pd.DataFrame([(movie, "dna", 0.0, 1.0) for movie in sorted(set(table["movie"]))], columns=["movie", "channel", "low", "high"])
    source = Source("0" * 64, "runs/toy", "{}", ("archive",))
    unfinished = begin_store(path, table, features, Provenance(source, SHAPE, ("dna",), "mean", "float32", levels))
    for chunk in unfinished.missing():
        unfinished.fill(chunk, vectors_ND[unfinished.chunks[chunk]].astype(np.float32))
    return unfinished.finish()
