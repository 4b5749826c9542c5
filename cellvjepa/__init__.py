"""cellvjepa: V-JEPA video encoders for live-cell microscopy, trained on a lab's own archive.

The public names are imported from their rooms when they are first used, so that ``import cellvjepa`` stays light.
"""

# mypy: implicit-reexport
# (what is imported below for type checkers are the public names)

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cellvjepa.cells.intensity import with_grid_intensity, with_intensity
    from cellvjepa.cells.label_images import cells_in_labels
    from cellvjepa.cells.movie_labels import movie_labels
    from cellvjepa.cells.table import Cells, checked_cells, read_cells
    from cellvjepa.cells.windows import Windows, grid_windows, track_windows, windows_at
    from cellvjepa.config import Config, load_config, save_config
    from cellvjepa.embedding.clusters import cluster
    from cellvjepa.embedding.dense import write_dense_maps
    from cellvjepa.embedding.embed import embed_windows
    from cellvjepa.embedding.encoding import encode_tokens
    from cellvjepa.embedding.pooling import pool
    from cellvjepa.embedding.project import project
    from cellvjepa.embedding.provenance import Source
    from cellvjepa.embedding.similar import Index, Neighbours, open_index
    from cellvjepa.embedding.store import Embeddings, add_columns, open_store
    from cellvjepa.errors import Cancelled, UserError
    from cellvjepa.model.weights import load_encoder
    from cellvjepa.movies.clip_shape import ClipShape, check_movie
    from cellvjepa.movies.clips import Clip, read_clip
    from cellvjepa.movies.convert import convert
    from cellvjepa.movies.lazy_array import lazy_array
    from cellvjepa.movies.levels import measure_levels, with_levels
    from cellvjepa.movies.movie import Movie, PixelSize
    from cellvjepa.movies.readers import Archive, open_archive, open_movie
    from cellvjepa.movies.survey import survey
    from cellvjepa.probing.label_file import LabelLine, append_labels
    from cellvjepa.probing.suggest import Suggestions, suggest
    from cellvjepa.progress import Progress
    from cellvjepa.shipped import sample_data_folder
    from cellvjepa.training.pretrain import pretrain

_ROOM_OF = {
    "Archive": "movies.readers",
    "Cancelled": "errors",
    "Cells": "cells.table",
    "Clip": "movies.clips",
    "ClipShape": "movies.clip_shape",
    "Config": "config",
    "Embeddings": "embedding.store",
    "Index": "embedding.similar",
    "LabelLine": "probing.label_file",
    "Movie": "movies.movie",
    "Neighbours": "embedding.similar",
    "PixelSize": "movies.movie",
    "Progress": "progress",
    "Source": "embedding.provenance",
    "Suggestions": "probing.suggest",
    "UserError": "errors",
    "Windows": "cells.windows",
    "add_columns": "embedding.store",
    "append_labels": "probing.label_file",
    "cells_in_labels": "cells.label_images",
    "check_movie": "movies.clip_shape",
    "checked_cells": "cells.table",
    "cluster": "embedding.clusters",
    "convert": "movies.convert",
    "embed_windows": "embedding.embed",
    "encode_tokens": "embedding.encoding",
    "grid_windows": "cells.windows",
    "lazy_array": "movies.lazy_array",
    "load_config": "config",
    "load_encoder": "model.weights",
    "measure_levels": "movies.levels",
    "movie_labels": "cells.movie_labels",
    "open_archive": "movies.readers",
    "open_index": "embedding.similar",
    "open_movie": "movies.readers",
    "open_store": "embedding.store",
    "pool": "embedding.pooling",
    "pretrain": "training.pretrain",
    "project": "embedding.project",
    "read_cells": "cells.table",
    "read_clip": "movies.clips",
    "sample_data_folder": "shipped",
    "save_config": "config",
    "suggest": "probing.suggest",
    "survey": "movies.survey",
    "track_windows": "cells.windows",
    "windows_at": "cells.windows",
    "with_grid_intensity": "cells.intensity",
    "with_intensity": "cells.intensity",
    "with_levels": "movies.levels",
    "write_dense_maps": "embedding.dense",
}

__all__ = ["__version__", *sorted(_ROOM_OF)]


def __getattr__(name: str) -> object:
    if name in _ROOM_OF:
        return getattr(importlib.import_module(f"cellvjepa.{_ROOM_OF[name]}"), name)
    raise AttributeError(f"module 'cellvjepa' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
