from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cellvjepa.errors import UserError
from cellvjepa.writing import atomic_path, readable_write_errors, remove_leftovers, writable_folder


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="crash"), atomic_path(target) as part:
        part.write_text("half of the n")
        raise RuntimeError("crash")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("old", [None, "file"])
def test_success_puts_the_new_file_in_place(tmp_path: Path, old: str | None) -> None:
    target = tmp_path / "deep" / "table.csv"
    if old:
        target.parent.mkdir()
        target.write_text(old)
    with atomic_path(target) as part:
        part.write_text("new")
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["table.csv"]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "store"
    target.mkdir()
    (target / "old").write_text("")
    with atomic_path(target) as part:
        part.mkdir()
        (part / "new").write_text("")
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["store"]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "the disk is full. free some space"), (errno.EROFS, "the file system is read-only"), (errno.EACCES, "writing is not permitted")],
)
def test_disk_errors_become_one_readable_line(number: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence), readable_write_errors("out"):
        raise OSError(number, os.strerror(number))


def test_what_may_not_be_read_is_not_told_as_what_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "labels.csv"
    file.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whoever runs the tests may be allowed everything
    with pytest.raises(UserError, match=r"labels\.csv: reading is not permitted\. ask for the right"), readable_write_errors("out"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
    with pytest.raises(UserError, match=r"new\.csv: writing is not permitted\. choose"), readable_write_errors("out"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "new.csv"))


@pytest.mark.parametrize("name", ["locked/labels.csv", b"labels.csv", 7])
def test_what_is_not_known_to_be_there_is_told_as_what_may_not_be_written(name: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that may not be entered nothing can be asked about a file; and some system calls name it in other ways."""

    def locked(*arguments: object, **more: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "stat", locked)
    with pytest.raises(UserError, match="writing is not permitted"), readable_write_errors("out"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


def test_other_os_errors_stay_what_they_are() -> None:
    with pytest.raises(OSError, match="Input/output") as caught, readable_write_errors("out"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert not isinstance(caught.value, UserError)


def test_a_file_in_place_of_the_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match=r"run: this is a file, not a folder\. choose another"):
        writable_folder(tmp_path / "run")
    with pytest.raises(UserError, match="a part of the path is a file"):
        writable_folder(tmp_path / "run" / "deeper")


def test_a_full_disk_under_safetensors_is_one_readable_line() -> None:
    from safetensors import SafetensorError

    with pytest.raises(UserError, match="the disk is full"), readable_write_errors("out"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(SafetensorError, match="header too large"), readable_write_errors("out"):
        raise SafetensorError("header too large")


def test_what_is_written_can_be_read_by_whoever_may_read_other_new_files(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "weights") as part:
        part.touch(mode=0o600)
    (tmp_path / "other").touch()
    assert (tmp_path / "weights").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    """A process that is killed cannot tidy up: here it is a generator that is never resumed."""
    folder = tmp_path / "run"
    killed = atomic_path(folder / "below" / "weights.bin")
    part = killed.__enter__()
    part.write_text("half")
    for other in (folder / ".git", folder / ".weights.d"):
        other.mkdir()
    remove_leftovers(folder, "table.*")
    assert part.is_file(), "another file's"
    remove_leftovers(folder, "weights.*")
    assert not part.parent.exists()
    assert sorted(os.listdir(folder)) == [".git", ".weights.d", "below"]
