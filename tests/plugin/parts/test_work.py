"""Long work in another thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from napari.utils.progress import progress as napari_progress

import cellvjepa
from napari_cellvjepa.parts.work import Work


def test_progress_and_result_reach_the_window(qtbot: Any) -> None:
    threads = set()

    def do(progress: cellvjepa.Progress) -> str:
        threads.add(threading.current_thread())
        progress("counting", 0, 2)
        progress("counting", 2, 2)
        return "done"

    work = Work(do, "Test")
    told: list[tuple[str, int, int]] = []
    results: list[object] = []
    work.progressed.connect(lambda *step: told.append(step))
    work.succeeded.connect(results.append)
    with qtbot.waitSignal(work.ended) as ended:
        work.start()
    assert ended.args == [False]
    assert told == [("counting", 0, 2), ("counting", 2, 2)]
    assert results == ["done"]
    assert threading.main_thread() not in threads
    assert not napari_progress._all_instances


def test_cancel_stops_at_the_next_sign_of_progress(qtbot: Any) -> None:
    begun = threading.Event()

    def do(progress: cellvjepa.Progress) -> None:
        while True:
            begun.set()
            progress("turning", 0, 0)

    work = Work(do, "Test")
    results: list[object] = []
    work.succeeded.connect(results.append)
    work.start()
    qtbot.waitUntil(begun.is_set)
    with qtbot.waitSignal(work.ended) as ended:
        work.cancel()
    assert ended.args == [True]
    assert results == []


def test_the_activity_dock_can_cancel_too(qtbot: Any) -> None:
    def do(progress: cellvjepa.Progress) -> None:
        while True:
            progress("turning", 1, 3)

    work = Work(do, "Test")
    work.start()
    (bar,) = napari_progress._all_instances
    qtbot.waitUntil(lambda: bar.n == 1)
    assert bar.total == 3
    assert bar.desc.startswith("Test: turning")
    with qtbot.waitSignal(work.ended):
        bar.cancel()
    assert not napari_progress._all_instances


def test_reports_are_thinned_out_but_the_last_one_arrives(qtbot: Any) -> None:
    def do(progress: cellvjepa.Progress) -> None:
        for i in range(20_001):
            progress("counting", i, 20_000)

    work = Work(do, "Test")
    told: list[int] = []
    work.progressed.connect(lambda stage, done, total: told.append(done))
    with qtbot.waitSignal(work.ended, timeout=20_000):
        work.start()
    assert told[-1] == 20_000
    assert len(told) < 2_000


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (cellvjepa.UserError("the disk is full", "free some space", "out.zarr"), "out.zarr: the disk is full. free some space."),
        (
            ZeroDivisionError("division by zero"),
            "Test stopped because of a fault in the program (ZeroDivisionError: division by zero). "
            "Please report it with the text of Help > Show logs.",
        ),
    ],
)
def test_every_problem_is_one_notification(qtbot: Any, notices: list[str], caplog: Any, error: Exception, said: str) -> None:
    def do(progress: cellvjepa.Progress) -> None:
        raise error

    work = Work(do, "Test")
    problems: list[str] = []
    work.failed.connect(problems.append)
    with qtbot.waitSignal(work.ended):
        work.start()
    assert notices == problems == [said]
    assert len(caplog.records) == (not isinstance(error, cellvjepa.UserError))
