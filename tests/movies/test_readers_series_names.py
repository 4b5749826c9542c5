"""Layouts of one file per frame, channel and plane, as programs write them, and what is made of their names."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive, open_movie
from cellvjepa.movies.readers.series.series_names import kin_among

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteFrames = Callable[..., Path]
ThroughPickle = Callable[[Movie], Movie]

# How the files are called, what is recognised, and what is assumed.
RECOGNISED = [
    ("exp_t{}.tif", [range(12)], "exp_t{t}.tif", 0),
    ("img_{:03d}.tif", [range(3)], "img_{t}.tif", 1),
    ("img_{:03d}_{:03d}00.tif", [[(0, 1), (1, 7), (2, 9)]], "img_{t}_*.tif", 1),  # the second number follows from the first
    ("t{:03d}_{}ms.tif", [[(0, 1), (1, 7), (2, 9)]], "t{t}_*ms.tif", 0),
    ("C{}-title_t{}.tif", [(1, 2), range(12)], "C{channel}-title_t{t}.tif", 0),
    ("image--C{:02d}--T{:05d}.ome.tif", [range(2), range(3)], "image--C{channel}--T{t}.ome.tif", 0),
    ("e_t{:03d}_z{:02d}_ch{:02d}.tif", [range(3), range(2), range(2)], "e_t{t}_z{z}_ch{channel}.tif", 0),
    ("img_{}_t{}.tif", [("GFP", "Cy5", "Phase"), range(3)], "img_{channel}_t{t}.tif", 0),
    ("img_{}_t{}.tif", [(488, 561), range(3)], "img_{channel}_t{t}.tif", 1),  # the wavelengths of lasers
    ("e_w{}_s{}_t{}.TIF", [("1DAPI", "2Cy5 conf"), (1, 2), (1, 2)], "e_w{channel}_s{field}_t{t}.TIF", 0),
    ("HC1_{}_{}_{}_00d{:02d}h30m.tif", ["PG", ("B2", "C3"), (1, 2), (0, 4)], "{movie}_{channel}_{well}_{field}_{time}.tif", 0),
    ("img_{:09d}_{}_{:03d}.tif", [range(2), ("DAPI", "TL Brightfield"), range(2)], "img_{t}_{channel}_{z}.tif", 0),
    (
        "r{:02d}c03f{:02d}p{:02d}-ch{}sk{}fk1fl1.tiff",
        [(2, 3), (1, 2), (1, 2), (1, 2), (1, 2)],
        "r{row}c{column}f{field}p{z}-ch{channel}sk{t}fk*fl*.tiff",
        0,
    ),
    ("Plate_{}_T{:04d}F{:03d}L01A01Z01C{:02d}.tif", [("B02", "C03"), (1, 2), (1, 2), (1, 2)], "Plate_{well}_T{t}F{field}L01A01Z01C{channel}.tif", 0),
    ("{}_t{}.tif", [("B2", "C2", "H12"), range(3)], "{well}_t{t}.tif", 0),
    ("exp{}_t{}.tif", [range(2), range(3)], "exp{movie}_t{t}.tif", 1),
    ("ch{}/T{:04d}.tif", [range(2), range(3)], "ch{channel}/T{t}.tif", 0),
    ("channel{0}/C{0}-MAX_t{1}.tif", [(1, 2), range(12)], "channel{channel}/C{channel}-MAX_t{t}.tif", 0),
    ("{}/t{}.tif", [("DAPI", "GFP"), range(3)], "{channel}/t{t}.tif", 0),
    ("t{:03d}/c{}.tif", [range(3), (1, 2)], "t{t}/c{channel}.tif", 0),
    ("s{}_w{}.tif", [range(3), (1, 2)], "s{field}_w{channel}.tif", 0),
]


def named(template: str, ranges: list[Any]) -> list[str]:
    names = []
    for values in itertools.product(*ranges):
        flat = values[0] if len(values) == 1 and isinstance(values[0], tuple) else values
        names.append(template.format(*flat))
    return names


@pytest.mark.parametrize(("template", "ranges", "pattern", "assumptions"), RECOGNISED)
def test_what_names_mean_is_recognised(template: str, ranges: list[Any], pattern: str, assumptions: int) -> None:
    names = named(template, ranges)
    (kin,) = kin_among(names)
    assert kin.unsure is None
    assert kin.pattern.text == pattern
    assert len(kin.assumed) == assumptions
    assert kin.paths == tuple(names)
    assert [kin.pattern.match(name) for name in names] == list(kin.values)


def test_every_file_is_in_one_kind() -> None:
    names = [name for template, ranges, _, _ in RECOGNISED for name in named(template, ranges)]
    names += ["overview.tif", "t1.TIF", "\N{GREEK SMALL LETTER MU}m.tif"]
    assert sorted(path for kin in kin_among(names) for path in kin.paths) == sorted(names)


@pytest.mark.parametrize(("template", "ranges", "pattern", "assumptions"), RECOGNISED)
def test_a_recognised_folder_is_read_and_opened_again_by_its_uri(
    template: str, ranges: list[Any], pattern: str, assumptions: int, tmp_path: Path, write_frames: WriteFrames, told: Told
) -> None:
    """Every file holds its own value: what is read from the wrong file is seen."""
    names = named(template, ranges)
    (kin,) = kin_among(names)
    for index, (name, values) in enumerate(zip(names, kin.values, strict=True)):
        folder, _, file = name.rpartition("/")
        write_frames({file: np.full((8, 8), index + 1, "uint16")}, f"exp/{folder}")
        del values
    movies = open_archive(tmp_path / "exp", remember=False).movies
    seen: list[int] = []
    for movie in movies:
        found = movie.pixels[..., 0, 0]
        seen += found.ravel().tolist()
        again = open_movie(movie.uri)
        assert (again.channels, again.interval_s) == (movie.channels, movie.interval_s)
        np.testing.assert_array_equal(again.pixels[..., 0, 0], found)
        assert all("{" not in value for value in movie.groups.values())
    assert sorted(seen) == list(range(1, len(names) + 1))
    assert len({movie.name for movie in movies}) == len(movies) == len({movie.uri for movie in movies})


def test_an_incucyte_export_with_several_wells_and_fields(write_frames: WriteFrames, tmp_path: Path) -> None:
    for well, field, channel, frame in itertools.product(("B2", "C11"), (1, 2), "PG", range(3)):
        value = np.full((8, 8), 100 * (well == "B2") + 10 * field + frame + 50 * (channel == "G"), "uint8")
        write_frames({f"HC01501_{channel}_{well}_{field}_00d{frame // 2:02d}h{frame % 2 * 30:02d}m.tif": value}, "arch/day1")
    archive = open_archive(tmp_path / "arch", remember=False)
    assert [movie.name for movie in archive.movies] == ["day1/B2_1", "day1/B2_2", "day1/C11_1", "day1/C11_2"]
    movie = archive.movies[1]
    assert movie.uri == f"{tmp_path}/arch/day1/HC01501_{{channel}}_B2_2_{{time}}.tif"
    assert movie.groups == {"well": "B2", "field": "2"}
    assert (movie.channels, movie.interval_s, movie.shape["T"]) == (("G", "P"), 1800.0, 3)
    assert movie.axes["T"] == movie.axes["C"] == "file"
    np.testing.assert_array_equal(movie.pixels[:, 1, 0, 0, 0], [120, 121, 122])
    assert 'the files are read as "HC01501_{channel}_B2_2_{time}.tif"' in movie.problems[0].what


def test_wells_of_an_opera_are_called_by_letter_and_number(write_frames: WriteFrames, told: Told) -> None:
    names = named("r{:02d}c03f{:02d}p01-ch1sk{}fk1fl1.tiff", [(2, 16), (1,), (1, 2)])
    movies = open_archive(write_frames(dict.fromkeys(names, told(8, 8))), remember=False).movies
    assert [movie.name for movie in movies] == ["r02c03f01", "r16c03f01"]
    assert [movie.groups["well"] for movie in movies] == ["B3", "P3"]
    assert movies[0].groups == {"row": "02", "column": "03", "field": "01", "well": "B3"}


def test_series_that_differ_in_a_word_are_movies_and_the_doubt_is_told(write_frames: WriteFrames, told: Told, tmp_path: Path) -> None:
    write_frames(dict.fromkeys([f"{word}_t{t}.tif" for word in ("P", "G") for t in range(3)], told(8, 8)), "arch/day1")
    movies = open_archive(tmp_path / "arch", remember=False).movies
    assert [movie.name for movie in movies] == ["day1/G", "day1/P"]
    (doubt,) = [problem for problem in movies[0].problems if "named alike" in problem.what]
    assert doubt.remedy.endswith('say it with --pattern "{channel}_t{t}.tif"')


def test_names_that_lie_are_not_mistaken_for_time(write_frames: WriteFrames, told: Told) -> None:
    single = write_frames({"exp1_t0.tif": told(8, 8), "exp2_t0.tif": told(8, 8)}, "single")
    assert [movie.name for movie in open_archive(single, remember=False).movies] == ["exp1_t0.tif", "exp2_t0.tif"]
    plates = write_frames({f"plate_{well}.tif": told(8, 8) for well in ("A1", "B1", "B2")}, "plates")
    assert len(open_archive(plates, remember=False).movies) == 3


def test_frames_beside_single_movies(write_frames: WriteFrames, told: Told) -> None:
    folder = write_frames({f"t{t}.tif": told(8, 8) for t in range(3)} | {"overview.tif": told(20, 20), "t0_thumb.tif": told(4, 4)})
    movies = open_archive(folder, remember=False).movies
    assert [(movie.name, movie.shape["T"]) for movie in movies] == [("frames", 3), ("overview.tif", 1)]
    assert open_movie(folder).shape["T"] == 3


def test_a_series_pickles_by_its_pattern(write_frames: WriteFrames, told: Told, through_pickle: ThroughPickle, tmp_path: Path) -> None:
    write_frames({f"s{s}_t{t}.tif": told(8, 8) + 10 * s + t for s in range(2) for t in range(3)}, "a{b}*")
    for movie in open_archive(tmp_path / "a{b}*", remember=False).movies:
        again = through_pickle(movie)
        np.testing.assert_array_equal(again.pixels[:], movie.pixels[:])
        assert dict(again.groups) == dict(movie.groups) != {}


def test_a_file_whose_name_has_braces_is_opened_as_it_is(write_frames: WriteFrames, told: Told) -> None:
    folder = write_frames({"{channel}_t{t}.tif": told(8, 8), "GFP_t1.tif": told(9, 9), "GFP_t2.tif": told(9, 9)})
    assert open_movie(folder / "{channel}_t{t}.tif").shape["Y"] == 8
    assert open_movie(folder / "{channel}_t{t}.tif", None).uri == str(folder / "{channel}_t{t}.tif")


@pytest.mark.parametrize("name", ["C{}-title.tif", "ch{}/title.tif"])
def test_movies_of_one_channel_each_are_one_movie(name: str, write_frames: WriteFrames, told: Told, tmp_path: Path) -> None:
    """As ImageJ splits the channels of a movie."""
    for channel in (1, 2):
        folder, _, file = name.format(channel).rpartition("/")
        write_frames({file: told(5, 8, 8) + channel}, f"exp/{folder}", imagej=True, metadata={"axes": "TYX", "finterval": 30.0, "tunit": "s"})
    (movie,) = open_archive(tmp_path / "exp", remember=False).movies
    assert (movie.name, movie.channels, movie.interval_s) == ("exp", ("ch1", "ch2"), 30.0)
    np.testing.assert_array_equal(movie.pixels[:, :, 0], np.stack([told(5, 8, 8) + 1, told(5, 8, 8) + 2], axis=1))


def test_a_remembered_series_is_the_same(write_frames: WriteFrames, told: Told) -> None:
    folder = write_frames({f"s{s}_t{t}.tif": told(8, 8) + 10 * s + t for s in range(2) for t in range(3)})
    for path in (*folder.iterdir(), folder):
        os.utime(path, (1e9, 1e9))
    first, again = open_archive(folder).movies, open_archive(folder).movies
    for one, two in zip(first, again, strict=True):
        assert (one.name, one.uri, one.groups, one.channels, one.problems) == (two.name, two.uri, two.groups, two.channels, two.problems)
        np.testing.assert_array_equal(one.pixels[:], two.pixels[:])
