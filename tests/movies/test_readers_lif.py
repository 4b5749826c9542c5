"""Leica LIF: a file of many images. No free program writes it, so it is written here, and read by an independent library as well."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import liffile
import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, PixelSize
from cellvjepa.movies.readers import open_archive, open_movie

Array = np.ndarray[Any, Any]
Told = Callable[..., Array]

IDS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "λ": 5, "M": 10}
STEPS = {"X": 5e-7, "Y": 5e-7, "Z": 1e-6, "T": 30.0}

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def described(name: str, axes: str, pixels: Array, block: int, steps: dict[str, float], dyes: list[str]) -> str:
    """Return what the XML says about an image whose array has these axes."""
    inc = dict(zip(axes, pixels.strides, strict=True))
    channels, dimensions = "", ""
    for index in range(dict(zip(axes, pixels.shape, strict=True)).get("C", 1)):
        dye = f"<ChannelProperty><Key>DyeName</Key><Value>{dyes[index]}</Value></ChannelProperty>" if index < len(dyes) else ""
        channels += (
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * pixels.itemsize}" NameOfMeasuredQuantity="" Min="0" Max="1" '
            f'Unit="" LUTName="{("Green", "Red", "Gray")[index]}" IsLUTInverted="0" BytesInc="{index * inc.get("C", 0)}" '
            f'BitInc="0">{dye}</ChannelDescription>'
        )
    for axis, length in reversed(list(zip(axes, pixels.shape, strict=True))):
        if axis != "C":
            dimensions += (
                f'<DimensionDescription DimID="{IDS[axis]}" NumberOfElements="{length}" Origin="0" Length="{(length - 1) * steps.get(axis, 1)}" '
                f'Unit="{"s" if axis == "T" else "m"}" BitInc="0" BytesInc="{inc[axis]}"/>'
            )
    return (
        f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>'
        f'</ImageDescription></Image></Data><Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_{block}"/></Element>'
    )


def write_lif(path: Path, *images: tuple[str, str, Array], steps: dict[str, float] = STEPS, dyes: tuple[str, ...] = ()) -> Path:
    """Write a LIF: its XML in UTF-16, then a block per image. Images are (name, axes, pixels)."""
    inside = "".join(described(name, axes, pixels, n, steps, list(dyes)) for n, (name, axes, pixels) in enumerate(images, start=1))
    header = f'<LMSDataContainerHeader Version="2"><Element Name="project"><Children>{inside}</Children></Element></LMSDataContainerHeader>'
    xml = header.encode("utf-16-le")
    out = struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2) + xml
    for n, (_, _, pixels) in enumerate(images, start=1):
        name = f"MemBlock_{n}".encode("utf-16-le")
        head = struct.pack("<BQBI", 0x2A, pixels.nbytes, 0x2A, len(name) // 2) + name
        out += struct.pack("<II", 0x70, len(head)) + head + pixels.tobytes()
    path.write_bytes(out)
    return path


def test_every_image_is_a_movie_with_its_pixels_names_and_scale(told: Told, tmp_path: Path) -> None:
    first, second = told(3, 2, 2, 6, 8), told(4, 5, 7, dtype="uint8")
    path = write_lif(tmp_path / "a.lif", ("Series001", "TZCYX", first), ("Series002", "TYX", second), dyes=("DAPI",))
    with liffile.LifFile(path) as independent:
        assert np.array_equal(independent.images[0].asarray(), first)
        assert np.array_equal(independent.images[1].asarray(), second)
    one, two = open_archive(path, remember=False).movies
    assert (one.name, two.name) == ("a.lif/0", "a.lif/1")
    assert np.array_equal(one.pixels[...], first.transpose(0, 2, 1, 3, 4))
    assert np.array_equal(two.pixels[:, 0, 0], second)
    assert np.array_equal(one.pixels[::2, 1, 0, 1:5:3, -1], first[::2, 0, 1, 1:5:3, -1])
    assert (one.pixels.dtype, two.pixels.dtype) == (np.uint16, np.uint8)
    assert (one.channels, one.groups, two.groups) == (("DAPI", "Red"), {"field": "Series001"}, {"field": "Series002"})
    assert (one.pixel_um, one.interval_s) == (PixelSize(1.0, 0.5, 0.5), 30.0)
    assert (one.codec, one.pixels.chunks, one.problems) == ("none", (1, 1, 1, 1, 1), ())
    assert set(one.axes.values()) == {"file"}


def test_one_image_needs_no_number(told: Told, tmp_path: Path, through_pickle: Callable[[Movie], Movie]) -> None:
    path = write_lif(tmp_path / "a.lif", ("only", "CTYX", told(2, 3, 6, 8)))
    movie = open_movie(path)
    assert (movie.name, movie.uri, movie.groups) == ("a.lif", str(path), {})
    assert np.array_equal(through_pickle(movie).pixels[:, 1, 0], told(2, 3, 6, 8)[1])
    with pytest.raises(UserError, match=r"there is no movie 0 in this file\. give the file without a number"):
        open_movie(f"{path}#0")


def test_stage_positions_are_movies(told: Told, tmp_path: Path) -> None:
    pixels = told(2, 3, 6, 8)
    movies = open_archive(write_lif(tmp_path / "a.lif", ("mark and find", "MTYX", pixels)), remember=False).movies
    assert [movie.groups["field"] for movie in movies] == ["mark and find 0", "mark and find 1"]
    for position, movie in enumerate(movies):
        assert np.array_equal(movie.pixels[:, 0, 0], pixels[position])


def test_wavelengths_are_channels(told: Told, tmp_path: Path) -> None:
    movie = open_movie(write_lif(tmp_path / "a.lif", ("scan", "λTYX", told(3, 2, 6, 8))))
    assert movie.channels == ("ch0", "ch1", "ch2")
    assert np.array_equal(movie.pixels[:, 2, 0], told(3, 2, 6, 8)[2])


def test_a_scale_of_0_is_unknown(told: Told, tmp_path: Path) -> None:
    movie = open_movie(write_lif(tmp_path / "a.lif", ("a", "TYX", told(3, 6, 8)), steps={"X": 0, "Y": 0, "T": 0}))
    assert (movie.pixel_um, movie.interval_s) == (None, None)
    assert len(movie.problems) == 2


def test_an_image_in_colour_costs_only_itself(told: Told, tmp_path: Path) -> None:
    colour = np.moveaxis(told(6, 8, 3), -1, 0)  # the three values of a pixel lie side by side
    archive = open_archive(write_lif(tmp_path / "a.lif", ("overview", "CYX", colour), ("movie", "TYX", told(3, 6, 8))), remember=False)
    assert [movie.name for movie in archive.movies] == ["a.lif/1"]
    assert archive.skipped[0].path.endswith("a.lif#0")
    assert archive.skipped[0].what == "a.lif: overview is a colour image (RGB), not a grey one"


def broken(what: str, path: Path, told: Told) -> Path:
    data = write_lif(path, ("a", "TYX", told(3, 6, 8)), ("b", "TYX", told(3, 6, 8))).read_bytes()
    xml = slice(13, 13 + 2 * int.from_bytes(data[9:13], "little"))
    text = data[xml].decode("utf-16-le")
    changed = {
        "more": text.replace('NumberOfElements="3"', 'NumberOfElements="9"'),
        "0": text.replace('NumberOfElements="6"', 'NumberOfElements="0"'),
        "no Y": text.replace('DimID="2"', 'DimID="3"'),
        "no block": text.replace("MemBlock_", "Block___"),
        "no XML": text.replace("<Element", ">Element"),
        "no image": text.replace("<Image>", "<Other>").replace("</Image>", "</Other>"),
    }
    if what in changed:
        new = changed[what]
        data = data[:9] + struct.pack("<I", len(new)) + new.encode("utf-16-le") + data[xml.stop :]
    whole = {"empty": b"", "no LIF": b"something else", "cut": data[:-10], "cut XML": data[:200]}
    path.write_bytes(whole.get(what, data))
    return path


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("more", "needs 864 bytes, but its block has 288"),
        ("0", "is not to be understood|claim 0 x 8 pixels"),
        ("no Y", "b has no image plane: its axes are"),
        ("no block", "this cannot be read as a LIF .'Block___2'"),
        ("no XML", "this cannot be read as a LIF"),
        ("no image", "the file holds no image"),
        ("cut", "the file is truncated: its pixels should end at byte"),
        ("cut XML", "the file is truncated: its pixels should end at byte"),
        ("no LIF", "this is not a LIF: it begins with b'somethin'"),
        ("empty", r"the file is empty \(0 bytes\)"),
    ],
)
def test_damage_is_said_with_its_remedy(told: Told, tmp_path: Path, what: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_movie(f"{broken(what, tmp_path / 'a.lif', told)}#1")
