from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvjepa.movies.survey_table import MOST_ROWS, legend, summary, survey_table


def described(name: str = "a.tif", **changed: Any) -> dict[str, Any]:
    one = {
        "name": name,
        "uri": f"/archive/{name}",
        "shape": {"T": 200, "C": 1, "Z": 1, "Y": 2048, "X": 2048},
        "axes": dict.fromkeys("TCZYX", "file"),
        "dtype": "uint16",
        "channels": ["ch0"],
        "pixel_um": {"z": None, "y": 0.325, "x": 0.325},
        "interval_s": 300.0,
        "chunks": {"T": 16, "C": 1, "Z": 1, "Y": 256, "X": 256},
        "codec": "blosc/lz4",
        "bytes": 1_677_721_600,
        "groups": {},
        "levels": [{"factor": [1, 1, 1]}],
        "level_read": 0,
        "read_amplification": 9.123,
        "mb_per_clip": 14.6,
        "predicted": {"stream_clips_per_s": 1234.0, "random_clips_per_s": 77.7},
        "problems": [],
    }
    return copy.deepcopy(one) | changed


def row(movie: dict[str, Any], width: int = 1000) -> dict[str, str]:
    return {" ".join(column.title.split()): column.texts[0] for column in survey_table([movie], width).columns}


def test_a_row_says_what_matters() -> None:
    assert row(described()) == {
        "movie": "a.tif",
        "axes": "T200 2048x2048",
        "type": "uint16",
        "pixel [um]": "0.325",
        "every [s]": "300",
        "stored as": "blosc/lz4 16x256x256",
        "size": "1.68 GB",
        "x": "9.1",
        "clips/s stream": "1,200",
        "clips/s random": "78",
    }


def test_a_row_tells_assumed_and_given_axes_unknown_units_and_levels() -> None:
    movie = described(
        shape={"T": 9, "C": 2, "Z": 3, "Y": 64, "X": 64},
        axes={"T": "assumed", "C": "file", "Z": "given", "Y": "file", "X": "file"},
        channels=["phase", "GFP"],
        pixel_um=None,
        interval_s=None,
        levels=[{"factor": [1, 1, 1]}, {"factor": [1, 2, 2]}, {"factor": [1, 4, 4]}],
        level_read=1,
    )
    found = row(movie)
    assert (found["axes"], found["channels"]) == ("T9? C2 Z3! 64x64", "phase GFP")
    assert (found["pixel [um]"], found["every [s]"], found["levels"]) == ("?", "?", "3, reads 2x2")
    assert legend([movie])[-1] == "axes: ? assumed, ! given, the others as the file says"
    assert row(described(pixel_um={"z": 2.0, "y": 0.5, "x": 0.25}))["pixel [um]"] == "0.5x0.25 z 2"


def test_a_movie_that_yields_no_clip_has_no_numbers() -> None:
    found = row(described(predicted=None, read_amplification=None, level_read=None))
    assert (found["x"], found["clips/s stream"], found["clips/s random"]) == ("-", "-", "-")


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ({"T": 1, "C": 1, "Z": 1, "Y": 1, "X": 1}, "lzw"),
        ({"T": 1, "C": 1, "Z": 1, "Y": 16, "X": 2048}, "lzw 16 rows"),
        ({"T": 1, "C": 1, "Z": 1, "Y": 1, "X": 2048}, "lzw 1 row"),
        ({"T": 1, "C": 1, "Z": 1, "Y": 2048, "X": 2048}, "lzw images"),
        ({"T": 1, "C": 1, "Z": 1, "Y": 512, "X": 512}, "lzw 512x512"),
        ({"T": 4, "C": 1, "Z": 2, "Y": 2048, "X": 2048}, "lzw 4x2x2048x2048"),
    ],
)
def test_pieces_have_the_names_that_people_use(chunks: dict[str, int], expected: str) -> None:
    assert row(described(codec="lzw", chunks=chunks))["stored as"] == expected


@pytest.mark.parametrize("width", [100, 110, 120])
def test_long_names_and_full_columns_fit_a_terminal(width: int) -> None:
    names = ["experiment_2024-03-17/plate_A/TimePoint_0001/well_B03/position_0007_deconvolved_registered.ome.tif", "x" * 120, "ä" * 70, "a.tif"]
    full = {
        "shape": {"T": 481, "C": 3, "Z": 25, "Y": 2048, "X": 2048},
        "axes": dict.fromkeys("TCZYX", "assumed"),
        "channels": ["brightfield", "GFP", "mCherry"],
        "pixel_um": {"z": 1.25, "y": 0.325, "x": 0.325},
        "levels": [{"factor": [1, 1, 1]}, {"factor": [1, 2, 2]}],
    }
    table = survey_table([described(name, **full) for name in names], width)
    assert table.width <= width
    shown = table.columns[0].texts
    assert shown[0].split("\n")[-1].endswith("ed.ome.tif")
    assert shown[3] == "a.tif"


@given(st.text(alphabet="abc/_.é", min_size=1, max_size=200), st.integers(60, 200))
def test_names_that_fit_are_whole_and_others_keep_their_ends(name: str, width: int) -> None:
    shown = survey_table([described(name)], width).columns[0].texts[0]
    joined = shown.replace("\n", "")
    if "…" in joined:
        start, end = joined.split("…")
        assert name.startswith(start)
        assert name.endswith(end)
        assert end
    else:
        assert joined == name


def test_names_that_are_no_utf_8_can_be_printed() -> None:
    shown = row(described("caf\udce9.tif"))["movie"]
    assert shown.startswith("caf")
    assert shown.encode().decode() == shown


def test_many_movies_that_are_alike_share_a_row() -> None:
    movies = [described(f"day1/{n}.tif", shape={"T": 10 + n, "C": 1, "Z": 1, "Y": 64, "X": 64}) for n in range(100)]
    movies += [described(f"day2/{n}.tif", dtype="uint8") for n in range(2000)]
    columns = {column.title: column.texts for column in survey_table(movies, 200).columns}
    assert columns["movie"] == ("day2/0.tif + 1,999 alike", "day1/0.tif + 99 alike")
    assert columns["axes"] == ("T200 2048x2048", "T10-109 64x64")
    assert columns["size"] == ("3.36 TB", "168 GB")
    everything = survey_table(movies, 200, every_movie=True)
    assert len(everything.columns[0].texts) == 2100


def test_many_kinds_are_cut_off_with_a_line_that_counts_them() -> None:
    movies = [described(f"{n}.tif", pixel_um={"z": None, "y": 1.0 + n, "x": 1.0 + n}) for n in range(90)]
    columns = survey_table(movies, 200).columns
    assert len({len(column.texts) for column in columns}) == 1
    assert columns[0].texts[-1] == "... and 60 more of 60 kinds (--all)"
    assert len(columns[0].texts) == MOST_ROWS + 1


def test_the_summary_counts() -> None:
    movies = [described(), described(interval_s=None), described(predicted=None, bytes=1000)]
    assert summary(movies, 7) == "3 movies, 3.36 GB of pixels, 33.2 hours recorded, no interval known of 1, 1 yields no clip; 7 skipped"
    assert summary([described(interval_s=None, bytes=999)], 0) == "1 movie, 0.999 kB of pixels, no interval known"
