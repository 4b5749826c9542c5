"""Micro-Manager NDTiff: a folder of stacks with an index."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, PixelSize
from cellvjepa.movies.readers import Given, open_archive, open_movie

Array = np.ndarray[Any, Any]
Told = Callable[..., Array]

POSITIONS = Path(__file__).parent / "data" / "positions_1"  # written with ndstorage

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def entry(axes: dict[str, Any], offset: int, shape: tuple[int, int], *, file: str = "NDTiffStack.tif", kind: int = 1, compression: int = 0) -> bytes:
    place = json.dumps(axes).encode()
    numbers = struct.pack("<8I", offset, shape[1], shape[0], kind, compression, 0, 0, 0)
    return struct.pack("<I", len(place)) + place + struct.pack("<I", len(file)) + file.encode() + numbers


def write_set(folder: Path, planes: list[tuple[dict[str, Any], Array]], summary: dict[str, Any] | None = None, **how: Any) -> Path:
    """Write a data set by the rules of the format: a header with the summary, then bare planes; where they are stands in the index."""
    folder.mkdir(parents=True, exist_ok=True)
    said = json.dumps(summary or {}).encode()
    stack = b"II*\0" + struct.pack("<6I", 0, 483729, 3, 3, 2355492, len(said)) + said
    index = b""
    for axes, plane in planes:
        index += entry(axes, len(stack), plane.shape, **how)
        stack += plane.tobytes()
    (folder / "NDTiffStack.tif").write_bytes(stack)
    (folder / "NDTiff.index").write_bytes(index)
    return folder


def series(told: Told, times: list[int], channels: tuple[str | int, ...] = ("GFP",)) -> list[tuple[dict[str, Any], Array]]:
    pixels = told(len(times), len(channels), 6, 8)
    return [({"time": t, "channel": c}, pixels[i, j]) for i, t in enumerate(times) for j, c in enumerate(channels)]


def test_a_set_of_an_independent_writer_gives_its_pixels_names_and_scale() -> None:
    archive = open_archive(POSITIONS, remember=False)
    assert [movie.name for movie in archive.movies] == ["positions_1/0", "positions_1/1"]
    t, c, z = (axis[..., None, None] for axis in np.indices((3, 2, 2)))
    for place, movie in enumerate(archive.movies):
        expected = np.arange(12 * 16).reshape(12, 16) + 1000 * (((place * 3 + t) * 2 + c) * 2 + z)
        assert np.array_equal(movie.pixels[...], expected)
        assert movie.pixels.dtype == np.uint16
        assert movie.channels == ("GFP", "Phase")
        assert movie.pixel_um == PixelSize(0.5, 0.325, 0.325)
        assert movie.interval_s == 60.0
        assert movie.groups == {"field": str(place)}
        assert set(movie.axes.values()) == {"file"}
        assert movie.problems == ()
        assert movie.pixels.chunks == (1, 1, 1, 1, 1)
        assert movie.codec == "none"


def test_a_position_is_opened_by_its_number_and_survives_a_pickle(through_pickle: Callable[[Movie], Movie]) -> None:
    movie = open_movie(f"{POSITIONS}#1")
    assert movie.name == "positions_1/1"
    assert np.array_equal(through_pickle(movie).pixels[1:, 0], movie.pixels[1:, 0])
    with pytest.raises(UserError, match=r"the file holds 2 movies\. give one of positions_1#0 to positions_1#1, or the file as an archive"):
        open_movie(POSITIONS)
    with pytest.raises(UserError, match=r"there is no movie 2 in this file"):
        open_movie(f"{POSITIONS}#2")


def test_parts_are_read_as_numpy_indexes(told: Told, tmp_path: Path) -> None:
    pixels = told(4, 2, 6, 8)
    planes = [({"time": t, "channel": c}, pixels[t, c]) for t in range(4) for c in range(2)]
    movie = open_movie(write_set(tmp_path / "set", planes))
    assert np.array_equal(movie.pixels[1::2, 1, 0, 1:5:2, ::3], pixels[1::2, 1, 1:5:2, ::3])
    assert movie.pixels[2:2].shape == (0, 2, 1, 6, 8)


def test_channels_that_are_numbers_are_named_by_the_summary(told: Told, tmp_path: Path) -> None:
    movie = open_movie(write_set(tmp_path / "set", series(told, [0, 1], (0, 1)), {"ChNames": ["DAPI", "Cy5"]}))
    assert movie.channels == ("DAPI", "Cy5")


def test_tiles_are_movies_of_their_own(told: Told, tmp_path: Path) -> None:
    pixels = told(2, 2, 2, 6, 8)
    planes = [({"row": r, "column": c, "time": t}, pixels[r, c, t]) for t in range(2) for r in range(2) for c in range(2)]
    archive = open_archive(write_set(tmp_path / "set" / "Full resolution", planes).parent, remember=False)
    write_set(tmp_path / "set" / "Downsampled_x2", planes[:1])
    again = open_archive(tmp_path, remember=False)
    assert [movie.groups["field"] for movie in archive.movies] == ["0", "0, row 0, column 1", "0, row 1, column 0", "0, row 1, column 1"]
    assert [movie.name for movie in again.movies] == [f"set/{index}" for index in range(4)]
    assert np.array_equal(archive.movies[2].pixels[:, 0, 0], pixels[1, 0])


def test_a_frame_that_is_missing_or_not_complete_is_left_out_and_named(told: Told, tmp_path: Path) -> None:
    planes = series(told, [0, 1, 3, 4], ("GFP", "Cy5"))
    movie = open_movie(write_set(tmp_path / "set", planes[:-1]))  # frame 2 is missing, and the last lacks its Cy5
    assert movie.shape["T"] == 3
    assert np.array_equal(movie.pixels[2, 1, 0], planes[5][1])
    assert [problem.what for problem in movie.problems[:2]] == [
        "the recording was stopped early: 4 of 5 frames are complete",
        "frames lack a channel or a plane and are left out: 1, the first is 2",
    ]


def test_nothing_complete_is_an_error(told: Told, tmp_path: Path) -> None:
    planes = [({"time": t, "channel": c}, told(6, 8)) for t, c in ((0, "GFP"), (1, "Cy5"))]
    with pytest.raises(UserError, match="no frame is complete: each lacks a channel or a plane"):
        open_movie(write_set(tmp_path / "set", planes))


@pytest.mark.parametrize(
    ("measured_ms", "interval_s"),
    [((0, 80_000), 40.0), ((0, 62_000), 30.0), ((5, 5), 30.0)],
    ids=["camera could not keep up", "about as asked", "clock stood still"],
)
def test_the_interval_is_the_one_that_was_kept(told: Told, tmp_path: Path, measured_ms: tuple[int, int], interval_s: float) -> None:
    folder = write_set(tmp_path / "set", series(told, [0, 1, 2]), {"Interval_ms": 30_000})
    stack = folder / "NDTiffStack.tif"
    said = [json.dumps({"ElapsedTime-ms": ms}).encode() for ms in measured_ms]
    index, size = bytearray((folder / "NDTiff.index").read_bytes()), stack.stat().st_size
    at = len(index) // 3
    for plane, text, start in ((0, said[0], size), (2, said[1], size + len(said[0]))):
        struct.pack_into("<3I", index, (plane + 1) * at - 12, start, len(text), 0)
    (folder / "NDTiff.index").write_bytes(index)
    stack.write_bytes(stack.read_bytes() + b"".join(said))
    assert open_movie(folder).interval_s == interval_s


def test_an_interval_and_a_pixel_size_of_0_are_unknown(told: Told, tmp_path: Path) -> None:
    movie = open_movie(write_set(tmp_path / "set", series(told, [0, 1]), {"Interval_ms": 0, "PixelSizeUm": 0.0}))
    assert (movie.pixel_um, movie.interval_s) == (None, None)
    assert [problem.what for problem in movie.problems] == [
        "the pixel size cannot be 0 x 0 um as the file says; it is taken as unknown",
        "the time between frames cannot be 0 s as the file says; it is taken as unknown",
    ]


def test_what_the_user_says_about_axes_overrules(told: Told, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", [({"z": z}, plane) for z, plane in enumerate(told(3, 6, 8))])
    assert open_movie(folder).shape["Z"] == 3
    movie = open_movie(folder, given=Given("TYX"))
    assert (movie.shape["T"], movie.axes["T"]) == (3, "given")
    with pytest.raises(UserError, match="do not end with Y and X"):
        open_movie(folder, given=Given("YXT"))


def test_an_index_that_is_cut_is_read_as_far_as_it_goes(told: Told, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", series(told, [0, 1, 2]))
    index = folder / "NDTiff.index"
    whole = index.read_bytes()
    index.write_bytes(whole[:-5])
    movie = open_movie(folder)
    assert movie.shape["T"] == 2
    assert movie.problems[0].what == "NDTiff.index ends in the middle of an entry: 2 planes are known, later ones are not"
    index.write_bytes(whole + bytes(4096))  # recording was ended by force
    assert open_movie(folder).shape["T"] == 3


def damaged(what: str, folder: Path, told: Told) -> Path:
    index, stack = folder / "NDTiff.index", folder / "NDTiffStack.tif"
    plane = told(6, 8)
    far = {"time": 0}
    changed = {
        "no index": None,
        "empty": b"",
        "no JSON": entry(far, 30, (6, 8)).replace(b"{", b"("),
        "path": entry(far, 30, (6, 8), file="../NDTiffStack.tif"),
        "beyond": entry(far, 4000, (6, 8)),
        "huge": entry(far, 30, (2**30, 2**30)),
        "colour": entry(far, 30, (6, 8), kind=2),
        "compressed": entry(far, 30, (6, 8), compression=1),
        "differ": entry(far, 30, (6, 8)) + entry({"time": 1}, 30, (8, 6)),
        "sparse": b"".join(entry({"z": n, "time": 10**7 * n, "channel": n}, 30, (6, 8)) for n in range(200)),
        "axes": entry({"time": [1]}, 30, (6, 8)),
    }
    write_set(folder, [(far, plane)])
    if what == "no stack":
        stack.unlink()
    elif changed[what] is None:
        index.unlink()
    else:
        index.write_bytes(changed[what] or b"")
    return folder


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no index", r"NDTiff\.index is missing beside the stacks of this NDTiff data set\. copy the whole folder again"),
        ("no stack", r"the stack NDTiffStack\.tif is missing .*copy the whole folder again"),
        ("empty", "the index names no plane"),
        ("no JSON", "the index is damaged at plane 0"),
        ("axes", "the index is damaged at plane 0 .the axes of a plane are not understood"),
        ("path", "'../NDTiffStack.tif' is no file of this folder"),
        ("beyond", r"the file is truncated: its pixels should end at byte 4,096, but it has only 126\. copy the file again"),
        ("huge", "its planes claim 1,073,741,824 x 1,073,741,824 pixels"),
        ("colour", "its planes are colour"),
        ("compressed", "of a kind that is not read"),
        ("differ", "its planes differ: "),
        ("sparse", "most of the planes that it should name are not there"),
    ],
)
def test_damage_is_said_with_its_remedy(told: Told, tmp_path: Path, what: str, said: str) -> None:
    folder = damaged(what, tmp_path / "set", told)
    with pytest.raises(UserError, match=said):
        open_movie(folder)
    write_set(tmp_path / "good", series(told, [0, 1]))
    archive = open_archive(tmp_path, remember=False)
    assert ([movie.name for movie in archive.movies], len(archive.skipped)) == (["good"], 1)


def test_one_stack_alone_says_where_it_belongs(tmp_path: Path) -> None:
    folder = shutil.copytree(POSITIONS, tmp_path / "set")
    with pytest.raises(UserError, match="this is one stack of an NDTiff data set. give the folder that it is in"):
        open_movie(folder / "positions_NDTiffStack.tif")


def test_pixels_that_are_gone_are_an_error(told: Told, tmp_path: Path) -> None:
    movie = open_movie(write_set(tmp_path / "set", series(told, [0, 1])))
    (tmp_path / "set" / "NDTiffStack.tif").write_bytes(b"II*\0")
    with pytest.raises(UserError, match=r"the pixels cannot be read at frame 1, channel 0, plane 0 .*copy the file again"):
        movie.pixels[1]
