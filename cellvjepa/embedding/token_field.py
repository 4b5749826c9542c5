"""The tokens of a clip, or of a whole movie, step by step: looked at as colours, and compared with one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.embedding.dense import tile_tokens
from cellvjepa.embedding.encoding import tokens_of_clips
from cellvjepa.embedding.reading import common_channels
from cellvjepa.embedding.tiles import Tiling, blended, tile_movie, tiles_around
from cellvjepa.embedding.token_colours import TokenColours, token_pca
from cellvjepa.embedding.token_places import TokenPlaces, places_in_clip, places_in_movie
from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import Clip
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import Reference
from cellvjepa.progress import Progress, silent

_MOST_BYTES = 2**31  # of tokens in memory
Values = npt.NDArray[np.float32]


class TokenField:
    """The tokens of a movie or of a clip, as far as they have been computed.

    Parameters
    ----------
    places
        Where they are.
    """

    def __init__(self, places: TokenPlaces) -> None:
        self.places = places
        self._steps: dict[int, Values] = {}

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps whose tokens are here."""
        return tuple(sorted(self._steps))

    def put(self, step: int, tokens_zyxD: npt.NDArray[Any]) -> None:
        """Take in the tokens of a step. What was put in first is forgotten where all would take more than 2 GB."""
        assert tokens_zyxD.shape[:3] == self.places.shape[1:], (tokens_zyxD.shape, self.places)
        self._steps[step] = np.asarray(tokens_zyxD, np.float32)
        while len(self._steps) > 1 and len(self._steps) * tokens_zyxD.size * 4 > _MOST_BYTES:
            del self._steps[next(iter(self._steps))]

    def tokens(self, step: int) -> Values:
        """Return the tokens of a step, (z, y, x, D) float32; ``KeyError`` if they are not here."""
        return self._steps[step]

    def colours(self) -> TokenColours:
        """Return the principal components of all tokens that are here (:func:`cellvjepa.embedding.token_colours.token_pca`)."""
        flat = [self._steps[step].reshape(-1, self._steps[step].shape[-1]) for step in self.steps]
        return token_pca(flat, sum(map(len, flat)))


def token_similarity(tokens: npt.NDArray[Any], token_D: npt.NDArray[Any]) -> Values:
    """Return the cosine of the angle between one token and others, (...) float32 of (..., D); 0 where one of them is all zero."""
    flat_ND, wanted_D = tokens.reshape(-1, tokens.shape[-1]).astype(np.float32, copy=False), np.asarray(token_D, np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", flat_ND, flat_ND)) * np.sqrt(wanted_D @ wanted_D)
    cosine_N = (flat_ND @ wanted_D) / np.maximum(lengths, np.finfo(np.float32).tiny)
    cosine: Values = np.clip(cosine_N, -1, 1).reshape(tokens.shape[:-1])
    return cosine


def field_of_clip(encoder: Encoder, movie: Movie, clip: Clip, shape: ClipShape, reference: Reference, progress: Progress = silent) -> TokenField:
    """Return the tokens of one clip, those of its channels side by side.

    Parameters
    ----------
    encoder
        The frozen encoder, on the device to use.
    movie
        With its levels measured.
    clip
        An address in it, made for this shape.
    shape
        What a clip is.
    reference
        Sampling that the encoder was trained at.
    progress
        Told when it begins; may cancel.

    Raises
    ------
    UserError
        If the clip cannot be cut into whole tubelets, or the encoder gives no numbers.
    """
    progress("encoding the clip", 0, 1)
    field = TokenField(places_in_clip(movie, clip, shape, encoder.shape.tubelet))
    flat_ND = tokens_of_clips(encoder, [movie], [clip], shape, reference=reference)[0].numpy()
    t, z, y, x = field.places.shape
    tokens = np.moveaxis(flat_ND.reshape(-1, t, z, y, x, flat_ND.shape[-1]), 0, -2).reshape(t, z, y, x, -1)
    for step, tokens_zyxD in enumerate(_finite(tokens, movie)):
        field.put(step, tokens_zyxD)
    progress("encoding the clip", 1, 1)
    return field


@dataclass(frozen=True, eq=False)
class MovieTokens:
    """The tokens of a whole movie, computed when they are asked for.

    Parameters
    ----------
    field
        As far as they have been computed.
    tiling
        The clips that cover the movie.
    encoder, movie, shape, reference
        As for :func:`field_of_clip`.
    batch_size
        Clips per forward pass.
    """

    field: TokenField
    tiling: Tiling
    encoder: Encoder
    movie: Movie
    shape: ClipShape
    reference: Reference
    batch_size: int = 32

    def compute_around(self, step: int, progress: Progress = silent) -> None:
        """Compute the tokens of a step, and those of the steps that the same clips show best.

        Each step is looked at by the clips in whose middle it lies; beside each other they overlap by half, and their tokens are averaged
        there. What comes of it does not depend on the order in which steps are asked for.

        Raises
        ------
        UserError
            If the encoder gives no numbers.
        """
        some, first, own = tiles_around(self.tiling, step)
        found = dict(self._mapped(some, progress))
        for one in own:
            self.field.put(one, found[one - first])

    def compute_all(self, progress: Progress = silent) -> None:
        """Compute the tokens of all steps, one after the other, as :func:`cellvjepa.embedding.dense.write_dense_maps` does.

        Raises
        ------
        UserError
            If they would take more than 2 GB, or the encoder gives no numbers.
        """
        size = self.tiling.grid.tokens * len(self.shape.channels or ()) * self.encoder.shape.dim * 4
        if size > _MOST_BYTES:
            what = f"the features of the whole movie take {size / 2**30:.1f} GB of memory"
            raise UserError(what, "look at them as time goes, or write them with `cellvjepa embed --dense`", self.movie.uri)
        for step, tokens_zyxD in self._mapped(self.tiling, progress):
            self.field.put(step, tokens_zyxD)

    def _mapped(self, tiling: Tiling, progress: Progress) -> Iterator[tuple[int, Values]]:
        said = tile_tokens(self.encoder, self.movie, tiling, self.shape, self.reference, self.batch_size, progress)
        for step, tokens_zyxD in blended(tiling, said, len(self.shape.channels or ()) * self.encoder.shape.dim):
            yield step, _finite(tokens_zyxD, self.movie)


def movie_tokens(encoder: Encoder, movie: Movie, shape: ClipShape, reference: Reference, batch_size: int = 32) -> MovieTokens:
    """Return the tokens of a movie, none of which has been computed yet; the parameters are those of :func:`field_of_clip`.

    Raises
    ------
    UserError
        If the movie cannot give clips of this shape.
    """
    shape = replace(shape, channels=common_channels((movie,), shape))
    tiling = tile_movie(movie, shape, encoder.shape.tubelet)
    return MovieTokens(TokenField(places_in_movie(movie, shape, tiling)), tiling, encoder, movie, shape, reference, batch_size)


def _finite(tokens: Values, movie: Movie) -> Values:
    if not np.isfinite(tokens).all():
        raise UserError("the encoder's output is not finite", "its training has diverged: use an encoder from before that", movie.uri)
    return tokens
