"""How cells are labelled, remembered in the metadata of their layers, and the labels as a column of points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellvjepa.layers.linking import rows_of

LABELS_KEY = "cellvjepa_labels"  # in a layer's metadata: file, annotator, classes with their colours, scope
LABEL_COLUMN = "label"  # of the features of points


@dataclass(frozen=True)
class LabelMemory:
    """How the cells of a store or of a layer are labelled.

    Parameters
    ----------
    file
        The label file; empty for the usual place.
    annotator
        Who labels.
    classes
        The colour of each class, ``"#rrggbb"``, in the order of their keys.
    scope
        What a key labels.
    """

    file: str = ""
    annotator: str = ""
    classes: dict[str, str] = field(default_factory=dict)
    scope: str = ""


def recalled(layers: Iterable[Any]) -> LabelMemory:
    """Return what the first of some layers remembers that remembers anything."""
    for layer in layers:
        kept = layer.metadata.get(LABELS_KEY)
        if isinstance(kept, dict):
            texts = {name: str(kept[name]) for name in ("file", "annotator", "scope") if name in kept}
            classes = kept.get("classes")
            return LabelMemory(**texts, classes={str(k): str(v) for k, v in classes.items()} if isinstance(classes, dict) else {})
    return LabelMemory()


def remember(layers: Iterable[Any], **changes: Any) -> None:
    """Note something of a :class:`LabelMemory` in layers; the rest stays as it is."""
    found = list(layers)
    kept = asdict(replace(recalled(found), **changes))
    for layer in found:
        layer.metadata[LABELS_KEY] = dict(kept)


def show_labels(layers: Iterable[Any], labels_N: npt.NDArray[np.object_]) -> None:
    """Give points of a store the column ``label``.

    It is written into the table of features as it stands: napari's own way would tell everybody who follows the store that it has changed.

    Parameters
    ----------
    labels_N
        Of each row of the store; None where there is none.
    """
    for layer in layers:
        layer.features[LABEL_COLUMN] = labels_N[rows_of(layer)]


def change_labels(layers: Iterable[Any], rows: Sequence[int], labels: Sequence[str | None]) -> None:
    """Change the column ``label`` of some rows, which takes no longer where there are many others."""
    of_row = dict(zip(rows, labels, strict=True))
    for layer in layers:
        if LABEL_COLUMN not in layer.features:
            continue
        points = np.flatnonzero(np.isin(rows_of(layer), list(of_row)))
        if len(points):
            column = layer.features.columns.get_loc(LABEL_COLUMN)
            layer.features.iloc[points, column] = np.array([of_row[row] for row in rows_of(layer)[points].tolist()], object)
