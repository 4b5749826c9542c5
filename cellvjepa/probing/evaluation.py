"""What a store's embeddings are worth for some labels: the probe, its honest score, and simple baselines beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from cellvjepa.cells.outlines import Outlines
from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.encoding import vectors_of_clips
from cellvjepa.embedding.reading import clips_of, outlines_of, read_batches
from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.errors import UserError
from cellvjepa.model.device import choose_device
from cellvjepa.model.encoder import Encoder, new_encoder
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clips import Clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archives
from cellvjepa.probing.baselines import handmade_features, no_features
from cellvjepa.probing.labels import Labels, read_labels
from cellvjepa.probing.probe import FeatureSpec, Probe, fit_probe
from cellvjepa.probing.scores import ProbeReport
from cellvjepa.probing.splits import choose_groups, grouped_folds
from cellvjepa.probing.tokens import token_features
from cellvjepa.probing.validation import cross_validate, few_label_scores
from cellvjepa.progress import Progress, silent

THIS_ENCODER = "this encoder"
UNTRAINED = "untrained encoder"
HAND_MADE = "hand-made features"
CLASS_PRIOR = "class prior"
_UNTRAINED_SEED = 12345  # of the random weights; one that no run is likely to use
_FEW = (5, 20)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A probe on some labels, and how it compares.

    Parameters
    ----------
    probe
        Fitted on all labelled rows, to be used.
    report
        Its cross-validated score.
    comparison
        One line per kind of features and number of labels: ``features``, ``labels per class``, ``draws``, and for each score its
        mean and ``sd`` over draws; the same folds and the same draws for all.
    labels
        The labelled rows.
    notes
        What could not be computed, and why, for people.
    """

    probe: Probe
    report: ProbeReport
    comparison: pd.DataFrame
    labels: Labels
    notes: tuple[str, ...]


def evaluate(
    store: str | os.PathLike[str],
    labels_csv: str | os.PathLike[str],
    config: ProbeConfig,
    *,
    progress: Progress = silent,
) -> Evaluation:
    """Fit a probe on a store, score it by group, and score simple baselines in the same way.

    Parameters
    ----------
    store
        A store made by ``cellvjepa embed``.
    labels_csv
        The labels.
    config
        Kind of probe, groups, folds, seed.
    progress
        Told of each step; may cancel.

    Raises
    ------
    UserError
        If labels and store do not fit together, groups do not allow a split, or an attentive probe cannot read the movies.
    """
    embeddings = open_store(store)
    labels = read_labels(labels_csv, embeddings.table)
    groups = choose_groups(labels.table, embeddings.provenance.clip_shape, config)
    folds = grouped_folds(groups, labels.codes_N, labels.classes, config)
    vectors = np.concatenate([block for _, block in embeddings.blocks()])[labels.rows_N]
    compared: dict[str, npt.NDArray[Any]] = {CLASS_PRIOR: no_features(len(vectors)).values_ND}
    notes: list[str] = []
    try:
        pixels = _LabelledPixels.of(embeddings, labels)
    except UserError as error:
        if config.kind == "attentive":
            raise UserError(
                f"an attentive probe needs the movies and the model again: {error}", "put them back, or use --kind linear", embeddings.path
            ) from None
        notes.append(
            f"Hand-made features and the untrained encoder are missing from the comparison, because the movies or the model cannot be read: {error}"
        )
        pixels = None
    features = vectors
    if pixels is not None:
        compared[HAND_MADE] = pixels.hand_made(progress)
        compared[UNTRAINED] = pixels.encoded(pixels.untrained(), config, progress)
        if config.kind == "attentive":
            features = pixels.encoded(pixels.encoder, config, progress)
    compared[THIS_ENCODER] = features
    tables = []
    for name, values in compared.items():
        # Baselines without tokens are read by a linear probe, whatever the kind: it is the strongest on few numbers.
        kind = "linear" if values.ndim == 2 and config.kind == "attentive" else config.kind
        settings = config.model_copy(update={"kind": kind})
        scores = few_label_scores(values, labels.codes_N, folds, settings, _numbers_of_labels(labels), progress=progress)
        tables.append(scores.assign(features=name))
    report = cross_validate(features, labels, groups, config, progress)
    probe = fit_probe(features, labels, FeatureSpec.of(embeddings.provenance, features), config, progress)
    return Evaluation(probe, report, pd.concat(tables, ignore_index=True), labels, tuple(notes))


def features_of(store: str | os.PathLike[str], kind: str, progress: Progress = silent) -> npt.NDArray[Any]:
    """Return what a probe of this kind reads, for every row of a store: (N, D) vectors, or (N, C, t, z, y, x, D) tokens for an attentive one."""
    embeddings = open_store(store)
    if kind != "attentive":
        return np.concatenate([block for _, block in embeddings.blocks()])
    everything = Labels(np.arange(len(embeddings)), np.array([""] * len(embeddings)), embeddings.table, "all rows")
    pixels = _LabelledPixels.of(embeddings, everything)
    return pixels.encoded(pixels.encoder, ProbeConfig(kind="attentive"), progress)


def _numbers_of_labels(labels: Labels) -> Sequence[int | None]:
    most = int(np.bincount(labels.codes_N).max())
    return (*(few for few in _FEW if few < most), None)


@dataclass(frozen=True, eq=False)
class _LabelledPixels:
    """The clips behind labelled rows, read again from the movies the store was made from, and its encoder."""

    embeddings: Embeddings
    encoder: Encoder
    movies: tuple[Movie, ...]
    clips: tuple[Clip, ...]
    outlines: Outlines

    @classmethod
    def of(cls, embeddings: Embeddings, labels: Labels) -> _LabelledPixels:
        source = embeddings.provenance.source
        encoder, card = load_encoder(source.model)
        if card.sha256 != source.checkpoint_sha256:
            raise UserError("the encoder has changed since this store was made", "embed again into another store", source.model)
        archive = open_archives(source.archives, source.given)
        wanted = set(embeddings.table["movie"].astype(str))
        movies = tuple(with_levels(movie) for movie in archive.movies if movie.name in wanted)
        clips = clips_of(embeddings, movies)
        return cls(embeddings, encoder, movies, tuple(clips[row] for row in labels.rows_N), outlines_of(embeddings))

    def hand_made(self, progress: Progress) -> npt.NDArray[np.float64]:
        provenance = self.embeddings.provenance
        named = {movie.name: movie for movie in self.movies}
        shape = replace(provenance.clip_shape, channels=provenance.channels)
        parts = []
        for batch, pixels_BCTZYX in read_batches(named, self.clips, shape, 32, self.outlines):
            parts.append(handmade_features(pixels_BCTZYX, provenance.channels).values_ND)
            progress("hand-made features", sum(map(len, parts)), len(self.clips))
            assert len(batch) == len(parts[-1])
        return np.concatenate(parts)

    def encoded(self, encoder: Encoder, config: ProbeConfig, progress: Progress) -> npt.NDArray[np.float32]:
        provenance = self.embeddings.provenance
        reference, shape = provenance.source.reference, provenance.clip_shape
        encoder = encoder.to(choose_device())
        if config.kind == "attentive":
            return token_features(encoder, self.movies, self.clips, shape, reference=reference, outlines=self.outlines, progress=progress)
        return vectors_of_clips(
            encoder, self.movies, self.clips, shape, provenance.pool, reference=reference, outlines=self.outlines, progress=progress
        )

    def untrained(self) -> Encoder:
        """Return an encoder of the same form, with the same view of the pixels, and other random weights."""
        return new_encoder(self.encoder.shape, torch.Generator().manual_seed(_UNTRAINED_SEED)).eval()
