"""The files of a probe's report, and what is said at the end of every such report: where its numbers come from."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cellvjepa.config import ProbeConfig
from cellvjepa.probing.calibration import Calibration
from cellvjepa.probing.probe import Probe
from cellvjepa.report.html import write_page
from cellvjepa.report.page import Block, Details, Page, Section
from cellvjepa.report.score_plots import Bin
from cellvjepa.report.style import png_of, svg_of
from cellvjepa.stories.probe_examples import Shown
from cellvjepa.writing import atomic_path

_MOST_NAMED = 12  # classes, in a title


@dataclass(frozen=True, eq=False)
class ProbeFiles:
    """What is written beside ``report.html``.

    Parameters
    ----------
    figures
        By name; as PNG and SVG.
    shown
        Examples; as GIF.
    tables
        By name; as CSV, as far as they have columns.
    numbers
        ``report.json``.
    """

    figures: Mapping[str, Figure]
    shown: tuple[Shown, ...]
    tables: Mapping[str, pd.DataFrame]
    numbers: Mapping[str, object]


def write_probe_files(folder: Path, page: Page, files: ProbeFiles) -> Path:
    """Write a report into its folder and return the path of ``report.html``.

    Raises
    ------
    UserError
        If the disk is full or the folder cannot be written to.
    """
    for name, figure in files.figures.items():
        for ending, drawn in (("png", png_of), ("svg", svg_of)):
            with atomic_path(folder / "figures" / f"{name}.{ending}") as part:
                part.write_bytes(drawn(figure))
    for older in (folder / "figures").glob("example_*.gif"):  # there may have been more
        older.unlink()
    for number, one in enumerate(files.shown, start=1):
        with atomic_path(folder / "figures" / f"example_{number:02d}.gif") as part:
            part.write_bytes(one.gif)
    for name, table in files.tables.items():
        if len(table.columns):
            with atomic_path(folder / f"{name}.csv") as part:
                table.to_csv(part, index=False)
    with atomic_path(folder / "report.json") as part:
        part.write_text(json.dumps(_finite(files.numbers), indent=2, default=str, allow_nan=False) + "\n", encoding="utf-8")
    return write_page(page, folder / "report.html")


def how_section(probe: Probe, rows: int, provenance: Mapping[str, object], command: str) -> Section:
    """Return where the numbers come from, and how to get them again.

    Parameters
    ----------
    probe
        The probe in the folder.
    rows
        How many labelled windows it was fitted on.
    provenance
        All that is known about how it was made, JSON values.
    command
        What makes the report again; empty where nobody knows.
    """
    blocks: list[Block] = [Details("The command that makes this report again", command)] if command else []
    blocks.append(Details("Provenance", json.dumps(_finite(provenance), indent=2, default=str)))
    return Section(
        "Where it comes from",
        f"The probe in this folder ({choice_in_words(probe)}) was fitted on all {rows} labelled windows; the scores above are of probes that "
        "had not seen what they were asked. 'cellvjepa predict STORE --probe FOLDER' applies it to any store of the same encoder "
        f"({probe.made_from.encoder_sha256[:12]}) and the same clips, and refuses others.",
        tuple(blocks),
    )


def choice_in_words(probe: Probe) -> str:
    """Say of which kind a probe is and, where there was a choice, what was chosen from how many candidates."""
    choices = probe.notes.get("choice", {})
    found = {"": choices} if "chosen" in choices else {name: choice for name, choice in choices.items() if "chosen" in choice}
    said = [f"{name}: {_chosen_in_words(choice)}" if name else _chosen_in_words(choice) for name, choice in found.items()]
    return "; ".join(said) or probe.kind


def _chosen_in_words(choice: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{name} {value:g}" for name, value in choice["chosen"].items() if name != "kind")
    kind, candidates = choice["chosen"]["kind"], choice["candidates"]
    if len(candidates) < 2:
        return str(kind)
    kinds = sorted({candidate["kind"] for candidate in candidates})
    return f"{kind}{f' with {settings}' if settings else ''}, chosen from {len(candidates)} candidates ({', '.join(kinds)}) on an inner split"


def repeating_command(folder: Path, labels: str, provenance: Mapping[str, object], store: Path) -> str:
    """Return the command that makes a report again, with every setting that is not the default.

    Parameters
    ----------
    folder
        Of the report.
    labels
        Path of labels.csv.
    provenance
        Of the report: its ``settings``.
    store
        Path of the store.
    """
    settings, usual = provenance.get("settings"), ProbeConfig().model_dump(mode="json")
    changed = {name: value for name, value in settings.items() if value != usual.get(name)} if isinstance(settings, Mapping) else {}
    words = ["cellvjepa", "probe", str(store.resolve()), "--labels", str(Path(labels).resolve()), "--out", str(folder.resolve())]
    for name, value in changed.items():
        words += ["--set", f"probe.{name}={json.dumps(value)}"]
    return shlex.join(words)


def records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Return the lines of a table as JSON has them."""
    return [{str(name): value for name, value in line.items()} for line in table.to_dict("records")]


def bins_of(calibration: Calibration) -> list[Bin]:
    """Return calibration as it is drawn."""
    return [Bin(part.confidence, part.accuracy, part.rows) for part in calibration.bins]


def named(classes: tuple[str, ...]) -> str:
    """Return the names of the classes; of many, the first few and how many there are."""
    return ", ".join(classes) if len(classes) <= _MOST_NAMED else f"{', '.join(classes[:3])}, ... ({len(classes)} classes)"


def _finite(value: object) -> object:
    """Return a value as JSON has it: numbers of numpy as numbers, and null for what is not known (NaN is no JSON)."""
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
