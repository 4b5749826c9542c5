"""Small files of every kind that is read, to be damaged by test_fuzz_readers.py."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

Array = np.ndarray[Any, Any]

DATA = Path(__file__).parent / "data"
FRAMES = (np.add.outer(np.arange(4) * 211, np.add.outer(np.arange(24) * 17, np.arange(20) * 5)) % 4099).astype(np.uint16)


def tiff(name: str = "m.tif", frames: Array = FRAMES, **how: Any) -> Callable[[Path], Path]:
    """Make a writer of one TIFF."""

    def write(folder: Path) -> Path:
        tifffile.imwrite(folder / name, frames, **({"photometric": "minisblack"} | how))
        return folder / name

    return write


def pages(folder: Path) -> Path:
    """Write plain pages in LZW strips, and a tiny one at the end, as IncuCyte does."""
    with tifffile.TiffWriter(folder / "m.tif") as file:
        for frame in FRAMES:
            file.write(frame, compression="lzw", rowsperstrip=5, metadata=None, photometric="minisblack")
        file.write(FRAMES[0, :1, :1], compression="lzw", metadata=None, subfiletype=1, photometric="minisblack")
    return folder / "m.tif"


def pyramid(folder: Path) -> Path:
    """Write an OME-TIFF with coarser copies beside its pages."""
    with tifffile.TiffWriter(folder / "m.ome.tif") as file:
        file.write(FRAMES, metadata={"axes": "TYX"}, tile=(16, 16), compression="zlib", subifds=1)
        file.write(FRAMES[:, ::2, ::2], tile=(16, 16), compression="zlib", subfiletype=1, metadata=None)
    return folder / "m.ome.tif"


def stk(folder: Path) -> Path:
    """Write a MetaMorph stack by the rules of the format: planes in a row, tags with calibration, and a table of depths and times."""
    frames = FRAMES.astype("<u2")
    start, uic1, uic2 = 8 + 2 + 12 * 11 + 4, 0, 0
    at = start + frames.nbytes
    texts = struct.pack("<II", 650, 1000) + struct.pack("<I", 3) + b"um\0\0"
    uic1 = at + len(texts)
    entries = [(3, 1), (4, at), (5, at), (6, at + 8)]
    table = b"".join(struct.pack("<6I", 0, 1, 2457320, 1000 * 30 * i, 0, 0) for i in range(len(frames)))
    uic2 = uic1 + 8 * len(entries)
    tags = [
        (254, 4, 1, 0), (256, 4, 1, 20), (257, 4, 1, 24), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, start),
        (278, 4, 1, 24), (279, 4, 1, frames[0].nbytes), (33628, 4, len(entries), uic1), (33629, 5, len(frames), uic2),
    ]  # fmt: skip
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    whole = b"II*\0" + struct.pack("<I", 8) + ifd + frames.tobytes() + texts + b"".join(struct.pack("<II", *e) for e in entries) + table
    (folder / "m.stk").write_bytes(whole)
    return folder / "m.stk"


def ome_set(folder: Path) -> Path:
    """Write an OME-TIFF set of a file per frame."""
    mark = '<UUID FileName="t{0}.ome.tif">urn:uuid:{0}</UUID>'
    blocks = "".join(f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1">{mark.format(t)}</TiffData>' for t in range(3))
    for t in range(3):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{t}"><Image><Pixels '
            f'DimensionOrder="XYCZT" Type="uint16" SizeT="3" SizeC="1" SizeZ="1" SizeY="24" SizeX="20">{blocks}</Pixels></Image></OME>'
        )
        tifffile.imwrite(folder / f"t{t}.ome.tif", FRAMES[t], description=xml, metadata=None, photometric="minisblack")
    return folder / "t0.ome.tif"


def series(folder: Path) -> Path:
    """Write a folder of a file per frame."""
    for t, frame in enumerate(FRAMES):
        tifffile.imwrite(folder / f"img_t{t}.tif", frame, photometric="minisblack", compression="zlib", metadata=None)
    return folder


def store(zarr_format: int, shards: tuple[int, ...] | None = None) -> Callable[[Path], Path]:
    """Make a writer of an OME-Zarr image."""

    def write(folder: Path) -> Path:
        group = zarr.open_group(str(folder / "m.zarr"), mode="w", zarr_format=zarr_format)
        names = {"dimension_names": ["t", "y", "x"]} if zarr_format == 3 else {}
        array = group.create_array("0", shape=FRAMES.shape, dtype="uint16", chunks=(2, 12, 10), shards=shards, **names)
        array[...] = FRAMES
        axes = [{"name": name, "type": "time" if name == "t" else "space"} for name in "tyx"]
        multiscale = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [30.0, 0.5, 0.5]}]}]}
        group.attrs.update(
            {"multiscales": [multiscale | {"version": "0.4"}]} if zarr_format == 2 else {"ome": {"version": "0.5", "multiscales": [multiscale]}}
        )
        return folder / "m.zarr"

    return write


def copy(name: str, movie: str = "") -> Callable[[Path], Path]:
    """Make a copier of a file or folder of the tests' data; the movie in it is ``#`` and a number."""

    def write(folder: Path) -> Path:
        source, target = DATA / name, folder / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
        return Path(f"{target}{movie}")

    return write


KINDS: dict[str, Callable[[Path], Path]] = {
    "OME-TIFF": tiff("m.ome.tif", metadata={"axes": "TYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, compression="zlib"),
    "ImageJ": tiff(imagej=True, metadata={"axes": "TYX", "unit": "um", "finterval": 30.0}, resolution=(2, 2)),
    "bare": tiff(metadata={"axes": "TYX"}),
    "big-endian tiles with predictor": tiff(compression="zlib", tile=(16, 16), byteorder=">", predictor=True),
    "LZW pages": pages,
    "zstd BigTIFF": tiff(compression="zstd", bigtiff=True, rowsperstrip=6),
    "JPEG": tiff(frames=(FRAMES // 17).astype(np.uint8), compression="jpeg", metadata=None),
    "JPEG 2000": tiff(compression="jpeg2000", metadata=None),
    "grey as RGB": tiff(frames=np.stack([FRAMES] * 3, axis=-1), photometric="rgb", metadata=None),
    "pyramid": pyramid,
    "MetaMorph": stk,
    "OME-TIFF set": ome_set,
    "series": series,
    "Zarr 2": store(2),
    "Zarr 3": store(3),
    "Zarr 3, shards": store(3, (4, 24, 20)),
    "NDTiff": copy("positions_1", "#0"),
}
