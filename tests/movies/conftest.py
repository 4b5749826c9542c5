"""Small movies on disk, in the layouts that are read, and the proof that reading leaves nothing open."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from cellvjepa.movies.movie import Movie

Array = np.ndarray[Any, Any]


@pytest.fixture
def told() -> Callable[..., Array]:
    """Make arrays in which every pixel has a value of its own: what is read from the wrong place is not equal."""

    def make(*shape: int, dtype: str = "uint16") -> Array:
        return (np.arange(np.prod(shape)) * 7 % np.iinfo(dtype).max).astype(dtype).reshape(shape)

    return make


@pytest.fixture
def write_frames(tmp_path: Path) -> Callable[..., Path]:
    """Write one TIFF per entry of ``{file name: array}`` into a folder."""

    def write(frames: dict[str, Array], folder: str = "frames", **how: Any) -> Path:
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, frame in frames.items():
            tifffile.imwrite(place / name, frame, **how)
        return place

    return write


@pytest.fixture
def write_zarr(tmp_path: Path) -> Callable[..., Path]:
    """Write an OME-Zarr image; ``scale`` and ``units`` as long as ``axes``, ``within`` is the group in the store, ``coarser`` its other levels."""
    kinds = {"t": "time", "c": "channel"}

    def write(
        pixels: Array,
        axes: str = "tczyx",
        version: str = "0.5",
        *,
        store: str = "movie.zarr",
        within: str = "",
        scale: list[Any] | None = None,
        units: dict[str, str] | None = None,
        chunks: tuple[int, ...] | None = None,
        shards: tuple[int, ...] | None = None,
        ome: dict[str, Any] | None = None,
        coarser: Sequence[Array] = (),
    ) -> Path:
        zarr_format = 2 if version == "0.4" else 3
        root = zarr.open_group(str(tmp_path / store), mode="a", zarr_format=zarr_format)
        group = root.require_group(within) if within else root
        names = {"dimension_names": list(axes)} if zarr_format == 3 else {}
        datasets = []
        for path, level in enumerate([pixels, *coarser]):
            small = tuple(map(min, chunks or level.shape, level.shape))
            array = group.create_array(str(path), shape=level.shape, dtype=level.dtype, chunks=small, shards=shards if path == 0 else None, **names)
            array[...] = level
            factors = [f * many / few if path else f for f, many, few in zip(scale or [1.0] * len(axes), pixels.shape, level.shape, strict=False)]
            datasets.append({"path": str(path), "coordinateTransformations": [{"type": "scale", "scale": factors}]})
        described = [{"name": a, "type": kinds.get(a, "space")} | ({"unit": units[a]} if units and a in units else {}) for a in axes]
        multiscale = {"version": version, "axes": described, "datasets": datasets}
        if version == "0.4":
            group.attrs.update({"multiscales": [multiscale], **(ome or {})})
        else:
            multiscale.pop("version")
            group.attrs["ome"] = {"version": version, "multiscales": [multiscale], **(ome or {})}
        return tmp_path / store / within

    return write


@pytest.fixture(scope="session")
def zarr_is_running() -> None:
    """Start the event loop of zarr, which opens a few descriptors once and for all."""
    zarr.create_array({}, shape=(1,), dtype="uint8")[:]


@pytest.fixture
def nothing_left_open(zarr_is_running: None) -> Iterator[None]:
    """Fail a test that leaves a file open: an archive has more movies than a process may have open files."""
    descriptors = Path("/proc/self/fd")

    def open_now() -> set[str]:
        found = set()
        for one in descriptors.iterdir() if descriptors.is_dir() else ():
            try:
                found.add(str(one.readlink()))
            except OSError:  # the one that lists the folder
                continue
        return {target for target in found if target.startswith("/") and not target.startswith(("/dev/", "/proc/"))}

    before = open_now()
    yield
    # A thread that was given up may still be about to close its file.
    patience = time.monotonic() + 10
    while not open_now() <= before and time.monotonic() < patience:
        time.sleep(0.05)
    assert open_now() <= before


@pytest.fixture
def through_pickle() -> Callable[[Movie], Movie]:
    """Send a movie to another process and back, as an address: its pixels stay where they are."""

    def send(movie: Movie) -> Movie:
        pickled = pickle.dumps(movie)
        assert len(pickled) < 2000, "a pickle holds an address, not pixels"
        again = pickle.loads(pickled)  # noqa: S301 - our own
        assert isinstance(again, Movie)
        return again

    return send
