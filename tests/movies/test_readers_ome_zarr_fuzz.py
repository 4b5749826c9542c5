"""Random damage to OME-Zarr stores: the only outcomes are pixels or a clear error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.movies.readers import open_archive, open_movie

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteZarr = Callable[..., Path]
VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["0", "..", "t", "y", "x", "scale", "uint16"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def places_in(found: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the way to every value of parsed JSON."""
    for key, value in found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ():
        yield (*above, key)
        yield from places_in(value, (*above, key))


@given(data=st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@VERSIONS
def test_any_value_in_any_place_gives_pixels_or_a_clear_error(
    write_zarr: WriteZarr, told: Told, tmp_path: Path, version: str, data: st.DataObject
) -> None:
    image = tmp_path / "p.zarr/B/3/0"
    if not image.exists():
        array = told(3, 16, 16)
        omero = {"omero": {"channels": [{"label": "a"}]}}
        write_zarr(array, "tyx", version, store="p.zarr", within="B/3/0", chunks=(1, 8, 8), coarser=[array[:, ::2, ::2]], ome=omero)
    files = [path for name in ("zarr.json", ".zattrs", ".zarray") for path in sorted(image.rglob(name))]
    path = data.draw(st.sampled_from([path for path in files if json.loads(path.read_text())]))
    intact = path.read_text()
    metadata = json.loads(intact)
    *way, last = data.draw(st.sampled_from(list(places_in(metadata))))
    target = metadata
    for key in way:
        target = target[key]
    target[last] = data.draw(JSON)
    path.write_text(json.dumps(metadata))
    refusal = None
    try:
        (movie,) = open_archive(tmp_path).movies
        movie.pixels[0, 0, 0, :4, :4]
        for level in movie.pyramid:
            level.pixels[0, 0, 0, :2, :2]
    except UserError as error:
        refusal = str(error)
    finally:
        path.write_text(intact)
    assert refusal is None or (str(tmp_path) in refusal and refusal.encode())


@given(data=st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("layout", ["0.4", "0.5", "shards"])
def test_random_bytes_in_any_file_give_pixels_or_a_clear_error(
    write_zarr: WriteZarr, told: Told, tmp_path: Path, layout: str, data: st.DataObject
) -> None:
    image = tmp_path / "movie.zarr"
    array = told(3, 16, 16)
    if not image.exists():
        how: dict[str, Any] = {"shards": (1, 16, 16)} if layout == "shards" else {}
        write_zarr(array, "tyx", "0.4" if layout == "0.4" else "0.5", chunks=(1, 8, 8), coarser=[array[:, ::2, ::2]], **how)
    path = data.draw(st.sampled_from(sorted(path for path in image.rglob("*") if path.is_file())))
    intact = path.read_bytes()
    raw = bytearray(intact)
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(raw[: data.draw(st.just(len(raw)) | st.integers(0, len(raw)))]))
    refusal = None
    try:
        movie = open_movie(image)
        assert movie.pixels[:2].shape[0] in (1, 2)
        for level in movie.pyramid:
            level.pixels[0, 0, 0, :2, :2]
    except UserError as error:
        refusal = str(error)
    finally:
        path.write_bytes(intact)
    assert refusal is None or str(image) in refusal
