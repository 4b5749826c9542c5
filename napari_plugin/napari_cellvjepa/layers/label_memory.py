"""How cells are labelled, remembered in the metadata of their layers, and the labels as a column of points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.utils.events import Event

import cellvjepa
from napari_cellvjepa.layers.linking import rows_of

LABELS_KEY = "cellvjepa_labels"  # in a layer's metadata: file, annotator, classes with their colours, scope
ROWS_KEY = "labels_of_rows"  # in a layer's metadata: (column, label of each row of the store)


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


def label_column(found: cellvjepa.Embeddings) -> str:
    """Return what the column of labels given by hand is called: ``label``, unless the store has one of this name."""
    return "label" if "label" not in found.table else "label by hand"


def labels_changed(layer: Any) -> Any:
    """Return the event of a Points layer that tells that labels of its store have changed."""
    if "cellvjepa_labels" not in layer.events.emitters:
        layer.events.add(cellvjepa_labels=Event)
    return layer.events.cellvjepa_labels


def show_labels(layers: Iterable[Any], column: str, labels_N: npt.NDArray[np.object_]) -> None:
    """Give points of a store a column of labels.

    It is written into the table of features as it stands: napari's own way would tell everybody who follows the store that it has changed.

    Parameters
    ----------
    labels_N
        Of each row of the store; None where there is none. It is kept, and changed by :func:`change_labels`.
    """
    for layer in layers:
        layer.metadata[ROWS_KEY] = column, labels_N
        layer.features[column] = labels_N[rows_of(layer)]
        labels_changed(layer)()


def change_labels(layers: Iterable[Any], rows: Sequence[int], labels: Sequence[str | None]) -> None:
    """Change the labels of some rows, which takes no longer where there are many others."""
    of_row = dict(zip(rows, labels, strict=True))
    for layer in layers:
        if ROWS_KEY not in layer.metadata:
            continue
        name, labels_N = layer.metadata[ROWS_KEY]
        labels_N[list(of_row)] = np.array(list(of_row.values()), object)
        points = np.flatnonzero(np.isin(rows_of(layer), list(of_row)))
        if len(points):
            layer.features.iloc[points, layer.features.columns.get_loc(name)] = labels_N[rows_of(layer)[points]]
        labels_changed(layer)()


def labels_of_rows(layers: Iterable[Any]) -> tuple[str, npt.NDArray[np.object_]] | None:
    """Return the column of labels and the label of each row of a store, as they are now; None if nobody has labelled."""
    for layer in layers:
        if ROWS_KEY in layer.metadata:
            name, labels_N = layer.metadata[ROWS_KEY]
            return str(name), labels_N.copy()
    return None
