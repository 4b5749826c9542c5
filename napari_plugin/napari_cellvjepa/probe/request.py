"""What the user asks for in the Probe dock, as values, and the functions that do it. They know nothing of windows and layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cellvjepa


@dataclass(frozen=True, eq=False)
class Training:
    """A probe that is wanted.

    Parameters
    ----------
    store, labels, out
        The store, the label file, and the folder to write.
    config
        The section ``probe`` of the configuration.
    """

    store: Path
    labels: Path
    out: Path
    config: Any

    def words(self) -> list[str]:
        """Return the words of the command that does the same."""
        values, usual = self.config.model_dump(mode="json"), cellvjepa.Config().probe.model_dump(mode="json")
        words = ["cellvjepa", "probe", str(self.store), "--labels", str(self.labels), "--out", str(self.out)]
        changed = {name: value for name, value in values.items() if value != usual[name]}
        for option in ("kind", "group"):
            if (value := changed.pop(option, None)) is not None:
                words += [f"--{option}", str(value)]
        for name, value in changed.items():
            words += ["--set", f"probe.{name}={json.dumps(value)}"]
        return words


def train(request: Training, watch: Callable[[cellvjepa.Learnt], None], progress: cellvjepa.Progress) -> cellvjepa.ReportedProbe:
    """Make the probe, and read back what its report says (in the other thread).

    Raises
    ------
    UserError
        If labels, store and movies do not fit together, or the folder cannot be written to.
    Cancelled
        If ``progress`` says so; nothing has been written then.
    """
    made = cellvjepa.make_probe(request.store, request.labels, request.out, request.config, progress=progress, watch=watch)
    return cellvjepa.read_probe_report(made.folder)


@dataclass(frozen=True, eq=False)
class Applied:
    """A store that has got predictions: as it is now, the columns that are new in it, and how many rows of each class."""

    found: cellvjepa.Embeddings
    columns: tuple[str, ...]
    counts: Mapping[str, int]


def apply(store: Path, folder: Path, token_cache_gb: float, progress: cellvjepa.Progress) -> Applied:
    """Write a probe's predictions into a store (in the other thread).

    Raises
    ------
    UserError
        If the probe does not fit the store, movies it needs are gone, or the store cannot be written.
    Cancelled
        If ``progress`` says so; the store is then as it was.
    """
    table = cellvjepa.apply_probe(store, folder, token_cache_gb=token_cache_gb, progress=progress)
    counts = table["predicted"].value_counts()
    return Applied(cellvjepa.open_store(store), tuple(map(str, table.columns)), {str(name): int(count) for name, count in counts.items()})


def read_report(folder: Path, progress: cellvjepa.Progress) -> cellvjepa.ReportedProbe:
    """Read the report of a probe (in the other thread)."""
    progress("reading the report", 0, 0)
    return cellvjepa.read_probe_report(folder)


def count(store: Path, labels: Path, config: Any, progress: cellvjepa.Progress) -> cellvjepa.LabelCounts:
    """Count the labels (in the other thread)."""
    progress("reading labels", 0, 0)
    return cellvjepa.count_labels(store, labels, config)


def open_store(path: Path, progress: cellvjepa.Progress) -> cellvjepa.Embeddings:
    """Open a store (in the other thread)."""
    progress("reading the table", 0, 0)
    return cellvjepa.open_store(path)


@dataclass(frozen=True)
class Export:
    """A table that is wanted: of which store, in which file, with the labels of which file, with or without the embeddings."""

    store: Path
    file: Path
    labels: Path | None
    vectors: bool

    def words(self) -> list[str]:
        """Return the words of the command that does the same."""
        words = ["cellvjepa", "export", str(self.store), "--to", str(self.file)]
        words += ["--labels", str(self.labels)] if self.labels else []
        return words if self.vectors else [*words, "--no-vectors"]


def export(request: Export, progress: cellvjepa.Progress) -> Path:
    """Write a table (in the other thread).

    Raises
    ------
    UserError
        If the suffix of the file is unknown, the labels do not fit the store, or the file cannot be written.
    Cancelled
        If ``progress`` says so; what stood in the file before is still there.
    """
    labels = None if request.labels is None else cellvjepa.label_column(request.store, request.labels)
    return cellvjepa.export(request.store, request.file, columns=labels, vectors=request.vectors, progress=progress)
