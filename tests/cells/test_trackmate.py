from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cellvjepa.cells.table import Cells, read_cells
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Archive

MakeMovie = Callable[..., Movie]

# 10 - 11 - 12      divides; 40 is alone; track 7 (50 - 51) was filtered away
#        \- 13
XML = """<?xml version="1.0" encoding="UTF-8"?>
<TrackMate version="7.11.1">
  <Model spatialunits="micron" timeunits="sec">
    <FeatureDeclarations><SpotFeatures><Feature feature="QUALITY" name="Quality"/></SpotFeatures></FeatureDeclarations>
    <AllSpots nspots="7">
      <SpotsInFrame frame="0">
        <Spot ID="10" name="ID10" FRAME="0" POSITION_T="0.0" POSITION_X="4.0" POSITION_Y="2.0" POSITION_Z="0.0" AREA="10.0">0 0</Spot>
        <Spot ID="40" name="ID40" FRAME="0" POSITION_X="1.0" POSITION_Y="1.0" POSITION_Z="0.0"/>
        <Spot ID="50" name="ID50" FRAME="0" POSITION_X="1.0" POSITION_Y="1.0" POSITION_Z="0.0"/>
      </SpotsInFrame>
      <SpotsInFrame frame="1">
        <Spot ID="11" name="ID11" FRAME="1" POSITION_X="4.5" POSITION_Y="2.0" POSITION_Z="0.0" AREA="12.0">0 0</Spot>
        <Spot ID="51" name="ID51" FRAME="1" POSITION_X="1.0" POSITION_Y="1.0" POSITION_Z="0.0"/>
      </SpotsInFrame>
      <SpotsInFrame frame="2">
        <Spot ID="12" name="ID12" FRAME="2" POSITION_X="5.0" POSITION_Y="2.0" POSITION_Z="0.0" AREA="6.0">0 0</Spot>
        <Spot ID="13" name="ID13" FRAME="2" POSITION_X="6.0" POSITION_Y="2.0" POSITION_Z="0.0" AREA="6.0">0 0</Spot>
      </SpotsInFrame>
    </AllSpots>
    <AllTracks>
      <Track name="Track_3" TRACK_ID="3">
        <Edge SPOT_SOURCE_ID="11" SPOT_TARGET_ID="12"/><Edge SPOT_SOURCE_ID="10" SPOT_TARGET_ID="11"/><Edge SPOT_SOURCE_ID="13" SPOT_TARGET_ID="11"/>
      </Track>
      <Track name="Track_7" TRACK_ID="7"><Edge SPOT_SOURCE_ID="50" SPOT_TARGET_ID="51"/></Track>
    </AllTracks>
    <FilteredTracks><TrackID TRACK_ID="3"/></FilteredTracks>
  </Model>
  <Settings><ImageData filename="pos4.tif" folder="D:/data/" width="50" height="40" pixelwidth="0.5" pixelheight="0.25" voxeldepth="1.0"/></Settings>
</TrackMate>
"""
EXPECTED = [[0, 0, 8.0, 8.0, -1], [0, 1, 9.0, 8.0, -1], [1, 2, 10.0, 8.0, 0], [2, 2, 12.0, 8.0, 0]]


@pytest.fixture
def archive(make_movie: MakeMovie) -> Archive:
    return Archive("/archive", (make_movie("day1/pos4.tif"), make_movie("day1/pos5.tif", um=0.5)), ())


def read(text: str, path: Path, archive: Archive, **options: bool) -> Cells:
    path.write_text(text, encoding="utf-8")
    return read_cells(path, archive, **options)  # type: ignore[arg-type]


def rows(cells: Cells) -> list[list[float]]:
    return cells.table[["track_id", "t", "x_px", "y_px", "parent_track_id"]].to_numpy().tolist()


def test_visible_tracks_are_read_in_pixels_with_their_divisions(tmp_path: Path, archive: Archive) -> None:
    cells = read(XML, tmp_path / "any.xml", archive, strict=True)
    assert rows(cells) == EXPECTED
    assert cells.table["movie"].unique().tolist() == ["day1/pos4.tif"]
    assert cells.table["area_px"].tolist() == [80.0, 96.0, 48.0, 48.0]


def test_the_name_of_the_file_says_which_movie_where_the_xml_does_not(tmp_path: Path, archive: Archive) -> None:
    unnamed = XML.replace('filename="pos4.tif"', 'filename="Composite-1"')
    assert read(unnamed, tmp_path / "pos5_trackmate.xml", archive).table["movie"].unique().tolist() == ["day1/pos5.tif"]
    with pytest.raises(UserError, match="any.xml: these cells belong to no movie that is here. name the file after its movie, as pos4_tracks.xml"):
        read(unnamed, tmp_path / "any.xml", archive)


def test_without_its_own_pixel_size_that_of_the_movie_counts(tmp_path: Path, archive: Archive) -> None:
    bare = XML.replace('pixelwidth="0.5" pixelheight="0.25" voxeldepth="1.0"', "")
    with pytest.raises(UserError, match="positions are in micron, but the pixel size of day1/pos4.tif is not known"):
        read(bare, tmp_path / "any.xml", archive)
    assert read(bare.replace("pos4.tif", "pos5.tif"), tmp_path / "any.xml", archive).table["x_px"].tolist() == [8.0, 9.0, 10.0, 12.0]
    assert read(bare.replace('"micron"', '"pixel"'), tmp_path / "any.xml", archive).table["x_px"].tolist() == [4.0, 4.5, 5.0, 6.0]


def test_the_simple_xml(tmp_path: Path, archive: Archive) -> None:
    text = """<?xml version="1.0"?><Tracks nTracks="2" spaceUnits="micron" frameInterval="1.0" timeUnits="sec">
    <particle nSpots="2"><detection t="0" x="1.0" y="2.0" z="0.0"/><detection t="1" x="1.5" y="2.0" z="0.0"/></particle>
    <particle nSpots="1"><detection t="4" x="3.0" y="2.0" z="0.0"/></particle></Tracks>"""
    assert rows(read(text, tmp_path / "pos5_Tracks.xml", archive)) == [[0, 0, 2, 4, -1], [0, 1, 3, 4, -1], [1, 4, 6, 4, -1]]


BOMB = '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD = {
    "a bomb of entities": (
        BOMB + "]><TrackMate><Model spatialunits='&i;'/></TrackMate>",
        "the XML defines a document type, which TrackMate never does",
    ),
    "an entity that reads files": (
        '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><TrackMate>&x;</TrackMate>',
        "the XML defines a document type",
    ),
    "cut off": (XML[:900], "this is no XML file, or a damaged one"),
    "empty": ("", "this is no XML file, or a damaged one"),
    "another program's": ("<OME></OME>", "this XML file is not TrackMate's: it begins with 'OME'"),
    "no tracks": (XML[: XML.index("<AllTracks>")] + "</Model></TrackMate>", "the file has spots, but no tracks"),
    "no spots": ("<TrackMate/>", "the file has no spots"),
    "a word": (XML.replace('POSITION_X="4.5"', 'POSITION_X="left"'), "line 12 has no number where there must be one"),
    "an attribute less": (XML.replace('POSITION_X="4.5"', ""), "line 12 has no number where there must be one ('POSITION_X')"),
    "half a frame": (XML.replace('FRAME="1"', 'FRAME="1.5"'), "some spots are in a frame that is no whole number"),
    "a frame without end": (XML.replace('FRAME="1"', 'FRAME="1e300"'), "some spots are in a frame that is no whole number"),
    "an id twice": (XML.replace('ID="12" name', 'ID="10" name'), "1 spots have the id of another one"),
    "links within a frame": (XML.replace('FRAME="1"', 'FRAME="0"').replace('FRAME="2"', 'FRAME="0"'), "no link joins two spots of different frames"),
    "a deep nest": ("<TrackMate>" + "<a>" * 100_000, "this is no XML file, or a damaged one"),
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_damaged_or_hostile_are_refused(kind: str, tmp_path: Path, archive: Archive) -> None:
    text, message = BAD[kind]
    begun_s = time.perf_counter()
    with pytest.raises(UserError) as caught:
        read(text, tmp_path / "pos4.xml", archive)
    assert f"pos4.xml: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - begun_s < 5


def test_whatever_byte_is_changed_there_are_cells_or_a_readable_refusal(tmp_path: Path, archive: Archive) -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        raw = bytearray(XML.encode())
        for at in rng.integers(0, len(raw), 3):
            raw[at] = rng.integers(0, 256)
        (tmp_path / "pos4.xml").write_bytes(raw)
        try:
            assert len(read_cells(tmp_path / "pos4.xml", archive).table)
        except UserError:
            pass


HEADER = "LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z,POSITION_T,FRAME,RADIUS,AREA\n"
NAMES = """Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,Radius,Area
Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,R,Area
,,,(quality),(micron),(micron),(micron),(sec),,(micron),(micron^2)
"""
SPOTS = """ID10,10,3,1,4.0,2.0,0,0,0,1,10
ID11,11,3,1,4.5,2.0,0,1,1,1,12
ID12,12,3,1,5.0,2.0,0,2,2,1,6
ID99,99,None,1,5.0,2.0,0,2,2,1,6
"""
EDGES = """LABEL,TRACK_ID,SPOT_SOURCE_ID,SPOT_TARGET_ID,LINK_COST
Label,Track ID,Source spot ID,Target spot ID,Edge cost
Label,Track ID,Source ID,Target ID,Cost
,,,,(cost)
a,3,10,11,1
b,3,11,12,1
c,3,13,11,1
"""


def test_a_table_of_spots(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    table = read(HEADER + NAMES + SPOTS, tmp_path / "pos5_spots.csv", archive).table
    assert table[["track_id", "t", "x_px", "y_px", "area_px"]].to_numpy().tolist() == [[3, 0, 8, 4, 40], [3, 1, 9, 4, 48], [3, 2, 10, 4, 24]]
    assert "1 of 4 spots are left out: they are in no track" in caplog.text
    bare = read(HEADER + SPOTS, tmp_path / "pos4_spots.csv", archive).table  # of older versions, and scripts
    assert bare["x_px"].tolist() == [4.0, 4.5, 5.0]


def test_without_units_positions_are_taken_for_um_where_the_pixel_size_is_known(
    tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(HEADER + SPOTS, tmp_path / "pos5_spots.csv", archive).table["x_px"].tolist() == [8.0, 9.0, 10.0]
    assert "the table does not say in which unit positions are; they are taken for um" in caplog.text


def test_tracks_that_divide_need_the_table_of_edges(tmp_path: Path, archive: Archive) -> None:
    spots = HEADER + NAMES + SPOTS + "ID13,13,3,1,6.0,2.0,0,2,2,1,6\n"
    with pytest.raises(UserError, match="pos5_spots.csv: 1 tracks divide, and this table does not say who is whose daughter. save TrackMate's table"):
        read(spots, tmp_path / "pos5_spots.csv", archive)
    (tmp_path / "pos5_edges.csv").write_text(EDGES)
    cells = read(spots, tmp_path / "pos5_spots.csv", archive)
    assert rows(cells) == [[0, 0, 8, 4, -1], [0, 1, 9, 4, -1], [1, 2, 10, 4, 0], [2, 2, 12, 4, 0]]
    assert cells.table["trackmate_track"].tolist() == [3, 3, 3, 3]


def test_another_table_of_trackmate_is_refused(tmp_path: Path, archive: Archive) -> None:
    with pytest.raises(
        UserError, match="pos4_edges.csv: this table of TrackMate has no column POSITION_X, POSITION_Y, FRAME. give its table of spots"
    ):
        read(EDGES, tmp_path / "pos4_edges.csv", archive)


def test_a_folder_with_a_file_for_each_movie(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "pos4.xml").write_text(XML)
    (tmp_path / "pos5_spots.csv").write_text(HEADER + NAMES + SPOTS)
    (tmp_path / "pos5_edges.csv").write_text(EDGES)
    (tmp_path / "pos9.xml").write_text(XML.replace("pos4.tif", "pos9.tif"))
    (tmp_path / "notes.txt").write_text("made by hand")
    cells = read_cells(tmp_path, archive)
    assert cells.table["movie"].value_counts().to_dict() == {"day1/pos4.tif": 4, "day1/pos5.tif": 3}
    assert "pos9.xml: these cells belong to no movie that is here" in caplog.text
    with pytest.raises(UserError, match="pos9.xml: these cells belong to no movie"):
        read_cells(tmp_path, archive, strict=True)
