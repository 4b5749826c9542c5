"""The loader of VisCy (DynaCLR) on the same movie; run by the Python of an environment with viscy in it.

    PYTHON stream_viscy.py MOVIE.ome.tif FOLDER SECONDS

A sample is an anchor and the next frame, one 224x224 crop each, around points of a tracking table, as its TripletDataModule wants
it: a plate (made here by iohub, 1x512x512 chunks, its own default codec) and a CSV. Prints JSON: frames of 224x224 per second, and
those over 16 as clips. One reading thread, as it recommends.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import tifffile

warnings.filterwarnings("ignore")
SIZE_PX, BATCH, TRACKS = 224, 32, 60


def main() -> None:
    from viscy.data.triplet import TripletDataModule

    source, folder, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    movie = tifffile.memmap(source, mode="r")
    if not folder.exists():
        _write(movie, folder)
    module = TripletDataModule(
        str(folder / "plate.zarr"),
        str(folder / "tracks"),
        source_channel=["signal"],
        z_range=(0, 1),
        z_window_size=1,
        initial_yx_patch_size=(SIZE_PX, SIZE_PX),
        final_yx_patch_size=(SIZE_PX, SIZE_PX),
        split_ratio=0.5,  # it insists on a field of view for validation
        batch_size=BATCH,
        num_workers=1,
        time_interval=1,
        return_negative=False,
    )
    module.setup("fit")
    frames, began = 0, None
    while began is None or time.perf_counter() - began < seconds:
        for batch in module.train_dataloader():
            if began is None:
                began = time.perf_counter()  # the first batch opens things
                continue
            frames += len(batch["anchor"]) + len(batch["positive"])
            if time.perf_counter() - began >= seconds:
                break
    rate = frames / (time.perf_counter() - began)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"frames_per_s": rate, "clips_per_s": rate / 16, "peak_mb": peak_mb, "version": _version()}))


def _write(movie: np.ndarray, folder: Path) -> None:
    from iohub.ngff import open_ome_zarr

    unfinished = folder.with_name(f"unfinished_{folder.name}")
    length, height, width = movie.shape
    table = _tracks(length, height, width)
    with open_ome_zarr(unfinished / "plate.zarr", layout="hcs", mode="w", channel_names=["signal"]) as plate:
        for field in ("0", "1"):
            position = plate.create_position("A", "1", field)
            image = position.create_zeros("0", (length, 1, 1, height, width), movie.dtype, chunks=(1, 1, 1, min(512, height), min(512, width)))
            for t in range(length):
                image[t] = movie[t][None, None]
            tracks = unfinished / "tracks" / "A" / "1" / field
            tracks.mkdir(parents=True)
            (tracks / "tracks.csv").write_text(table)
    unfinished.rename(folder)


def _tracks(length: int, height: int, width: int) -> str:
    """Return a table of cells that stand still, wherever a crop fits."""
    rng = np.random.default_rng(0)
    half = SIZE_PX // 2 + 1
    rows = ["track_id,t,id,parent_track_id,parent_id,z,y,x"]
    for track in range(TRACKS):
        y, x = rng.integers(half, height - half), rng.integers(half, width - half)
        rows += [f"{track},{t},{track * length + t},-1,-1,0,{y},{x}" for t in range(length)]
    return "\n".join(rows) + "\n"


def _version() -> str:
    from importlib.metadata import version

    return version("viscy")


if __name__ == "__main__":
    main()
