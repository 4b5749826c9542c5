"""The tokens of a clip or a movie, and the layers that show them as colours, or as what is like one of them."""

from __future__ import annotations

import contextlib
import dataclasses
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
_AT_ONCE = 40_000_000  # numbers of features that are compared while people wait
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
    canvas_tzyx4
        uint8: the colours as far as they are painted, with opacity, which is 0 where nothing has been computed.
    painted_with
        The components that they are painted with.
    painted
        The steps that are painted.
    clicked, clicked_D
        The token that others are compared with, and its numbers.
    likeness_tzyx
        float32: how much each token is like it; NaN where nothing has been compared.
    """

    field: cellvjepa.TokenField
    sight: Sight
    space: Space
    movie: cellvjepa.MovieTokens | None
    colours: cellvjepa.TokenColours | None = None
    canvas_tzyx4: npt.NDArray[np.uint8] = dataclasses.field(init=False)
    painted_with: cellvjepa.TokenColours | None = None
    painted: set[int] = dataclasses.field(default_factory=set)
    clicked: Token | None = None
    clicked_D: npt.NDArray[np.float32] | None = None
    likeness_tzyx: npt.NDArray[np.float32] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing painted and nothing compared."""
        self.canvas_tzyx4 = np.zeros((*self.field.places.shape, 4), np.uint8)
        self.likeness_tzyx = np.full(self.field.places.shape, np.nan, np.float32)

    @property
    def moves(self) -> bool:
        """Whether the clip moves with its cell."""
        return self.movie is None and self.sight.clip.drift != (0, 0)

    def paint(self) -> bool:
        """Paint what has been computed and is not painted, or was painted with other components; tell whether there was any."""
        colours = self.colours  # the other thread may find better ones meanwhile
        if colours is None:
            return False
        if colours is not self.painted_with:
            self.painted_with, self.painted = colours, set()
        new = [step for step in self.field.steps if step not in self.painted]
        for step in new:
            with contextlib.suppress(KeyError):  # it has been forgotten meanwhile, to make room for others
                self.canvas_tzyx4[step, ..., :3] = colours.rgb(self.field.tokens(step))
                self.canvas_tzyx4[step, ..., 3] = 255
        self.painted.update(new)
        return bool(new)

    def click(self, token: Token) -> None:
        """Compare with another token from now on, whose tokens are there."""
        self.clicked, self.clicked_D = token, self.field.tokens(token[0])[token[1:]].copy()
        self.likeness_tzyx[:] = np.nan

    def compare(self, shown: int | None) -> None:
        """Compare tokens with the one that was clicked, as far as that has not been done: all, or of very many those of the step that is shown."""
        if self.clicked_D is None:
            return
        steps = self.field.steps
        few = len(steps) * self.field.places.grid.per_step * len(self.clicked_D) <= _AT_ONCE
        for step in steps:
            if (few or step == shown) and np.isnan(self.likeness_tzyx[step]).all():
                with contextlib.suppress(KeyError):
                    self.likeness_tzyx[step] = cellvjepa.token_similarity(self.field.tokens(step), self.clicked_D)

    def lay(self, values: npt.NDArray[Any], fill: float) -> tuple[npt.NDArray[Any], cellvjepa.TokenPlaces]:
        """Return values of all tokens, (t, z, y, x, ...), and where they lie."""
        return laid(self.sight, values, fill) if self.moves else (values, self.field.places)

    def token_at(self, place: tuple[float, float, float, float]) -> Token | None:
        """Return the token that covers a native t, z, y, x, or None."""
        shape = self.field.places.shape
        if not self.moves:
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
    found = cellvjepa.field_of_clip(sight.encoder, sight.movie, sight.clip, sight.shape, sight.source.reference, progress)
    progress("finding colours", 0, 0)
    return Tokens(found, sight, space, None, found.colours())


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


def colour_layer(tokens: Tokens) -> LayerData:
    """Return a layer that shows the colours."""
    pixels, places = tokens.lay(tokens.canvas_tzyx4, 0)
    looks = {"name": "features as colours", "rgb": True, "opacity": 0.7, "interpolation2d": "nearest"}
    return _with_tokens(map_layer(pixels, places, tokens.space, tokens.about(COLOURS), "image", looks), tokens)


def likeness_layer(tokens: Tokens) -> LayerData:
    """Return a layer that shows the comparison."""
    pixels, places = tokens.lay(tokens.likeness_tzyx, np.nan)
    looks = {
        "name": "likeness to the clicked place",
        "colormap": "inferno",
        "contrast_limits": likeness_limits(tokens.likeness_tzyx),
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
    places_of_ring, width, places = np.array([tokens.clicked], float), 1.0, tokens.field.places
    if tokens.moves:  # a ring in each frame, where the token is then
        numbers, places = tokens.lay(np.arange(tokens.canvas_tzyx4[..., 0].size).reshape(tokens.field.places.shape), -1)
        at_P4 = np.argwhere(numbers == np.ravel_multi_index(tokens.clicked, tokens.field.places.shape))
        places_of_ring = np.array([at_P4[at_P4[:, 0] == frame].mean(axis=0) for frame in np.unique(at_P4[:, 0])])
        width = tokens.field.places.pitch[3]
    # In units of tokens, so that napari shows the point while the slider is within the token.
    _, settings, _ = map_layer(np.zeros((1, 1, 1, 1)), places, tokens.space, tokens.about(CLICKED), "image", {})
    looks = {"name": CLICKED, "symbol": "disc", "size": 1.2 * width, "face_color": "transparent", "border_color": "cyan", "border_width": 0.12}
    return np.delete(places_of_ring, 1, axis=1) if len(settings["scale"]) == 3 else places_of_ring, {**settings, **looks}, "points"


def _with_tokens(layer: LayerData, tokens: Tokens) -> LayerData:
    data, settings, kind = layer
    return data, {**settings, "metadata": {**settings["metadata"], TOKENS_KEY: tokens}}, kind
