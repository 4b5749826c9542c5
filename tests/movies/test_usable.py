from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.readers import open_archive, open_archives
from cellvjepa.movies.usable import usable

SHAPE = ClipShape(8, None, 16, None, None, "max")


def write(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.zeros((frames, 20, 20), np.uint8), imagej=True, metadata={"axes": "TYX"})


def test_short_movies_are_left_out_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "long.tif", 9)
    write(tmp_path / "short.tif", 3)
    left = usable(open_archive(tmp_path), SHAPE)
    assert [movie.name for movie in left.movies] == ["long.tif"]
    assert [(s.path, "has 3 frames" in s.what) for s in left.skipped] == [("short.tif", True)]


def test_an_archive_of_short_movies_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", 3)
    write(tmp_path / "b.tif", 2)
    with pytest.raises(UserError, match=r"3 frames.*1 more movies yield no clip either.*clip\.frames"):
        usable(open_archive(tmp_path), SHAPE)


def test_two_archives_keep_their_movies_apart(tmp_path: Path) -> None:
    for day in ("day1", "day2"):
        write(tmp_path / day / "pos1.tif", 9)
    write(tmp_path / "day2" / "pos2.tif", 9)
    both = open_archives([tmp_path / "day1", tmp_path / "day2"])
    assert [movie.name for movie in both.movies] == ["day1/pos1.tif", "day2/pos1.tif", "pos2.tif"]
    with pytest.raises(UserError, match=r"day1: this path is given twice\. give it once\."):
        open_archives([tmp_path / "day1", tmp_path / "day1"])
