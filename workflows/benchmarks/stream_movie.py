"""The movies that the benchmark of the stream reads: one noisy recording in every layout, and an archive of a thousand small ones.

The recording is made frame by frame: cells with a texture that move over an uneven background, Poisson noise of their photons,
read noise and an offset of the camera. No frame is like another to a codec, as in a real movie. Frame t is the same in every layout.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.ndimage as ndi
import tifffile
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

PIXEL_UM = 0.325
INTERVAL_S = 300.0

_CELL_PX = 96
_TEXTURES = 16
_CELLS_PER_MPX = 60
_OFFSET, _READ_NOISE = 100.0, 3.0  # of the camera, in counts
_SLAB_FRAMES = 16

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Recording:
    """Frames that are computed when they are asked for: ``frame(t)`` is uint16 Y X, and depends on nothing but t and the size."""

    frames: int
    size_px: int

    @cached_property
    def textures(self) -> Array:
        """Return what cells look like: float32 (16, 96, 96), photons over the background."""
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:_CELL_PX, :_CELL_PX] - (_CELL_PX - 1) / 2
        shapes = []
        for _ in range(_TEXTURES):
            axes = rng.uniform(14, 34, 2)
            body = 1 / (1 + np.exp(4 * (np.hypot(y / axes[0], x / axes[1]) - 1)))
            grain = ndi.gaussian_filter(rng.normal(size=y.shape), 2.5)
            shapes.append(body * (400 + 150 * grain / grain.std()).clip(60))
        return np.array(shapes, np.float32)

    @cached_property
    def background(self) -> Array:
        y, x = np.mgrid[: self.size_px, : self.size_px] / self.size_px - 0.5
        return (120 * np.exp(-2 * (y**2 + x**2))).astype(np.float32)

    def frame(self, t: int) -> Array:
        """Return one frame."""
        light = self.background.copy()
        rng = np.random.default_rng([1, self.size_px])
        cells = max(4, round(_CELLS_PER_MPX * self.size_px**2 / 1e6))
        start, speed = rng.uniform(0, self.size_px, (cells, 2)), rng.normal(0, 1.5, (cells, 2))
        wobble = rng.uniform(0, 2 * np.pi, cells)
        centre = (start + speed * t + 6 * np.stack([np.sin(t / 9 + wobble), np.cos(t / 7 + wobble)], 1)) % self.size_px
        for cell, (y, x) in enumerate((centre - _CELL_PX / 2).astype(int)):
            top, left = max(0, -y), max(0, -x)
            window = light[max(0, y) : y + _CELL_PX, max(0, x) : x + _CELL_PX]
            window += self.textures[cell % _TEXTURES][top : top + window.shape[0], left : left + window.shape[1]]
        noise = np.random.default_rng([2, self.size_px, t])
        counts = noise.poisson(light).astype(np.float32) + noise.normal(_OFFSET, _READ_NOISE, light.shape).astype(np.float32)
        return np.rint(counts).clip(0, 65535).astype(np.uint16)


@dataclass(frozen=True)
class Layout:
    """A way to keep the recording.

    Parameters
    ----------
    name
        For people, and of its file.
    chunks
        What is decoded at once, along T Y X.
    write
        Writes the frames of a memory-mapped recording to a path.
    """

    name: str
    chunks: tuple[int, int, int]
    write: Callable[[Array, Path], None]

    @property
    def is_zarr(self) -> bool:
        return not self.name.startswith("tiff")

    def path(self, data: Path) -> Path:
        return data / (self.name.replace(" ", "_") + (".ome.zarr" if self.is_zarr else ".ome.tif"))


def _write_zarr(chunks: tuple[int, int, int], codec: Any, shards: tuple[int, int, int] | None, movie: Array, path: Path) -> None:
    axes = [{"name": "t", "type": "time", "unit": "second"}, *({"name": a, "type": "space", "unit": "micrometer"} for a in "yx")]
    scale = [{"type": "scale", "scale": [INTERVAL_S, PIXEL_UM, PIXEL_UM]}]
    described = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group = zarr.create_group(str(path), attributes={"ome": {"version": "0.5", "multiscales": [described]}})
    chunks = tuple(min(chunk, length) for chunk, length in zip(chunks, movie.shape, strict=True))
    if shards is not None:
        shards = tuple(chunk * min(max(1, shard // chunk), -(-n // chunk)) for shard, chunk, n in zip(shards, chunks, movie.shape, strict=True))
    array = group.create_array("0", shape=movie.shape, dtype=movie.dtype, chunks=chunks, shards=shards, compressors=[codec])
    slab = _SLAB_FRAMES if shards is None else shards[0]
    for t in range(0, len(movie), slab):
        array[t : t + slab] = movie[t : t + slab]


def _write_tiff(tile: tuple[int, int] | None, rows: int | None, compression: str | None, movie: Array, path: Path) -> None:
    metadata = {"axes": "TYX", "PhysicalSizeX": PIXEL_UM, "PhysicalSizeY": PIXEL_UM, "TimeIncrement": INTERVAL_S}
    pieces = iter(movie) if tile is None else _tiles(movie, tile)
    how = {"tile": tile, "rowsperstrip": rows, "compression": compression, "photometric": "minisblack", "metadata": metadata}
    tifffile.imwrite(path, pieces, shape=movie.shape, dtype=movie.dtype, ome=True, **how)


def _tiles(movie: Array, tile: tuple[int, int]) -> Iterator[Array]:
    for frame in movie:
        for y in range(0, movie.shape[1], tile[0]):
            for x in range(0, movie.shape[2], tile[1]):
                yield np.ascontiguousarray(frame[y : y + tile[0], x : x + tile[1]])


_CUBES, _TILES, _PLANES = (16, 256, 256), (1, 512, 512), (1, 2048, 2048)
_LZ4 = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")
_ZSTD = ZstdCodec()  # as zarr-python writes when nothing is said

PLAIN = Layout("tiff contiguous", (1, 1, 2048), partial(_write_tiff, None, None, None))
LAYOUTS = (
    Layout("zarr 16x256x256 zstd", _CUBES, partial(_write_zarr, _CUBES, _ZSTD, None)),
    Layout("zarr 16x256x256 lz4", _CUBES, partial(_write_zarr, _CUBES, _LZ4, None)),
    Layout("zarr 1x512x512 zstd", _TILES, partial(_write_zarr, _TILES, _ZSTD, None)),
    Layout("zarr 1x2048x2048 zstd", _PLANES, partial(_write_zarr, _PLANES, _ZSTD, None)),
    Layout("zarr sharded 16x256x256 zstd", _CUBES, partial(_write_zarr, _CUBES, _ZSTD, (64, 1024, 1024))),
    PLAIN,
    Layout("tiff tiled 256x256 zlib", (1, 256, 256), partial(_write_tiff, (256, 256), None, "zlib")),
    Layout("tiff strips of 8 lzw", (1, 8, 2048), partial(_write_tiff, None, 8, "lzw")),
)


def make_recording(data: Path, frames: int, size_px: int, names: list[str], tell: Callable[[str], None]) -> None:
    """Write the layouts that are not there yet, in bounded memory; each appears under its name when it is complete."""
    data.mkdir(parents=True, exist_ok=True)
    _once(PLAIN.path(data), tell, partial(_write_frames, Recording(frames, size_px)))
    movie = tifffile.memmap(PLAIN.path(data), mode="r")
    if movie.shape != (frames, size_px, size_px):
        raise SystemExit(f"{data} holds a recording of {movie.shape}; give another --data, or the --frames and --size of this one")
    for layout in LAYOUTS:
        if layout.name in names:
            _once(layout.path(data), tell, partial(layout.write, movie))


def make_archive(folder: Path, movies: int, tell: Callable[[str], None]) -> None:
    """Write an archive of small movies, OME-Zarr and TIFF by turns, in folders of a hundred."""
    _once(folder, tell, partial(_write_archive, movies))


def _write_frames(recording: Recording, path: Path) -> None:
    shape = (recording.frames, recording.size_px, recording.size_px)
    metadata = {"axes": "TYX", "PhysicalSizeX": PIXEL_UM, "PhysicalSizeY": PIXEL_UM, "TimeIncrement": INTERVAL_S}
    movie = tifffile.memmap(path, shape=shape, dtype=np.uint16, photometric="minisblack", metadata=metadata, ome=True)
    for t in range(recording.frames):
        movie[t] = recording.frame(t)
    movie.flush()


def _write_archive(movies: int, folder: Path) -> None:
    recording = Recording(24, 256)
    pixels = np.stack([recording.frame(t) for t in range(recording.frames)])
    originals = folder / "day00"
    originals.mkdir(parents=True)
    _write_zarr((8, 256, 256), _ZSTD, None, pixels, originals / "pos0000.ome.zarr")
    _write_tiff(None, None, None, pixels, originals / "pos0001.ome.tif")
    for number in range(2, movies):
        day = folder / f"day{number // 100:02d}"
        day.mkdir(exist_ok=True)
        if number % 2:
            shutil.copy(originals / "pos0001.ome.tif", day / f"pos{number:04d}.ome.tif")
        else:
            shutil.copytree(originals / "pos0000.ome.zarr", day / f"pos{number:04d}.ome.zarr")


def _once(path: Path, tell: Callable[[str], None], write: Callable[[Path], None]) -> None:
    if path.exists():
        return
    tell(f"writing {path.name}")
    unfinished = path.with_name(f"unfinished_{path.name}")
    if unfinished.is_dir():
        shutil.rmtree(unfinished)
    unfinished.unlink(missing_ok=True)
    write(unfinished)
    unfinished.rename(path)
