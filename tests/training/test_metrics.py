from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from cellvjepa.errors import UserError
from cellvjepa.training.metrics import MetricsRow, append_metrics, measured_rows, read_metrics, truncate_metrics


def row(step: int) -> MetricsRow:
    return cast(MetricsRow, {"step": step, "loss": 1 / (step + 1)})


def test_a_resumed_run_has_one_line_per_step(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    for step in range(5):
        append_metrics(file, row(step))
    truncate_metrics(file, 3)
    append_metrics(file, row(3))
    assert [r["step"] for r in read_metrics(file)] == [0, 1, 2, 3]


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_metrics(file, row(0))
    with file.open("a") as f:
        f.write('{"step": 1, "lo')
    assert [r["step"] for r in read_metrics(file)] == [0]


def test_damaged_lines_are_left_out_and_the_others_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "metrics.jsonl"
    for step in range(3):
        append_metrics(file, row(step))
    first, *others = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"\x00\x00\n" + first + b'{"loss": "\xff"}\n[1]\n' + b"[" * 100_000 + b"\n" + b"".join(others))
    assert [r["step"] for r in read_metrics(file)] == [0, 1, 2]
    assert "4 lines cannot be read and are left out" in caplog.text
    truncate_metrics(file, 2)
    assert [r["step"] for r in read_metrics(file)] == [0, 1]


def test_a_folder_without_metrics_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no metrics here"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_lines_that_repeat_a_measurement_are_told_from_measurements() -> None:
    rows = [cast(MetricsRow, {"step": step, "measured": step - step % 20}) for step in range(0, 50, 10)]
    assert [r["step"] for r in measured_rows(rows)] == [0, 20, 40]
    assert measured_rows([row(0)]) == [], "lines of earlier versions do not say when they were measured"
