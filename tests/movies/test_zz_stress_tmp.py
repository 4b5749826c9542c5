"""Random damage to small files of every kind: the only outcomes are pixels of the claimed shape, or one clear error.

Each case is bounded in time and memory. 17 kinds, 130 cases each, always the same ones.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.movies.readers import open_movie
from tests.movies.damaged_files import KINDS

pytestmark = pytest.mark.usefixtures("nothing_left_open")

CASES = 1200
LONGEST_MS = 5000
MOST_BYTES = 64 * 2**20  # the files have some kilobytes

FLIPS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=8)
RUNS = st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=40) | st.sampled_from([b"\0" * 32, b"\xff" * 32]))
CUTS = st.floats(0, 1, exclude_max=True)
DAMAGE = st.one_of(FLIPS.map(lambda flips: ("flips", flips)), RUNS.map(lambda run: ("run", run)), CUTS.map(lambda cut: ("cut", cut)))


def damaged(intact: bytes, damage: tuple[str, object]) -> bytes:
    """Flip bits, write over a run of bytes, or cut the end off; places are shares of the length, half of them within the first 300 bytes."""
    raw = bytearray(intact)

    def place(share: float) -> int:
        return int(2 * share * min(300, len(raw))) if share < 0.5 else int((2 * share - 1) * len(raw))

    match damage:
        case ("flips", list(flips)):
            for share, bit in flips:
                raw[min(place(share), len(raw) - 1)] ^= 1 << bit
        case ("run", (float(share), bytes(run))):
            at = place(share)
            raw[at : at + len(run)] = run[: len(raw) - at]
        case ("cut", float(share)):
            del raw[int(share * len(raw)) :]
    return bytes(raw)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, list[Path]]]:
    """Write each kind once: the movie, and the files that it is made of."""
    made: dict[str, tuple[Path, list[Path]]] = {}

    def make(kind: str) -> tuple[Path, list[Path]]:
        if kind not in made:
            folder = tmp_path_factory.mktemp("whole")
            movie = KINDS[kind](folder)
            open_movie(movie).pixels[...]
            made[kind] = movie, sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
        return made[kind]

    return make


@pytest.fixture
def traced() -> Iterator[None]:
    """Count the memory that is asked for."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=CASES, deadline=LONGEST_MS, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_gives_pixels_or_a_clear_error(whole: Callable[[str], tuple[Path, list[Path]]], kind: str, data: st.DataObject) -> None:
    movie_path, files = whole(kind)
    file = data.draw(st.sampled_from(files))
    intact = file.read_bytes()
    file.write_bytes(damaged(intact, data.draw(DAMAGE)))
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    try:
        movie = open_movie(movie_path)
        first = movie.pixels[0]
        assert first.shape == movie.pixels.shape[1:]
        assert first.dtype == movie.pixels.dtype
        last = movie.pixels[-1, -1, -1, -7:, ::3]
        assert last.shape == np.empty(movie.pixels.shape[3:])[-7:, ::3].shape
        for copy in movie.pyramid:
            assert copy.pixels[0].shape == copy.pixels.shape[1:]
    except UserError as error:
        assert error.what
        assert error.remedy
        assert "\n" not in str(error)
    finally:
        file.write_bytes(intact)
    _, peak = tracemalloc.get_traced_memory()
    assert peak - before < MOST_BYTES
