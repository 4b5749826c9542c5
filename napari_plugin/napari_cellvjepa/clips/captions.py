"""What stands below the picture of a row."""

from __future__ import annotations

import cellvjepa


def caption_of(found: cellvjepa.Embeddings, row: int, first: str = "") -> str:
    """Return two lines: what is said first and whose the clip is, then its frames.

    Parameters
    ----------
    first
        E.g. ``"1 · 0.93"``: a rank and a similarity; short, or nothing.
    """
    facts = found.table.iloc[row]
    whose = f"track {facts['track_id']}" if facts["track_id"] >= 0 else f"y {facts['y_px']:.0f} x {facts['x_px']:.0f}"
    frames = f"frames {facts['t_start']}-{facts['t_stop'] - 1}"
    return f"{first}\n{whose} · {facts['t_start']}-{facts['t_stop'] - 1}" if first else f"{whose}\n{frames}"


def told_of(found: cellvjepa.Embeddings, row: int) -> str:
    """Return all that names a row: movie, track and frames."""
    facts = found.table.iloc[row]
    track = f"track {facts['track_id']}, " if facts["track_id"] >= 0 else ""
    return f"{facts['movie']}: {track}frames {facts['t_start']}-{facts['t_stop'] - 1}"
