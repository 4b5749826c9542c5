from __future__ import annotations

import pandas as pd
import pytest

from cellvjepa.movies.clips import ClipShape


@pytest.fixture
def table() -> pd.DataFrame:
    """Two movies, windows of 8 frames.

    frames           0       8       16      24
    a.tif   track 1  |---0---|---1---|---2---|
            track 2  |---3---|---4---|
    b.tif   track 1          |---5---|---6---|
    """
    rows = [
        ("a.tif", 1, 0, 8),
        ("a.tif", 1, 8, 16),
        ("a.tif", 1, 16, 24),
        ("a.tif", 2, 0, 8),
        ("a.tif", 2, 8, 16),
        ("b.tif", 1, 8, 16),
        ("b.tif", 1, 16, 24),
    ]
    found = pd.DataFrame(rows, columns=["movie", "track_id", "t_start", "t_stop"])
    return found.assign(clip_id=[f"c{i}" for i in range(len(found))], y_px=50.0, x_px=100.0 * found["track_id"])


@pytest.fixture
def shape() -> ClipShape:
    return ClipShape(frames=8, interval_s=None, size_px=32, pixel_um=None, channels=None, z="max")
