"""Movies of an archive as people look for them."""

from __future__ import annotations

import numpy as np
import pytest

import cellvjepa
from cellvjepa.movies.movie import ArrayPixels
from cellvjepa.movies.readers import Skipped
from napari_cellvjepa.archive.catalogue import Catalogue, Node, _entry, tree_of


def found(*movies: tuple[str, int, int], skipped: int = 0) -> Catalogue:
    """Return an archive of movies: name, frames, channels."""
    made = []
    for name, frames, channels in movies:
        pixels = ArrayPixels(np.broadcast_to(np.zeros((), np.uint16), (frames, channels, 1, 40, 50)))
        names = ("phase", "GFP", "mCherry")[:channels] if channels <= 3 else tuple(f"c{c}" for c in range(channels))
        groups = {"well": "B3"} if "B/3" in name else {}
        made.append(
            cellvjepa.Movie(
                f"/root/{name}", name, pixels, names, None, 60.0, dict.fromkeys("TCZYX", "given"), "none", frames * channels * 4000, groups=groups
            )
        )
    odd = tuple(Skipped(f"/root/odd/{number}.h5", "this format is not read", "export it") for number in range(skipped))
    archive = cellvjepa.Archive("/root", tuple(made), odd)
    facts = cellvjepa.survey(archive, cellvjepa.ClipShape.of(cellvjepa.Config().clip))["movies"]
    return Catalogue(archive, tuple(_entry(movie, one) for movie, one in zip(made, facts, strict=True)))


def drawn(node: Node) -> list[object]:
    return [[child.title, drawn(child)] if child.children else child.title for child in node.children]


ARCHIVE = [("day1/a.tif", 240, 1), ("day1/b.tif", 24, 3), ("p.zarr/B/3/0", 30, 3), ("p.zarr/B/3/1", 30, 13), ("top.tif", 1, 2)]


def test_folders_plates_and_wells_are_branches() -> None:
    archive = found(*ARCHIVE, skipped=2)
    root = tree_of(archive, range(5), with_skipped=True)
    assert drawn(root) == [
        ["day1", ["a.tif", "b.tif"]],
        ["p.zarr/B/3", ["0", "1"]],  # wells of one plate that are the only ones are no branches of their own
        "top.tif",
        ["Not used: 2", ["odd/0.h5", "odd/1.h5"]],
    ]
    for node in (root.children[0].children[1], root.children[1].children[0]):
        assert node.parent is not None
        assert node.parent.children[node.row] is node
    assert [child.entry for child in root.children[1].children] == [2, 3]


def test_a_branch_of_one_movie_is_that_movie() -> None:
    root = tree_of(found(("a/b/c.tif", 3, 1), ("d.tif", 3, 1)), [0, 1], with_skipped=False)
    assert drawn(root) == ["a/b/c.tif", "d.tif"]
    assert [child.entry for child in root.children] == [0, 1]


@pytest.mark.parametrize(
    ("text", "movies"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("DAY1", [0, 1]),
        ("day1 b.t", [1]),
        ("3 channels", [1, 2]),
        ("13 channels", [3]),
        ("channels  3", [1, 2, 3]),
        ("1 channel", [0]),
        ("24 frames", [1]),
        ("mcherry", [1, 2]),
        ("well b3", [2, 3]),
        ("40 x 50", [0, 1, 2, 3, 4]),
        ("problem", [0, 1, 2, 3, 4]),  # the pixel size is unknown
        ("a.tif ((", []),
        ("nothing like it", []),
    ],
)
def test_words_are_searched_for(text: str, movies: list[int]) -> None:
    assert found(*ARCHIVE).matching(text) == movies


def test_a_line_says_what_matters() -> None:
    assert [entry.line for entry in found(*ARCHIVE).entries][1::3] == ["24 frames, 40 x 50 px, 3 channels", "1 frame, 40 x 50 px, 2 channels"]
