from __future__ import annotations

import threading
import time

import pytest

from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.readers.opening import THREADS, open_each

NAMES = [f"movie{number}" for number in range(100)]


def test_results_come_in_the_order_of_the_names_whatever_is_ready_first() -> None:
    def late_if_even(index: int) -> int:
        time.sleep(0.002 * (index % 2 == 0))
        return index

    assert open_each(NAMES, late_if_even) == list(range(100))


def test_movies_are_opened_at_the_same_time() -> None:
    together = threading.Barrier(THREADS)
    assert open_each(NAMES[:THREADS], lambda index: together.wait(10) >= 0) == [True] * THREADS


def test_nothing_to_open_is_done_at_once() -> None:
    told: list[tuple[str, int, int]] = []
    assert open_each([], str, progress=lambda *step: told.append(step)) == []
    assert told[-1] == ("opening movies", 0, 0)


@pytest.mark.parametrize("error", [UserError("empty", "copy"), KeyError("x"), MemoryError(), RecursionError()])
def test_one_that_raises_costs_nobody_else(error: Exception) -> None:
    def raise_at_7(index: int) -> int:
        if index == 7:
            raise error
        return index

    found = open_each(NAMES, raise_at_7)
    assert found[7] is error
    assert [one for one in found if one is not error] == [index for index in range(100) if index != 7]


def test_progress_never_goes_back_and_ends_with_all() -> None:
    told: list[tuple[str, int, int]] = []
    open_each(NAMES, lambda index: time.sleep(0.005), progress=lambda *step: told.append(step))
    done = [step[1] for step in told]
    assert done == sorted(done)
    assert (told[0], told[-1]) == (("opening movies", 0, 100), ("opening movies", 100, 100))


def test_cancelling_stops_soon_and_opens_no_more() -> None:
    opened: list[int] = []

    def slowly(index: int) -> None:
        opened.append(index)
        time.sleep(0.02)

    def cancel_after_ten(stage: str, done: int, total: int) -> None:
        if done > 10:
            raise Cancelled(stage)

    with pytest.raises(Cancelled):
        open_each(NAMES, slowly, progress=cancel_after_ten)
    number = len(opened)
    assert number < 100
    time.sleep(0.1)
    assert len(opened) == number


def test_one_that_hangs_is_named_then_given_up_and_the_others_are_opened() -> None:
    answer = threading.Event()
    told: list[tuple[str, int, int]] = []

    def hang_at_3(index: int) -> int:
        return index if index != 3 else int(answer.wait(30))

    found = open_each(NAMES, hang_at_3, progress=lambda *step: told.append(step), named_after_s=0.1, given_up_after_s=0.4)
    answer.set()
    assert found[:3] + found[4:] == [index for index in range(100) if index != 3]
    assert str(found[3]) == "movie3: it did not answer within 0 s. check the disk, or the connection to the file server."
    assert ("waiting for movie3", 0, 1) in told


def test_one_that_was_only_slow_is_named_and_opened() -> None:
    told: list[tuple[str, int, int]] = []
    found = open_each(NAMES[:3], lambda index: time.sleep(0.3 * (index == 1)), progress=lambda *step: told.append(step), named_after_s=0.1)
    assert found == [None] * 3
    assert [step for step in told if step[0] == "waiting for movie1"][-1] == ("waiting for movie1", 1, 1)


def test_when_nothing_answers_any_more_the_work_ends() -> None:
    answer = threading.Event()
    with pytest.raises(UserError, match=r"movie0: each of 16 movies did not answer within 0 s\. check the disk, or the connection"):
        open_each(NAMES, lambda index: answer.wait(30), named_after_s=0.05, given_up_after_s=0.2)
    answer.set()
