"""What the pages of the dock have in common: the viewer, the form above, the work below; and how maps come into the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Layer

import cellvjepa
from napari_cellvjepa.layers.maps import MAP_KEY, maps_in
from napari_cellvjepa.layers.of_movies import MOVIE_KEY, LayerData, Shown
from napari_cellvjepa.parts.running import Running
from napari_cellvjepa.see.sight import Asked
from napari_cellvjepa.see.where import Where


@dataclass(frozen=True, eq=False)
class Bench:
    """The viewer, the form and the work."""

    viewer: Any
    where: Where
    running: Running

    def ask(self) -> tuple[Asked, Shown] | None:
        """Return what is to be looked at; where something is missing, tell it and return None."""
        try:
            return self.where.asked()
        except cellvjepa.UserError as error:
            self.refuse(error)
            return None

    def refuse(self, error: cellvjepa.UserError) -> None:
        """Tell a problem."""
        self.running.refuse(error)

    def begin(
        self, do: Callable[[cellvjepa.Progress], Any], title: str, then: Callable[[Any], str], ended: Callable[[bool], object] | None = None
    ) -> None:
        """Do work for the image that is chosen now.

        Parameters
        ----------
        do, title
            As for :class:`napari_cellvjepa.parts.work.Work`.
        then
            Is given the result, unless the image has been closed meanwhile; returns what people are told.
        ended
            Is told at the end whether a person has cancelled the work.
        """
        image = self.where.image.layer()

        def take(result: Any) -> None:
            if image not in self.viewer.layers:
                self.running.tell("The image was closed meanwhile, so nothing is shown.")
                return
            if told := then(result):
                self.running.tell(told)

        self.running.do(do, title, take, ended)

    def put(self, what: str, layers: Sequence[LayerData]) -> list[Any]:
        """Show maps instead of those of the same kind and movie that were there; what bears the same name keeps its looks.

        Parameters
        ----------
        what
            As in ``about`` of the maps.
        """
        movie = layers[0][1]["metadata"][MAP_KEY]["movie"]
        old = {layer.name: layer for layer in self.of(what, movie)}
        added = []
        for data, settings, kind in layers:
            before = old.get(settings["name"])
            kept = {} if before is None else {"visible": before.visible, "opacity": before.opacity}
            added.append(self._add(Layer.create(data, {**settings, **kept}, kind)))
        # Not before: whoever listens must not believe meanwhile that nothing is shown any more.
        for layer in old.values():
            self.viewer.layers.remove(layer)
        for layer, (_, settings, _) in zip(added, layers, strict=True):
            layer.name = settings["name"]
        return added

    def mark(self, what: str, layer: LayerData) -> None:
        """Show a map of one point, or move the one that is there."""
        data, settings, _ = layer
        old = self.of(what, settings["metadata"][MAP_KEY]["movie"])
        if len(old) == 1 and np.allclose(old[0].scale, settings["scale"]) and np.allclose(old[0].translate, settings["translate"]):
            old[0].data = data
        else:
            self.put(what, [layer])

    def words_of_movie(self) -> list[str]:
        """Return what a command is told of the movie, its channel and the model.

        Raises
        ------
        UserError
            If there is no movie, or it is no file.
        """
        shown, layer = self.where.shown(), self.where.image.layer()
        if layer is None or MOVIE_KEY not in layer.metadata:
            raise cellvjepa.UserError("this image is not a file that a command could read", "save it as TIFF and open it by File > Open", "Image")
        several = ["--set", f"clip.channels=[{shown.channel}]"] if len(shown.movie.channels) > 1 else []
        return [shown.movie.uri, "--model", self.where.model_words(), *several]

    def of(self, what: str, movie: str = "") -> list[Any]:
        """Return the maps of a kind, of one movie or of all."""
        return [
            layer for layer in maps_in(self.viewer) if layer.metadata[MAP_KEY]["what"] == what and movie in ("", layer.metadata[MAP_KEY]["movie"])
        ]

    def clear(self) -> None:
        """Take all maps out of the viewer."""
        for layer in list(maps_in(self.viewer)):
            self.viewer.layers.remove(layer)

    def _add(self, layer: Any) -> Any:
        """Add a layer on top without making it the active one: whoever clicks in the image next means the image."""
        active = self.viewer.layers.selection.active
        self.viewer.add_layer(layer)
        if active is not None and active in self.viewer.layers:
            self.viewer.layers.selection.active = active
        return layer
