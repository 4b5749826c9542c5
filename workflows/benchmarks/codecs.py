"""Measures how fast pieces of images are decoded: the speeds that ``cellvjepa inspect`` predicts with (cellvjepa/movies/codec_speed.py).

    python workflows/benchmarks/codecs.py

One thread; for each codec the fastest of some rounds, because other work on the machine only ever slows them down. The pixels are
those of the benchmark of the stream: moving cells, Poisson noise and read noise, uint16.
"""

from __future__ import annotations

import argparse
import functools
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from stream_movie import Recording

Array = npt.NDArray[Any]

_CUBE, _STRIP_ROWS, _TILE_PX = (16, 256, 256), 16, 256


@dataclass(frozen=True)
class Case:
    """One way of storing pixels.

    Parameters
    ----------
    name
        As inspect shows the codec.
    pieces
        Encoded pieces.
    decode
        Decodes one.
    """

    name: str
    pieces: list[bytes]
    decode: Callable[[bytes], Any]


def cases(frames_TYX: Array) -> list[Case]:
    """Return the codecs that movies come with, each with pieces as they are common with it."""
    cubes = [np.ascontiguousarray(frames_TYX[:16, y : y + 256, x : x + 256]) for y in (0, 256) for x in (0, 256)]
    strips = [np.ascontiguousarray(frame[y : y + _STRIP_ROWS]) for frame in frames_TYX[:2] for y in range(0, frame.shape[0], _STRIP_ROWS)]
    tiles = [np.ascontiguousarray(frame[:_TILE_PX, :_TILE_PX]) for frame in frames_TYX[:8]]
    c = imagecodecs

    def flat(name: str, encode: Callable[..., bytes], decode: Callable[..., Any], arrays: list[Array] = cubes) -> Case:
        return Case(name, [encode(array.tobytes()) for array in arrays], decode)

    def planar(name: str, encode: Callable[..., bytes], decode: Callable[..., Any]) -> Case:
        return Case(name, [encode(tile) for tile in tiles], decode)

    def blosc(compressor: str, shuffle: str = "shuffle") -> Case:
        encode = functools.partial(c.blosc_encode, compressor=compressor, level=5, shuffle=shuffle, typesize=2)
        return flat(f"blosc/{compressor} ({shuffle})", encode, functools.partial(c.blosc_decode, numthreads=1))

    def predicted(name: str, encode: Callable[..., bytes], decode: Callable[..., bytes]) -> Case:
        def undo(data: bytes) -> Array:
            return c.delta_decode(np.frombuffer(decode(data), np.uint16).reshape(-1, frames_TYX.shape[2]), axis=-1)

        return Case(name, [encode(c.delta_encode(strip, axis=-1).tobytes()) for strip in strips], undo)

    return [
        flat("none (copied)", bytes, bytearray),
        blosc("lz4"),
        blosc("lz4", "bitshuffle"),
        blosc("zstd"),
        blosc("zlib"),
        flat("lz4", c.lz4_encode, functools.partial(c.lz4_decode, out=cubes[0].nbytes)),
        flat("zstd", functools.partial(c.zstd_encode, level=0), c.zstd_decode),
        flat("zstd (strips)", functools.partial(c.zstd_encode, level=3), c.zstd_decode, strips),
        flat("gzip", functools.partial(c.gzip_encode, level=5), functools.partial(c.gzip_decode, out=cubes[0].nbytes)),
        flat("deflate (strips)", functools.partial(c.zlib_encode, level=6), functools.partial(c.zlib_decode, out=strips[0].nbytes), strips),
        predicted("deflate (strips, predictor)", c.zlib_encode, functools.partial(c.zlib_decode, out=strips[0].nbytes)),
        flat("lzw (strips)", c.lzw_encode, functools.partial(c.lzw_decode, out=strips[0].nbytes), strips),
        predicted("lzw (strips, predictor)", c.lzw_encode, functools.partial(c.lzw_decode, out=strips[0].nbytes)),
        flat("packbits (strips)", c.packbits_encode, c.packbits_decode, strips),
        flat("bz2", c.bz2_encode, c.bz2_decode, cubes[:1]),
        flat("lzma", c.lzma_encode, c.lzma_decode, cubes[:1]),
        planar("jpeg2000 (lossless)", functools.partial(c.jpeg2k_encode, level=0, reversible=True), functools.partial(c.jpeg2k_decode, numthreads=1)),
        planar("jpegxr (lossless)", functools.partial(c.jpegxr_encode, level=100), c.jpegxr_decode),
        planar("jpegxl (lossless)", functools.partial(c.jpegxl_encode, lossless=True), functools.partial(c.jpegxl_decode, numthreads=1)),
        planar("jpegls (lossless)", c.jpegls_encode, c.jpegls_decode),
        planar("png", c.png_encode, c.png_decode),
        planar("lerc (lossless)", c.lerc_encode, c.lerc_decode),
        Case("jpeg (8 bit, lossy)", [c.jpeg_encode((tile >> 2).clip(0, 255).astype(np.uint8), level=90) for tile in tiles], c.jpeg_decode),
    ]


def mb_per_s(case: Case, rounds: int) -> tuple[float, float]:
    """Return the decoded megabytes per second, and how many times smaller the encoded pieces are."""
    nbytes = sum(memoryview(case.decode(piece)).nbytes for piece in case.pieces)
    fastest_s = np.inf
    for _ in range(rounds):
        began_s = time.perf_counter()
        for piece in case.pieces:
            case.decode(piece)
        fastest_s = min(fastest_s, time.perf_counter() - began_s)
    return nbytes / 1e6 / fastest_s, nbytes / sum(map(len, case.pieces))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    recording = Recording(16, 2048)
    frames_TYX = np.stack([recording.frame(t) for t in range(16)])
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()} {platform.system()}, imagecodecs {imagecodecs.__version__}, one thread")
    print(f"{'codec':30}{'decoded MB/s':>14}{'ratio':>8}")
    for case in cases(frames_TYX):
        speed, ratio = mb_per_s(case, rounds)
        print(f"{case.name:30}{speed:14,.0f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
