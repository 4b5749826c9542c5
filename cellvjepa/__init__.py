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
    from cellvjepa.cells.canvas import LabelCanvas, new_canvas
    from cellvjepa.cells.intensity import with_grid_intensity, with_intensity
    from cellvjepa.cells.label_images import cells_in_labels, check_labels
    from cellvjepa.cells.link import why_unlinked
    from cellvjepa.cells.movie_cells import cells_of_movie, movie_cells
    from cellvjepa.cells.movie_labels import movie_labels, nearby_labels
    from cellvjepa.cells.relabel import LinkedLabels, link_labels, save_cells, save_labels
    from cellvjepa.cells.segment import CellFinder, cell_finder, segment
    from cellvjepa.cells.table import Cells, checked_cells, read_cells
    from cellvjepa.cells.windows import Windows, grid_windows, track_windows, windows_at
    from cellvjepa.config import ClusterConfig, Config, config_from, load_config, overrides_for, presets, save_config
    from cellvjepa.embedding.clusters import cluster
    from cellvjepa.embedding.dense import write_dense_maps
    from cellvjepa.embedding.embed import embed_windows
    from cellvjepa.embedding.encoding import encode_tokens
    from cellvjepa.embedding.order import embedding_order
    from cellvjepa.embedding.pooling import pool
    from cellvjepa.embedding.project import project
    from cellvjepa.embedding.provenance import Source
    from cellvjepa.embedding.reading import clip_of_row
    from cellvjepa.embedding.recent import RecentChunks
    from cellvjepa.embedding.similar import Index, Neighbours, open_index
    from cellvjepa.embedding.store import Embeddings, add_columns, open_store
    from cellvjepa.embedding.surprise import SurpriseMap, surprise_of_movie
    from cellvjepa.embedding.surprise_events import surprise_events
    from cellvjepa.embedding.tables import export
    from cellvjepa.embedding.token_colours import TokenColours, token_pca
    from cellvjepa.embedding.token_field import MovieTokens, TokenField, field_of_clip, movie_tokens, token_similarity
    from cellvjepa.embedding.token_places import TokenPlaces, on_pixels, places_in_clip
    from cellvjepa.errors import Cancelled, UserError
    from cellvjepa.model.encoder_settings import encoder_config
    from cellvjepa.model.masking import mask_of_clip
    from cellvjepa.model.weights import load_encoder
    from cellvjepa.movies.clip_shape import ClipShape, check_movie
    from cellvjepa.movies.clips import Clip, clip_at, read_clip
    from cellvjepa.movies.convert import convert
    from cellvjepa.movies.lazy_array import lazy_array
    from cellvjepa.movies.levelled import levelled
    from cellvjepa.movies.levels import measure_levels, with_levels
    from cellvjepa.movies.movie import Movie, PixelSize
    from cellvjepa.movies.pictures import read_pictures
    from cellvjepa.movies.readers import Archive, open_archive, open_archives, open_movie
    from cellvjepa.movies.survey import survey
    from cellvjepa.movies.thumbnail import thumbnail
    from cellvjepa.probing.attention import TokenView, query_attention, why_no_view
    from cellvjepa.probing.label_book import LabelBook, Said
    from cellvjepa.probing.label_counts import LabelCounts, count_labels, label_column
    from cellvjepa.probing.label_file import LabelLine, append_labels
    from cellvjepa.probing.learnt import Learnt
    from cellvjepa.probing.predicting import apply_probe
    from cellvjepa.probing.probe import Probe, load_probe
    from cellvjepa.probing.suggest import Suggestions, suggest
    from cellvjepa.probing.tokens import token_features
    from cellvjepa.progress import Progress
    from cellvjepa.report.curves import LIGHTS, TRAINING_CURVES, Curve, Light, curve_points, lights_of
    from cellvjepa.report.galleries import PicturedClip, save_gallery, save_montage
    from cellvjepa.report.scatter import ScatterPlot, save_scatter
    from cellvjepa.shipped import sample_data_folder
    from cellvjepa.stories.make_probe import MadeProbe, make_probe
    from cellvjepa.stories.reported_probe import ReportedProbe, ReportedQuestion, ScoreLine, read_probe_report
    from cellvjepa.training.metrics import MetricsRow
    from cellvjepa.training.pretrain import pretrain
    from cellvjepa.training.recent import recent_runs, remember_run
    from cellvjepa.training.run_state import RunState, read_run_state, usable_encoder
    from cellvjepa.training.stop_file import ask_run_to_stop
    from cellvjepa.writing import atomic_path

_ROOM_OF = {
    "Archive": "movies.readers",
    "Cancelled": "errors",
    "CellFinder": "cells.segment",
    "Cells": "cells.table",
    "Clip": "movies.clips",
    "ClipShape": "movies.clip_shape",
    "ClusterConfig": "config",
    "Config": "config",
    "Curve": "report.curves",
    "Embeddings": "embedding.store",
    "Index": "embedding.similar",
    "LIGHTS": "report.curves",
    "LabelBook": "probing.label_book",
    "LabelCanvas": "cells.canvas",
    "LabelCounts": "probing.label_counts",
    "LabelLine": "probing.label_file",
    "Learnt": "probing.learnt",
    "Light": "report.curves",
    "LinkedLabels": "cells.relabel",
    "MadeProbe": "stories.make_probe",
    "MetricsRow": "training.metrics",
    "Movie": "movies.movie",
    "MovieTokens": "embedding.token_field",
    "Neighbours": "embedding.similar",
    "PicturedClip": "report.galleries",
    "PixelSize": "movies.movie",
    "Probe": "probing.probe",
    "Progress": "progress",
    "RecentChunks": "embedding.recent",
    "ReportedProbe": "stories.reported_probe",
    "ReportedQuestion": "stories.reported_probe",
    "RunState": "training.run_state",
    "Said": "probing.label_book",
    "ScatterPlot": "report.scatter",
    "ScoreLine": "stories.reported_probe",
    "Source": "embedding.provenance",
    "Suggestions": "probing.suggest",
    "SurpriseMap": "embedding.surprise",
    "TRAINING_CURVES": "report.curves",
    "TokenColours": "embedding.token_colours",
    "TokenField": "embedding.token_field",
    "TokenPlaces": "embedding.token_places",
    "TokenView": "probing.attention",
    "UserError": "errors",
    "Windows": "cells.windows",
    "add_columns": "embedding.store",
    "append_labels": "probing.label_file",
    "apply_probe": "probing.predicting",
    "ask_run_to_stop": "training.stop_file",
    "atomic_path": "writing",
    "cell_finder": "cells.segment",
    "cells_in_labels": "cells.label_images",
    "check_labels": "cells.label_images",
    "cells_of_movie": "cells.movie_cells",
    "check_movie": "movies.clip_shape",
    "checked_cells": "cells.table",
    "clip_at": "movies.clips",
    "clip_of_row": "embedding.reading",
    "cluster": "embedding.clusters",
    "config_from": "config",
    "convert": "movies.convert",
    "count_labels": "probing.label_counts",
    "curve_points": "report.curves",
    "embed_windows": "embedding.embed",
    "embedding_order": "embedding.order",
    "encode_tokens": "embedding.encoding",
    "encoder_config": "model.encoder_settings",
    "export": "embedding.tables",
    "field_of_clip": "embedding.token_field",
    "grid_windows": "cells.windows",
    "label_column": "probing.label_counts",
    "lazy_array": "movies.lazy_array",
    "levelled": "movies.levelled",
    "lights_of": "report.curves",
    "link_labels": "cells.relabel",
    "load_config": "config",
    "load_encoder": "model.weights",
    "load_probe": "probing.probe",
    "make_probe": "stories.make_probe",
    "mask_of_clip": "model.masking",
    "measure_levels": "movies.levels",
    "movie_cells": "cells.movie_cells",
    "movie_labels": "cells.movie_labels",
    "movie_tokens": "embedding.token_field",
    "nearby_labels": "cells.movie_labels",
    "new_canvas": "cells.canvas",
    "on_pixels": "embedding.token_places",
    "open_archive": "movies.readers",
    "open_archives": "movies.readers",
    "open_index": "embedding.similar",
    "open_movie": "movies.readers",
    "open_store": "embedding.store",
    "overrides_for": "config",
    "places_in_clip": "embedding.token_places",
    "pool": "embedding.pooling",
    "presets": "config",
    "pretrain": "training.pretrain",
    "project": "embedding.project",
    "query_attention": "probing.attention",
    "read_cells": "cells.table",
    "read_clip": "movies.clips",
    "read_pictures": "movies.pictures",
    "read_probe_report": "stories.reported_probe",
    "read_run_state": "training.run_state",
    "recent_runs": "training.recent",
    "remember_run": "training.recent",
    "sample_data_folder": "shipped",
    "save_cells": "cells.relabel",
    "save_config": "config",
    "save_gallery": "report.galleries",
    "save_labels": "cells.relabel",
    "save_montage": "report.galleries",
    "save_scatter": "report.scatter",
    "segment": "cells.segment",
    "suggest": "probing.suggest",
    "surprise_events": "embedding.surprise_events",
    "surprise_of_movie": "embedding.surprise",
    "survey": "movies.survey",
    "thumbnail": "movies.thumbnail",
    "token_features": "probing.tokens",
    "token_pca": "embedding.token_colours",
    "token_similarity": "embedding.token_field",
    "track_windows": "cells.windows",
    "usable_encoder": "training.run_state",
    "why_no_view": "probing.attention",
    "why_unlinked": "cells.link",
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
