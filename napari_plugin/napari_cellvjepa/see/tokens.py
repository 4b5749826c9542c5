"""The tokens of a clip or a movie, and the layers that show them as colours, or as what is like one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import cellvjepa
from napari_cellvjepa.layers.maps import map_layer
from napari_cellvjepa.layers.of_movies import LayerData, Space
from napari_cellvjepa.see.sight import Asked, Sight, about_clip, laid, open_sight

COLOURS, LIKENESS, CLICKED = "features", "likeness", "clicked token"
TOKENS_KEY = "cellvjepa_tokens"  # in a layer's metadata: the Tokens that it shows
_LOWEST_SHARE = 0.02  # of all places, which are shown as not alike at all

Token = tuple[int, int, int, int]


@dataclass(eq=False)
class Tokens:
    """The tokens that are looked at.

    Parameters
    ----------
    field
        The tokens.
    sight
        Through which model, and which clip.
    space
        Of the image.
    movie
        Computes them, where they are those of a whole movie.
    colours
        Their principal components, once there are tokens.
    clicked
        The token that others are compared with.
    """

    field: cellvjepa.TokenField
    sight: Sight
    space: Space
    movie: cellvjepa.MovieTokens | None
    colours: cellvjepa.TokenColours | None = None
    clicked: Token | None = None

    def lay(self, values: npt.NDArray[Any], fill: float) -> tuple[npt.NDArray[Any], cellvjepa.TokenPlaces]:
        """Return values of all tokens, (t, z, y, x, ...), and where they lie."""
        return laid(self.sight, values, fill) if self.movie is None else (values, self.field.places)

    def token_at(self, place: tuple[float, float, float, float]) -> Token | None:
        """Return the token that covers a native t, z, y, x, or None."""
        shape = self.field.places.shape
        if self.movie is not None or self.sight.clip.drift == (0, 0):
            return self.field.places.token_at(place)
        numbers, places = self.lay(np.arange(int(np.prod(shape))).reshape(shape), -1)
        at = places.token_at(place)
        if at is None or numbers[at] < 0:
            return None
        t, z, y, x = map(int, np.unravel_index(int(numbers[at]), shape))
        return t, z, y, x

    def step_of(self, frame: float) -> int | None:
        """Return the step that covers a native frame, or None."""
        places = self.field.places
        step = int((frame + 0.5 - places.start[0]) // places.pitch[0])
        return step if 0 <= step < places.grid.t else None

    def about(self, what: str) -> dict[str, Any]:
        """Return what a layer remembers."""
        about = about_clip(self.sight, what)
        return about if self.movie is None else {name: value for name, value in about.items() if name != "clip"}


def tokens_of_clip(asked: Asked, space: Space, progress: cellvjepa.Progress) -> Tokens:
    """Compute the tokens of a clip and their colours (in the other thread)."""
    sight = open_sight(asked, progress)
    field = cellvjepa.field_of_clip(sight.encoder, sight.movie, sight.clip, sight.shape, sight.source.reference, progress)
    progress("finding colours", 0, 0)
    return Tokens(field, sight, space, None, field.colours())


def tokens_of_movie(asked: Asked, space: Space, progress: cellvjepa.Progress) -> Tokens:
    """Prepare the tokens of a movie, none of which is computed yet (in the other thread)."""
    sight = open_sight(asked, progress)
    size = sight.config.embed.batch_size
    movie = cellvjepa.movie_tokens(sight.encoder, sight.movie, sight.shape, sight.source.reference, size)
    return Tokens(movie.field, sight, space, movie)


def compute_around(tokens: Tokens, step: int, progress: cellvjepa.Progress) -> None:
    """Compute the tokens of a step of a movie (in the other thread); the first ones say what colours mean."""
    assert tokens.movie is not None
    tokens.movie.compute_around(step, progress)
    if tokens.colours is None:
        progress("finding colours", 0, 0)
        tokens.colours = tokens.field.colours()


def compute_all(tokens: Tokens, progress: cellvjepa.Progress) -> None:
    """Compute the tokens of a movie, step by step (in the other thread); at the end all of them say what colours mean."""
    assert tokens.movie is not None

    def tell(stage: str, done: int, total: int) -> None:
        if tokens.colours is None and tokens.field.steps:
            tokens.colours = tokens.field.colours()  # for the time being
        progress(stage, done, total)

    tokens.movie.compute_all(tell)
    progress("finding colours", 0, 0)
    tokens.colours = tokens.field.colours()


def painted(tokens: Tokens, canvas_tzyx4: npt.NDArray[np.uint8], steps: tuple[int, ...]) -> None:
    """Paint steps into a canvas with red, green, blue and opacity, which is 0 where nothing has been computed."""
    assert tokens.colours is not None
    for step in steps:
        canvas_tzyx4[step, ..., :3] = tokens.colours.rgb(tokens.field.tokens(step))
        canvas_tzyx4[step, ..., 3] = 255


def empty_canvas(tokens: Tokens) -> npt.NDArray[np.uint8]:
    """Return a canvas on which nothing is painted yet."""
    return np.zeros((*tokens.field.places.shape, 4), np.uint8)


def colour_layer(tokens: Tokens, canvas_tzyx4: npt.NDArray[np.uint8]) -> LayerData:
    """Return the layer of a canvas."""
    pixels, places = tokens.lay(canvas_tzyx4, 0)
    looks = {"name": "features as colours", "rgb": True, "opacity": 0.7, "interpolation2d": "nearest"}
    return _with_tokens(map_layer(pixels, places, tokens.space, tokens.about(COLOURS), "image", looks), tokens)


def likeness(tokens: Tokens, steps: tuple[int, ...], values_tzyx: npt.NDArray[np.float32]) -> None:
    """Compare the tokens of some steps with the one that was clicked, in place."""
    assert tokens.clicked is not None
    for step in steps:
        values_tzyx[step] = tokens.field.similarity(tokens.clicked, step)


def likeness_layer(tokens: Tokens, values_tzyx: npt.NDArray[np.float32]) -> LayerData:
    """Return the layer of a comparison."""
    pixels, places = tokens.lay(values_tzyx, np.nan)
    looks = {
        "name": "likeness to the clicked place",
        "colormap": "inferno",
        "contrast_limits": likeness_limits(values_tzyx),
        "opacity": 0.65,
        "interpolation2d": "nearest",
    }
    return _with_tokens(map_layer(pixels, places, tokens.space, tokens.about(LIKENESS), "image", looks), tokens)


def likeness_limits(values_tzyx: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return between which cosines a comparison is shown."""
    known = values_tzyx[np.isfinite(values_tzyx)]
    low = float(np.quantile(known, _LOWEST_SHARE)) if len(known) else 0.0
    return (min(low, 0.999), 1.0)


def clicked_layer(tokens: Tokens) -> LayerData:
    """Return a layer with a ring on the clicked token, seen as long as the token lasts."""
    assert tokens.clicked is not None
    places = tokens.field.places
    t, z, y, x = tokens.clicked
    _, settings, _ = map_layer(np.zeros((1, 1, 1, 1)), places, tokens.space, tokens.about(CLICKED), "image", {})
    # In units of tokens, so that napari shows the point while the slider is within the token.
    place = [[t, y, x]] if len(settings["scale"]) == 3 else [[t, z, y, x]]
    looks = {"name": CLICKED, "symbol": "disc", "size": 1.2, "face_color": "transparent", "border_color": "cyan", "border_width": 0.12}
    return np.array(place, float), {**settings, **looks}, "points"


def _with_tokens(layer: LayerData, tokens: Tokens) -> LayerData:
    data, settings, kind = layer
    return data, {**settings, "metadata": {**settings["metadata"], TOKENS_KEY: tokens}}, kind
