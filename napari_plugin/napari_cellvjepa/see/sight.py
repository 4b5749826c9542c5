"""A model and the clip that it is to look at, as values; and the functions that open them. They know nothing of windows and layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import cellvjepa

SHIPPED = "encoder_tiny"
Place = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Asked:
    """What people want to look at, and through which model.

    Parameters
    ----------
    movie, channel
        What the chosen image layer shows.
    model
        Path of a run, or the name of an encoder that comes with the program; ``""``: that of the store, else the one that comes along.
    place
        Native t, z, y, x: the middle of the clip, as far as it lies inside the movie.
    store, row
        Path of a store and its row whose clip is meant instead; ``""`` and -1 where ``place`` is.
    """

    movie: cellvjepa.Movie
    channel: str
    model: str
    place: Place
    store: str = ""
    row: int = -1


@dataclass(frozen=True, eq=False)
class Sight:
    """An open model, and the clip before it.

    Parameters
    ----------
    encoder
        Frozen.
    config
        That it was trained with.
    source
        The model as stores remember it: checksum, reference sampling.
    movie
        With its levels.
    shape, clip
        What a clip is, and the address of this one.
    places
        Where its tokens lie.
    """

    encoder: Any
    config: cellvjepa.Config
    source: cellvjepa.Source
    movie: cellvjepa.Movie
    shape: cellvjepa.ClipShape
    clip: cellvjepa.Clip
    places: cellvjepa.TokenPlaces


def open_sight(asked: Asked, progress: cellvjepa.Progress, shape: cellvjepa.ClipShape | None = None) -> Sight:
    """Open the model and find the clip.

    Parameters
    ----------
    asked
        What is to be looked at.
    progress
        Told of each stage; may cancel.
    shape
        What a clip is; None: what it is in the store, else in the training of the model, of the one channel that is shown.

    Raises
    ------
    UserError
        If the model cannot be opened, or the movie cannot give the clips that it knows.
    """
    found = None
    if asked.store:
        progress("reading the store", 0, 0)
        found = cellvjepa.open_store(asked.store)
    model = asked.model or (found.provenance.source.model if found else SHIPPED)
    progress("reading the model", 0, 0)
    encoder, card = cellvjepa.load_encoder(model)
    try:
        config = cellvjepa.Config.model_validate(card.provenance["config"])
    except (KeyError, ValueError):
        raise cellvjepa.UserError(
            "the encoder does not say what clips it was trained on", "choose a run of `cellvjepa pretrain` made by this version", model
        ) from None
    progress("measuring intensity levels", 0, 0)
    movie = cellvjepa.with_levels(asked.movie)
    own = found.provenance.clip_shape if found else cellvjepa.ClipShape.of(config.embed.clip(config.clip))
    wanted = shape or replace(own, channels=(asked.channel,))
    if found and replace(wanted, channels=None) != replace(own, channels=None):
        raise cellvjepa.UserError(
            "the probe was made for other clips than those of the cell's store", "choose another place for the clip", asked.store
        )
    clip = cellvjepa.clip_of_row(found, asked.row, movie) if found else around(movie, wanted, asked.place)
    places = cellvjepa.places_in_clip(movie, clip, wanted, encoder.shape.tubelet)
    return Sight(encoder, config, cellvjepa.Source.of(card, model, [movie.uri]), movie, wanted, clip, places)


def laid(sight: Sight, values: npt.NDArray[Any], fill: float) -> tuple[npt.NDArray[Any], cellvjepa.TokenPlaces]:
    """Return values of the clip's tokens, (t, z, y, x, ...), and where they lie: pixel by pixel where the clip moves."""
    if sight.clip.drift == (0, 0):
        return values, sight.places
    return cellvjepa.on_pixels(values, sight.movie, sight.clip, sight.shape, sight.encoder.shape.tubelet, fill)


def around(movie: cellvjepa.Movie, shape: cellvjepa.ClipShape, place: Place) -> cellvjepa.Clip:
    """Return the clip in whose middle a place lies, shifted so that it lies inside the movie.

    Raises
    ------
    UserError
        If the movie cannot give such clips.
    """
    span = cellvjepa.check_movie(movie, shape).span_frames
    t0 = int(np.clip(round(place[0] - (span - 1) / 2), 0, movie.shape["T"] - span))
    return cellvjepa.clip_at(movie, shape, t0, place[2], place[3])


def described_clip(sight: Sight) -> str:
    """Say in a line which frames and pixels the clip covers."""
    clip, (_, height, width) = sight.clip, sight.clip.extent
    last = clip.t0 + (sight.shape.frames - 1) * clip.t_step
    every = f" (every {clip.t_step})" if clip.t_step > 1 else ""
    moving = ", moving with its cell" if clip.drift != (0, 0) else ""
    return f"frames {clip.t0}-{last}{every}, rows {clip.y0}-{clip.y0 + height - 1}, columns {clip.x0}-{clip.x0 + width - 1}{moving}"


def about_clip(sight: Sight, what: str) -> dict[str, Any]:
    """Return what a layer remembers of the clip it shows; values as JSON has them."""
    clip, shape = sight.clip, sight.shape
    return {
        "what": what,
        "movie": sight.movie.name,
        "channel": (shape.channels or ("",))[0],
        "model": sight.source.model,
        "clip": {"t0": clip.t0, "t_step": clip.t_step, "frames": shape.frames, "y0": clip.y0, "x0": clip.x0, "extent": list(clip.extent)},
    }
