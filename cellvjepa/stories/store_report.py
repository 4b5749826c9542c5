"""The report of a store: what can be read from its embeddings that nobody asked for, beside the phenotype."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cellvjepa import __version__
from cellvjepa.probing.nuisances import CHANCE, KINDS, MEASURE, Reading, StoreReport
from cellvjepa.report import plots
from cellvjepa.report.html import write_page
from cellvjepa.report.page import Block, Details, Note, Page, Picture, Section, Table
from cellvjepa.writing import atomic_path

NOISE = 0.02
_KIND_NAMES = {"linear": "linear probe", "knn": "nearest neighbours"}
_REMEDIES = {
    "frame number": "Compare cells at the same time after the start, or check for bleaching and drift",
    "distance to the border": "Leave out cells near the border, or look at illumination and at windows that reach beyond the image",
}
_BATCH = "Compare within it (a control in each), spread phenotypes evenly over it, and score probes with --group of that column"
_BRIGHT = "Check exposure and staining, or compare cells of similar brightness"


@dataclass(frozen=True)
class Verdict:
    """What a nuisance means beside the phenotype, in words."""

    nuisance: str
    kind: Literal["good", "warn", "bad"]
    text: str


def tell_store(out: str | os.PathLike[str], found: StoreReport) -> Path:
    """Write ``report.html``, ``report.json`` and ``figures/nuisances.png`` into a folder; return the path of the page."""
    folder = Path(out)
    with atomic_path(folder / "report.json") as part:
        part.write_text(json.dumps(numbers(found), indent=2) + "\n", encoding="utf-8")
    scored = [reading for reading in _readings(found) if reading.scores]
    picture = draw_readings(scored) if scored else None
    if picture is not None:
        with atomic_path(folder / "figures" / "nuisances.png") as part:
            part.write_bytes(picture)
    page = Page(
        title=f"Embeddings: {Path(found.store).name}",
        lead=lead(found),
        sections=(_nuisance_section(found, picture), _unscored_section(found), _how_section(found)),
        foot=f"cellvjepa {__version__}",
    )
    return write_page(page, folder / "report.html")


def lead(found: StoreReport) -> str:
    """Say in a few sentences what was found."""
    said = verdicts(found)
    if found.phenotype is None:
        strongest = max((r for r in found.nuisances if r.scores), key=lambda r: r.scores["linear"].value, default=None)
        if strongest is None:
            return "Nothing could be scored: there are too few groups, or the store knows too little of its movies."
        return f"Most easily read from these embeddings: {strongest.name} ({MEASURE} {strongest.scores['linear']}, guessing gives {CHANCE})."
    if not found.phenotype.scores:
        return f"The phenotype could not be scored: {found.phenotype.reason}."
    easier = [verdict.nuisance for verdict in said if verdict.kind == "bad"]
    maybe = [verdict.nuisance for verdict in said if verdict.kind == "warn"]
    phenotype = f"The phenotype is read from these embeddings with {MEASURE} {found.phenotype.scores['linear']}"
    if easier:
        return f"{phenotype}. Easier to read: {', '.join(easier)}. Clusters and distances may follow that instead."
    if maybe:
        return f"{phenotype}. As easy to read, within the intervals: {', '.join(maybe)}."
    counted = sum(bool(reading.scores) for reading in found.nuisances)
    return (
        f"{phenotype}, better than each of the {counted} nuisances that could be scored." if counted else f"{phenotype}; no nuisance could be scored."
    )


def verdicts(found: StoreReport) -> tuple[Verdict, ...]:
    """Say of each nuisance that could be scored how it stands to the phenotype; nothing without a scored phenotype."""
    if found.phenotype is None or not found.phenotype.scores:
        return ()
    said = [_verdict(nuisance, found.phenotype) for nuisance in found.nuisances if nuisance.scores]
    if found.shortcut is not None and found.shortcut.scores:
        said.append(_shortcut_verdict(found.shortcut, found.phenotype))
    return tuple(said)


def draw_readings(readings: list[Reading]) -> bytes:
    """Draw what can be read as points with intervals; a PNG."""
    scores = [plots.Score(r.name, _KIND_NAMES[kind], s.value, s.low, s.high) for r in readings for kind, s in r.scores.items()]
    return plots.draw_scores(scores, measure=MEASURE, chance=CHANCE)


def numbers(found: StoreReport) -> dict[str, object]:
    """Return the report as JSON has it; an interval that is not known is null."""
    return {
        "version": __version__,
        "store": found.store,
        "labels": found.labels or None,
        "measure": MEASURE,
        "chance": CHANCE,
        "rows": found.rows,
        "rows of the store": found.rows_of_store,
        "phenotype": None if found.phenotype is None else _as_json(found.phenotype),
        "phenotype from nuisances alone": None if found.shortcut is None else _as_json(found.shortcut),
        "nuisances": [_as_json(reading) for reading in found.nuisances],
        "verdicts": [{"nuisance": verdict.nuisance, "kind": verdict.kind, "text": verdict.text} for verdict in verdicts(found)],
        "notes": list(found.notes),
    }


def _verdict(nuisance: Reading, phenotype: Reading) -> Verdict:
    pairs = [(nuisance.scores[kind], phenotype.scores[kind]) for kind in KINDS]
    # Whichever probe reads it best: what any of them finds is there to be found.
    ours, theirs = max((n for n, _ in pairs), key=lambda s: s.value), max((p for _, p in pairs), key=lambda s: s.value)
    compared = f"({MEASURE} {ours}) than the phenotype ({theirs})"
    if ours.value > theirs.value + NOISE and ours.low > theirs.high:
        return Verdict(nuisance.name, "bad", f"{_upper(nuisance.name)} is easier to read from these embeddings {compared}. {_remedy(nuisance.name)}.")
    if ours.value > theirs.value - NOISE:
        text = f"{_upper(nuisance.name)} is about as easy to read ({MEASURE} {ours}) as the phenotype ({theirs})"
        if ours.value > theirs.value + NOISE:
            text = f"{_upper(nuisance.name)} seems easier to read {compared}, but the intervals do not rule out the opposite"
        return Verdict(nuisance.name, "warn", f"{text}. {_remedy(nuisance.name)}.")
    return Verdict(nuisance.name, "good", f"{_upper(nuisance.name)} is harder to read {compared}.")


def _shortcut_verdict(shortcut: Reading, phenotype: Reading) -> Verdict:
    ours, theirs = (max(reading.scores.values(), key=lambda s: s.value) for reading in (shortcut, phenotype))
    said = f"From the nuisances alone, without any embedding, the phenotype is read with {MEASURE} {ours}; from the embeddings with {theirs}"
    if ours.value > theirs.value - NOISE:
        return Verdict(
            "all of them together", "bad", f"{said}. Phenotype and batch are confounded in these labels: no score on them can tell the two apart."
        )
    return Verdict("all of them together", "good", f"{said}.")


def _remedy(name: str) -> str:
    return _BRIGHT if name.startswith("intensity") else _REMEDIES.get(name, _BATCH)


def _upper(name: str) -> str:
    return name[:1].upper() + name[1:]


def _readings(found: StoreReport) -> tuple[Reading, ...]:
    return (*((found.phenotype,) if found.phenotype else ()), *found.nuisances)


def _nuisance_section(found: StoreReport, picture: bytes | None) -> Section:
    scored = [reading for reading in _readings(found) if reading.scores]
    rows = tuple(
        (r.name, r.what, *(str(r.scores[kind]) for kind in KINDS), f"{CHANCE}", str(r.rows), f"{r.groups} by {r.grouped_by}") for r in scored
    )
    header = ("what", "classes", *(f"{_KIND_NAMES[kind]} [95 %]" for kind in KINDS), "guessing", "rows", "groups")
    strong = tuple(i for i, reading in enumerate(scored) if reading is found.phenotype)
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(header, rows, f"{MEASURE}; brackets: 95 % interval from resampling groups.", strong))
    if picture is not None:
        blocks.append(
            Picture(picture, "The same as a picture. Farther to the right is easier to read.", f"{MEASURE} of each nuisance and the phenotype")
        )
    blocks += [Note(verdict.text, verdict.kind) for verdict in verdicts(found)]
    if found.phenotype is None:
        blocks.append(Note("There is no phenotype to compare with: give labels with --labels labels.csv.", "plain"))
    elif not found.phenotype.scores:
        blocks.append(Note(f"The phenotype has no number: {found.phenotype.reason}.", "bad"))
    blocks += [Note(note, "warn") for note in found.notes]
    return Section(
        "What can be read from these embeddings?",
        "An embedding knows more than the phenotype. Where plate, day, place, time or brightness is easier to read than the phenotype, "
        "clusters, distances and probes may follow it instead.",
        tuple(blocks),
    )


def _unscored_section(found: StoreReport) -> Section:
    rows = tuple((reading.name, reading.reason) for reading in found.nuisances if not reading.scores)
    text = "Nothing is said of these; that is not to say that they play no part." if rows else "Everything that was asked has a number."
    return Section("What could not be asked", text, (Table(("what", "why there is no number"), rows),) if rows else ())


def _how_section(found: StoreReport) -> Section:
    return Section(
        "How it was measured",
        f"{found.rows} of {found.rows_of_store} rows; the same rows for all. A linear and a nearest-neighbour probe were fitted on some groups and "
        "scored on others, never on windows of the same cell or pixels. Numbers were made two classes, their lowest and highest third. "
        f"{MEASURE}: 0.5 is guessing, 1 is perfect. A well-read nuisance is no proof of harm, and a badly-read one none of its absence.",
        (Details("All numbers", json.dumps(numbers(found), indent=2)),),
    )


def _as_json(reading: Reading) -> Mapping[str, object]:
    scores = {
        kind: {"value": s.value, "low": None if np.isnan(s.low) else s.low, "high": None if np.isnan(s.high) else s.high}
        for kind, s in reading.scores.items()
    }
    return {
        "name": reading.name,
        "classes": reading.classes,
        "what": reading.what,
        "rows": reading.rows,
        "groups": reading.groups,
        "grouped by": reading.grouped_by,
        "scores": scores or None,
        "reason": reading.reason or None,
    }
