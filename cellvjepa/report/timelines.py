"""Pictures of events in time: survival curves, averages around an onset, and all tracks as lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cellvjepa.report.style import INK, MUTED, PALETTE, calm, marks_of, new_figure

MOST_TRACKS = 150


def survival_figure(curves: pd.DataFrame, unit: str, event: str) -> Figure:
    """Draw the share of tracks without the event over time: one step curve with its interval for each condition, ticks where tracks were lost.

    Parameters
    ----------
    curves
        ``condition``, ``time``, ``surviving``, ``low``, ``high``, ``at_risk``.
    unit
        Of time.
    event
        Its name.
    """
    figure = new_figure(6.0, 3.6)
    axes = figure.add_subplot()
    calm(axes, x_label=f"time since a track was first seen [{unit}]", y_label=f"share without '{event}'")
    names = list(dict.fromkeys(curves["condition"].astype(str)))
    marks = marks_of(names, names)
    for name in names:
        one = curves[curves["condition"].astype(str) == name]
        time, surviving = one["time"].to_numpy(np.float64), one["surviving"].to_numpy(np.float64)
        axes.fill_between(time, one["low"].to_numpy(np.float64), one["high"].to_numpy(np.float64), step="post", color=marks[name].colour, alpha=0.15)
        axes.step(time, surviving, where="post", color=marks[name].colour, linewidth=1.8)
        lost = np.flatnonzero(np.diff(surviving, prepend=1.0) == 0)[1:]
        axes.plot(time[lost], surviving[lost], color=marks[name].colour, marker="|", markersize=6, linestyle="none")
    axes.set_ylim(0, 1.04)
    axes.set_xlim(left=0)
    if names != [""]:
        handles = [Line2D([], [], color=marks[name].colour, linewidth=1.8, label=name) for name in names]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(names)), frameon=False, fontsize=9, labelcolor=INK)
    return figure


def aligned_figure(aligned: pd.DataFrame) -> Figure:
    """Draw one small plot per feature: its mean and interval by time from the onset.

    Parameters
    ----------
    aligned
        ``feature``, ``frames``, ``mean``, ``low``, ``high``, ``events``.
    """
    features = list(dict.fromkeys(aligned["feature"].astype(str)))
    columns = min(2, max(1, len(features)))
    lines = max(1, -(-len(features) // columns))
    figure = new_figure(3.6 * columns, 2.3 * lines + 0.1)
    all_axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, feature in zip(all_axes, features, strict=False):
        one = aligned[aligned["feature"].astype(str) == feature]
        calm(axes, title=feature, x_label="frames from the onset")
        axes.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        frames = one["frames"].to_numpy(np.float64)
        axes.fill_between(frames, one["low"].to_numpy(np.float64), one["high"].to_numpy(np.float64), color=PALETTE[0], alpha=0.18, linewidth=0)
        axes.plot(frames, one["mean"].to_numpy(np.float64), color=PALETTE[0], linewidth=1.8, marker="o", markersize=3)
    for axes in all_axes[len(features) :]:
        axes.set_axis_off()
    return figure


def tracks_figure(tracks: pd.DataFrame, found: pd.DataFrame, events: Sequence[str]) -> Figure:
    """Draw each track as a thin line over time, its events as thick ones; tracks in the order of their first onset.

    Parameters
    ----------
    tracks
        ``movie``, ``track_id``, ``first``, ``last``; at most :data:`MOST_TRACKS` of them are drawn, spread evenly over that order.
    found
        ``movie``, ``track_id``, ``event``, ``onset``, ``end``.
    events
        Names, in the order of their colours.
    """
    keys = ["movie", "track_id"]
    onset = found.groupby(keys, observed=True)["onset"].min().rename("_onset")
    ordered = tracks[[*keys, "first", "last"]].merge(onset, how="left", on=keys).sort_values(["_onset", "first", "last"], kind="stable")
    some = ordered.iloc[np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), MOST_TRACKS)).astype(int))].reset_index(drop=True)
    some = some.assign(y=np.arange(len(some)))
    figure = new_figure(6.4, float(np.clip(0.035 * len(some) + 1.2, 2.2, 6.0)))
    axes = figure.add_subplot()
    calm(axes, x_label="frame", y_label="tracks")
    axes.grid(False)
    axes.set_yticks([])
    axes.hlines(some["y"], some["first"], some["last"], color="#d0d7db", linewidth=1)
    marks = marks_of(events, events)
    shown = found.merge(some[[*keys, "y"]], on=keys)
    for event in events:
        one = shown[shown["event"] == event]
        ends = one[["onset", "y", "end", "y"]].to_numpy(np.float64).reshape(-1, 2, 2)
        axes.add_collection(LineCollection(list(ends), colors=marks[event].colour, linewidths=2.4))
        axes.plot(one["onset"], one["y"], color=marks[event].colour, marker="o", markersize=3, linestyle="none")
    axes.set_ylim(len(some), -1)
    handles = [Line2D([], [], color=marks[event].colour, linewidth=2.4, marker="o", markersize=4, label=event) for event in events]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False, fontsize=9, labelcolor=INK)
    return figure


def errors_figure(errors: Sequence[float], step: float) -> Figure:
    """Draw how far found onsets are from known ones, as a histogram; grey is within one step between windows [frames]."""
    values = np.asarray(errors, np.float64)
    figure = new_figure(4.6, 2.6)
    axes = figure.add_subplot()
    calm(axes, x_label="found minus known onset [frames]", y_label="events")
    axes.axvspan(-step, step, color="#eef1f3", zorder=0)
    axes.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    reach = max(float(np.abs(values).max()) if len(values) else 0.0, step) + 1
    axes.hist(values, bins=np.arange(-np.ceil(reach), np.ceil(reach) + 1).tolist(), color=PALETTE[0], alpha=0.85)
    return figure
