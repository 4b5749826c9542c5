"""What `cellvjepa convert` writes, and how fast: codecs and chunks on a noisy movie, then whole conversions against their slower half.

    python workflows/benchmarks/convert.py            # about 5 minutes; writes workflows/benchmarks/convert.md
    python workflows/benchmarks/convert.py --frames 32 --size-px 512 --out -      # a glance, printed

Everything is measured in one run, from a warm cache, so that ratios can be compared. MB are 1e6 bytes of decoded pixels.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
import zarr
from stream_movie import Recording
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from cellvjepa.movies.convert import convert
from cellvjepa.movies.convert.image import ImagePlan
from cellvjepa.movies.convert.layout import layout_of
from cellvjepa.movies.convert.shard import BLOCK_BYTES, COMPRESSION_LEVEL, COMPRESSOR, OpenShard, write_checked
from cellvjepa.movies.readers import open_archive, open_movie

Array = npt.NDArray[Any]
CLIP = (16, 224, 224)
BLOCK = (32, 512, 512)
CLIPS_PER_BLOCK = 16
REPEATS = 3


@dataclass(frozen=True)
class Codec:
    name: str
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]


def blosc(cname: str, level: int, shuffle: str, block: int | None = None) -> Codec:
    def encode(raw: bytes) -> bytes:
        return bytes(imagecodecs.blosc_encode(raw, level=level, compressor=cname, shuffle=shuffle, typesize=2, blocksize=block, numthreads=1))

    return Codec(
        f"blosc {cname} {level} {shuffle}{f', blocks of {block >> 10} KiB' if block else ''}",
        encode,
        lambda encoded: imagecodecs.blosc_decode(encoded, numthreads=1),
    )


def zstd(level: int) -> Codec:
    return Codec(f"zstd {level}", lambda raw: bytes(imagecodecs.zstd_encode(raw, level=level)), imagecodecs.zstd_decode)


OURS = blosc(COMPRESSOR, COMPRESSION_LEVEL, "bitshuffle", BLOCK_BYTES)
KINDS = [(cname, level, shuffle) for cname, level in (("lz4", 1), ("lz4", 5), ("zstd", 1), ("zstd", 3)) for shuffle in ("shuffle", "bitshuffle")]
CODECS = [zstd(1), zstd(3), *(blosc(*kind) for kind in KINDS), blosc("lz4", 5, "bitshuffle", BLOCK_BYTES), OURS]
CHUNKS = [(t, side) for t in (8, 16, 32) for side in (128, 256, 512)]


def compare_codecs(movie: Array) -> Iterator[str]:
    yield "| codec, chunks of 16 x 256 x 256 | ratio | encode MB/s | decode MB/s | clips/s |"
    yield "|---|---|---|---|---|"
    for codec in CODECS:
        yield f"| {codec.name} | {measured(movie, codec, 16, 256)} |"
    yield ""
    yield f"| chunks, {OURS.name} | ratio | encode MB/s | decode MB/s | clips/s |"
    yield "|---|---|---|---|---|"
    for frames, side in CHUNKS:
        yield f"| {frames} x {side} x {side} | {measured(movie, OURS, frames, side)} |"


def measured(movie: Array, codec: Codec, frames: int, side: int) -> str:
    """Encode, decode, and cut clips from blocks that are decoded once, as the stream does; one thread."""
    parts, length = movie.shape[0] // frames * frames, movie.shape[1] // side * side
    cells = {
        (t, y, x): movie[t : t + frames, y : y + side, x : x + side].tobytes()
        for t in range(0, parts, frames)
        for y in range(0, length, side)
        for x in range(0, length, side)
    }
    size = sum(map(len, cells.values()))
    encode_s, encoded = best(lambda: {at: codec.encode(raw) for at, raw in cells.items()})
    decode_s, _ = best(lambda: [codec.decode(one) for one in encoded.values()])
    clips_s, clips = best(lambda: cut_clips(encoded, codec, (parts, length, length), (frames, side, side)))
    ratio = size / sum(map(len, encoded.values()))
    return f"{ratio:.2f} | {size / 1e6 / encode_s:.0f} | {size / 1e6 / decode_s:.0f} | {clips / clips_s:.0f}"


def cut_clips(encoded: dict[tuple[int, int, int], bytes], codec: Codec, shape: tuple[int, ...], chunk: tuple[int, ...]) -> int:
    rng = np.random.default_rng(0)
    size = [min(max(b, c), n) // c * c for b, c, n in zip(BLOCK, chunk, shape, strict=True)]
    blocks = 6
    for _ in range(blocks):
        first = [int(rng.integers((n - s) // c + 1)) * c for n, s, c in zip(shape, size, chunk, strict=True)]
        block = np.empty(size, "uint16")
        for at in np.ndindex(*(s // c for s, c in zip(size, chunk, strict=True))):
            place = tuple(i * c for i, c in zip(at, chunk, strict=True))
            raw = codec.decode(encoded[tuple(f + p for f, p in zip(first, place, strict=True))])  # type: ignore[index]
            block[tuple(slice(p, p + c) for p, c in zip(place, chunk, strict=True))] = np.frombuffer(raw, "uint16").reshape(chunk)
        for _ in range(CLIPS_PER_BLOCK):
            corner = [int(rng.integers(s - min(c, s) + 1)) for s, c in zip(size, CLIP, strict=True)]
            block[tuple(slice(p, p + c) for p, c in zip(corner, CLIP, strict=True))].copy()
    return blocks * CLIPS_PER_BLOCK


def convert_sources(recording: Recording, folder: Path) -> Iterator[str]:
    threads = (os.cpu_count() or 1) + 1
    yield f"| source | decode alone, 1 thread | write alone, 1 thread | convert, {threads} threads | ratio to the slower | memory MB |"
    yield "|---|---|---|---|---|---|"
    movie = np.stack([recording.frame(t) for t in range(recording.frames)])
    sources = {"TIFF, uncompressed": None, "TIFF, LZW": "lzw", "TIFF, zstd": "zstd"}
    for name, compression in sources.items():
        path = folder / f"{name.replace(' ', '_').replace(',', '')}.tif"
        tifffile.imwrite(path, movie, imagej=compression is None, compression=compression, metadata={"axes": "TYX"})
        yield row(name, path, folder)
    path = folder / "planes.zarr"
    group = zarr.create_group(str(path), attributes={"ome": {"version": "0.5", "multiscales": [multiscale()]}})
    group.create_array("0", shape=movie.shape, dtype="uint16", chunks=(1, 512, 512), compressors=[ZstdCodec(level=1)])[...] = movie
    yield row("OME-Zarr, 1 x 512 x 512 zstd", path, folder)
    yield ""
    yield from own_or_zarr_python(movie, folder)


def multiscale() -> dict[str, Any]:
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    return {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}]}


def row(name: str, path: Path, folder: Path) -> str:
    movie = open_movie(path)
    part = ImagePlan(movie, {}, "").parts[0]
    slabs = [slab for shard in part.layout.shards() for slab in part.layout.slabs_of(shard)]

    def decode() -> None:
        for t, c, z, y, x in slabs:
            movie.pixels[t, c, z, y, x]

    def write() -> None:
        """Everything but decoding: one slab of pixels, again and again."""
        t, c, z, y, x = slabs[0]
        pixels = movie.pixels[t, c, z, y, x]
        for number in range(len(slabs)):
            levels = pixels
            for k, level in enumerate(part.layout.levels):
                shard = OpenShard(level, (0, 0, 0, 0, 0))
                shard.add(levels, (0, 0, 0, 0, 0))
                shard.write(folder / f"scratch{number}_{k}")
                if k + 1 < len(part.layout.levels):
                    levels = part.coarser(levels)

    def whole() -> int:
        shutil.rmtree(folder / "out.zarr", ignore_errors=True)
        return convert(open_archive(path), folder / "out.zarr").written_bytes

    mb = movie.size_bytes / 1e6
    decode_s, write_s = best(decode)[0], best(write)[0]
    with peak_mb() as peak:
        whole_s = best(whole)[0]
    slower = mb / max(decode_s, write_s)
    return f"| {name} | {mb / decode_s:.0f} MB/s | {mb / write_s:.0f} MB/s | {mb / whole_s:.0f} MB/s | {mb / whole_s / slower:.2f} | {peak[0]:.0f} |"


def own_or_zarr_python(movie: Array, folder: Path) -> Iterator[str]:
    """Write the finest level of the same pixels, from memory, by the same codecs."""
    layout = layout_of((movie.shape[0], 1, 1, *movie.shape[1:]), 2, (1, 1, 1, 1, 1))
    level, mb = layout.levels[0], movie.nbytes / 1e6
    pixels = movie[:, None, None]
    shards = list(layout.shards())

    def own(shard: tuple[int, ...]) -> None:
        one = OpenShard(level, shard)  # type: ignore[arg-type]
        for slab in layout.slabs_of(shard):  # type: ignore[arg-type]
            one.add(pixels[slab], tuple(part.start for part in slab))
        one.write(folder / "own" / "_".join(map(str, shard)))

    def ours() -> None:
        with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
            list(pool.map(own, shards))

    def theirs() -> None:
        blosc_codec = BloscCodec(typesize=2, cname=COMPRESSOR, clevel=COMPRESSION_LEVEL, shuffle="bitshuffle", blocksize=BLOCK_BYTES)  # type: ignore[arg-type]
        codecs = [blosc_codec, Crc32cCodec()]
        array = zarr.create_array(
            str(folder / "theirs.zarr"),
            shape=pixels.shape,
            dtype="uint16",
            chunks=level.chunk,
            shards=level.shard,
            compressors=codecs,
            overwrite=True,
        )
        for t in range(0, pixels.shape[0], level.shard[0]):
            array[t : t + level.shard[0]] = pixels[t : t + level.shard[0]]

    raw = pixels[:16, 0, 0, :256, :256].tobytes()
    encode_s, encoded = best(lambda: [OURS.encode(raw) for _ in range(20)])
    check_s, _ = best(lambda: [OURS.decode(one) == raw for one in encoded])
    data = [bytes(one) for one in encoded]
    written_s, _ = best(lambda: write_checked(folder / "checked", data * 5))
    plain_s, _ = best(lambda: (folder / "plain").write_bytes(b"".join(data * 5)))
    yield f"From memory, one resolution: our shards {mb / best(ours)[0]:.0f} MB/s, zarr-python {mb / best(theirs)[0]:.0f} MB/s."
    yield (
        f"Decoding a chunk again takes {check_s / encode_s:.0%} of compressing it. Writing to the disk itself, reading it back: "
        f"{100 * len(data[0]) / 1e6 / written_s:.0f} MB/s of compressed bytes; left to the system: {100 * len(data[0]) / 1e6 / plain_s:.0f}."
    )


def best(do: Callable[[], Any]) -> tuple[float, Any]:
    """Return the median of a few times [s], and the last result."""
    times, result = [], None
    for _ in range(REPEATS):
        begun = time.perf_counter()
        result = do()
        times.append(time.perf_counter() - begun)
    return statistics.median(times), result


@contextmanager
def peak_mb() -> Iterator[list[float]]:
    """Measure how much the process grows meanwhile. [MB]."""
    page, found, stop = os.sysconf("SC_PAGE_SIZE") / 1e6, [0.0], threading.Event()

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    before = resident()

    def watch() -> None:
        while not stop.wait(0.01):
            found[0] = max(found[0], resident() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    yield found
    stop.set()
    thread.join()


def where() -> str:
    root = Path(__file__).parent
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    machine = f"{os.cpu_count()} cores of {cpu}, Python {platform.python_version()}"
    return f"Commit {commit or 'unknown'}, {machine}, {time.strftime('%Y-%m-%d')}; load {os.getloadavg()[0]:.1f} at the start."


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--frames", type=int, default=160)
    arguments.add_argument("--size-px", type=int, default=1024)
    arguments.add_argument("--out", default=str(Path(__file__).with_suffix(".md")), help="file to write, or - to print")
    wanted = arguments.parse_args()
    lines = [
        "# What convert writes, and how fast",
        "",
        where(),
        f"A noisy recording of {wanted.frames} frames of {wanted.size_px} x {wanted.size_px}, uint16 (stream_movie.py); medians of {REPEATS}.",
        "",
    ]
    recording = Recording(wanted.frames, wanted.size_px)
    lines += ["## Codecs and chunks", "", "One thread. Clips: 16 of 16 x 224 x 224 from each block of 32 x 512 x 512 that is decoded once.", ""]
    for line in compare_codecs(np.stack([recording.frame(t) for t in range(min(64, wanted.frames))])):
        lines.append(line)
        print(line, file=sys.stderr, flush=True)
    lines += [
        "",
        "## Conversions",
        "",
        "Write alone: coarser copies, compression, its check, checksums, the disk, reading back. Convert is all of it, at all resolutions.",
        "",
    ]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for line in convert_sources(recording, Path(folder)):
            lines.append(line)
            print(line, file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    print(text) if wanted.out == "-" else Path(wanted.out).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
