"""Nikon ND2: a real file, and files written here by the rules of the format around the real one's metadata."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nd2
import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, PixelSize
from cellvjepa.movies.readers import Given, open_archive, open_movie

Array = np.ndarray[Any, Any]
Told = Callable[..., Array]

PACKED = Path(__file__).parent / "data" / "cluster.nd2.xz"
MAGIC = 0x0ABECEDA

pytestmark = pytest.mark.usefixtures("nothing_left_open")


@pytest.fixture(scope="module")
def cluster() -> bytes:
    """Unpack the real file."""
    return lzma.decompress(PACKED.read_bytes())


def chunk(name: bytes, data: bytes) -> bytes:
    # The library takes it for granted that the pixels of a frame begin 4096 bytes after its chunk.
    room = 4072 if name.startswith(b"ImageDataSeq") else len(name)
    return struct.pack("<IIQ", MAGIC, room, len(data)) + name.ljust(room, b"\0") + data


def clx(name: str, value: Any) -> str:
    """Write a value in Nikon's XML."""
    if isinstance(value, dict):
        return f"<{name}>{''.join(clx(key, inner) for key, inner in value.items())}</{name}>"
    kind = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}[type(value)]
    return f'<{name} runtype="{kind}" value="{str(value).lower() if kind == "bool" else value}"/>'


def time_loop(count: int, period_ms: float = 30_000.0, measured_ms: float = 0.0) -> dict[str, Any]:
    return {"eType": 1, "uLoopPars": {"uiCount": count, "dStart": 0.0, "dPeriod": period_ms, "dDuration": 0.0, "dAvgPeriodDiff": measured_ms}}


def phases(*periods_ms: float) -> dict[str, Any]:
    periods = {f"i{n:010}": time_loop(2, ms)["uLoopPars"] for n, ms in enumerate(periods_ms)}
    return {"eType": 8, "uLoopPars": {"pPeriod": periods, "pPeriodValid": dict.fromkeys(periods, True)}}


def positions(*names: str) -> dict[str, Any]:
    points = {f"i{n:010}": {"dPosX": float(n), "dPosY": 0.0, "dPosName": name} for n, name in enumerate(names)}
    return {"eType": 2, "uLoopPars": {"Points": points}}


def z_stack(count: int, step_um: float = 0.5) -> dict[str, Any]:
    return {"eType": 4, "uLoopPars": {"uiCount": count, "dZStep": step_um, "dZLow": 0.0, "dZHigh": 1.0, "dZHome": 0.0}}


def write_nd2(path: Path, cluster: bytes, frames_NYXC: Array, *loops: dict[str, Any], left_out: tuple[int, ...] = (), **attributes: Any) -> Path:
    """Write an ND2 of frames of two channels, in the order of the loops, the outermost first; frame n is recorded at n seconds."""
    number, high, wide, channels = frames_NYXC.shape
    packed = attributes.get("eCompression") == 0
    about = {"uiWidth": wide, "uiWidthBytes": wide * channels * frames_NYXC.itemsize, "uiHeight": high, "uiComp": channels}
    about |= {"uiBpcInMemory": 8 * frames_NYXC.itemsize, "uiBpcSignificant": 12, "uiSequenceCount": number, "eCompression": 2} | attributes
    experiment: dict[str, Any] = {}
    for loop in reversed(loops):
        experiment = loop | ({"ppNextLevelEx": {"i0000000000": experiment}} if experiment else {})
    at = cluster.index(b"ImageMetadataSeqLV|0!")
    _, name_length, length = struct.unpack("<IIQ", cluster[at - 16 : at])
    chunks = {
        b"ImageAttributesLV!": f"<variant>{clx('SLxImageAttributes', about)}</variant>".encode(),
        b"ImageMetadataSeqLV|0!": cluster[at + name_length : at + name_length + length],
        **({b"ImageMetadataLV!": f"<variant>{clx('SLxExperiment', experiment)}</variant>".encode()} if experiment else {}),
    }
    for n, frame in enumerate(frames_NYXC):
        if n not in left_out:
            data = frame.tobytes()
            chunks[b"ImageDataSeq|%d!" % n] = struct.pack("<d", 1000.0 * n) + (zlib.compress(data) if packed else data)
    out = struct.pack("<IIQ32s64s", MAGIC, 32, 64, b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0")
    where = b""
    for name, data in chunks.items():
        where += name + struct.pack("<QQ", len(out), len(data))
        out += chunk(name, data)
    where += b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(out))
    path.write_bytes(out + chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", where))
    return path


def test_a_real_file_gives_its_pixels_names_and_scale(cluster: bytes, tmp_path: Path, through_pickle: Callable[[Movie], Movie]) -> None:
    path = tmp_path / "cluster.nd2"
    path.write_bytes(cluster)
    with nd2.ND2File(path) as independent:
        expected_TZCYX = independent.asarray().copy()
    movie = open_movie(path)
    assert movie.shape == {"T": 3, "C": 2, "Z": 10, "Y": 31, "X": 38}
    assert np.array_equal(movie.pixels[...], expected_TZCYX.transpose(0, 2, 1, 3, 4))
    assert np.array_equal(through_pickle(movie).pixels[1:, 1, ::3, 4:20:5, -3:], expected_TZCYX[1:, ::3, 1, 4:20:5, -3:])
    assert movie.channels == ("5-FAM/pH 9.0", "FM 4-64/2% CHAPS")
    assert movie.pixel_um == PixelSize(0.5, 0.16780898323268245, 0.16780898323268245)
    assert movie.interval_s == pytest.approx(10.6475, abs=1e-4)  # as fast as possible: from the frames' own times
    assert (movie.codec, movie.pixels.dtype, movie.groups, movie.problems) == ("none", np.uint16, {}, ())
    assert movie.pixels.chunks == (1, 2, 1, 1, 1)  # the channels of a pixel lie side by side
    assert set(movie.axes.values()) == {"file"}


def test_positions_are_movies_wherever_their_loop_is(told: Told, cluster: bytes, tmp_path: Path) -> None:
    frames = told(12, 6, 8, 2)
    write_nd2(tmp_path / "in.nd2", cluster, frames, time_loop(3), positions("B3", "B4"), z_stack(2))
    write_nd2(tmp_path / "out.nd2", cluster, frames, positions("", ""), time_loop(3), z_stack(2))
    movies = {movie.name: movie for movie in open_archive(tmp_path, remember=False).movies}
    assert list(movies) == ["in.nd2/0", "in.nd2/1", "out.nd2/0", "out.nd2/1"]
    assert [movie.groups["field"] for movie in movies.values()] == ["B3", "B4", "0", "1"]
    inside, outside = frames.reshape(3, 2, 2, 6, 8, 2), frames.reshape(2, 3, 2, 6, 8, 2)
    for p in range(2):
        assert np.array_equal(movies[f"in.nd2/{p}"].pixels[...], inside[:, p].transpose(0, 4, 1, 2, 3))
        assert np.array_equal(movies[f"out.nd2/{p}"].pixels[...], outside[p].transpose(0, 4, 1, 2, 3))


def test_a_position_is_opened_by_its_number(told: Told, cluster: bytes, tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", cluster, told(4, 6, 8, 2), positions("B3", "B4"), time_loop(2))
    assert (open_movie(f"{path}#1").name, open_movie(f"{path}#1").uri) == ("a.nd2/1", f"{path}#1")
    with pytest.raises(UserError, match=r"the file holds 2 movies\. give one of a\.nd2#0 to a\.nd2#1"):
        open_movie(path)


def test_compressed_frames(told: Told, cluster: bytes, tmp_path: Path) -> None:
    frames = told(6, 6, 8, 2)
    movie = open_movie(write_nd2(tmp_path / "a.nd2", cluster, frames, time_loop(3), z_stack(2), eCompression=0))
    assert (movie.codec, movie.pixels.chunks) == ("deflate", (1, 2, 1, 6, 8))
    expected = frames.reshape(3, 2, 6, 8, 2).transpose(0, 4, 1, 2, 3)
    assert np.array_equal(movie.pixels[...], expected)
    with ThreadPoolExecutor(4) as pool:
        for t, part in zip([0, 1, 2] * 8, pool.map(lambda t: movie.pixels[t, 1], [0, 1, 2] * 8), strict=True):
            assert np.array_equal(part, expected[t, 1])


def test_rows_that_are_padded(told: Told, cluster: bytes, tmp_path: Path) -> None:
    padded = told(3, 6, 8, 2)
    movie = open_movie(write_nd2(tmp_path / "a.nd2", cluster, padded, time_loop(3), uiWidth=7))
    assert np.array_equal(movie.pixels[:, 1, 0], padded[:, :, :7, 1])


@pytest.mark.parametrize(
    ("loop", "interval_s"),
    [
        (time_loop(4), 30.0),
        (time_loop(4, 30_000.0, 31_000.0), 30.0),
        (time_loop(4, 30_000.0, 55_000.0), 55.0),
        (time_loop(4, 0.0), 1.0),
        (phases(2000.0, 2000.0), 2.0),
        (phases(2000.0, 5000.0), None),
    ],
    ids=["asked", "about as asked", "could not keep up", "as fast as possible", "two phases", "two phases that differ"],
)
def test_the_interval_is_the_one_that_was_kept(told: Told, cluster: bytes, tmp_path: Path, loop: dict[str, Any], interval_s: float | None) -> None:
    assert open_movie(write_nd2(tmp_path / "a.nd2", cluster, told(4, 6, 8, 2), loop)).interval_s == interval_s


def test_a_recording_that_was_stopped_has_the_frames_it_has(told: Told, cluster: bytes, tmp_path: Path) -> None:
    frames = told(8, 6, 8, 2)
    path = write_nd2(tmp_path / "a.nd2", cluster, frames, time_loop(4), z_stack(2), left_out=(2, 7))
    movie = open_movie(path)
    assert np.array_equal(movie.pixels[:, 0], frames.reshape(4, 2, 6, 8, 2)[[0, 2], :, :, :, 0])
    assert [problem.what for problem in movie.problems] == [
        "the recording was stopped early: 3 of 4 frames are complete",
        "frames lack a channel or a plane and are left out: 1, the first is 1",
    ]


def test_frames_without_a_loop_are_assumed_to_be_time(told: Told, cluster: bytes, tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", cluster, told(3, 6, 8, 2))
    movie = open_movie(path)
    assert (movie.shape["T"], movie.axes["T"]) == (3, "assumed")
    assert open_movie(path, given=Given("ZCYX")).shape["Z"] == 3


def broken(what: str, path: Path, cluster: bytes, told: Told) -> Path:
    frames = told(3, 6, 8, 2)
    attributes: dict[str, Any] = {
        "colour": {"uiComp": 6, "uiWidthBytes": 96},
        "lossy": {"eCompression": 1},
        "bits": {"uiBpcInMemory": 64},
        "huge": {"uiHeight": 2**31 - 1},
        "narrow": {"uiWidthBytes": 3},
        "larger": {"uiHeight": 4000},
    }.get(what, {})
    loop = time_loop(2**30) if what == "loops" else time_loop(3)
    data = write_nd2(path, cluster, frames, loop, **attributes).read_bytes()
    whole = {
        "empty": b"",
        "no ND2": b"something",
        "old": b"\0\0\0\x0cjP  " + bytes(100),
        "cut": data[:-100],
        "no map": data[:-8] + struct.pack("<Q", 112),
        "far": data.replace(b"ImageDataSeq|2!" + data[data.rindex(b"ImageDataSeq|2!") + 15 :][:8], b"ImageDataSeq|2!" + struct.pack("<Q", 2**40)),
        "text": data.replace(b"uiBpcInMemory", b"uiBpcInMemorx"),
    }
    path.write_bytes(whole.get(what, data))
    return path


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("colour", r"this is a colour image \(RGB\), not a grey one"),
        ("lossy", "its pixels are of a kind that is not read"),
        ("bits", "its pixels are of a kind that is not read .64 bit"),
        ("huge", "its planes claim 2,147,483,647 x 8 pixels"),
        ("narrow", "what it says about its frames does not fit together"),
        ("larger", "the file is truncated: its pixels should end at byte"),
        ("loops", "its loops are 1073741824"),
        ("cut", "the file is truncated: the map at its end is missing"),
        ("no map", "the map of its frames is not where it should be"),
        ("far", "the file is truncated: its pixels should end at byte 1,099,511,"),
        ("text", "this cannot be read as an ND2 .'uiBpcInMemory'"),
        ("old", r"this is an ND2 of the old kind \(JPEG 2000\), which is not read\. save it again with NIS-Elements"),
        ("no ND2", "this is not an ND2: it begins with b'somethin'"),
        ("empty", r"the file is empty \(0 bytes\)"),
    ],
)
def test_damage_is_said_with_its_remedy(told: Told, cluster: bytes, tmp_path: Path, what: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_movie(broken(what, tmp_path / "a.nd2", cluster, told))


def test_a_frame_that_is_not_where_the_map_says_names_the_plane(told: Told, cluster: bytes, tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", cluster, told(3, 6, 8, 2), time_loop(3))
    movie = open_movie(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"ImageDataSeq|1!", b"ImageDataSeq|9!", 1))
    assert np.array_equal(movie.pixels[2, 0, 0], told(3, 6, 8, 2)[2, :, :, 0])
    with pytest.raises(
        UserError, match=r"a\.nd2: the pixels cannot be read at frame 1, channel 0, plane 0 .frame 1 is not where the map of the file says"
    ):
        movie.pixels[...]


def test_without_the_library_the_file_is_skipped_with_what_to_install(cluster: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cluster.nd2").write_bytes(cluster)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'reading \.nd2 needs the library nd2\. pip install "cellvjepa\[formats\]"'):
        open_movie(tmp_path / "cluster.nd2")
    with pytest.raises(
        UserError, match=r'no movie that can be used: 1 file ending in \.nd2: reading them needs the library nd2\. pip install "cellvjepa\[formats\]"'
    ):
        open_archive(tmp_path, remember=False)
