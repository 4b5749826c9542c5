"""Values that a session file can hold."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from napari_cellvjepa.session.values import NOT_PLAIN, Packing, Unpacking, packed_rows, unpacked_rows


def there_and_back(value: Any, folder: Path, elsewhere: Path | None = None) -> Any:
    packing = Packing(folder)
    plain = yaml.safe_load(yaml.safe_dump({"value": packing.value(value), "selections": packing.selections}))
    return Unpacking(elsewhere or folder, tuple(unpacked_rows(one) for one in plain["selections"])).value(plain["value"])


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 2.5, "text", "", [1, "two", None], {"x": [0.5, 1e-9], "tool": "pan", "deep": {"a": 1}}, {"path": "no path"}, ["/", "a/b"]],
)
def test_plain_values_come_back_as_they_were(value: Any, tmp_path: Path) -> None:
    assert there_and_back(value, tmp_path) == value


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (np.float64(0.5), 0.5),
        (np.int32(7), 7),
        (np.bool_(True), True),
        (("a", 1), ["a", 1]),
        (np.arange(4), [0, 1, 2, 3]),
        ([np.float32(0.25)], [0.25]),
    ],
)
def test_numbers_of_numpy_and_tuples_become_plain(value: Any, back: Any, tmp_path: Path) -> None:
    found = there_and_back(value, tmp_path)
    assert found == back
    assert type(found) is type(back)


@pytest.mark.parametrize("value", [object(), [1, object()], {"a": object()}, {1: "a number for a name"}, np.zeros(5000), np.array(["text"])])
def test_other_values_are_left_out(value: Any, tmp_path: Path) -> None:
    assert Packing(tmp_path).value(value) is NOT_PLAIN


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_selections_come_back(share: float, tmp_path: Path) -> None:
    chosen = np.random.default_rng(0).random(100_003) < share
    back = there_and_back({"a": chosen, "b": chosen}, tmp_path)
    np.testing.assert_array_equal(back["a"], chosen)
    np.testing.assert_array_equal(back["b"], chosen)


def test_a_selection_is_written_once_and_small() -> None:
    packing = Packing(Path("/"))
    chosen = np.zeros(1_000_000, bool)
    chosen[10:40] = chosen[77] = True
    assert packing.value([chosen, chosen.copy()]) == [{"_selection": 0}, {"_selection": 0}]
    assert packing.selections == [{"of": 1_000_000, "rows": "10-39 77"}]
    scattered = packed_rows(np.random.default_rng(0).random(1_000_000) < 0.5)
    assert len(str(scattered)) < 200_000


@pytest.mark.parametrize(
    "packed",
    [
        {"of": 10, "rows": "3-12"},
        {"of": 10, "rows": "5-3"},
        {"of": 10, "rows": "-1"},
        {"of": 10, "rows": "many"},
        {"of": -1, "rows": ""},
        {"of": 2**40, "rows": ""},
        {"of": 10, "bits": "no base64!"},
        {"of": 10, "bits": base64.b64encode(b"no zlib").decode()},
        {"of": 1000, "bits": base64.b64encode(zlib.compress(b"\0")).decode()},
    ],
)
def test_a_selection_that_is_none_is_refused(packed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"selection|rows|invalid literal"):
        unpacked_rows(packed)


def test_bits_that_would_fill_the_memory_are_not_unpacked() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(10**8))).decode()
    assert len(unpacked_rows({"of": 16, "bits": bomb})) == 16


def test_paths_follow_the_session_or_stay_where_they_were(tmp_path: Path) -> None:
    project, moved = tmp_path / "project", tmp_path / "moved"
    for folder in (project, moved):
        folder.mkdir()
        (folder / "movie.tif").touch()
    (tmp_path / "outside.tif").touch()
    inside, outside = str(project / "movie.tif"), str(tmp_path / "outside.tif")
    assert there_and_back(inside, project) == inside
    assert there_and_back(inside, project, moved) == str(moved / "movie.tif")  # the whole folder has been moved
    far = tmp_path / "a" / "b"
    far.mkdir(parents=True)
    assert there_and_back(outside, project, far) == outside  # only the session has been moved
    assert there_and_back(Path(inside), project) == inside
    assert there_and_back("https://example.org/a.zarr", project, moved) == "https://example.org/a.zarr"
    part = str(project / "movie.tif" / "series 2")  # a part of a file is not there as such
    assert there_and_back(part, project, far) == part


def test_values_nested_without_end_are_refused(tmp_path: Path) -> None:
    value: Any = 1
    for _ in range(50):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        Unpacking(tmp_path, ()).value(value)
