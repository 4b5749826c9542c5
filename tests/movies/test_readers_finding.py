from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellvjepa.movies.readers import open_movie
from cellvjepa.movies.readers.finding import find
from cellvjepa.movies.readers.tiff import tiff

Told = Callable[..., np.ndarray[Any, Any]]
WriteFrames = Callable[..., Path]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Note which TIFFs are looked into."""
    looked_into: list[Path] = []
    read_contents = tiff.read_contents

    def noting(path: Path) -> tiff.TiffContents:
        looked_into.append(path)
        return read_contents(path)

    monkeypatch.setattr(tiff, "read_contents", noting)
    return looked_into


def links(folder: Path, names: list[str], frame: np.ndarray[Any, Any], **how: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / names[0], frame, **how)
    for name in names[1:]:
        os.link(folder / names[0], folder / name)
    return folder


def test_one_file_of_each_kind_is_opened_to_tell_frames_from_movies(tmp_path: Path, told: Told, opened: list[Path]) -> None:
    links(tmp_path / "frames", [f"t{t}.tif" for t in range(500)], told(8, 8))
    links(tmp_path / "movies", [f"exp{t}.tif" for t in range(500)], told(5, 8, 8), metadata={"axes": "TYX"})
    links(tmp_path / "wells", [f"{well}_t{t}.tif" for well in ("A1", "B1", "C1") for t in range(50)], told(8, 8))
    found = find(tmp_path)
    assert len(found.candidates) == 1 + 500 + 3
    assert len(opened) == 3


def test_folders_of_channels_are_one_movie_and_others_their_own(tmp_path: Path, told: Told) -> None:
    for folder in ("a/ch0", "a/ch1", "b/Pos0", "b/Pos1", "c/ch0", "d/t1", "d/t2"):
        links(tmp_path / folder, [f"img_t{t}.tif" for t in range(3)] if folder[0] != "d" else ["c1.tif", "c2.tif"], told(8, 8))
    found = find(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found.candidates] == ["a", "b/Pos0", "b/Pos1", "c/ch0", "d"]
    assert (open_movie(tmp_path / "a").shape["C"], open_movie(tmp_path / "d").shape["T"]) == (2, 2)


def test_folders_that_only_look_like_channels_are_movies_of_their_own(tmp_path: Path, told: Told) -> None:
    for channel in (0, 1):
        links(tmp_path / f"ch{channel}", [f"exp{channel}{word}.tif" for word in "ab"], told(5, 8, 8), metadata={"axes": "TYX"})
    assert [path.name for path in find(tmp_path).candidates] == ["exp0a.tif", "exp0b.tif", "exp1a.tif", "exp1b.tif"]


def test_many_label_images_are_one_line(tmp_path: Path, told: Told) -> None:
    links(tmp_path, [f"mask{t:03d}.tif" for t in range(40)], told(8, 8))
    (line,) = find(tmp_path).skipped
    assert line.what == "40 files look like label images (mask000.tif, ...)"
    assert line.remedy.startswith("give it with --cells")
    assert open_movie(tmp_path).shape["T"] == 40


def test_a_set_of_ome_tiffs_is_no_series_and_opens_by_its_folder(tmp_path: Path, told: Told) -> None:
    """The names say channel and frame, and so does the OME-XML, which knows better."""
    names = [f"img_C{c}_T{t}.ome.tif" for t in range(3) for c in range(2)]
    blocks = "".join(
        f'<TiffData FirstT="{i // 2}" FirstC="{i % 2}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{i}</UUID></TiffData>'
        for i, name in enumerate(names)
    )
    for i, name in enumerate(names):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{i}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="8" SizeY="8" SizeZ="1" SizeC="2" SizeT="3">'
            f"{blocks}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / name, told(8, 8) + i, description=xml, metadata=None)
    assert [path.name for path in find(tmp_path).candidates] == [names[0]]
    for place in (tmp_path, tmp_path / names[3]):
        movie = open_movie(place)
        assert movie.shape == {"T": 3, "C": 2, "Z": 1, "Y": 8, "X": 8}
        np.testing.assert_array_equal(movie.pixels[:, :, 0, 0, 0], [[0, 1], [2, 3], [4, 5]])
