"""A page of the dock: where a probe looks in a clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import QFileDialog, QFormLayout, QLabel, QPushButton, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.layers.maps import MAP_KEY, map_layer
from napari_cellvjepa.layers.of_movies import LayerData, Space
from napari_cellvjepa.parts.choosers import PathLine
from napari_cellvjepa.see.bench import Bench
from napari_cellvjepa.see.sight import Asked, Sight, about_clip, described_clip, laid, open_sight

WHAT = "attention"
_ABOUT = (
    "An attentive probe weighs the places of a clip with a query that it has learnt. The map shows these weights, averaged over its heads; "
    "they sum to 1. They tell where the probe looks, not what speaks for a class."
)
_SUM = (
    "This probe is linear, and has no attention. It reads the mean of all tokens, so its answer is a sum over them: "
    "the maps show exactly what each place adds to a class (its logit)."
)


@dataclass(frozen=True, eq=False)
class Looked:
    """Where a probe looks in a clip; of a probe of which nothing can be shown, why."""

    sight: Sight | None
    view: cellvjepa.TokenView | None
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    problem: str


class AttentionPage(QWidget):
    """The page."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench
        about = QLabel(_ABOUT)
        about.setWordWrap(True)
        self.probe = PathLine("folder of a probe", {"Folder of a probe …": _ask_probe})
        self.probe.setToolTip("<qt>What <tt>cellvjepa probe</tt> left behind.</qt>")
        self.show_attention = QPushButton("Show where it looks")
        self.show_attention.clicked.connect(self.look)
        self.found = QLabel()
        self.found.setWordWrap(True)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Probe", self.probe)
        layout = QVBoxLayout(self)
        layout.addWidget(about)
        layout.addLayout(form)
        layout.addWidget(self.show_attention)
        layout.addWidget(self.found)
        layout.addStretch(1)
        for layer in bench.of(WHAT):
            self.probe.set_text(layer.metadata[MAP_KEY].get("probe", ""))

    def look(self) -> None:
        """Ask the probe about the clip."""
        if not self.probe.text():
            self._bench.refuse(cellvjepa.UserError("no probe is chosen", "choose the folder that `cellvjepa probe` wrote", "Probe"))
        elif (found := self._bench.ask()) is not None:
            asked, shown = found
            folder = Path(self.probe.text()).expanduser()
            self._bench.begin(partial(looked, asked, folder), "Asking the probe", partial(self._show, shown.space, str(folder)))

    def _show(self, space: Space, folder: str, result: Looked) -> str:
        if result.view is None or result.sight is None:
            self.found.setText(f"Nothing is shown: {result.problem}.")
            return ""
        self._bench.put(WHAT, attention_layers(result, space, folder))
        self.found.setText("\n".join(filter(None, (_SUM if result.view.kind == "contribution" else "", described_answer(result)))))
        return f"Asked about the clip: {described_clip(result.sight)}"


def looked(asked: Asked, folder: Path, progress: cellvjepa.Progress) -> Looked:
    """Ask a probe about a clip (in the other thread).

    Raises
    ------
    UserError
        If the probe cannot be read, or was made with another model or for other clips.
    """
    progress("reading the probe", 0, 0)
    probe = cellvjepa.load_probe(folder)
    made = probe.made_from
    if problem := cellvjepa.why_no_view(probe):
        return Looked(None, None, probe.classes, made.channels, problem)
    shape = replace(cellvjepa.ClipShape(**made.clip), channels=made.channels)
    sight = open_sight(asked, progress, shape)
    if sight.source.checkpoint_sha256 != made.encoder_sha256:
        raise cellvjepa.UserError(f"the probe was made with another model than {sight.source.model}", "choose that one above", folder)
    progress("encoding the clip", 0, 0)
    (tokens,) = cellvjepa.token_features(sight.encoder, [sight.movie], [sight.clip], shape, reference=sight.source.reference)
    progress("asking the probe", 0, 0)
    return Looked(sight, cellvjepa.query_attention(probe, tokens), probe.classes, made.channels, "")


def attention_layers(result: Looked, space: Space, folder: str) -> list[LayerData]:
    """Return one layer for each map, the channels added up; of a linear probe the likeliest class is shown, else the first."""
    view, sight = result.view, result.sight
    assert view is not None
    assert sight is not None
    shown = int(view.probabilities_K.argmax()) if view.kind == "contribution" else 0
    layers = []
    for number, (name, values_Ctzyx) in enumerate(zip(view.names, view.values_QCtzyx, strict=True)):
        values = values_Ctzyx.sum(axis=0)
        if len(values) < sight.places.grid.t and sight.clip.drift != (0, 0):
            values = np.repeat(values, sight.places.grid.t, axis=0)  # a map for all times moves with the clip
        pixels, places = (values, sight.places.without_time()) if len(values) < sight.places.grid.t else laid(sight, values, np.nan)
        largest = max(float(np.abs(values).max()), 1e-12)
        looks: dict[str, Any] = {
            "name": f"attention: {name}" if view.kind == "attention" else f"speaks for {name}",
            "colormap": "inferno" if view.kind == "attention" else "PiYG",
            "contrast_limits": (0.0 if view.kind == "attention" else -largest, largest),
            "opacity": 0.65,
            "interpolation2d": "nearest",
            "visible": number == shown,
        }
        layers.append(map_layer(pixels, places, space, {**about_clip(sight, WHAT), "probe": folder, "map": name}, "image", looks))
    return layers


def described_answer(result: Looked) -> str:
    """Say what the probe answers, and in which channels it looks if there are several."""
    view = result.view
    assert view is not None
    likeliest = np.argsort(-view.probabilities_K)[:4]
    text = "It says: " + ", ".join(f"{result.classes[k]} {view.probabilities_K[k]:.0%}" for k in likeliest) + "."
    if len(result.channels) > 1 and view.kind == "attention":
        shares = view.values_QCtzyx.mean(axis=0).sum(axis=(1, 2, 3, 4))
        text += " It looks at " + ", ".join(f"{name} by {share:.0%}" for name, share in zip(result.channels, shares, strict=True)) + "."
    if len(view.values_QCtzyx[0, 0]) == 1:
        text += " It reads each place over the whole time of the clip, so the map is the same at all times."
    return text


def _ask_probe(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Folder of a probe")
