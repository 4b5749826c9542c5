"""A probe applied to every row of a store, a block at a time: neither vectors nor tokens are ever all in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.embedding.store import Embeddings, add_columns, open_store
from cellvjepa.errors import UserError
from cellvjepa.probing.probe import FeatureSpec, Probe, load_probe, probe_table
from cellvjepa.probing.token_cache import users_token_cache
from cellvjepa.probing.tokens import TokenSource
from cellvjepa.progress import Progress, silent

TOKENS = "tokens"


def predict_store(
    store: str | os.PathLike[str], probe: str | os.PathLike[str], *, token_cache_gb: float = 0.0, progress: Progress = silent
) -> tuple[pd.DataFrame, Probe]:
    """Apply a probe to every row of a store.

    Parameters
    ----------
    store
        Made by ``cellvjepa embed``, with the encoder that the probe was made with.
    probe
        Folder of the probe.
    token_cache_gb
        Not 0: tokens that are kept on the disk are used.
    progress
        Told of the rows done; may cancel.

    Returns
    -------
    DataFrame, Probe
        ``predicted``, ``probability`` and ``p_CLASS`` of each row, and the probe. A row whose vector is not finite gets no class.

    Raises
    ------
    UserError
        If the probe was made from other features (the differences are named), or it reads tokens and the movies or the model are gone.
    """
    embeddings = open_store(store)
    loaded = load_probe(probe)
    spec = FeatureSpec.of(embeddings.provenance, np.empty((0, *loaded.made_from.shape)))
    if loaded.made_from.statistic != TOKENS:
        # The width is the store's own, so that another one is named as a difference.
        spec = replace(FeatureSpec.of(embeddings.provenance, np.empty((0, 0))), shape=(embeddings.vectors_ND.shape[1],))
    loaded = load_probe(probe, spec)
    found = np.full((len(embeddings), len(loaded.classes)), np.nan)
    for rows, features in _features(embeddings, loaded, token_cache_gb, Path(probe), progress):
        finite = np.isfinite(features).all(axis=tuple(range(1, features.ndim)))
        found[rows][finite] = loaded.head.probabilities(features if finite.all() else features[finite])
        progress("predicting", rows.stop, len(embeddings))
    table = probe_table(loaded, np.nan_to_num(found, nan=0.0))
    unknown = np.isnan(found).any(axis=1)
    if unknown.any():
        table.loc[unknown, "predicted"] = None
        table.loc[unknown, [name for name in table if name != "predicted"]] = np.nan
    return table, loaded


def apply_probe(
    store: str | os.PathLike[str], probe: str | os.PathLike[str], *, token_cache_gb: float = 0.0, progress: Progress = silent
) -> pd.DataFrame:
    """Write the predictions of a probe into a store: the columns of :func:`predict_store`; those of the same name are replaced.

    Nothing is written before all rows have been predicted.

    Returns
    -------
    DataFrame
        What was written.

    Raises
    ------
    UserError
        As :func:`predict_store`; or if the rows of the store have changed meanwhile, or it cannot be written.
    """
    before = open_store(store).table["clip_id"].to_numpy()
    table, loaded = predict_store(store, probe, token_cache_gb=token_cache_gb, progress=progress)
    if not np.array_equal(before, open_store(store).table["clip_id"].to_numpy()):
        raise UserError("the rows of this store changed while they were predicted", "predict again", store)
    progress("writing", 0, 0)
    add_columns(store, table, "probe", dict(loaded.notes))
    return table


def _features(
    embeddings: Embeddings, probe: Probe, token_cache_gb: float, where: Path, progress: Progress
) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
    if probe.made_from.statistic != TOKENS:
        yield from embeddings.blocks()
        return
    try:
        source = TokenSource.of(embeddings)
    except UserError as error:
        what = f"this probe reads tokens, so it needs the movies and the model again: {error}"
        raise UserError(what, "put them back, or make a probe with --kind linear", where) from None

    def tell(_: str, done: int, total: int) -> None:  # one bar, though two things are done in turn
        progress("predicting", done, total)

    cache = users_token_cache(token_cache_gb, read_only=True)
    for rows, tokens in source.blocks(np.arange(len(embeddings)), cache, tell):
        if tokens.shape[1:] != probe.made_from.shape:
            what = f"the probe was made from other features: shape is {probe.made_from.shape} there and {tokens.shape[1:]} here"
            raise UserError(what, "use the store it was made from, or make a new probe", where)
        yield rows, tokens
