"""Zeiss CZI: scenes of tiles. Files of Zeiss's own library, and files written here by the rules of the format."""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, PixelSize
from cellvjepa.movies.readers import Given, open_archive, open_movie

Array = np.ndarray[Any, Any]
Told = Callable[..., Array]

DATA = Path(__file__).parent / "data"
XML = """<ImageDocument><Metadata><Information><Image><Dimensions>
<Channels><Channel Name="EGFP"/></Channels>
<T><Positions><Interval><Increment>{interval}</Increment></Interval></Positions></T>
<S><Scenes><Scene Index="0" Name="B3"/><Scene Index="1" Name="B4"/></Scenes></S>
</Dimensions></Image></Information><Scaling><Items><Distance Id="X"><Value>{size}</Value></Distance>
<Distance Id="Y"><Value>{size}</Value></Distance></Items></Scaling></Metadata></ImageDocument>"""

pytestmark = pytest.mark.usefixtures("nothing_left_open")


@dataclass(frozen=True)
class Piece:
    """A tile to write: its place, and its pixels as bytes."""

    at: dict[str, int]
    pixels: Array
    compression: int = 0
    data: bytes | None = None
    kind: int = 1
    stored_px: tuple[int, int] | None = None


def segment(name: bytes, data: bytes) -> bytes:
    return struct.pack("<16sqq", name, len(data), len(data)) + data


def write_czi(path: Path, pieces: list[Piece], *, interval: object = 30, size: object = 5e-7, times_s: list[float] | None = None) -> Path:
    """Write a CZI: header, tiles, list of the tiles, XML, and where asked for the times of frames as an attachment."""
    body, entries, base = b"", [], 32 + 512
    for piece in pieces:
        shape = dict(zip("YX", piece.pixels.shape, strict=True))
        stored = dict(zip("YX", piece.stored_px or piece.pixels.shape, strict=True))
        places = {"X": 0, "Y": 0} | piece.at
        dimensions = b"".join(struct.pack("<4siifi", a.encode(), n, shape.get(a, 1), n, stored.get(a, 1)) for a, n in places.items())
        entry = (
            struct.pack("<2siqiiB5xi", b"DV", piece.kind, base + len(body), 0, piece.compression, piece.stored_px is not None, len(places))
            + dimensions
        )
        data = piece.pixels.tobytes() if piece.data is None else piece.data
        body += segment(b"ZISRAWSUBBLOCK", (struct.pack("<iiq", 0, 0, len(data)) + entry).ljust(256, b"\0") + data)
        entries.append(entry)
    directory_at = base + len(body)
    body += segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(pieces)) + b"".join(entries))
    metadata_at = base + len(body)
    xml = XML.format(interval=interval, size=size).encode()
    body += segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml)
    attachments_at = 0
    if times_s is not None:
        data_at = base + len(body)
        body += segment(b"ZISRAWATTACH", bytes(256) + struct.pack(f"<ii{len(times_s)}d", 0, len(times_s), *times_s))
        attachments_at = base + len(body)
        body += segment(b"ZISRAWATTDIR", struct.pack("<i252x", 1) + struct.pack("<2s10xqi16s8s80s", b"A1", data_at, 0, b"", b"CZTIMS", b"TimeStamps"))
    head = struct.pack("<iiii16x16xiqqiq", 1, 0, 0, 0, 0, directory_at, metadata_at, 0, attachments_at)
    path.write_bytes(segment(b"ZISRAWFILE", head.ljust(512, b"\0")) + body)
    return path


def test_scenes_of_an_independent_writer_give_their_pixels_names_and_scale() -> None:
    archive = open_archive(DATA / "scenes.czi", remember=False)
    assert [movie.name for movie in archive.movies] == ["scenes.czi/0", "scenes.czi/1"]
    t, c, z = (axis[..., None, None] for axis in np.indices((3, 2, 2)))
    for scene, movie in enumerate(archive.movies):
        expected = np.arange(12 * 16).reshape(12, 16) + 1000 * (((scene * 3 + t) * 2 + c) * 2 + z)
        assert np.array_equal(movie.pixels[...], expected)
        assert np.array_equal(movie.pixels[::2, 1, :, 3:9:2, -1], expected[::2, 1, :, 3:9:2, -1])
        assert movie.channels == ("GFP", "Phase")
        assert movie.pixel_um == PixelSize(0.5, 0.325, 0.325)
        assert movie.groups == {"field": str(scene)}
        assert (movie.codec, movie.pixels.chunks, movie.pixels.dtype) == ("zstd", (1, 1, 1, 12, 16), np.uint16)
        assert set(movie.axes.values()) == {"file"}
        assert [problem.what for problem in movie.problems] == ["the time between frames is unknown"]


def test_overlapping_tiles_lie_where_they_belong_later_ones_on_top() -> None:
    movie = open_movie(DATA / "mosaic.czi")
    expected = np.zeros((2, 20, 28), np.uint16)
    for t in range(2):
        for tile, (x, y) in enumerate([(0, 0), (12, 0), (0, 8), (12, 8)]):
            expected[t, y : y + 12, x : x + 16] = np.arange(12 * 16).reshape(12, 16) + 2000 * t * 2 + 10000 * tile
    assert np.array_equal(movie.pixels[:, 0, 0], expected)
    assert np.array_equal(movie.pixels[1, 0, 0, 5:15, 10:14], expected[1, 5:15, 10:14])
    assert movie.pixels.chunks == (1, 1, 1, 1, 1)
    assert movie.groups == {}


def test_a_scene_is_opened_by_its_number_and_survives_a_pickle_and_threads(through_pickle: Callable[[Movie], Movie]) -> None:
    movie = open_movie(DATA / "scenes.czi#1")
    again = through_pickle(movie)
    whole = movie.pixels[...]
    with ThreadPoolExecutor(4) as pool:
        for t, part in zip([0, 1, 2] * 10, pool.map(lambda t: again.pixels[t], [0, 1, 2] * 10), strict=True):
            assert np.array_equal(part, whole[t])
    with pytest.raises(UserError, match=r"the file holds 2 movies\. give one of scenes\.czi#0 to scenes\.czi#1, or the file as an archive"):
        open_movie(DATA / "scenes.czi")


def zstd_with_header(pixels: Array) -> bytes:
    return b"\1" + imagecodecs.zstd_encode(pixels.tobytes())


@pytest.mark.parametrize(
    ("compression", "encode", "codec"),
    [
        (5, lambda a: imagecodecs.zstd_encode(a.tobytes()), "zstd"),
        (6, zstd_with_header, "zstd"),
        (4, lambda a: imagecodecs.jpegxr_encode(a, level=1.0), "jpegxr"),
    ],
    ids=["zstd", "zstd with a header", "JPEG XR"],
)
def test_compressions(told: Told, tmp_path: Path, compression: int, encode: Callable[[Array], bytes], codec: str) -> None:
    pixels = told(3, 16, 24)
    pieces = [Piece({"T": t, "C": 0}, pixels[t], compression, encode(pixels[t])) for t in range(3)]
    movie = open_movie(write_czi(tmp_path / "a.czi", pieces))
    assert np.array_equal(movie.pixels[:, 0, 0], pixels)
    assert movie.codec == codec


def test_scale_interval_and_names_come_from_the_metadata(told: Told, tmp_path: Path) -> None:
    pieces = [Piece({"T": t, "S": s}, told(6, 8)) for t in range(3) for s in range(2)]
    first, second = open_archive(write_czi(tmp_path / "a.czi", pieces), remember=False).movies
    assert (first.pixel_um, first.interval_s, first.channels) == (PixelSize(None, 0.5, 0.5), 30.0, ("EGFP",))
    assert (first.groups, second.groups) == ({"field": "B3"}, {"field": "B4"})


@pytest.mark.parametrize(
    ("interval", "times_s", "kept_s"), [("", [5, 15, 25], 10.0), (10, [0, 60, 120], 60.0), (10, [0, 10.2, 20.1], 10.0), ("", [], None)]
)
def test_the_interval_is_the_one_that_was_kept(told: Told, tmp_path: Path, interval: object, times_s: list[float], kept_s: float | None) -> None:
    pieces = [Piece({"T": t}, told(6, 8)) for t in range(3)]
    assert open_movie(write_czi(tmp_path / "a.czi", pieces, interval=interval, times_s=times_s)).interval_s == kept_s


def test_a_scale_of_0_is_unknown(told: Told, tmp_path: Path) -> None:
    movie = open_movie(write_czi(tmp_path / "a.czi", [Piece({"T": t}, told(6, 8)) for t in range(2)], interval=0, size=0))
    assert (movie.pixel_um, movie.interval_s) == (None, None)
    assert len(movie.problems) == 2


def test_coarser_copies_are_not_pixels_of_the_movie(told: Told, tmp_path: Path) -> None:
    pieces = [
        Piece({"T": 0}, told(8, 8)),
        Piece({"T": 0}, told(8, 8)[:0].reshape(0, 8), stored_px=(4, 4), data=bytes(32)),
        Piece({"T": 1}, told(8, 8)),
    ]
    movie = open_movie(write_czi(tmp_path / "a.czi", pieces))
    assert np.array_equal(movie.pixels[0, 0, 0], told(8, 8))
    assert movie.shape["T"] == 2


def test_frames_that_are_missing_or_lack_a_tile_are_left_out_and_named(told: Told, tmp_path: Path) -> None:
    pieces = [Piece({"T": t, "M": m, "X": 8 * m}, told(6, 8)) for t in (0, 2, 3) for m in range(2)]
    movie = open_movie(write_czi(tmp_path / "a.czi", pieces[:-1]))
    assert movie.shape == {"T": 2, "C": 1, "Z": 1, "Y": 6, "X": 16}
    assert [problem.what for problem in movie.problems] == [
        "the recording was stopped early: 3 of 4 frames are complete",
        "frames lack a channel or a plane and are left out: 1, the first is 1",
    ]


def test_gaps_between_tiles_are_said(told: Told, tmp_path: Path) -> None:
    movie = open_movie(write_czi(tmp_path / "a.czi", [Piece({"M": m, "X": 10 * m}, told(6, 8) + 1) for m in range(2)]))
    assert movie.problems[0].what == "its tiles leave parts of the plane empty: there the pixels are 0"
    assert (movie.pixels[0, 0, 0] == 0).sum() == 12


def test_an_axis_that_is_none_of_ours_is_assumed_to_be_time_or_named_by_the_user(told: Told, tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", [Piece({"V": v}, told(6, 8)) for v in range(3)])
    assert open_movie(path).axes["T"] == "assumed"
    assert open_movie(path, given=Given("ZYX")).shape["Z"] == 3


def broken(what: str, path: Path, told: Told) -> Path:
    plane = told(6, 8)
    if what == "colour":
        return write_czi(path, [Piece({}, plane, kind=3)])
    if what == "types":
        return write_czi(path, [Piece({"C": 0}, plane), Piece({"C": 1}, plane.astype("u1"), kind=0)])
    if what == "far":
        return write_czi(path, [Piece({"M": 0}, plane), Piece({"M": 1, "X": 10**6, "Y": 10**4}, plane)])
    if what == "codec":
        return write_czi(path, [Piece({}, plane, compression=2)])
    data = bytearray(write_czi(path, [Piece({"T": t}, plane) for t in range(3)]).read_bytes())
    if what == "not finished":
        struct.pack_into("<q", data, 32 + 52, 0)
    elif what == "no CZI":
        data[:8] = b"something"[:8]
    elif what == "cut":
        data = data[: len(data) // 2]
    elif what == "huge tile":
        data = bytearray(bytes(data).replace(struct.pack("<ii", 0, 8), struct.pack("<ii", 0, 2**30)))
    path.write_bytes(b"" if what == "empty" else data)
    return path


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("colour", r"this is a colour image \(RGB\), not a grey one"),
        ("types", "its channels are of different types. save each channel as a file of its own"),
        ("far", "its tiles lie in a plane of 10,006 x 1,000,008 pixels|its planes claim 10,006 x 1,000,008"),
        ("codec", r"its pixels are of a kind that is not read \(pixel type 1, compression 2\)\. save it in ZEN uncompressed"),
        ("not finished", "the recording was not finished: the list of its tiles is missing. open it in ZEN and save it again"),
        ("no CZI", "this is not a CZI: it begins with b'something?"),
        ("cut", "the file is truncated: a part of it lies beyond its end"),
        ("huge tile", "a tile claims 6 x 1,073,741,824 pixels"),
        ("empty", r"the file is empty \(0 bytes\)"),
    ],
)
def test_damage_is_said_with_its_remedy(told: Told, tmp_path: Path, what: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_movie(broken(what, tmp_path / "a.czi", told))


def test_damaged_pixels_name_the_plane_and_cost_only_that(told: Told, tmp_path: Path) -> None:
    pieces = [Piece({"T": t}, told(6, 8), 5, b"garbage" if t == 1 else imagecodecs.zstd_encode(told(6, 8).tobytes())) for t in range(3)]
    movie = open_movie(write_czi(tmp_path / "a.czi", pieces))
    assert np.array_equal(movie.pixels[2, 0, 0], told(6, 8))
    with pytest.raises(UserError, match=r"a\.czi: the pixels cannot be read at frame 1, channel 0, plane 0 .*copy the file again"):
        movie.pixels[...]


@pytest.mark.parametrize(
    ("compression", "bomb", "said"),
    [
        (5, imagecodecs.zstd_encode(bytes(10**7)), "too small"),
        (5, imagecodecs.zstd_encode(bytes(10)), "a tile unpacks to 10 bytes instead of 96"),
        (6, b"\7", "the header of a compressed tile is not understood"),
        (4, imagecodecs.jpegxr_encode(np.zeros((60, 80), np.uint16), level=1.0), r"a tile claims 60 x 80 instead of \(6, 8\)"),
        (4, b"II\xbc\1\x08\0\0\0\xff\xff", "a tile is no JPEG XR"),
        (4, b"garbage", "a tile is no JPEG XR"),
        (0, b"short", "a tile has 5 bytes"),
    ],
)
def test_a_tile_of_another_size_than_it_says_is_refused(told: Told, tmp_path: Path, compression: int, bomb: bytes, said: str) -> None:
    path = write_czi(tmp_path / "a.czi", [Piece({}, told(6, 8), compression, bomb)])
    with pytest.raises(UserError, match=f"the pixels cannot be read at frame 0, channel 0, plane 0 .*{said}"):
        open_movie(path).pixels[...]
