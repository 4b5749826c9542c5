"""Series that are not complete, not alike, or damaged: each says what is missing and what helps, and no pixels are invented."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive, open_movie

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteFrames = Callable[..., Path]


def said(movie: Movie) -> list[str]:
    return [f"{problem.what} | {problem.remedy}" for problem in movie.problems if "unknown" not in problem.what]


def numbered(channels: str, frames: range) -> dict[str, np.ndarray[Any, Any]]:
    return {f"{c}_t{t}.tif": np.full((8, 10), 100 * i + t, "uint16") for i, c in enumerate(channels.split(), 1) for t in frames}


def test_channels_of_different_types_are_promoted(write_frames: WriteFrames) -> None:
    phase = {f"img_BF_t{t}.tif": np.full((8, 10), 250 + t, "uint8") for t in range(3)}
    folder = write_frames(phase | {f"img_GFP_t{t}.tif": np.full((8, 10), 1000 + t, "uint16") for t in range(3)})
    movie = open_movie(folder)
    assert (movie.channels, movie.pixels.dtype) == (("BF", "GFP"), np.dtype("uint16"))
    np.testing.assert_array_equal(movie.pixels[:, :, 0, 2, 3], [[250, 1000], [251, 1001], [252, 1002]])
    assert any(line.startswith("the channels are of different types (BF uint8, GFP uint16) and are read as uint16 |") for line in said(movie))


def test_compressed_channels_are_promoted_too(write_frames: WriteFrames, told: Told) -> None:
    write_frames({f"c0_t{t}.tif": told(40, 24, dtype="uint8") for t in range(2)}, compression="lzw", rowsperstrip=8)
    folder = write_frames({f"c1_t{t}.tif": told(40, 24).astype("float32") for t in range(2)}, compression="zlib", tile=(16, 16))
    movie = open_movie(folder)
    assert movie.pixels.dtype == np.float32
    np.testing.assert_array_equal(movie.pixels[1, :, 0, 3:39:2, 5:9], [told(40, 24, dtype="uint8")[3:39:2, 5:9], told(40, 24)[3:39:2, 5:9]])


def test_a_channel_that_lacks_frames_is_left_out(write_frames: WriteFrames) -> None:
    frames = numbered("GFP Phase", range(6))
    for t in (2, 3):
        del frames[f"GFP_t{t}.tif"]
    movie = open_movie(write_frames(frames))
    assert (movie.channels, movie.shape["T"]) == (("Phase",), 6)
    np.testing.assert_array_equal(movie.pixels[:, 0, 0, 0, 0], 200 + np.arange(6))
    (line,) = [line for line in said(movie) if "left out" in line]
    assert line.startswith("channel GFP is left out: it lacks 2 of 6 frames, first where Phase_t2.tif is the frame of Phase |")
    assert line.endswith('or read the channel alone with --pattern "GFP_t{t}.tif"')
    assert open_movie(movie.uri + "/GFP_t{t}.tif").shape["T"] == 4


def test_a_recording_that_was_stopped_between_two_channels(write_frames: WriteFrames) -> None:
    frames = numbered("DAPI GFP", range(5))
    del frames["GFP_t4.tif"]
    movie = open_movie(write_frames(frames))
    assert (movie.channels, movie.shape["T"]) == (("DAPI", "GFP"), 4)
    assert "the last frame is left out: channel GFP lacks it | add the missing file if you have it" in said(movie)


def test_a_gap_that_all_channels_have(write_frames: WriteFrames) -> None:
    frames = {name: frame for name, frame in numbered("DAPI GFP", range(8)).items() if "t3" not in name}
    movie = open_movie(write_frames(frames))
    assert movie.shape["T"] == 7
    (line,) = [line for line in said(movie) if "missing" in line]
    assert line == (
        "frames are missing in 1 place, first between DAPI_t2.tif and DAPI_t4.tif | add them if you have them: clips across a gap see a jump in time"
    )


def test_a_frame_that_lacks_a_plane_is_left_out(write_frames: WriteFrames) -> None:
    frames = {f"t{t}_z{z}.tif": np.full((8, 10), 10 * t + z, "uint16") for t in range(5) for z in range(3)}
    del frames["t2_z1.tif"]
    movie = open_movie(write_frames(frames | {"t0_z7.tif": np.zeros((8, 10), "uint16")}))
    assert (movie.shape["T"], movie.shape["Z"]) == (4, 3)
    np.testing.assert_array_equal(movie.pixels[:, 0, :, 0, 0], [[0, 1, 2], [10, 11, 12], [30, 31, 32], [40, 41, 42]])
    assert any(line.startswith("1 frame is left out, because it lacks a plane") for line in said(movie))
    assert any(line.startswith("1 plane is left out, because only some frames have it (first z 7)") for line in said(movie))


def test_a_channel_of_another_size_is_left_out(write_frames: WriteFrames, told: Told) -> None:
    frames = {f"{c}_t{t}.tif": told(8, 10 + 2 * (c == "GFP")) for c in ("BF", "DAPI", "GFP") for t in range(3)}
    movie = open_movie(write_frames(frames))
    assert movie.channels == ("BF", "DAPI")
    assert any(line.startswith("channel GFP is left out: it is 8x12 uint16, but channel BF is 8x10 uint16 | read it alone") for line in said(movie))


@pytest.mark.parametrize(("content", "message"), [(b"", r"the file is empty \(0 bytes\)"), (None, "truncated")])
def test_damage_at_the_end_ends_the_movie(write_frames: WriteFrames, told: Told, content: bytes | None, message: str) -> None:
    folder = write_frames({f"t{t}.tif": told(20, 24) for t in range(12)}, metadata=None)
    for last in (folder / "t10.tif", folder / "t11.tif"):
        last.write_bytes(last.read_bytes()[:700] if content is None else content)
    movie = open_movie(folder)
    assert movie.shape["T"] == 10
    (line,) = [line for line in said(movie) if "left out" in line]
    assert re.match(rf"the last 2 frames are left out: t10\.tif: .*{message}.* \| copy the file again", line)


def test_a_damaged_frame_in_between_is_named(write_frames: WriteFrames, told: Told) -> None:
    folder = write_frames({f"t{t}.tif": told(20, 24) for t in range(300)}, metadata=None)
    (folder / "t137.tif").write_bytes((folder / "t137.tif").read_bytes()[:500])
    with pytest.raises(UserError, match=r"t137\.tif: .*truncated"):
        open_movie(folder)


def test_damage_that_is_not_seen_at_once_is_an_error_when_it_is_read(write_frames: WriteFrames, told: Told) -> None:
    """Of 300 compressed frames a few are looked into; the stream leaves out what cannot be read, and goes on."""
    folder = write_frames({f"t{t}.tif": told(20, 24) for t in range(300)}, metadata=None, compression="zlib")
    tifffile.imwrite(folder / "t137.tif", told(20, 25), metadata=None, compression="zlib")
    movie = open_movie(folder)
    assert any("a few were looked into, the others are when they are read" in line for line in said(movie))
    np.testing.assert_array_equal(movie.pixels[136, 0, 0], told(20, 24))
    with pytest.raises(UserError, match=r"t137\.tif: this frame is 20x25 uint16, but the others of its folder are 20x24 uint16\. replace it"):
        movie.pixels[130:140]
    (folder / "t200.tif").unlink()
    with pytest.raises(UserError, match=r"t200\.tif: "):
        movie.pixels[200]


def test_names_that_are_no_utf8_and_links_that_lead_nowhere(write_frames: WriteFrames, told: Told, tmp_path: Path) -> None:
    folder = write_frames({f"t{t}.tif": told(8, 8) for t in range(4)})
    os.link(folder / "t0.tif", os.fsencode(folder) + b"/t\xff4.tif")
    (folder / "loop").symlink_to(folder)
    (folder / "ch0").symlink_to("ch0")
    (folder / "ch1").symlink_to("ch1")
    archive = open_archive(folder, remember=False)
    assert [movie.shape["T"] for movie in archive.movies] == [4]
    assert [one.what for one in archive.skipped] == ["its name is no UTF-8"]
    str(archive.skipped[0].path).encode()
    (folder / "t3.tif").unlink()
    (folder / "t3.tif").symlink_to(tmp_path / "gone.tif")
    assert any("the last frame is left out: t3.tif: this is a link to a file that is not here" in line for line in said(open_movie(folder)))


def test_a_folder_that_may_not_be_read(write_frames: WriteFrames, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_frames({f"t{t}.tif": told(8, 8) for t in range(3)})

    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"frames: the folder cannot be read \(Permission denied\)\. ask for the right to read it"):
        open_movie(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_files_are_pixels_or_an_error(data: st.DataObject, tmp_path: Path, told: Told) -> None:
    """Bits of names and contents that fit together badly."""
    folder = tmp_path / str(time.perf_counter_ns())
    folder.mkdir()
    names = data.draw(st.lists(st.from_regex(r"\A(C[0-2]_|GFP_|B[12]_)?t?[0-9]{1,2}(_z[0-3])?\.tif\Z"), min_size=2, max_size=12, unique=True))
    tifffile.imwrite(folder / "whole", told(6, 7), metadata=None)
    whole = (folder / "whole").read_bytes()
    for name in names:
        cut = data.draw(st.one_of(st.none(), st.integers(0, len(whole))))
        (folder / name).write_bytes(whole[:cut])
    (folder / "whole").unlink()
    try:
        movies = open_archive(folder, remember=False).movies
    except UserError:
        return
    for movie in movies:
        try:
            np.testing.assert_array_equal(movie.pixels[...], np.broadcast_to(told(6, 7), movie.pixels.shape))
        except UserError:
            continue
        assert sum(1 for _ in movie.channels) == movie.shape["C"]


def test_a_hundred_thousand_frames_open_in_seconds(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is how often a file is opened: seconds depend on the machine."""
    from cellvjepa.movies.readers.tiff import tiff

    tifffile.imwrite(tmp_path / "one.bin", told(8, 8), metadata=None)
    folder = tmp_path / "frames"
    folder.mkdir()
    for t in range(3000):
        os.link(tmp_path / "one.bin", folder / f"t{t}.tif")
    opened: list[Path] = []
    read_contents = tiff.read_contents
    monkeypatch.setattr(tiff, "read_contents", lambda path: opened.append(path) or read_contents(path))
    movie = open_movie(folder)
    assert movie.shape["T"] == 3000
    assert len(opened) < 20
    movie.pixels[1000:1016]
    assert len(opened) < 40
