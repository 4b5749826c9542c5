"""Files of sessions, good and bad."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import cellvjepa
from napari_cellvjepa.session.file import is_session, read_session, write_session
from napari_cellvjepa.session.sessions import get_reader, read


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.cellvjepa.yaml"
    write_session(path, {"layers": [{"name": "Zelle µ", "kind": "image"}], "viewer": {"zoom": 0.1}})
    assert is_session(path)
    found = read_session(path)
    assert found["layers"] == [{"name": "Zelle µ", "kind": "image"}]
    assert found["viewer"] == {"zoom": 0.1}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is no session of cellvjepa"),
        ("- a list", "this is no session"),
        ("training: {steps: 60}", "this is no session"),
        ("cellvjepa_session: 1\nlayers: 3", "its list of layers is damaged"),
        ("cellvjepa_session: 1\nlayers: [3]", "its list of layers is damaged"),
        ("cellvjepa_session: 99\n", "of version 99, and this program knows version 1. update cellvjepa"),
        ("cellvjepa_session: [1\n", "no valid YAML"),
        ("cellvjepa_session: 1\nlayers: !!python/object/apply:os.system ['touch pwned']\n", "no valid YAML"),
        ("a: &a [x, x]\nb: &b [*a, *a]\ncellvjepa_session: 1\nlayers: [*b, *b]", "no valid YAML"),
        ("cellvjepa_session: 1\nlayers: " + "[" * 3000, "no valid YAML"),
    ],
)
def test_what_is_no_session_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(cellvjepa.UserError, match=message) as error:
        read_session(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "pwned").exists()
    assert not Path("pwned").exists()


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(cellvjepa.UserError, match="cannot be read"):
        read_session(tmp_path / "missing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"cellvjepa_session: 1\n\xff\xfe\0")
    with pytest.raises(cellvjepa.UserError, match="no valid YAML"):
        read_session(tmp_path / "binary.yaml")
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.write(b"cellvjepa_session: 1\n")
        os.truncate(file.fileno(), 2**30)
    with pytest.raises(cellvjepa.UserError, match="more than a session has"):
        read_session(large)


def test_only_sessions_are_ours(tmp_path: Path) -> None:
    other = tmp_path / "config.yaml"
    other.write_text("training:\n  steps: 60\n")
    session = tmp_path / "renamed.yml"
    write_session(session, {"layers": []})
    assert get_reader(str(session)) is read
    for path in (other, tmp_path, tmp_path / "missing.yaml"):
        assert get_reader(str(path)) is None
    assert get_reader([str(session)]) is None


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(cellvjepa.UserError, match=r"file: this is a file, not a folder\. choose another"):
        write_session(tmp_path / "file" / "a.yaml", {"layers": []})


def test_a_session_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_session(path, {"layers": []})
    before = path.read_bytes()
    with pytest.raises(Exception, match="cannot represent"):
        write_session(path, {"layers": [object()]})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.yaml"]
