from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.readers import open_archive, open_movie

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteFrames = Callable[..., Path]
WriteZarr = Callable[..., Path]

# The toy archive:
#
#     day1/pos2.tif  day1/pos10.tif  day1/pos2_labels.tif     two movies and their labels
#     day2/frames/t0.tif ... t11.tif                          a folder of frames
#     day2/plate.zarr/B/3/0                                   a field of a plate
#     day2/broken/empty.tif, pointer.tif, cut.tif, rgb.tif    what cannot be used
#     day2/broken/microscope.oib, notes.txt


@pytest.fixture
def archive(tmp_path: Path, told: Told, write_frames: WriteFrames, write_zarr: WriteZarr) -> Path:
    root = "archive"
    movie = told(5, 16, 20)
    day1 = write_frames(dict.fromkeys(("pos10.tif", "pos2.tif", "pos2_labels.tif"), movie), f"{root}/day1", metadata={"axes": "TYX"})
    write_frames({f"t{t}.tif": movie[0] for t in range(12)}, f"{root}/day2/frames")
    write_zarr(movie, "tyx", store=f"{root}/day2/plate.zarr", within="B/3/0")
    broken = write_frames({"rgb.tif": told(16, 20, 3, dtype="uint8")}, f"{root}/day2/broken", photometric="rgb")
    (broken / "empty.tif").write_bytes(b"")
    (broken / "pointer.tif").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    (broken / "cut.tif").write_bytes((day1 / "pos2.tif").read_bytes()[:1500])
    (broken / "microscope.oib").write_bytes(b"x" * 100)
    (broken / "notes.txt").write_text("nothing to see")
    return tmp_path / root


def test_an_archive_has_its_movies_in_natural_order_under_their_paths(archive: Path) -> None:
    found = open_archive(archive)
    assert found.root == str(archive)
    assert [movie.name for movie in found.movies] == ["day1/pos2.tif", "day1/pos10.tif", "day2/frames", "day2/plate.zarr/B/3/0"]
    assert [movie.uri for movie in found.movies] == [str(archive / movie.name) for movie in found.movies]
    assert [movie.shape["T"] for movie in found.movies] == [5, 5, 12, 5]


def test_what_is_not_used_is_named_with_reason_and_remedy(archive: Path) -> None:
    skipped = {os.path.relpath(one.path, archive): one for one in open_archive(archive).skipped}
    assert {path: one.what.split(":")[0] for path, one in skipped.items()} == {
        "day1/pos2_labels.tif": "looks like a label image",
        "day2/broken": "1 file ending in .oib",
        "day2/broken/cut.tif": "the file is truncated",
        "day2/broken/empty.tif": "the file is empty (0 bytes)",
        "day2/broken/pointer.tif": "this is only a pointer of Git LFS, not the image",
        "day2/broken/rgb.tif": "this is a colour image (RGB), not a grey one",
    }
    assert skipped["day1/pos2_labels.tif"].remedy.startswith("give it with --cells")
    assert all(one.remedy for one in skipped.values())


def test_a_label_image_given_alone_is_opened(archive: Path) -> None:
    assert open_movie(archive / "day1/pos2_labels.tif").name == "pos2_labels.tif"
    assert [movie.name for movie in open_archive(archive / "day1/pos2_labels.tif").movies] == ["pos2_labels.tif"]


@pytest.mark.parametrize("part", ["day1/pos2.tif", "day2/frames", "day2/plate.zarr/B/3/0"])
def test_one_movie_is_an_archive_of_one_under_its_own_name(archive: Path, part: str) -> None:
    found = open_archive(archive / part)
    assert [movie.name for movie in found.movies] == [Path(part).name]
    assert found.movies[0].uri == str(archive / part)
    assert found.skipped == ()


def test_what_is_wrong_with_a_file_alone_is_an_error(archive: Path) -> None:
    with pytest.raises(UserError, match=r"empty\.tif: the file is empty \(0 bytes\)\. copy the file again"):
        open_archive(archive / "day2/broken/empty.tif")


def test_progress_is_told_and_may_stop_the_work(archive: Path) -> None:
    told_so_far: list[tuple[str, int, int]] = []
    open_archive(archive, progress=lambda *step: told_so_far.append(step))
    assert told_so_far[0] == ("opening movies", 0, 8)
    assert told_so_far[-1] == ("opening movies", 8, 8)

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_archive(archive, progress=stop)


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    for opened in (open_archive, open_movie):
        with pytest.raises(UserError, match=r"nowhere: there is no such file or folder\. check the path"):
            opened(tmp_path / "nowhere")


def test_a_folder_without_movies_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there are no movies in this folder\. give a folder with OME-Zarr or TIFF movies"):
        open_archive(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(UserError, match="there are no movies in this folder"):
        open_archive(tmp_path)
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "film.mp4").write_bytes(b"x")
    with pytest.raises(
        UserError, match=r"no movie that can be used: .*\.mp4: this format is not read \(1 more files or folders were skipped\)\. export"
    ):
        open_archive(tmp_path)


def test_a_file_that_is_no_movie_is_an_error_that_shows_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(UserError, match=r"notes\.txt: this is no movie that can be read \(it begins with b'nothing '\)\. export it as OME-TIFF"):
        open_movie(tmp_path / "notes.txt")
    with pytest.raises(UserError, match="this folder is no movie"):
        open_movie(tmp_path)


def test_links_are_followed(archive: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked").symlink_to(archive / "day1")
    assert [movie.name for movie in open_archive(elsewhere).movies] == ["linked/pos2.tif", "linked/pos10.tif"]


def test_links_never_lead_in_circles_or_nowhere(archive: Path, tmp_path: Path) -> None:
    (archive / "day1/loop").symlink_to(archive)
    (archive / "day1/gone.tif").symlink_to(tmp_path / "gone.tif")
    found = open_archive(archive)
    assert len(found.movies) == 4
    assert [one.what for one in found.skipped if one.path.endswith("gone.tif")] == ["this is a link to a file that is not here"]


def test_single_images_are_movies_of_one_frame(write_frames: WriteFrames, told: Told) -> None:
    folder = write_frames({"liver.tif": told(16, 20), "kidney.tif": told(30, 20)})
    assert [(movie.name, movie.shape["T"]) for movie in open_archive(folder).movies] == [("kidney.tif", 1), ("liver.tif", 1)]


def test_a_folder_whose_frames_do_not_fit_is_skipped_with_the_odd_one_named(write_frames: WriteFrames, told: Told, tmp_path: Path) -> None:
    write_frames({f"t{t}.tif": told(16, 20) for t in range(4)}, "root/good")
    write_frames({f"t{t}.tif": told(16, 20 + (t == 2)) for t in range(4)}, "root/bad")
    found = open_archive(tmp_path / "root")
    assert [movie.name for movie in found.movies] == ["good"]
    (skipped,) = found.skipped
    assert skipped.what == "t2.tif: this frame is 16x21 uint16, but the others of its folder are 16x20 uint16"


def test_damaged_metadata_of_one_field_costs_that_field_only(archive: Path, write_zarr: WriteZarr, told: Told) -> None:
    (archive / "day2/plate.zarr/B/3/0/zarr.json").write_text("{")
    write_zarr(told(5, 16, 20), "tyx", store="archive/day2/plate.zarr", within="B/3/1")
    found = open_archive(archive)
    assert [movie.name for movie in found.movies] == ["day1/pos2.tif", "day1/pos10.tif", "day2/frames", "day2/plate.zarr/B/3/1"]
    (skipped,) = [one for one in found.skipped if "metadata" in one.what]
    assert skipped.path == str(archive / "day2/plate.zarr/B/3/0/zarr.json")


def test_thousands_of_movies_leave_no_file_open(tmp_path: Path, told: Told) -> None:
    tifffile.imwrite(tmp_path / "a.tif", told(5, 16, 20), metadata={"axes": "TYX"})
    for copy in range(300):
        os.link(tmp_path / "a.tif", tmp_path / f"copy{copy:03d}_{'x' * (copy % 7)}.tif")
    movies = open_archive(tmp_path).movies
    parts = [movie.pixels[2, 0, 0, 3:5] for movie in movies]
    assert len(parts) == 301
