from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, PixelSize
from cellvjepa.movies.readers import open_archive, open_movie
from cellvjepa.movies.readers.tiff.sets import movies_in, set_of
from cellvjepa.movies.readers.tiff.tiff import read_contents

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Array = np.ndarray[Any, Any]
Told = Callable[..., Array]
ThroughPickle = Callable[[Movie], Movie]

HEAD = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{uuid}">'
SCALE = 'PhysicalSizeX="0.5" PhysicalSizeY="0.5" TimeIncrement="30" TimeIncrementUnit="s"'


def block(file: str, first: Sequence[int] = (0, 0, 0), page: int = 0, count: int = 1) -> str:
    t, c, z = first
    uuid = f'<UUID FileName="{file}">urn:uuid:{file}</UUID>'
    return f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="{z}" IFD="{page}" PlaneCount="{count}">{uuid}</TiffData>'


def image(shape: Sequence[int], blocks: Sequence[str], order: str = "XYCZT") -> str:
    t, c, z, y, x = shape
    sizes = f'SizeT="{t}" SizeC="{c}" SizeZ="{z}" SizeY="{y}" SizeX="{x}"'
    channels = "".join(
        f'<Channel ID="Channel:{i}" Name="{name}" SamplesPerPixel="1"/>' for i, name in zip(range(c), ("phase", "GFP", "RFP"), strict=False)
    )
    return f'<Image><Pixels DimensionOrder="{order}" Type="uint16" {SCALE} {sizes}>{channels}{"".join(blocks)}</Pixels></Image>'


def ome(images: str, uuid: str = "none") -> str:
    return HEAD.format(uuid=uuid) + images + "</OME>"


def write(path: Path, planes: Array, xml: str) -> Path:
    with tifffile.TiffWriter(path) as file:
        for index, plane in enumerate(planes):
            file.write(plane, description=xml if index == 0 else None, metadata=None, compression="zlib", contiguous=False)
    return path


@pytest.fixture
def written(tmp_path: Path, told: Told) -> tuple[Path, Array]:
    """Write a set as Bio-Formats does: one file per channel and time, each with the whole OME-XML.

    c0_t0 c0_t1 c0_t2     each of 2 planes
    c1_t0 c1_t1 c1_t2
    """
    array = told(3, 2, 2, 12, 16)
    names = {(t, c): f"c{c}_t{t}.ome.tif" for t in range(3) for c in range(2)}
    blocks = [block(name, (t, c, z), page=z) for (t, c), name in names.items() for z in range(2)]
    for (t, c), name in names.items():
        write(tmp_path / name, array[t, c], ome(image(array.shape, blocks), uuid=name))
    return tmp_path, array


def test_a_set_is_one_movie_whichever_file_is_given(written: tuple[Path, Array], through_pickle: ThroughPickle) -> None:
    folder, array = written
    for name in ("c0_t0.ome.tif", "c1_t2.ome.tif"):
        movie = open_movie(folder / name)
        np.testing.assert_array_equal(movie.pixels[:], array)
        assert movie.uri == str(folder / "c0_t0.ome.tif")
        assert (movie.channels, movie.pixel_um, movie.interval_s) == (("phase", "GFP"), PixelSize(None, 0.5, 0.5), 30.0)
        assert set(movie.axes.values()) == {"file"}
    np.testing.assert_array_equal(through_pickle(movie).pixels[1:, 1, :, 3:9], array[1:, 1, :, 3:9])


def test_an_archive_takes_a_set_as_one_movie(written: tuple[Path, Array]) -> None:
    folder, array = written
    (movie,) = open_archive(folder, remember=False).movies
    assert (movie.name, movie.pixels.shape) == ("c0_t0.ome.tif", array.shape)


def test_the_files_of_a_set_are_known_cheaply(written: tuple[Path, Array], told: Told) -> None:
    folder, _ = written
    inside = set_of(folder / "c1_t1.ome.tif")
    assert inside is not None
    assert inside[0].name == "c0_t0.ome.tif"
    assert {path.name for path in inside} == {f"c{c}_t{t}.ome.tif" for t in range(3) for c in range(2)}
    assert movies_in(folder / "c0_t0.ome.tif") == [folder / "c0_t0.ome.tif"]
    assert movies_in(folder / "c1_t1.ome.tif") == []
    tifffile.imwrite(folder / "alone.tif", told(2, 8, 8))
    assert set_of(folder / "alone.tif") is None
    assert movies_in(folder / "alone.tif") == [folder / "alone.tif"]
    assert set_of(folder / "not there.tif") is None
    with pytest.raises(UserError, match=r"the file belongs to a set of 6 .*open the first file of the set"):
        read_contents(folder / "c1_t1.ome.tif")


@pytest.mark.parametrize("order", ["XYCZT", "XYZTC", "XYTCZ"])
def test_planes_are_counted_in_the_order_of_dimensions(tmp_path: Path, told: Told, order: str) -> None:
    array = told(3, 2, 4, 6, 8)
    fastest_first = [axis for axis in order if axis in "TCZ"]
    as_stored = array.transpose(*("TCZ".index(axis) for axis in reversed(fastest_first)), 3, 4).reshape(-1, 6, 8)
    write(tmp_path / "m.ome.tif", as_stored, ome(image(array.shape, ['<TiffData IFD="0" PlaneCount="24"/>'], order)))
    np.testing.assert_array_equal(open_movie(tmp_path / "m.ome.tif").pixels[:], array)


@pytest.mark.parametrize("blocks", [[], ["<TiffData/>"]])
def test_without_blocks_planes_are_pages(tmp_path: Path, told: Told, blocks: list[str]) -> None:
    array = told(3, 2, 1, 6, 8)
    write(tmp_path / "m.ome.tif", array.reshape(-1, 6, 8), ome(image(array.shape, blocks)))
    np.testing.assert_array_equal(open_movie(tmp_path / "m.ome.tif").pixels[:], array)


def test_a_renamed_file_is_still_its_own(tmp_path: Path, told: Told) -> None:
    array = told(2, 1, 1, 6, 8)
    blocks = [block("as_recorded.ome.tif", (t, 0, 0), page=t) for t in range(2)]
    write(tmp_path / "renamed.ome.tif", array.reshape(-1, 6, 8), ome(image(array.shape, blocks), uuid="as_recorded.ome.tif"))
    movie = open_movie(tmp_path / "renamed.ome.tif")
    np.testing.assert_array_equal(movie.pixels[:], array)
    assert set_of(tmp_path / "renamed.ome.tif") is None


def test_files_that_are_missing_in_the_middle_are_named(written: tuple[Path, Array]) -> None:
    folder, _ = written
    (folder / "c1_t1.ome.tif").unlink()
    (folder / "c0_t1.ome.tif").unlink()
    with pytest.raises(
        UserError, match=r"c0_t0\.ome\.tif: 2 of the 6 files of the set are missing, first c0_t1\.ome\.tif\. copy them into the folder"
    ):
        open_movie(folder / "c0_t0.ome.tif")


def test_frames_that_are_missing_at_the_end_are_left_out(written: tuple[Path, Array]) -> None:
    folder, array = written
    (folder / "c1_t2.ome.tif").unlink()
    movie = open_movie(folder / "c0_t0.ome.tif")
    np.testing.assert_array_equal(movie.pixels[:], array[:2])
    assert movie.problems[0].what == "only the first 2 of 3 frames are complete: 1 of the 6 files of the set is missing, first c1_t2.ome.tif"


def test_a_recording_that_was_stopped_gives_the_frames_it_has(tmp_path: Path, told: Told) -> None:
    array = told(5, 1, 1, 6, 8)
    write(tmp_path / "m.ome.tif", array[:3].reshape(-1, 6, 8), ome(image(array.shape, ['<TiffData IFD="0" PlaneCount="5"/>'])))
    movie = open_movie(tmp_path / "m.ome.tif")
    np.testing.assert_array_equal(movie.pixels[:], array[:3])
    assert "only the first 3 of 5 frames are complete: 2 of its 5 planes are missing" in movie.problems[0].what


@pytest.mark.parametrize("name", ["../elsewhere.ome.tif", "/data/elsewhere.ome.tif", "sub/b.ome.tif", "..\\b.ome.tif", ".."])
def test_no_path_leaves_the_folder(tmp_path: Path, told: Told, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(tmp_path / "elsewhere.ome.tif", told(1, 6, 8), ome(""))
    blocks = [block("a.ome.tif"), block(name, (1, 0, 0))]
    write(folder / "a.ome.tif", told(1, 6, 8), ome(image((2, 1, 1, 6, 8), blocks), uuid="a.ome.tif"))
    with pytest.raises(UserError, match=r"a\.ome\.tif: its OME-XML names a file in another folder"):
        open_movie(folder / "a.ome.tif")


@pytest.mark.parametrize("master", ["exp_MMStack_Pos0.ome.tif", "exp.companion.ome"])
def test_positions_of_a_set_are_movies_of_their_own(tmp_path: Path, told: Told, master: str) -> None:
    """As Micro-Manager writes them: every position goes on in a second file, and one file has the OME-XML of all."""
    positions = {0: told(3, 1, 1, 6, 8), 1: told(3, 1, 1, 6, 8)[::-1]}
    images, files = [], {}
    for position, array in positions.items():
        names = [f"exp_MMStack_Pos{position}{part}.ome.tif" for part in ("", "_1")]
        blocks = [block(names[0], (t, 0, 0), page=t) for t in range(2)] + [block(names[1], (2, 0, 0))]
        images.append(image(array.shape, blocks))
        files.update({names[0]: array[:2, 0, 0], names[1]: array[2:, 0, 0]})
    pointer = HEAD.format(uuid="{uuid}") + f'<BinaryOnly MetadataFile="{master}" UUID="urn:uuid:{master}"/></OME>'
    whole = ome("".join(images), uuid=master)
    for name, planes in files.items():
        write(tmp_path / name, planes, whole if name == master else pointer.format(uuid=name))
    if master not in files:
        (tmp_path / master).write_text(whole)
    movies = open_archive(tmp_path, remember=False).movies
    assert [movie.name for movie in movies] == [f"exp_MMStack_Pos{position}.ome.tif" for position in positions]
    for movie, array in zip(movies, positions.values(), strict=True):
        np.testing.assert_array_equal(movie.pixels[:], array)
    (tmp_path / master).unlink()
    with pytest.raises(UserError, match=rf"a part of a set whose description is in {master}, which is not here\. copy all files"):
        open_movie(tmp_path / "exp_MMStack_Pos1.ome.tif")


def test_several_images_of_one_file_are_movies_with_a_number(tmp_path: Path, told: Told, through_pickle: ThroughPickle) -> None:
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as file:
        file.write(told(3, 16, 16), metadata={"axes": "TYX"})
        file.write(told(5, 16, 16), metadata={"axes": "TYX"}, compression="zlib")
        file.write(told(4, 4), metadata={"axes": "YX"})  # a label
    with pytest.raises(UserError, match=r"the file holds 2 movies\. give one of m\.ome\.tif#0 to m\.ome\.tif#1, or the file as an archive"):
        open_movie(tmp_path / "m.ome.tif")
    movies = open_archive(tmp_path, remember=False).movies
    assert [(movie.name, movie.shape["T"]) for movie in movies] == [("m.ome.tif/0", 3), ("m.ome.tif/1", 5)]
    np.testing.assert_array_equal(movies[1].pixels[:, 0, 0], told(5, 16, 16))
    np.testing.assert_array_equal(through_pickle(movies[1]).pixels[2:, 0, 0], told(5, 16, 16)[2:])
    with pytest.raises(UserError, match="there is no movie 2 in this file"):
        open_movie(tmp_path / "m.ome.tif#2")


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (ome(image((2, 1, 1, 6, 8), [])).replace('SizeT="2"', 'SizeT="1000000000"'), "its OME-XML cannot be understood"),
        (ome(image((2, 1, 1, 6, 8), [])).replace('SizeT="2"', 'SizeT="-1"'), "its OME-XML cannot be understood"),
        (ome(image((2, 1, 1, 6, 8), [])).replace("XYCZT", "XYZZT"), "the order of dimensions is XYZZT"),
        (ome(image((2, 1, 1, 6, 9), [])), r"its pages are 6 x 8 px, but its OME-XML says 6 x 9"),
        (ome(image((2, 1, 1, 6, 8), []))[:-40] + "</OME>", "its OME-XML cannot be understood"),
        ('<!DOCTYPE a [<!ENTITY b "b">]>' + ome(image((2, 1, 1, 6, 8), [])).partition("?>")[2], "its OME-XML cannot be understood"),
    ],
)
def test_an_xml_that_cannot_be_is_refused(tmp_path: Path, told: Told, xml: str, message: str) -> None:
    write(tmp_path / "m.ome.tif", told(2, 6, 8), xml)
    with pytest.raises(UserError, match=rf"m\.ome\.tif: .*{message}"):
        open_movie(tmp_path / "m.ome.tif")


def test_files_of_one_set_are_alike(written: tuple[Path, Array], told: Told) -> None:
    folder, _ = written
    xml = tifffile.tiffcomment(folder / "c1_t1.ome.tif")
    write(folder / "c1_t1.ome.tif", told(2, 12, 16, dtype="uint8"), xml or "")
    with pytest.raises(UserError, match=r"c1_t1\.ome\.tif: its pixels are uint8, but those of c0_t0\.ome\.tif are uint16"):
        open_movie(folder / "c0_t0.ome.tif")
    (folder / "c1_t1.ome.tif").write_bytes(b"")
    with pytest.raises(UserError, match=r"c1_t1\.ome\.tif: the file is empty"):
        open_movie(folder / "c0_t0.ome.tif")


def test_a_pyramid_beside_the_pages_gives_coarser_copies(tmp_path: Path, told: Told, through_pickle: ThroughPickle) -> None:
    array = told(3, 32, 48)
    with tifffile.TiffWriter(tmp_path / "m.ome.tif") as file:
        file.write(array, metadata={"axes": "TYX"}, tile=(16, 16), compression="zlib", subifds=2)
        file.write(array[:, ::2, ::2], tile=(16, 16), compression="zlib", subfiletype=1, metadata=None)
        file.write(array[:, ::4, ::4], tile=(16, 16), compression="zlib", subfiletype=1, metadata=None)
    movie = open_movie(tmp_path / "m.ome.tif")
    assert [copy.factor for copy in movie.pyramid] == [(1, 2, 2), (1, 4, 4)]
    for copy, step in zip(movie.pyramid, (2, 4), strict=True):
        np.testing.assert_array_equal(copy.pixels[:, 0, 0], array[:, ::step, ::step])
    np.testing.assert_array_equal(through_pickle(movie).pyramid[1].pixels[:, 0, 0], array[:, ::4, ::4])
