from __future__ import annotations

import pytest

from cellvjepa.cells.names import meant_names, stem_of

KNOWN = ["day1/pos4.ome.tif", "day2/pos4.ome.tif", "day2/pos5.tif", "plate.zarr/B/3/0"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("day1/pos4.ome.tif", "day1/pos4.ome.tif"),
        ("./day2\\pos5.tif ", "day2/pos5.tif"),
        ("day2/pos4", "day2/pos4.ome.tif"),
        ("pos5", "day2/pos5.tif"),
        ("pos5.zarr", "day2/pos5.tif"),  # as it is called after it was converted
        ("pos4", None),  # there are two
        ("pos6", None),
        ("plate.zarr/B/3/0", "plate.zarr/B/3/0"),
        ("", None),
    ],
)
def test_a_name_means_one_movie_or_none(written: str, meant: str | None) -> None:
    assert meant_names([written], KNOWN) == [meant]


def test_a_whole_name_comes_before_one_that_ends_like_it() -> None:
    assert meant_names(["a.tif"], ["a.tif", "b/a.tif"]) == ["a.tif"]


def test_a_suffix_alone_is_a_name() -> None:
    assert stem_of(".tif") == ".tif"
    assert stem_of("x.OME.TIF") == "x"
