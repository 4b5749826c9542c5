"""What a path holds, by a quick look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_cellvjepa.layers import recognising
from napari_cellvjepa.layers.recognising import kind_of, movies_in


def group(folder: Path, attributes: dict[str, object], version: int = 3) -> Path:
    folder.mkdir(parents=True)
    if version == 3:
        (folder / "zarr.json").write_text(json.dumps({"node_type": "group", "attributes": attributes}))
    else:
        (folder / ".zgroup").write_text("{}")
        (folder / ".zattrs").write_text(json.dumps(attributes))
    return folder


@pytest.mark.parametrize("version", [2, 3])
def test_groups_of_zarr_are_told_apart(version: int, tmp_path: Path) -> None:
    ome = (lambda found: {"ome": found}) if version == 3 else (lambda found: found)
    assert kind_of(group(tmp_path / "image", ome({"multiscales": []}), version)) == "movie"
    assert kind_of(group(tmp_path / "plate", ome({"plate": {}}), version)) == "folder"
    assert kind_of(group(tmp_path / "well", ome({"well": {}}), version)) == "folder"
    assert kind_of(group(tmp_path / "several", ome({"bioformats2raw.layout": 3}), version)) == "folder"
    assert kind_of(group(tmp_path / "store", {"encoding-type": "anndata"}, version)) == "store"


@pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a.ome.tif", "a.nd2", "a.czi", "a.lif", "a.stk"])
def test_files_of_microscopes_are_movies(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert kind_of(tmp_path / name) == "movie"
    assert kind_of(tmp_path) == "folder"


def test_movies_are_found_in_folders_below(tmp_path: Path) -> None:
    for name in ("day1/well1/a.tif", "day2/b.nd2", ".trash/c.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    group(tmp_path / "day3" / "d.zarr", {"ome": {}})
    (tmp_path / "day3" / "d.zarr" / "inside.tif").touch()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert movies_in(tmp_path, 100) == 3
    assert movies_in(tmp_path, 2) == 2
    assert kind_of(tmp_path) == "folder"


def test_of_a_folder_without_end_only_the_beginning_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognising, "_ENTRIES_LOOKED_AT", 10)
    for number in range(30):
        (tmp_path / f"{number}.txt").touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.tif").touch()
    assert movies_in(tmp_path, 5) == 0
