"""One measurement, in a process of its own so that its peak memory is its own: takes a JSON object, prints another.

python stream_measure.py '{"kind": "stream", "layout": "zarr 16x256x256 zstd", "data": "/tmp/bench", "workers": 1, "seconds": 4}'
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

FRAMES, SIZE_PX, BATCH = 16, 224, 32
LOADER_BATCH, LOADER_WORKERS = 16, 2
_SAMPLE_S = 10.0


def main() -> None:
    wanted = json.loads(sys.argv[1])
    kind, cores = wanted.pop("kind"), wanted.pop("cores")
    _use_cores(cores)
    began, cpu = time.perf_counter(), time.process_time()
    found = {"limit": _limit, "naive": _naive, "loader": _loader, "stream": _stream, "first": _first_batch, "soak": _soak}[kind](**wanted)
    found["busy"] = (time.process_time() - cpu) / (time.perf_counter() - began)
    found["peak_mb"] = _peak_mb()
    print(json.dumps(found))


def _limit(layout: str, data: str, seconds: float) -> dict[str, Any]:
    from stream_limit import measure_limit

    found = _layout(layout)
    limit = measure_limit(found, found.path(Path(data)), (FRAMES, SIZE_PX, SIZE_PX), seconds)
    return {"decode_mb_per_s": min(limit.decode_bytes_per_s, 1e15) / 1e6, "crop_s": limit.crop_s}


def _naive(reader: str, layout: str, data: str, seconds: float) -> dict[str, Any]:
    from stream_readers import measure_naive

    found = _layout(layout)
    return measure_naive(reader, found, found.path(Path(data)), _shape(data), (FRAMES, SIZE_PX, SIZE_PX), seconds)


def _loader(reader: str, layout: str, data: str, seconds: float) -> dict[str, Any]:
    from stream_readers import measure_loader

    path = _layout(layout).path(Path(data))
    return measure_loader(reader, path, _shape(data), (FRAMES, SIZE_PX, SIZE_PX), LOADER_BATCH, LOADER_WORKERS, seconds)


def _stream(layout: str, data: str, workers: int, seconds: float) -> dict[str, Any]:
    """Run the stream with the settings that a run has when nothing is said, for whole lives of its blocks."""
    from cellvjepa.movies.readers import open_movie

    movie = open_movie(_layout(layout).path(Path(data)))
    pixels = Counting(movie.pixels)
    movie = replace(movie, pixels=pixels, levels=np.array([[100.0, 1000.0]]))
    with _new_stream([movie], workers) as stream:
        life = max(1, round(_training().live_blocks * _training().clips_per_block / BATCH))
        began = time.perf_counter()
        _draw(stream, 0, 1)
        first_s = time.perf_counter() - began
        step = _draw(stream, 1, life)
        began, decoded, start = time.perf_counter(), pixels.decoded_bytes, step
        while step == start or time.perf_counter() - began < seconds:
            step = _draw(stream, step, step + life)
        clips, elapsed = (step - start) * BATCH, time.perf_counter() - began
        used = clips * FRAMES * SIZE_PX**2 * movie.pixels.dtype.itemsize
        return {"clips_per_s": clips / elapsed, "amplification": (pixels.decoded_bytes - decoded) / used, "first_s": first_s}


def _first_batch(archive: str, workers: int) -> dict[str, Any]:
    """Time from the archive's path to the first batch, with what an earlier run remembered."""
    began = time.perf_counter()
    import torch  # noqa: F401 - a run has imported it long before

    from cellvjepa.movies.readers import open_archive
    from cellvjepa.movies.stream import Stream  # noqa: F401

    imported = time.perf_counter()
    movies = open_archive(archive).movies
    opened = time.perf_counter()
    with _new_stream(movies, workers) as stream:
        _draw(stream, 0, 1)
        done = time.perf_counter()
    return {"movies": len(movies), "import_s": imported - began, "open_s": opened - imported, "first_s": done - imported}


def _soak(layouts: Sequence[str], data: str, workers: int, seconds: float) -> dict[str, Any]:
    """Stream from all layouts at once and look at the memory every ten seconds."""
    from cellvjepa.movies.readers import open_movie

    movies = [replace(open_movie(_layout(name).path(Path(data)), name), levels=np.array([[100.0, 1000.0]])) for name in layouts]
    memory: list[float] = []
    step, began, every = 0, time.perf_counter(), min(_SAMPLE_S, seconds / 9)
    with _new_stream(movies, workers) as stream:
        while time.perf_counter() - began < seconds:
            step = _draw(stream, step, step + 1)
            if time.perf_counter() - began >= (len(memory) + 1) * every:
                memory.append(_memory_mb())
    return {"memory_mb": memory, "clips": step * BATCH, "clips_per_s": step * BATCH / seconds, "every_s": every}


def _layout(name: str) -> Any:
    from stream_movie import LAYOUTS

    return next(layout for layout in LAYOUTS if layout.name == name)


def _shape(data: str) -> tuple[int, ...]:
    import tifffile
    from stream_movie import PLAIN

    return tuple(tifffile.memmap(PLAIN.path(Path(data)), mode="r").shape)


def _training() -> Any:
    from cellvjepa.config import Config

    return Config().training


def _new_stream(movies: Sequence[Any], workers: int) -> Any:
    from cellvjepa.config import Config
    from cellvjepa.movies.clips import ClipShape
    from cellvjepa.movies.stream import Stream

    config = Config()
    return Stream(
        movies,
        ClipShape(FRAMES, None, SIZE_PX, None, None, "max"),
        batch_size=BATCH,
        seed=0,
        live_blocks=config.training.live_blocks,
        clips_per_block=config.training.clips_per_block,
        foreground_share=config.clip.foreground_share,
        workers=workers,
        memory_mb=config.training.data_memory_mb,
    )


def _draw(stream: Any, first: int, last: int) -> int:
    for step in range(first, last):
        batch = stream.batch(step)
        assert batch.native.size == BATCH * FRAMES * SIZE_PX**2
    return last


@dataclass(frozen=True, eq=False)
class Counting:
    """Pixels that count what has to be decoded to read them."""

    pixels: Any
    counts: list[int] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    @property
    def shape(self) -> Any:
        return self.pixels.shape

    @property
    def dtype(self) -> Any:
        return self.pixels.dtype

    @property
    def chunks(self) -> Any:
        return self.pixels.chunks

    @property
    def decoded_bytes(self) -> int:
        with self.lock:
            return sum(self.counts)

    def __getitem__(self, key: Any) -> Any:
        from cellvjepa.movies.movie import region_of

        decoded = self.dtype.itemsize
        for part, chunk, length in zip(region_of(key, self.shape).slices, self.chunks, self.shape, strict=True):
            touched = {index // chunk for index in range(part.start, part.stop, part.step)}
            decoded *= sum(min(chunk, length - number * chunk) for number in touched)
        with self.lock:
            self.counts.append(decoded)
        return self.pixels[key]


def _use_cores(count: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _peak_mb() -> float:
    """Return the peak resident memory of this process and of its largest child [MB]."""
    scale = 1 if sys.platform == "darwin" else 1024
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * scale / 1e6
    # What the system says of usage counts the parent's memory, too: it begins before the program does.
    return _status_mb("VmHWM", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6) + child


def _memory_mb() -> float:
    """Return the memory that this process holds now, without pages of files that it maps [MB]; where Linux does not say, the peak."""
    return _status_mb("RssAnon", _peak_mb())


def _status_mb(name: str, otherwise: float) -> float:
    status = Path("/proc/self/status")
    if not status.is_file():
        return otherwise
    kb = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(name))
    return int(kb) * 1024 / 1e6


if __name__ == "__main__":
    main()
