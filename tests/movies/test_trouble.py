from __future__ import annotations

import errno
import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.stream import Stream
from cellvjepa.movies.trouble import GoneError, Patience, Trouble
from tests.movies.toy_movies import SHAPE, Chunked, assert_same, kept, movie_of, noise, stream_of

IMPATIENT = Patience(in_all_s=0.0)


def failing(cause: BaseException | None, where: str) -> UserError:
    error = UserError("it cannot be read", "copy it again", where)
    error.__cause__ = cause
    return error


class Sick(Chunked):
    """An array with a damaged place: frames 10 to 19 cannot be decoded."""

    def __init__(self, array: np.ndarray, where: str) -> None:  # type: ignore[type-arg]
        super().__init__(array, 2)
        self.where = where

    def __getitem__(self, key: object) -> np.ndarray:  # type: ignore[type-arg]
        t = key[0]  # type: ignore[index]
        if isinstance(t, slice) and t.start < 20 and t.stop > 10:
            raise failing(ValueError("garbage"), self.where)
        return super().__getitem__(key)


def with_damage(tmp_path: Path) -> Stream:
    (tmp_path / "sick.tif").touch()
    healthy = movie_of("healthy.tif", noise(0, 40, 1, 1, 16, 16))
    array = noise(1, 400, 1, 1, 16, 16)
    sick = movie_of("sick.tif", array, pixels=Sick(array, str(tmp_path / "sick.tif")))
    return stream_of((healthy, sick), clips_per_block=4, workers=2, memory_mb=1)  # blocks of some 50 frames


def test_damage_is_left_out_named_once_and_counted_and_does_not_disturb_the_rest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cellvjepa"), with_damage(tmp_path) as stream:
        batches = [kept(stream.batch(step)) for step in range(120)]
        damaged = stream.damaged_blocks
    assert damaged > 0
    assert [record.getMessage() for record in caplog.records] == [f"left out: {tmp_path / 'sick.tif'}: it cannot be read. copy it again."]
    starts = {clip.t0 for batch in batches for clip in batch.clips if clip.movie == "sick.tif"}
    assert starts
    assert not starts & set(range(10 - SHAPE.frames + 1, 20))
    # What takes the place of a damaged block is always the same: a resumed run sees what the uninterrupted one saw.
    with with_damage(tmp_path) as stream:
        for step in (119, 40, 3):
            assert_same(stream.batch(step), batches[step])


def test_an_archive_that_is_all_damage_is_an_error_that_names_the_last(tmp_path: Path) -> None:
    movie = movie_of("sick.tif", noise(0, 30, 1, 1, 40, 40), chunk=2)
    assert isinstance(movie.pixels, Chunked)
    (tmp_path / "sick.tif").touch()
    with stream_of((movie,)) as stream:
        first = kept(stream.batch(0))
        movie.pixels.broken = failing(None, str(tmp_path / "sick.tif"))
        with pytest.raises(UserError, match="sick.tif: 50 pieces of movies in a row cannot be read; the last: it cannot be read. copy it again."):
            for step in range(1, 40):
                stream.batch(step)
        movie.pixels.broken = None
        assert_same(stream.batch(0), first)


@pytest.mark.parametrize("cause", [OSError(errno.ESTALE, "stale"), TimeoutError(), ConnectionResetError(), OSError(errno.EIO, "input/output error")])
def test_a_share_that_comes_back_costs_time_only(cause: OSError, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "far.tif").touch()
    tries = []

    def read() -> str:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise failing(cause, str(tmp_path / "far.tif"))
        return "pixels"

    with caplog.at_level(logging.WARNING, "cellvjepa"):
        assert Trouble(Patience(between_s=1.0)).ride_out(read) == "pixels"
    assert [record.getMessage() for record in caplog.records] == [
        f"waiting for it to come back: {tmp_path / 'far.tif'}: it cannot be read. copy it again."
    ]
    assert 2.0 <= tries[-1] - tries[0] < 4.0


def test_a_share_that_stays_away_is_reported(tmp_path: Path) -> None:
    unmounted = failing(FileNotFoundError(errno.ENOENT, "no such file"), str(tmp_path / "mount" / "a.tif"))

    def read() -> None:
        raise unmounted

    with pytest.raises(GoneError, match=r"a.tif: the place has been away for 0 s \(it cannot be read\). bring it back and resume."):
        Trouble(IMPATIENT).ride_out(read)
    (tmp_path / "mount").mkdir()  # what is left behind when a share is unmounted
    with pytest.raises(GoneError):
        Trouble(IMPATIENT).ride_out(read)
    (tmp_path / "mount" / "b.tif").touch()  # others are there: this one was deleted
    with pytest.raises(UserError) as deleted:
        Trouble(IMPATIENT).ride_out(read)
    assert deleted.value is unmounted


def test_a_lost_share_stops_the_stream_with_its_own_words(tmp_path: Path) -> None:
    movie = movie_of("far.tif", noise(0, 30, 1, 1, 40, 40), chunk=2)
    assert isinstance(movie.pixels, Chunked)
    with stream_of((movie,), patience=IMPATIENT) as stream:
        stream.batch(0)
        movie.pixels.broken = failing(OSError(errno.EHOSTDOWN, "host is down"), str(tmp_path))
        with pytest.raises(GoneError, match="the place has been away"):
            for step in range(1, 40):
                stream.batch(step)


def test_closing_ends_the_wait(tmp_path: Path) -> None:
    trouble = Trouble(Patience())

    def read() -> None:
        raise failing(TimeoutError(), str(tmp_path))

    closing = threading.Timer(0.2, trouble.stop_waiting)
    closing.start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        trouble.ride_out(read)
    assert time.monotonic() - began < 0.9
    closing.join()


def test_much_damage_is_named_in_part(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(Patience())
    with caplog.at_level(logging.WARNING, "cellvjepa"):
        for index in range(100):
            trouble.note(failing(None, f"/archive/{index}.tif"))
    assert trouble.damaged == 100
    assert len(caplog.records) == 21
    assert "no longer named" in caplog.records[-1].getMessage()
