"""How fast codecs decode: what predictions are made of. Orders of magnitude, not promises."""

from __future__ import annotations

import math

# Decoded megabytes per second in one thread, of noisy uint16 images in pieces as they are usual with the codec, by
# workflows/benchmarks/codecs.py on 2026-11-21: a virtual core of an AMD EPYC server, imagecodecs 2026.3.6, other work on the machine.
_MB_PER_S = {
    "none": math.inf,
    "blosc/lz4": 2000.0,  # bitshuffle; 3900 with shuffle
    "blosc/lz4hc": 2000.0,
    "blosc/zstd": 1000.0,
    "blosc/zlib": 270.0,
    "lz4": 4400.0,
    "zstd": 1000.0,
    "gzip": 600.0,
    "zlib": 600.0,
    "deflate": 280.0,
    "lzw": 220.0,
    "packbits": 2800.0,
    "bz2": 36.0,
    "lzma": 60.0,
    "jpeg2000": 20.0,
    "jpegxr": 110.0,
    "jpegxl": 28.0,
    "jpegls": 120.0,
    "png": 180.0,
    "lerc": 1400.0,
    "jpeg": 700.0,
}
_OTHER_MB_PER_S = 200.0  # codecs that nobody measured
_JPEG_2000 = ("jp2000", "jpeg_2000", "jpeg2000", "jp2k")

COPIED_MB_PER_S = 4500.0  # pixels that are only copied, from a mapped file or a decoded block


def decoded_mb_per_s(codec: str) -> float:
    """Return how many megabytes of pixels come out of a codec per second and core; infinite where nothing has to be decoded.

    Parameters
    ----------
    codec
        As a movie says it: ``"zstd"``, ``"blosc/lz4"``, ``"lzw"``.
    """
    name = codec.lower()
    if name in _MB_PER_S:
        return _MB_PER_S[name]
    if any(part in name for part in _JPEG_2000):
        return _MB_PER_S["jpeg2000"]
    # "zstd1" of CZI, "jpegxr_ndpi", "zstd_deprecated", "numcodecs.zstd"
    plain = name.rpartition(".")[2]
    known = [key for key in _MB_PER_S if plain.startswith(key)]
    return _MB_PER_S[max(known, key=len)] if known else _OTHER_MB_PER_S
