"""The tokens of clips on their grid: what an attentive probe reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.cells.outlines import NO_OUTLINES, Outlines
from cellvjepa.embedding.encoding import embedding_precision, tokens_of_clips
from cellvjepa.embedding.reading import clips_of, outlines_of
from cellvjepa.embedding.store import Embeddings
from cellvjepa.errors import UserError
from cellvjepa.model.device import choose_device
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.grid import grid_of
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clips import Clip, ClipShape, sampling
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archives
from cellvjepa.movies.reference import UNKNOWN, Reference
from cellvjepa.probing.token_cache import NO_CACHE, TokenCache, as_halves, token_keys
from cellvjepa.progress import Progress, silent

_ROWS_AT_ONCE = 256


def token_features(
    encoder: Encoder,
    movies: Sequence[Movie],
    clips: Sequence[Clip],
    shape: ClipShape,
    *,
    reference: Reference = UNKNOWN,
    batch_size: int = 32,
    outlines: Outlines = NO_OUTLINES,
    progress: Progress = silent,
) -> npt.NDArray[np.float32]:
    """Return all tokens of clips, (N, C, t, z, y, x, D) float32.

    Parameters and errors are those of :func:`cellvjepa.embedding.embed.tokens_of_clips`.
    """
    planes = sampling(next(movie for movie in movies if movie.name == clips[0].movie), shape).planes
    grid = grid_of(shape.frames, planes, shape.size_px, shape.size_px, encoder.shape.tubelet)
    tokens = tokens_of_clips(encoder, movies, clips, shape, reference=reference, batch_size=batch_size, outlines=outlines, progress=progress)
    return tokens.numpy().reshape(len(clips), -1, grid.t, grid.z, grid.y, grid.x, encoder.shape.dim)


@dataclass(frozen=True, eq=False)
class TokenSource:
    """The clips behind the rows of a store, and the encoder that makes tokens of them.

    Parameters
    ----------
    embeddings
        The store.
    encoder, movies, clips, outlines
        Its encoder, its movies opened again, the clip of each row, and how outlines play a part.
    """

    embeddings: Embeddings
    encoder: Encoder
    movies: tuple[Movie, ...]
    clips: tuple[Clip, ...]
    outlines: Outlines

    @classmethod
    def of(cls, embeddings: Embeddings) -> TokenSource:
        """Open the encoder and the movies that a store was made from.

        Raises
        ------
        UserError
            If one of them is gone or has changed.
        """
        source = embeddings.provenance.source
        encoder, card = load_encoder(source.model)
        if card.sha256 != source.checkpoint_sha256:
            raise UserError("the encoder has changed since this store was made", "embed again into another store", source.model)
        archive = open_archives(source.archives, source.given)
        wanted = set(embeddings.table["movie"].astype(str))
        movies = tuple(with_levels(movie) for movie in archive.movies if movie.name in wanted)
        return cls(embeddings, encoder.to(choose_device()), movies, clips_of(embeddings, movies), outlines_of(embeddings))

    def tokens(self, rows: npt.NDArray[np.int64], cache: TokenCache = NO_CACHE, progress: Progress = silent) -> npt.NDArray[np.float16]:
        """Return the tokens of some rows, (N, C, t, z, y, x, D) float16; those in the cache are not computed again.

        Parameters
        ----------
        rows
            int64 (N,): rows of the store, in any order.
        cache
            Where tokens are kept.
        progress
            Told of the rows done; may cancel, and the blocks that are done are kept then.
        """
        found: npt.NDArray[np.float16] | None = None
        for part, tokens in self.blocks(rows, cache, progress):
            if found is None:
                found = np.empty((len(rows), *tokens.shape[1:]), np.float16)
            found[part] = tokens
        cache.clear()
        assert found is not None, "no rows were asked for"
        return found

    def blocks(
        self, rows: npt.NDArray[np.int64], cache: TokenCache = NO_CACHE, progress: Progress = silent
    ) -> Iterator[tuple[slice, npt.NDArray[np.float16]]]:
        """Yield the tokens of some rows a few hundred at a time, with the part of ``rows`` that they are."""
        provenance = self.embeddings.provenance
        device = next(self.encoder.parameters()).device
        clips, shape, reference = [self.clips[row] for row in rows], provenance.clip_shape, provenance.source.reference
        sha256, named = provenance.source.checkpoint_sha256, {movie.name: movie for movie in self.movies}
        keys = token_keys(sha256, named, clips, shape, reference, self.outlines, embedding_precision(device)) if cache.folder else [""] * len(rows)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, len(rows)))
            known = {place: tokens for place, key in enumerate(keys[part]) if (tokens := cache.recall(key)) is not None}
            missing = [place for place in range(part.stop - start) if place not in known]
            computed: dict[int, npt.NDArray[Any]] = {}
            if missing:
                wanted = [clips[start + place] for place in missing]

                def tell(stage: str, done: int, total: int, start: int = start) -> None:
                    progress("encoding clips", min(start + done, len(rows) - 1), len(rows))

                made = as_halves(token_features(self.encoder, self.movies, wanted, shape, reference=reference, outlines=self.outlines, progress=tell))
                computed = dict(zip(missing, made, strict=True))
                cache.keep({keys[start + place]: tokens for place, tokens in computed.items()})
            both = known | computed
            if len({tokens.shape for tokens in both.values()}) > 1:
                raise UserError("the movies' channels differ", "make one store per set of channels", self.embeddings.path)
            progress("encoding clips", part.stop, len(rows))
            yield part, np.stack([both[place] for place in range(part.stop - start)])
