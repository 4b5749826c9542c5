"""A probe: a small classifier on the features of a frozen encoder, and what it was made from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cellvjepa import __version__
from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.provenance import Provenance
from cellvjepa.errors import UserError
from cellvjepa.probing.fitting import fit_head
from cellvjepa.probing.head import FittedHead, Head, Kind
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.learnt import Watch, unwatched, within
from cellvjepa.probing.multilabel import MultilabelHead, answers_table
from cellvjepa.probing.ordinal import OrdinalHead
from cellvjepa.progress import Progress, silent
from cellvjepa.writing import atomic_path

__all__ = [
    "ARRAYS_FILE",
    "CARD_FILE",
    "FeatureSpec",
    "Head",
    "Kind",
    "Probe",
    "fit_head",
    "fit_probe",
    "load_probe",
    "predict",
    "prediction_table",
    "probe_table",
    "save_probe",
]

ARRAYS_FILE = "probe.safetensors"
CARD_FILE = "probe.json"
_LARGEST_CARD = 2**24
_MADE_BY = "make one with `cellvjepa probe`, or check the path"
_DAMAGED = "copy the folder again, or make the probe again with `cellvjepa probe`"


@dataclass(frozen=True)
class FeatureSpec:
    """What the numbers are that a probe reads; a probe can only be used on the same.

    Parameters
    ----------
    encoder_sha256
        Of the encoder's weights.
    clip
        The clip shape: field by field, as JSON has them.
    channels
        Whose features stand side by side, in this order.
    statistic
        How tokens became a vector (``"mean"``, ``"moments"``), or ``"tokens"`` for all of them.
    shape
        Of one row: (D,), or (C, t, z, y, x, D) for tokens.
    """

    encoder_sha256: str
    clip: Mapping[str, Any]
    channels: tuple[str, ...]
    statistic: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, provenance: Provenance, features: npt.NDArray[Any]) -> FeatureSpec:
        """Return what the vectors of a store are, or the tokens of its clips (:func:`cellvjepa.probing.tokens.token_features`)."""
        clip = json.loads(json.dumps(asdict(provenance.clip_shape)))
        statistic = provenance.pool if features.ndim == 2 else "tokens"
        return cls(provenance.source.checkpoint_sha256, clip, provenance.channels, statistic, features.shape[1:])


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted classifier.

    Parameters
    ----------
    kind
        Which head it is.
    head
        The classifier itself.
    classes
        K names, in the order of its probabilities.
    made_from
        The features it was fitted on.
    notes
        How it was made, JSON values: labels, date, settings.
    """

    kind: Kind
    head: Head
    classes: tuple[str, ...]
    made_from: FeatureSpec
    notes: Mapping[str, Any]


def fit_probe(
    features: npt.NDArray[Any],
    labels: Labels,
    made_from: FeatureSpec,
    config: ProbeConfig,
    progress: Progress = silent,
    groups_N: npt.NDArray[np.int64] | None = None,
    watch: Watch = unwatched,
) -> Probe:
    """Fit the probe to use: on all labelled rows (its score comes from cross-validation, not from here).

    Parameters
    ----------
    features
        Features of the labelled rows, in the order of ``labels``.
    groups_N
        int64 (N,): rows that must not stand on both sides of the inner split (:func:`cellvjepa.probing.fitting.fit_head`).
    watch
        Told of the loss, where there are steps.

    Raises
    ------
    UserError
        If ``config.order`` names other classes than the labels do.
    """
    if config.order and sorted(config.order) != list(labels.classes):
        what = f"the order names {', '.join(config.order)}, but the labels are {', '.join(labels.classes)}"
        raise UserError(what, "name every class of the labels once, from low to high", "probe.order")
    head = fit_head(features, labels.codes_N, len(labels.classes), config, progress, groups_N, within(watch, "all labelled windows"))
    counts = {name: int((labels.names_N == name).sum()) for name in labels.classes}
    notes = {
        "version": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": labels.source,
        "rows per class": counts,
        "settings": config.model_dump(mode="json"),
        "choice": dict(head.choice),
    }
    return Probe(head.kind, head, labels.classes, made_from, notes)


def predict(probe: Probe, features: npt.NDArray[Any]) -> pd.DataFrame:
    """Return ``predicted``, ``probability`` (of that class) and ``p_CLASS`` for each class, one line per row of features."""
    return probe_table(probe, probe.head.probabilities(features))


def probe_table(probe: Probe, probabilities_NK: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Return the probabilities that a probe gave as a table; of several classes at once, which of them fit."""
    make = answers_table if isinstance(probe.head, MultilabelHead) else prediction_table
    return make(probabilities_NK, probe.classes)


def prediction_table(probabilities_NK: npt.NDArray[np.float64], classes: tuple[str, ...]) -> pd.DataFrame:
    """Return probabilities as a table: see :func:`predict`."""
    best = probabilities_NK.argmax(axis=1)
    columns = {f"p_{name}": probabilities_NK[:, k] for k, name in enumerate(classes)}
    chosen = {"predicted": np.array(classes, dtype=object)[best], "probability": np.take_along_axis(probabilities_NK, best[:, None], axis=1)[:, 0]}
    return pd.DataFrame({**chosen, **columns})


def save_probe(probe: Probe, folder: str | os.PathLike[str]) -> None:
    """Write ``probe.safetensors`` (the numbers) and ``probe.json`` (what they are) into a folder.

    Raises
    ------
    UserError
        If the disk is full or the folder cannot be written to.
    """
    card = {"kind": probe.kind, "classes": list(probe.classes), "made_from": asdict(probe.made_from), "notes": dict(probe.notes)}
    # The card is also inside the numbers, so that the two cannot be mixed up.
    text = json.dumps(card, indent=2, sort_keys=True)
    with atomic_path(Path(folder) / ARRAYS_FILE) as part:
        save_file({name: np.ascontiguousarray(array) for name, array in probe.head.arrays().items()}, part, metadata={"card": text})
    with atomic_path(Path(folder) / CARD_FILE) as part:
        part.write_text(text + "\n", encoding="utf-8")


def load_probe(folder: str | os.PathLike[str], wanted: FeatureSpec | None = None) -> Probe:
    """Read a probe, to be used on features that are ``wanted`` (``None``: whatever it was made from).

    Raises
    ------
    UserError
        If there is none, it is damaged, or it was made from other features; the differences are named.
    """
    path = Path(folder) / ARRAYS_FILE
    if not path.is_file():
        raise UserError("there is no probe here", _MADE_BY, folder)
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get("card", "")
            if len(text) > _LARGEST_CARD:
                raise ValueError("its description is too long")
            card = json.loads(text)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        made_from = FeatureSpec(**{**card["made_from"], **{key: tuple(card["made_from"][key]) for key in ("channels", "shape")}})
        kind, classes = card["kind"], tuple(map(str, card["classes"]))
        head = _head(kind, arrays)
        if (head.expects, head.classes) != (made_from.shape, len(classes)):
            raise ValueError(f"its numbers are not those of {len(classes)} classes and features of shape {made_from.shape}")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"the probe cannot be read ({error})", _DAMAGED, path) from None
    if wanted is not None and (found := _differences(made_from, wanted)):
        raise UserError(f"the probe was made from other features: {'; '.join(found)}", "use the encoder it was made with, or make a new probe", path)
    return Probe(head.kind, head, classes, made_from, card["notes"])


def _head(kind: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Head:
    if "multilabel" in arrays:
        return MultilabelHead.from_arrays(arrays)
    return OrdinalHead.from_arrays(arrays) if "rank" in arrays else FittedHead.from_arrays(kind, arrays)


def _differences(made_from: FeatureSpec, wanted: FeatureSpec) -> list[str]:
    found = []
    for field in fields(FeatureSpec):
        there, here = getattr(made_from, field.name), getattr(wanted, field.name)
        if field.name == "clip":
            keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
            found += [f"clip.{key} is {there.get(key)} there and {here.get(key)} here" for key in keys]
        elif there != here:
            short = (there[:12], here[:12]) if field.name == "encoder_sha256" else (there, here)
            found.append(f"{field.name} is {short[0]} there and {short[1]} here")
    return found
