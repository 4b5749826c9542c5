"""Where the Masks dock keeps its files: one label image for each step, and what is saved under the movie's name."""

from __future__ import annotations

import re
from pathlib import Path

import cellvjepa

KINDS = ("painted", "imported", "segmented", "linked")


def folder_beside(movie: cellvjepa.Movie) -> Path:
    """Return the folder that a movie's label images go to, unless the user says otherwise: the one that it lies in, outside of any store."""
    path = Path(movie.uri)
    if "://" in movie.uri or not path.exists():
        return Path.home()
    stores = [place for place in (path, *path.parents) if place.suffix == ".zarr"]
    return (stores[-1] if stores else path).parent


def stem_of(movie: cellvjepa.Movie) -> str:
    """Return a movie's name as a part of file names: ``plate.zarr/B/3/0`` gives ``plate_B_3_0``, ``pos4.ome.tif`` gives ``pos4``."""
    parts = [re.sub(r"\.(ome\.)?(tiff?|zarr|stk|nd2|czi|lif)$", "", part, flags=re.IGNORECASE) for part in movie.name.replace("\\", "/").split("/")]
    return "_".join(re.sub(r"[^\w.+-]", "_", part) for part in parts if part.strip(". ")) or "movie"


def step_file(folder: Path, movie: cellvjepa.Movie, kind: str) -> Path:
    """Return where the label image of the next step is to stand: ``pos4_steps/3_linked.zarr``; nothing stands there yet."""
    assert kind in KINDS, kind
    place = folder / f"{stem_of(movie)}_steps"
    taken = [int(found[1]) for entry in (place.iterdir() if place.is_dir() else ()) if (found := re.match(r"(\d+)_", entry.name))]
    return place / f"{max(taken, default=0) + 1}_{kind}.zarr"


def saved_file(folder: Path, movie: cellvjepa.Movie, suffix: str) -> Path:
    """Return where label images are saved, so that they are found again with their movie: ``pos4_labels.tif``."""
    return folder / f"{stem_of(movie)}_labels{suffix}"


def table_of(labels: Path) -> Path:
    """Return where the table of cells stands that belongs to a label image: ``pos4_labels.tif`` gives ``pos4_cells.csv``."""
    return labels.with_name(f"{labels.name.removesuffix(labels.suffix).removesuffix('_labels')}_cells.csv")
