"""Everything about the events in a store: which there are, when they come, and whether conditions differ."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cellvjepa.cells.names import meant_names
from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import UserError
from cellvjepa.probing.alignment import aligned_averages, step_frames
from cellvjepa.probing.events import find_events, followed_tracks
from cellvjepa.probing.onsets import OnsetErrors, onset_errors, read_known
from cellvjepa.probing.survival import Survival, survival_of
from cellvjepa.progress import Progress, silent

_KEYS = ("movie", "plate", "well", "field", "track_id")
_WITHOUT_ASKING = ("area_px", "intensity", "speed_px_per_frame")


@dataclass(frozen=True, eq=False)
class EventStudy:
    """The events of a store.

    Parameters
    ----------
    store
        Where.
    events
        Their names.
    by
        The column that was compared by, if any.
    found
        See :func:`cellvjepa.probing.events.find_events`.
    tracks, survival, aligned, errors
        By event: see :func:`cellvjepa.probing.events.followed_tracks`, :class:`Survival`,
        :func:`cellvjepa.probing.alignment.aligned_averages` and :class:`OnsetErrors` (empty where no events are known).
    step
        Usual number of frames between two windows of a cell.
    settings
        How events were found.
    probe
        What the store says of the probe behind its predictions.
    """

    store: str
    events: tuple[str, ...]
    by: str | None
    found: pd.DataFrame
    tracks: Mapping[str, pd.DataFrame]
    survival: Mapping[str, Survival]
    aligned: Mapping[str, pd.DataFrame]
    errors: Mapping[str, OnsetErrors]
    step: float
    settings: Mapping[str, Any]
    probe: Mapping[str, Any]


def study_events(
    store: str | os.PathLike[str],
    events: Sequence[str],
    config: ProbeConfig,
    *,
    by: str | None = None,
    conditions_csv: str | os.PathLike[str] | None = None,
    features: Sequence[str] = (),
    known_csv: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> EventStudy:
    """Find events in a store with predictions, and describe when they come.

    Parameters
    ----------
    store
        A store to which ``cellvjepa predict`` has added the predictions of a probe.
    events
        Names of classes that are events, e.g. ``["dividing"]``.
    config
        How events are found.
    by
        A column of the store, or of ``conditions_csv``, whose values are compared.
    conditions_csv
        A table with the column ``by``, and ``movie``, or ``well`` (and ``plate``), that say for what it holds.
    features
        Columns to average around the onset; the probability of the event, and area, intensity and speed where the store has them, are
        averaged without asking.
    known_csv
        Known events, to be compared with: lines like those of labels.csv.
    progress
        Told of each event; may cancel.

    Raises
    ------
    UserError
        If there are no predictions, or events, columns or files do not fit the store.
    """
    embeddings = open_store(store)
    table, names = embeddings.table, tuple(dict.fromkeys(events))
    if conditions_csv is not None:
        if by is None:
            raise UserError("it is not said which column of the conditions to compare by", "name it with --by", conditions_csv)
        table = with_conditions(table, conditions_csv, by)
    progress("finding events", 0, 1)
    found = find_events(table, names, config)
    progress("finding events", 1, 1)
    tracks = {event: followed_tracks(table, found, event, by) for event in names}
    around = {event: tuple(dict.fromkeys([f"p_{event}", *features, *(c for c in _WITHOUT_ASKING if c in table)])) for event in names}
    step, window = step_frames(table), float((table["t_stop"] - table["t_start"]).median())
    known = None if known_csv is None else read_known(known_csv, table, names)
    return EventStudy(
        os.fspath(store),
        names,
        by,
        found,
        tracks,
        {event: survival_of(tracks[event], event, config.seed, progress) for event in names},
        {event: aligned_averages(table, found, event, around[event]) for event in names},
        {} if known is None else {event: onset_errors(found, known, event, window, step) for event in names},
        step,
        {name: value for name, value in config.model_dump(mode="json").items() if name.startswith("event_")} | {"window_frames": window},
        embeddings.steps.get("probe", {}),
    )


def with_conditions(table: pd.DataFrame, path: str | os.PathLike[str], by: str) -> pd.DataFrame:
    """Add a column to the table of a store from a file that gives it for movies, wells or tracks.

    Raises
    ------
    UserError
        If the file cannot be read, lacks the column or says nothing of where it holds, contradicts itself, or leaves rows without a value.
    """
    try:
        lines = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"the conditions cannot be read ({error})", "give a comma-separated table", path) from None
    lines.columns = [str(name).strip() for name in lines.columns]
    keys = [key for key in _KEYS if key in lines and key in table]
    if by not in lines or not keys:
        found = ", ".join(map(str, lines.columns))
        raise UserError(f"the columns are {found}", f"the file needs '{by}', and movie or well to say where it holds", path)
    if "movie" in keys:
        written = lines["movie"].unique().tolist()
        lines["movie"] = lines["movie"].map(dict(zip(written, meant_names(written, sorted(table["movie"].astype(str).unique())), strict=True)))
        lines = lines[lines["movie"].notna()]
    lines = lines[[*keys, by]].drop_duplicates()
    if (twice := lines.duplicated(keys)).any():
        raise UserError(f"{by} is given twice for {' '.join(map(str, lines[twice].iloc[0][keys]))}", "keep one line", path)
    asked = table[keys].astype(str)
    values = asked.merge(lines.astype(dict.fromkeys(keys, str)), how="left", on=keys)[by]
    if (lost := values.isna() | (values == "")).any():
        first = asked[lost.to_numpy()].iloc[0]
        raise UserError(f"{int(lost.sum())} rows of the store have no {by} (the first: {' '.join(first)})", "add a line for each", path)
    return table.assign(**{by: values.to_numpy(dtype=object)})
