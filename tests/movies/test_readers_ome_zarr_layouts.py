"""Where the images of an OME-Zarr store are: plates, what bioformats2raw writes, labels; and what a movie belongs to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr

from cellvjepa.movies.movie import PixelSize
from cellvjepa.movies.readers import Given, open_archive, open_movie
from cellvjepa.movies.readers.zarr.ome_zarr import images_in, label_uris, labels_of

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteZarr = Callable[..., Path]

XML = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
  <Image ID="Image:0" Name="first"><Pixels ID="Pixels:0" PhysicalSizeX="325" PhysicalSizeXUnit="nm" PhysicalSizeY="325" PhysicalSizeYUnit="nm"
    TimeIncrement="5" TimeIncrementUnit="min">
    <Channel ID="c0" Name="phase"/><Channel ID="c1" Name="GFP"/><TiffData/><Plane TheT="0"/></Pixels></Image>
  <Image ID="Image:1" Name="second"><Pixels ID="Pixels:1" PhysicalSizeX="0.5" PhysicalSizeY="0.5"><Channel ID="c0"/></Pixels></Image>
</OME>"""


def say(group: Path, ome: dict[str, Any], version: str) -> None:
    """Add to the attributes of a group, as a version of OME-Zarr has them; make the group where there is none."""
    root = zarr.open_group(str(group), mode="a", zarr_format=2 if version == "0.4" else 3)
    root.attrs.update(ome if version == "0.4" else {"ome": {"version": version, **dict(root.attrs.get("ome", {})), **ome}})  # type: ignore[dict-item]


def write_plate(write_zarr: WriteZarr, told: Told, version: str, store: str = "plate1.zarr") -> Path:
    fields = {"B/3": ["0", "1"], "B/10": ["0"]}
    number = 0
    for well, names in fields.items():
        for name in names:
            image = write_zarr(told(3, 8, 8) + number, "tyx", version, store=store, within=f"{well}/{name}")
            number += 1
        said = {"images": [{"path": name, "acquisition": 0} for name in names], "version": version}
        say(image.parent, {"well": said}, version)
    wells = [{"path": well, "rowIndex": 0, "columnIndex": index} for index, well in enumerate(fields)]
    plate = {"wells": wells, "rows": [{"name": "B"}], "columns": [{"name": "3"}, {"name": "10"}], "version": version, "name": "test"}
    say(image.parents[2], {"plate": plate | {"acquisitions": [{"id": 0}], "field_count": 2}}, version)
    return image.parents[2]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_movies_of_a_plate_know_their_well_and_field(write_zarr: WriteZarr, told: Told, tmp_path: Path, version: str) -> None:
    plate = write_plate(write_zarr, told, version, store="day1/plate1.zarr")
    archive = open_archive(tmp_path)
    assert [movie.name for movie in archive.movies] == [f"day1/plate1.zarr/{place}" for place in ("B/3/0", "B/3/1", "B/10/0")]
    assert archive.movies[2].groups == {"plate": "day1/plate1.zarr", "row": "B", "column": "10", "well": "B10", "field": "0"}
    assert open_movie(plate / "B/3/1").groups == {"plate": "plate1.zarr", "row": "B", "column": "3", "well": "B3", "field": "1"}
    assert archive.skipped == ()


def test_the_plates_of_these_tests_are_valid(write_zarr: WriteZarr, told: Told) -> None:
    plate = write_plate(write_zarr, told, "0.5")
    assert yaozarrs.validate_zarr_store(str(plate)) is not None


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("plate", [None, 7, {"wells": "B/3"}, {"wells": [{"path": "../.."}]}, {"wells": []}])
def test_a_plate_that_says_nothing_useful_is_walked(write_zarr: WriteZarr, told: Told, version: str, plate: object) -> None:
    store = write_plate(write_zarr, told, version)
    path = store / (".zattrs" if version == "0.4" else "zarr.json")
    metadata = json.loads(path.read_text())
    (metadata if version == "0.4" else metadata["attributes"]["ome"])["plate"] = plate
    path.write_text(json.dumps(metadata))
    archive = open_archive(store)
    assert [movie.name for movie in archive.movies] == ["B/3/0", "B/3/1", "B/10/0"]
    assert [movie.groups["well"] for movie in archive.movies] == ["B3", "B3", "B10"]


def test_a_plate_whose_rows_are_plain_folders_is_walked(write_zarr: WriteZarr, told: Told) -> None:
    plate = write_plate(write_zarr, told, "0.5")
    (plate / "B/zarr.json").unlink()
    (plate / "B/10/zarr.json").unlink()
    assert [movie.name for movie in open_archive(plate).movies] == ["B/3/0", "B/3/1", "B/10/0"]


@pytest.mark.parametrize("damaged", ["", "B", "B/3"])
def test_damage_above_an_image_is_named_and_not_in_its_way(write_zarr: WriteZarr, told: Told, damaged: str) -> None:
    plate = write_plate(write_zarr, told, "0.5")
    path = plate / damaged / "zarr.json"
    path.write_text("{")
    found, errors = images_in(plate)
    assert [one.path for one in found] == [plate / place for place in ("B/3/0", "B/3/1", "B/10/0")]
    assert [error.where for error in errors] == [str(path)]
    assert open_movie(plate / "B/3/0").groups["well"] == "B3"
    archive = open_archive(plate)
    assert (len(archive.movies), [s.path for s in archive.skipped]) == (3, [str(path)])


def test_wells_and_fields_that_are_listed_but_not_there_are_named(write_zarr: WriteZarr, told: Told) -> None:
    plate = write_plate(write_zarr, told, "0.5")
    shutil.rmtree(plate / "B/10")
    shutil.rmtree(plate / "B/3/1")
    archive = open_archive(plate)
    assert [movie.name for movie in archive.movies] == ["B/3/0"]
    assert [(s.path, s.what, s.remedy) for s in archive.skipped] == [
        (str(plate), "the well B/10 that the metadata lists is not there", "copy the store again"),
        (str(plate / "B/3"), "the field 1 that the metadata lists is not there", "copy the store again"),
    ]


def test_wells_with_other_names_are_known_by_their_metadata(write_zarr: WriteZarr, told: Told) -> None:
    image = write_zarr(told(3, 8, 8), "tyx", store="p.zarr", within="row2/col07/left")
    assert open_movie(image).groups == {}
    say(image.parent, {"well": {"images": [{"path": "left"}]}}, "0.5")
    assert open_movie(image).groups == {"plate": "p.zarr", "row": "row2", "column": "col07", "well": "row2col07", "field": "left"}


def test_an_image_that_lies_in_no_plate_belongs_to_nothing(write_zarr: WriteZarr, told: Told) -> None:
    for number, within in enumerate(("", "0", "acquisitions/monday/pos7", "B/notes/0")):
        assert open_movie(write_zarr(told(3, 8, 8), "tyx", store=f"{number}.zarr", within=within)).groups == {}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("listed", [None, ["1", "0"]])
def test_the_xml_of_bioformats2raw_says_what_the_store_does_not(
    write_zarr: WriteZarr, told: Told, tmp_path: Path, version: str, listed: list[str] | None
) -> None:
    for series in "01":
        write_zarr(told(3, 2, 8, 8), "tcyx", version, store="set.zarr", within=series)
    store = tmp_path / "set.zarr"
    say(store, {"bioformats2raw.layout": 3}, version)
    say(store / "OME", {} if listed is None else {"series": listed}, version)
    (store / "OME/METADATA.ome.xml").write_text(XML)
    movies = open_archive(store).movies
    assert [movie.name for movie in movies] == ["0", "1"]
    first, second = movies if listed is None else movies[::-1]
    assert (first.groups, first.channels) == ({"field": "first"}, ("phase", "GFP"))
    assert (first.pixel_um, first.interval_s, first.problems) == (PixelSize(None, 0.325, 0.325), 300.0, ())
    assert (second.groups, second.channels) == ({"field": "second"}, ("ch0", "ch1"))
    assert (second.pixel_um, second.interval_s) == (PixelSize(None, 0.5, 0.5), None)
    assert [problem.what for problem in second.problems] == ["the time between frames is unknown"]


def test_what_the_store_says_comes_before_the_xml(write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    units = {"t": "second", "y": "micrometer", "x": "micrometer"}
    image = write_zarr(
        told(3, 1, 8, 8), "tcyx", store="set.zarr", within="0", scale=[7, 1, 2, 2], units=units, ome={"omero": {"channels": [{"label": "DIC"}]}}
    )
    say(image.parent, {"bioformats2raw.layout": 3}, "0.5")
    (image.parent / "OME").mkdir()
    (image.parent / "OME/METADATA.ome.xml").write_text(XML)
    movie = open_movie(image)
    assert (movie.pixel_um, movie.interval_s, movie.channels) == (PixelSize(None, 2.0, 2.0), 7.0, ("DIC",))


def test_the_xml_of_a_plate_of_bioformats2raw_is_used(write_zarr: WriteZarr, told: Told) -> None:
    plate = write_plate(write_zarr, told, "0.4")
    say(plate, {"bioformats2raw.layout": 3}, "0.4")
    say(plate / "OME", {"series": ["B/10/0", "B/3/0", "B/3/1"]}, "0.4")
    (plate / "OME/METADATA.ome.xml").write_text(XML)
    movie = open_movie(plate / "B/10/0")
    assert (movie.interval_s, movie.groups["well"], movie.groups["field"]) == (300.0, "B10", "0")


BOMB = "<!DOCTYPE x [<!ENTITY a '" + "a" * 10_000 + "'>" + "".join(f"<!ENTITY {c} '{f'&{p};' * 100}'>" for p, c in ("ab", "bc", "cd")) + "]>"


@pytest.mark.parametrize("xml", ["", "<OME", "<OME/>", "no", BOMB + "<OME><Image Name='&d;'><Pixels/></Image></OME>", None])
def test_an_xml_that_cannot_be_read_is_as_if_it_were_not_there(write_zarr: WriteZarr, told: Told, xml: str | None) -> None:
    image = write_zarr(told(3, 8, 8), "tyx", store="set.zarr", within="0")
    say(image.parent, {"bioformats2raw.layout": 3}, "0.5")
    (image.parent / "OME").mkdir()
    if xml is not None:
        (image.parent / "OME/METADATA.ome.xml").write_text(xml)
    movie = open_movie(image)
    assert (movie.pixel_um, movie.groups) == (None, {})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_found_by_their_image(write_zarr: WriteZarr, told: Told, version: str) -> None:
    image = write_zarr(told(3, 8, 8), "tyx", version, store="plate.zarr", within="B/3/0")
    assert labels_of(image) == []
    for name in ("nuclei10", "nuclei2", "cells"):
        write_zarr(told(3, 8, 8), "tyx", version, store="plate.zarr", within=f"B/3/0/labels/{name}", ome={"image-label": {}})
    zarr.open_group(str(image / "labels/empty"), mode="w")
    say(image / "labels", {"labels": ["nuclei2", "gone"]}, version)
    assert labels_of(image) == [image / "labels" / name for name in ("cells", "nuclei2", "nuclei10")]
    assert label_uris(str(image)) == [str(path) for path in labels_of(image)]
    found, errors = images_in(image.parents[2])
    assert [(one.path, one.is_labels) for one in found] == [(image, False)] + [(path, True) for path in labels_of(image)]
    assert errors == []


def test_given_axes_overrule_the_store(write_zarr: WriteZarr, told: Told) -> None:
    movie = open_movie(write_zarr(told(3, 8, 8), "zyx"), given=Given(axes="tyx"))
    assert (movie.shape["T"], movie.shape["Z"], movie.axes["T"]) == (3, 1, "given")


def test_a_store_that_forgot_ome_says_so(write_zarr: WriteZarr, told: Told) -> None:
    image = write_zarr(told(1, 8, 8), "tyx", scale=[1, 1, 1], units={"y": "micrometer", "x": "micrometer"})
    metadata = json.loads((image / "zarr.json").read_text())
    (image / "zarr.json").write_text(json.dumps(metadata | {"attributes": metadata["attributes"]["ome"]}))
    (problem,) = open_movie(image).problems
    assert problem.what == "the metadata of the image are not below 'ome', where OME-Zarr 0.5 has them"
    assert problem.remedy.startswith("they are read all the same; write it again")


def test_axes_that_are_plain_names_are_read_as_version_0_3_has_them(write_zarr: WriteZarr, told: Told) -> None:
    image = write_zarr(told(3, 2, 8, 8), "tcyx", "0.4")
    metadata = json.loads((image / ".zattrs").read_text())
    metadata["multiscales"][0] |= {"version": "0.3", "axes": ["t", "c", "y", "x"]}
    (image / ".zattrs").write_text(json.dumps(metadata))
    assert open_movie(image).shape == {"T": 3, "C": 2, "Z": 1, "Y": 8, "X": 8}
