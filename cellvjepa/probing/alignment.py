"""What a number does around an event: tracks are moved in time so that their onsets fall together, and averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cellvjepa.embedding.aggregate import cells_of
from cellvjepa.errors import UserError

_FEWEST = 2  # events behind an average
_Z = 1.959964  # 95 %


def aligned_averages(table: pd.DataFrame, found: pd.DataFrame, event: str, features: Sequence[str]) -> pd.DataFrame:
    """Average features of windows by their time from the onset of the event.

    The time of a window is that of its middle. Events that were there from the start of their track have no onset and are left out; an event
    counts once in each average, and averages of fewer than two events are left out.

    Parameters
    ----------
    table
        The table of the store.
    found
        From :func:`cellvjepa.probing.events.find_events`.
    event
        Which one.
    features
        Columns of the table with numbers.

    Returns
    -------
    DataFrame
        ``feature``, ``frames`` (from the onset: the middle of a stretch as long as the usual step between windows;
        none reaches from before the onset to after it), ``mean``, ``low``, ``high`` (95 % interval of
        the mean over events, normal approximation), ``events`` (how many).

    Raises
    ------
    UserError
        If a column is missing or holds no numbers.
    """
    for name in features:
        if name not in table or not pd.api.types.is_numeric_dtype(table[name]):
            numbers = ", ".join(str(column) for column in table if pd.api.types.is_numeric_dtype(table[column]))
            raise UserError(f"there is no column of numbers '{name}'", f"choose from {numbers}", "--feature")
    onsets = found[(found["event"] == event) & ~found["begun_before"].astype(bool)][["movie", "track_id", "onset"]].astype({"movie": str})
    onsets = onsets.assign(number=np.arange(len(onsets)))
    windows = table[["movie", "track_id"]].astype({"movie": str}).assign(middle=(table["t_start"] + table["t_stop"]) / 2, row=np.arange(len(table)))
    pairs = onsets.merge(windows, on=["movie", "track_id"])
    step = step_frames(table)
    pairs["frames"] = (np.floor((pairs["middle"] - pairs["onset"]).astype(np.float64) / step) + 0.5) * step
    parts = []
    for name in features:
        values = pairs.assign(value=table[name].to_numpy(np.float64)[pairs["row"].to_numpy(np.int64)]).dropna(subset="value")
        per_event = values.groupby(["frames", "number"])["value"].mean()
        summary = per_event.groupby("frames").agg(["mean", "std", "size"])
        summary = summary[summary["size"] >= _FEWEST]
        half = _Z * summary["std"] / np.sqrt(summary["size"])
        columns = {"mean": summary["mean"], "low": summary["mean"] - half, "high": summary["mean"] + half, "events": summary["size"]}
        parts.append(pd.DataFrame(columns).reset_index().assign(feature=name))
    order = ["feature", "frames", "mean", "low", "high", "events"]
    return pd.concat(parts, ignore_index=True)[order] if parts else pd.DataFrame({name: [] for name in order})


def step_frames(table: pd.DataFrame) -> float:
    """Return the usual number of frames between the beginnings of two windows of a cell; the length of a window where no cell has two."""
    ordered = pd.DataFrame({"cell": cells_of(table), "t_start": table["t_start"].to_numpy(np.float64)}).sort_values(["cell", "t_start"])
    gaps = ordered.groupby("cell")["t_start"].diff()
    gaps = gaps[gaps > 0]
    return float(gaps.median()) if len(gaps) else float((table["t_stop"] - table["t_start"]).median())
