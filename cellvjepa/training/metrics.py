"""metrics.jsonl: one object per logged step, also after a resume."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Literal, TypedDict, cast

from cellvjepa.errors import UserError
from cellvjepa.writing import atomic_path, readable_write_errors

_LOG = logging.getLogger(__name__)


class MetricsRow(TypedDict):
    """One line: the state after ``step`` optimiser steps, losses on the batch that comes next.

    ``loss_ratio`` is to the trivial predictor, ``target_std`` the spread of targets before their layer norm, ``data_wait``
    the share of time spent waiting for data, ``damaged_blocks`` how many pieces of movies could not be read so far and were left
    out, ``seconds`` the time since this process began to train.

    From ``rankme`` to ``frame_gap_clips`` they are those of :class:`cellvjepa.training.monitor.Health`, measured at step ``measured``;
    ``labelled`` is the balanced accuracy on ``labelled_windows`` windows, both None where it was not measured at this step. ``health`` is the
    verdict on the history up to this line, ``health_reason`` the same in one sentence.
    """

    step: int
    loss: float
    loss_ratio: float
    variance_covariance: float
    target_std: float
    rankme: float
    rankme_tokens: float
    cosine: float
    clip_std: float
    nearest_ratio: float | None
    place: float | None
    source: float | None
    time_order: float | None
    frame_gap: float | None
    frame_gap_clips: int | None
    labelled: float | None
    labelled_windows: int | None
    measured: int
    health: Literal["green", "yellow", "red"]
    health_reason: str
    learning_rate: float
    momentum: float
    grad_norm: float | None
    clips_per_s: float | None
    data_wait: float
    damaged_blocks: int
    seconds: float


def read_metrics(path: str | os.PathLike[str]) -> list[MetricsRow]:
    """Read the metrics of a run; lines that cannot be read are left out, with a warning unless it is the last, cut off by a crash.

    Raises
    ------
    UserError
        If the file is missing.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError("there are no metrics here", "give the folder of a run made by 'cellvjepa pretrain'", file)
    rows: list[MetricsRow] = []
    lines = file.read_bytes().split(b"\n")
    damaged = 0
    for number, line in enumerate(lines):
        row = _row_of(line)
        if row is not None:
            rows.append(row)
        elif line.strip() and number + 1 < len(lines):
            damaged += 1
    if damaged:
        _LOG.warning("%s: %d line%s cannot be read and %s left out", file, damaged, *(("", "is") if damaged == 1 else ("s", "are")))
    return rows


def _row_of(line: bytes) -> MetricsRow | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast(MetricsRow, row) if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def append_metrics(path: Path, row: MetricsRow) -> None:
    """Add one line and bring it to disk."""
    with readable_write_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def truncate_metrics(path: Path, step: int) -> None:
    """Drop the lines from ``step`` on: a run resumed there writes them again."""
    rows = [row for row in read_metrics(path) if row["step"] < step] if path.exists() else []
    with atomic_path(path) as part:
        part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def measured_rows(rows: list[MetricsRow]) -> list[MetricsRow]:
    """Return the lines of steps at which the monitors were measured; those between repeat their values."""
    return [row for row in rows if row.get("measured") == row["step"]]
