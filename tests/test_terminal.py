"""Without a terminal, progress is lines: often enough to be seen, and not the same one over and over."""

from __future__ import annotations

import time

import pytest

from cellvjepa.terminal import Terminal


def test_a_line_that_says_nothing_new_waits_longer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    told = Terminal()
    for seconds in range(0, 131, 5):
        now[0] = seconds
        told("fitting", 1 if seconds < 100 else 2, 5)
    assert capsys.readouterr().err.splitlines() == ["fitting: 1/5", "fitting: 1/5", "fitting: 2/5"]  # after 15, 80 and 100 s


def test_the_end_of_a_stage_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    told = Terminal()
    told("reading", 0, 2)
    told("reading", 2, 2)
    assert capsys.readouterr().err.splitlines() == ["reading: 2/2"]
