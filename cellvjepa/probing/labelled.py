"""The labelled rows of a store, and what is read of them: what every question about them begins with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.errors import UserError
from cellvjepa.probing.baselines import baseline_features, no_features
from cellvjepa.probing.labels import Labels, read_labels
from cellvjepa.probing.splits import Groups, choose_groups
from cellvjepa.probing.token_cache import users_token_cache
from cellvjepa.probing.tokens import TokenSource
from cellvjepa.progress import Progress

THIS_ENCODER = "this encoder"
CLASS_PRIOR = "class prior"
TOKEN_KINDS = ("attentive", "auto")


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labelled rows of a store, and which of them stay together.

    Parameters
    ----------
    embeddings
        The store.
    labels
        Those rows whose vectors are numbers.
    vectors_ND
        float32 (N, D): their embeddings.
    groups
        What is held out together.
    """

    embeddings: Embeddings
    labels: Labels
    vectors_ND: npt.NDArray[np.float32]
    groups: Groups

    @classmethod
    def of(cls, store: str | os.PathLike[str], labels_csv: str | os.PathLike[str], config: ProbeConfig) -> Labelled:
        """Read a store and its labels.

        Raises
        ------
        UserError
            If labels and store do not fit together, or groups do not allow a split.
        """
        embeddings = open_store(store)
        labels, vectors = _usable(read_labels(labels_csv, embeddings.table), embeddings)
        groups = choose_groups(labels.table, embeddings.provenance.clip_shape, config).holding(vectors)
        return cls(embeddings, labels, vectors, groups)


@dataclass(frozen=True, eq=False)
class Features:
    """What a probe reads of labelled rows, and what it is compared with.

    Parameters
    ----------
    values
        (N, D) vectors, or (N, C, t, z, y, x, D) tokens.
    compared
        By name: the same of the baselines and of this encoder.
    trouble
        What is missing and why, for people.
    """

    values: npt.NDArray[Any]
    compared: Mapping[str, npt.NDArray[Any]]
    trouble: tuple[str, ...]


def features_of(labelled: Labelled, config: ProbeConfig, progress: Progress) -> Features:
    """Return what the probe reads of labelled rows, all that is compared, and what is missing and why.

    Raises
    ------
    UserError
        If an attentive probe cannot read the movies or the model.
    """
    embeddings, labels, vectors = labelled.embeddings, labelled.labels, labelled.vectors_ND
    compared: dict[str, npt.NDArray[Any]] = {CLASS_PRIOR: no_features(len(vectors)).values_ND}
    features: npt.NDArray[Any] = vectors
    notes = []
    try:
        # Of a store of a million rows, clips are made of those with labels only.
        few = replace(embeddings, table=embeddings.table.iloc[labels.rows_N].reset_index(drop=True))
        source = TokenSource.of(few)
        compared |= baseline_features(embeddings, labels.rows_N, source.movies, source.encoder, config, progress)
        if config.kind in TOKEN_KINDS:
            features = source.tokens(np.arange(len(few.table)), users_token_cache(config.token_cache_gb), progress)
    except UserError as error:
        if config.kind == "attentive":
            raise UserError(
                f"an attentive probe needs the movies and the model again: {error}", "put them back, or use --kind linear", embeddings.path
            ) from None
        without = ", and an attentive probe was not tried" if config.kind == "auto" else ""
        notes.append(
            "Hand-made features, the untrained encoder and the encoder without time are missing from the comparison"
            f"{without}, because the movies or the model cannot be read: {error}"
        )
    compared[THIS_ENCODER] = features
    return Features(features, compared, tuple(notes))


def _usable(labels: Labels, embeddings: Embeddings) -> tuple[Labels, npt.NDArray[np.float32]]:
    """Return the labelled rows whose vectors are numbers, and the vectors; of a store of a million rows no others are read."""
    vectors = embeddings.vectors_at(labels.rows_N)
    good: npt.NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(vectors), axis=1)
    if good.all():
        return labels, vectors
    bad = int((~good).sum())
    labels = labels.where(good, f"{bad} labelled rows are not used: their embeddings hold NaN or infinity")
    if len(labels.classes) < 2:
        left = f"of the labelled rows {bad} have embeddings of NaN or infinity, and the other {len(labels.rows_N)} are of fewer than two classes"
        raise UserError(left, "make the store again with `cellvjepa embed`, and check the encoder", embeddings.path)
    return labels, vectors[good]
