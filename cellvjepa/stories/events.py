"""The report on events: which were found, when they come, whether conditions differ, and how far one may trust it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cellvjepa import __version__
from cellvjepa.probing.event_study import EventStudy
from cellvjepa.probing.onsets import OnsetErrors
from cellvjepa.probing.survival import LogRank
from cellvjepa.report.html import write_page
from cellvjepa.report.page import Block, Details, Note, Page, Picture, Section, Table
from cellvjepa.report.style import png_of, svg_of
from cellvjepa.report.timelines import aligned_figure, errors_figure, survival_figure, tracks_figure
from cellvjepa.writing import atomic_path


def tell_events(out: str | os.PathLike[str], study: EventStudy) -> Path:
    """Write ``events.csv``, ``tracks.csv``, ``aligned.csv``, ``survival.csv``, ``report.json``, ``report.html`` and figures into a folder.

    Returns
    -------
    Path
        The page.
    """
    folder = Path(out)
    for name, table in tables(study).items():
        with atomic_path(folder / f"{name}.csv") as part:
            table.to_csv(part, index=False)
    with atomic_path(folder / "report.json") as part:
        part.write_text(json.dumps(numbers(study), indent=2) + "\n", encoding="utf-8")
    sections = [_tracks_section(folder, study)]
    for event in study.events:
        sections.append(_survival_section(folder, study, event))
        sections.append(_aligned_section(folder, study, event))
        if event in study.errors:
            sections.append(_errors_section(folder, study.errors[event], study.step))
    sections.append(_how_section(study))
    page = Page(f"Events: {', '.join(study.events)}", lead(study), tuple(sections), f"cellvjepa {__version__}")
    return write_page(page, folder / "report.html")


def lead(study: EventStudy) -> str:
    """Say in a few sentences what was found."""
    said = []
    for event in study.events:
        tracks = study.tracks[event]
        number = int((study.found["event"] == event).sum())
        sentence = f"'{event}' was found {number} times in {len(tracks)} tracks"
        if (test := study.survival[event].logrank) is not None:
            sentence += f"; {study.by}: {p_values(test)}"
        if (errors := study.errors.get(event)) is not None:
            sentence += f"; of {errors.known} known ones {errors.matched} were found"
            if errors.timed:
                sentence += f", their onsets {errors.median_frames:.1f} frames off in the middle case"
        said.append(f"{sentence}.")
    return " ".join(said)


def p_values(test: LogRank) -> str:
    """Say both p-values of a log-rank test."""
    said = f"log-rank p = {_p(test.p_tracks)} if tracks were independent"
    if np.isfinite(test.p_movies):
        return f"{said}, p = {_p(test.p_movies)} by shuffling the {test.movies} movies (it cannot be below {_p(test.smallest)})"
    return said


def tables(study: EventStudy) -> dict[str, pd.DataFrame]:
    """Return the tables that are written, by name of file."""
    tracks = pd.concat([study.tracks[event].assign(event=event) for event in study.events], ignore_index=True)
    hours = (tracks["last"] - tracks["first"]) * tracks["interval_s"] / 3600
    tracks = tracks.assign(watched_h=hours, events_per_h=tracks["events"] / hours)
    survival = pd.concat([study.survival[event].curves.assign(event=event, unit=study.survival[event].unit) for event in study.events])
    aligned = pd.concat([study.aligned[event].assign(event=event) for event in study.events])
    found = {"events": study.found, "tracks": tracks, "survival": survival, "aligned": aligned}
    if study.errors:
        found["onset_errors"] = pd.concat([errors.pairs.assign(event=event) for event, errors in study.errors.items()])
    return found


def numbers(study: EventStudy) -> dict[str, Any]:
    """Return the report as JSON has it; what is unknown or never reached is null."""
    report = {
        "version": __version__,
        "store": study.store,
        "by": study.by,
        "settings": dict(study.settings),
        "probe": dict(study.probe),
        "events": {event: _event_numbers(study, event) for event in study.events},
    }
    plain: dict[str, Any] = _plain(report)
    return plain


def _event_numbers(study: EventStudy, event: str) -> dict[str, Any]:
    survival, errors = study.survival[event], study.errors.get(event)
    test = survival.logrank
    return {
        "found": int((study.found["event"] == event).sum()),
        "tracks": len(study.tracks[event]),
        "unit": survival.unit,
        "conditions": survival.summary.to_dict("records"),
        "logrank": None if test is None else vars(test),
        "notes": list(survival.notes),
        "known": None if errors is None else {name: value for name, value in vars(errors).items() if name not in ("pairs", "event")},
    }


def _tracks_section(folder: Path, study: EventStudy) -> Section:
    picture = _drawn(folder, "tracks", tracks_figure(study.tracks[study.events[0]], study.found, study.events))
    return Section(
        "Which events were found?",
        "Each line is a track, in the order of its first event; a dot is an onset. events.csv has them all, with the frames between which each "
        "onset lies; tracks.csv says of each track how long it was watched, and how many events it had.",
        (Picture(picture, "All tracks, or an even choice where there are many.", "Tracks over time with their events"),),
    )


def _survival_section(folder: Path, study: EventStudy, event: str) -> Section:
    survival = study.survival[event]
    unit = survival.unit
    blocks: list[Block] = []
    if len(survival.summary):
        header = ("condition", "tracks", "movies", "with the event", f"median [{unit}]", f"events per {unit} watched")
        rows = tuple(_condition_row(line) for line in survival.summary.to_dict("records"))
        blocks.append(Table(header, rows, "In brackets: 95 % intervals. An open end: the curve never comes down so far."))
        picture = _drawn(folder, f"survival_{_file_name(event)}", survival_figure(survival.curves, unit, event))
        caption = "Kaplan-Meier: share of tracks in which it has not happened yet, with 95 % intervals. Small strokes: tracks that ended before."
        blocks.append(Picture(picture, caption, f"Share of tracks without {event} over time"))
    blocks += [Note(note, "warn") for note in survival.notes]
    if survival.logrank is not None:
        blocks.append(Note(_test_in_words(survival.logrank, study.by or ""), "plain"))
    return Section(
        f"When does '{event}' come?",
        "Time runs from when a track was first seen until the event first begins. A track that ends before is censored: it counts as long as it "
        "was watched. That is right as long as tracks do not end because of the event.",
        tuple(blocks),
    )


def _test_in_words(test: LogRank, by: str) -> str:
    said = f"Do values of {by} differ? Chi-squared {test.statistic:.2f} with {test.degrees} degree(s) of freedom; {p_values(test)}."
    if test.note:
        return f"{said} {test.note}"
    return f"{said} Cells of one movie share its light, medium and tracker, so the second value is the one to quote."


def _condition_row(line: Mapping[Any, Any]) -> tuple[str, ...]:
    median = f"{_number(line['median'])} [{_number(line['median low'])}, {_number(line['median high'])}]"
    rate = f"{line['rate']:.3g} [{line['rate low']:.3g}, {line['rate high']:.3g}]"
    return (str(line["condition"]) or "all", str(line["tracks"]), str(line["movies"]), str(line["with the event"]), median, rate)


def _aligned_section(folder: Path, study: EventStudy, event: str) -> Section:
    aligned = study.aligned[event]
    if aligned.empty:
        return Section(f"Around the onset of '{event}'", "Fewer than two onsets were seen, so there is nothing to average.")
    picture = _drawn(folder, f"aligned_{_file_name(event)}", aligned_figure(aligned))
    most = int(aligned["events"].max())
    caption = "Mean and 95 % interval over events. The probability rises at 0 because that is how onsets were found; the others were free to."
    return Section(
        f"Around the onset of '{event}'",
        f"All tracks moved in time so that onsets fall together: up to {most} events. aligned.csv says how many stand behind each point.",
        (Picture(picture, caption, f"Averages of features around the onset of {event}"),),
    )


def _errors_section(folder: Path, errors: OnsetErrors, step: float) -> Section:
    rows = (
        ("known", str(errors.known)),
        ("found in the same tracks", str(errors.found)),
        ("found and known", str(errors.matched)),
        ("of these, with an onset that was seen", str(errors.timed)),
        ("median distance of onsets [frames]", _number(errors.median_frames)),
        ("mean of found minus known [frames]", _number(errors.mean_frames)),
        (f"within one step of {step:g} frames", "-" if math.isnan(errors.within_step) else f"{errors.within_step:.0%}"),
    )
    blocks: list[Block] = [Table(("", "events"), rows)]
    timed = errors.pairs["error"].dropna()
    if len(timed):
        picture = _drawn(folder, f"errors_{_file_name(errors.event)}", errors_figure(timed.tolist(), step))
        blocks.append(Picture(picture, "Grey: within one step between windows. Right of 0: found too late.", f"Errors of onsets of {errors.event}"))
    text = "Where the probe learnt from these very tracks, it does better here than elsewhere: look at movies that it has not seen."
    return Section(f"Beside known events: '{errors.event}'", text, tuple(blocks))


def _how_section(study: EventStudy) -> Section:
    settings = study.settings
    text = (
        f"The onset is where the probability, as a line from the middle of one window to that of the next, crosses {settings['event_threshold']:g}: "
        "a probe changes its mind when the event fills half of a window. It cannot be known better than the step between windows, here "
        f"{study.step:g} frames (embed.stride_frames); windows are {settings['window_frames']:g} frames long. Shorter events than half a window "
        "are not found, unless probe.event_min_frames says so."
    )
    return Section("How it was done", text, (Details("All numbers", json.dumps(numbers(study), indent=2)),))


def _drawn(folder: Path, name: str, figure: Figure) -> bytes:
    data = png_of(figure)
    with atomic_path(folder / "figures" / f"{name}.png") as part:
        part.write_bytes(data)
    with atomic_path(folder / "figures" / f"{name}.svg") as part:
        part.write_bytes(svg_of(figure))
    return data


def _file_name(event: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in event)


def _number(value: float) -> str:
    return "-" if not math.isfinite(value) else f"{value:.2f}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
