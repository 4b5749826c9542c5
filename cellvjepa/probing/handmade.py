"""Features that a biologist with numpy would make by hand: brightness, change, motion and rhythm of clips; the ways of tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

_PERCENTILES = (10, 50, 90, 99)
_CENTRE = 0.5  # the cell's part of a crop: an ellipse of half its height and width

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """Named numbers, one row per window: ``values_ND`` is float64 (N, D), ``names`` are D texts ``family: what``."""

    values_ND: npt.NDArray[np.float64]
    names: tuple[str, ...]

    def family(self, *families: str) -> Features:
        """Return the features of some families only, e.g. ``family("intensity", "change")``."""
        chosen = [i for i, name in enumerate(self.names) if name.split(":")[0] in families]
        return Features(self.values_ND[:, chosen], tuple(self.names[i] for i in chosen))


def handmade_features(clips_BCTZYX: Floats, channels: tuple[str, ...]) -> Features:
    """Describe clips by hand, without learning; each channel by the same numbers.

    Families: ``intensity`` (level, spread and percentiles of the whole crop and of its centre), ``change`` (differences between
    frames, and over time at each pixel), ``motion`` (of the centre of mass of what differs from the background) and ``rhythm``
    (the brightness of the centre over time, and how long pixels resemble themselves). A single frame has no change: zeros.

    Parameters
    ----------
    clips_BCTZYX
        float32 clips as ``read_clip`` gives them; planes are averaged.
    channels
        Names of the C channels.
    """
    assert clips_BCTZYX.shape[1] == len(channels), (clips_BCTZYX.shape, channels)
    columns: dict[str, npt.NDArray[np.float64]] = {}
    for c, channel in enumerate(channels):
        frames_BTYX = clips_BCTZYX[:, c].mean(axis=2)
        for part in (_intensity, _change, _motion, _rhythm):
            columns |= {f"{name} ({channel})": value.astype(np.float64) for name, value in part(frames_BTYX).items()}
    return Features(np.stack(list(columns.values()), axis=1), tuple(columns))


def track_features(windows: pd.DataFrame, cells: pd.DataFrame) -> Features:
    """Describe windows by their tracks alone: what tracking already knows, without a look at the pixels.

    Parameters
    ----------
    windows
        ``movie``, ``track_id``, ``t_start``, ``t_stop`` of each window.
    cells
        The cell table: ``movie``, ``track_id``, ``t``, ``y_px``, ``x_px`` and, where known, ``area_px``.

    Returns
    -------
    Features
        Net displacement, path length per frame, their ratio, spread of position [native px], and mean, spread and change of
        area where it is known. Zeros where a track is not in the table.
    """
    rows = windows[["movie", "track_id", "t_start", "t_stop"]].reset_index(drop=True).reset_index(names="row")
    here = rows.merge(cells.assign(area_px=cells.get("area_px", np.nan)), on=["movie", "track_id"])
    here = here[(here["t"] >= here["t_start"]) & (here["t"] < here["t_stop"])].sort_values(["row", "t"])
    same = here["row"].to_numpy()[1:] == here["row"].to_numpy()[:-1]
    steps = np.zeros(len(here))
    steps[1:] = np.where(same, np.hypot(np.diff(here["y_px"]), np.diff(here["x_px"])), 0.0)
    by_row = here.assign(step=steps).groupby("row")
    first, last, spread, mean = by_row.first(), by_row.last(), by_row.std(numeric_only=True), by_row.mean(numeric_only=True)
    net = np.hypot(last["y_px"] - first["y_px"], last["x_px"] - first["x_px"])
    path = by_row["step"].sum()
    table = pd.DataFrame(
        {
            "track: net displacement": net,
            "track: step": path / (by_row.size() - 1).clip(lower=1),
            "track: straightness": net / path.where(path > 0, 1.0),
            "track: spread": np.hypot(spread["y_px"], spread["x_px"]),
            "track: area": mean["area_px"],
            "track: area spread": spread["area_px"],
            "track: area change": last["area_px"] - first["area_px"],
        }
    )
    return Features(table.reindex(range(len(windows))).fillna(0.0).to_numpy(np.float64), tuple(table.columns))


def _centre(frames_BTYX: Floats) -> Floats:
    """Return the pixels of the centre, (B, T, P)."""
    return frames_BTYX[:, :, _distance(frames_BTYX) <= _CENTRE]


def _distance(frames_BTYX: Floats) -> npt.NDArray[np.float64]:
    """Return (Y, X) distances from the middle: 1 at the middle of each border."""
    height, width = frames_BTYX.shape[2:]
    y, x = (np.arange(n) + 0.5 - n / 2 for n in (height, width))
    distance: npt.NDArray[np.float64] = np.hypot(2 * y[:, None] / height, 2 * x / width)
    return distance


def _intensity(frames_BTYX: Floats) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for where, part in (("whole", frames_BTYX.reshape(*frames_BTYX.shape[:2], -1)), ("centre", _centre(frames_BTYX))):
        found |= {f"intensity: {where} mean": part.mean(axis=(1, 2)), f"intensity: {where} spread": part.std(axis=(1, 2))}
        percentiles = np.percentile(part, _PERCENTILES, axis=(1, 2))
        found |= {f"intensity: {where} p{p}": value for p, value in zip(_PERCENTILES, percentiles, strict=True)}
    return found


def _change(frames_BTYX: Floats) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for where, part in (("whole", frames_BTYX.reshape(*frames_BTYX.shape[:2], -1)), ("centre", _centre(frames_BTYX))):
        step = np.abs(np.diff(part, axis=1, append=part[:, -1:])).sum(axis=(1, 2)) / (max(1, part.shape[1] - 1) * part.shape[2])
        net = np.abs(part[:, -1] - part[:, 0]).mean(axis=1)
        found |= {f"change: {where} spread over time": part.std(axis=1).mean(axis=1), f"change: {where} per frame": step}
        found |= {f"change: {where} first to last": net, f"change: {where} last over each": net / (step + 1e-6)}
    return found


def _motion(frames_BTYX: Floats) -> dict[str, Floats]:
    """Follow the centre of mass of squared contrast, with weights that fall off towards the border (neighbours)."""
    height, width = frames_BTYX.shape[2:]
    weight = (frames_BTYX - np.median(frames_BTYX, axis=(1, 2, 3), keepdims=True)) ** 2 * np.exp(-2 * _distance(frames_BTYX) ** 2)
    total = weight.sum(axis=(2, 3)) + 1e-9
    y = (weight.sum(axis=3) @ np.arange(height)) / total
    x = (weight.sum(axis=2) @ np.arange(width)) / total
    step = np.hypot(np.diff(y, axis=1, append=y[:, -1:]), np.diff(x, axis=1, append=x[:, -1:]))
    return {
        "motion: per frame": step.sum(axis=1) / max(1, step.shape[1] - 1),
        "motion: net displacement": np.hypot(y[:, -1] - y[:, 0], x[:, -1] - x[:, 0]),
        "motion: spread": np.hypot(y.std(axis=1), x.std(axis=1)),
    }


def _rhythm(frames_BTYX: Floats) -> dict[str, Floats]:
    frames = frames_BTYX.shape[1]
    centre = _centre(frames_BTYX).mean(axis=2)
    time = np.linspace(-1, 1, frames) if frames > 1 else np.zeros(1)
    flicker = np.abs(np.diff(centre, axis=1, append=centre[:, -1:])).sum(axis=1) / max(1, frames - 1)
    found = {
        "rhythm: brightness spread": centre.std(axis=1),
        "rhythm: brightness per frame": flicker,
        "rhythm: brightness trend": centre @ time / frames,
    }
    moving = frames_BTYX - frames_BTYX.mean(axis=1, keepdims=True)
    power = (moving**2).mean(axis=(1, 2, 3)) + 1e-9
    for name, lag in (("next frame", 1), ("quarter", max(1, frames // 4)), ("half", max(1, frames // 2))):
        alike = (moving[:, lag:] * moving[:, :-lag]).mean(axis=(1, 2, 3)) if lag < frames else np.zeros(len(moving))
        found[f"rhythm: alike {name}"] = alike / power
    return found
