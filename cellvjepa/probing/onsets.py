"""How far found events are from known ones, in frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cellvjepa.cells.names import meant_names
from cellvjepa.errors import UserError

_COLUMNS = ("track_id", "label", "t_start", "t_stop")


@dataclass(frozen=True, eq=False)
class OnsetErrors:
    """Found events of one kind beside known ones.

    Parameters
    ----------
    event
        Its name.
    known, found, matched
        How many there are, in the tracks that the known ones speak of; and how many are the same.
    timed
        Of these, those whose onset was seen: ``median_frames``, ``mean_frames`` and ``within_step`` are of these. NaN where there is none.
    median_frames
        Median of the distance between the onsets [frames].
    mean_frames
        Mean of found minus known [frames]: positive if it is found too late.
    within_step
        Share of onsets that are no farther off than the usual step between windows.
    pairs
        One row per known event: ``movie``, ``track_id``, ``onset`` (known), ``found`` (onset, NaN where it was missed), ``error``.
    """

    event: str
    known: int
    found: int
    matched: int
    timed: int
    median_frames: float
    mean_frames: float
    within_step: float
    pairs: pd.DataFrame


def read_known(path: str | os.PathLike[str], table: pd.DataFrame, events: Sequence[str]) -> pd.DataFrame:
    """Read known events from a file like labels.csv: every line whose label is an event, from ``t_start`` to ``t_stop``.

    Lines of one track that follow each other without a gap are one event.

    Returns
    -------
    DataFrame
        ``movie``, ``track_id``, ``event``, ``t_start``, ``t_stop`` [native frames].

    Raises
    ------
    UserError
        If the file cannot be read, a column is missing, a number is none, or no line speaks of these events in these movies.
    """
    try:
        lines = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"the known events cannot be read ({error})", "give a comma-separated table like labels.csv", path) from None
    lines.columns = [str(name).strip() for name in lines.columns]
    movies = sorted(table["movie"].astype(str).unique())
    if "movie" not in lines and len(movies) == 1:
        lines["movie"] = movies[0]
    if missing := [name for name in ("movie", *_COLUMNS) if name not in lines]:
        raise UserError(f"missing columns: {', '.join(missing)}", "known events need movie,track_id,label,t_start,t_stop", path)
    written = lines["movie"].unique().tolist()
    lines["movie"] = lines["movie"].map(dict(zip(written, meant_names(written, movies), strict=True)))
    lines = lines[lines["movie"].notna() & lines["label"].isin(list(events))].reset_index(drop=True)
    if lines.empty:
        raise UserError(f"no line speaks of {' or '.join(events)} in the movies of this store", "check names of labels and movies", path)
    numbers = lines[["track_id", "t_start", "t_stop"]].apply(pd.to_numeric, errors="coerce")
    if numbers.isna().to_numpy().any():
        raise UserError("a known event lacks track_id, t_start or t_stop", "write whole numbers of frames into every line", path)
    known = pd.DataFrame({"movie": lines["movie"], "event": lines["label"], **{name: numbers[name].astype(np.int64) for name in numbers}})
    known = known.sort_values(["movie", "track_id", "event", "t_start"], ignore_index=True)
    keys = ["movie", "track_id", "event"]
    new = known["t_start"] > known.groupby(keys)["t_stop"].shift().fillna(-1)
    return (
        known.groupby([*keys, new.cumsum().rename("_run")], sort=False)
        .agg(t_start=("t_start", "min"), t_stop=("t_stop", "max"))
        .reset_index()[[*keys, "t_start", "t_stop"]]
    )


def onset_errors(found: pd.DataFrame, known: pd.DataFrame, event: str, tolerance_frames: float, step_frames: float) -> OnsetErrors:
    """Match found events with known ones, nearest onsets first, each once.

    Parameters
    ----------
    found
        From :func:`cellvjepa.probing.events.find_events`.
    known
        From :func:`read_known`. Tracks that it does not name are not looked at: nobody knows what happens in them.
    event
        Which one.
    tolerance_frames
        A found event is a known one if they overlap, or if their onsets are no farther apart than this; the length of a window is a good
        choice.
    step_frames
        The usual step between windows.
    """
    keys = ["movie", "track_id"]
    there = known[known["event"] == event].reset_index(drop=True).rename_axis("known").reset_index()
    asked = pd.MultiIndex.from_frame(known[keys].astype({"movie": str}).drop_duplicates())
    mine = found[(found["event"] == event) & pd.MultiIndex.from_frame(found[keys].astype({"movie": str})).isin(asked)]
    mine = mine.reset_index(drop=True).rename_axis("found").reset_index()
    pairs = there.merge(mine.drop(columns="event"), on=keys)
    pairs["error"] = pairs["onset"].astype(np.float64) - pairs["t_start"]
    overlapping = (pairs["onset"] < pairs["t_stop"]) & (pairs["end"] > pairs["t_start"])
    pairs = pairs[overlapping | (pairs["error"].abs() <= tolerance_frames)]
    pairs = pairs.assign(_distance=pairs["error"].abs()).sort_values("_distance", kind="stable")
    matched = []
    while len(pairs):
        best = pairs.iloc[0]
        matched.append(best)
        pairs = pairs[(pairs["known"] != best["known"]) & (pairs["found"] != best["found"])]
    chosen = pd.DataFrame(matched, columns=pairs.columns)
    timed = chosen[~chosen["begun_before"].astype(bool)]
    errors = timed["error"].to_numpy(np.float64)
    there = there.merge(timed[["known", "onset", "error"]].rename(columns={"onset": "found"}), how="left", on="known")
    listed = there[[*keys, "t_start", "found", "error"]].rename(columns={"t_start": "onset"})
    if not len(errors):
        return OnsetErrors(event, len(there), len(mine), len(chosen), 0, np.nan, np.nan, np.nan, listed)
    return OnsetErrors(
        event,
        len(there),
        len(mine),
        len(chosen),
        len(errors),
        float(np.median(np.abs(errors))),
        float(errors.mean()),
        float((np.abs(errors) <= step_frames).mean()),
        listed,
    )
