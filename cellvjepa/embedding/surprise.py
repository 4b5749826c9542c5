"""Surprise: where and when a movie goes on otherwise than the model foretells, as a map."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.config import config_from
from cellvjepa.embedding.dense import about_map, tile_batches, weights_sha256
from cellvjepa.embedding.encoding import embedding_precision
from cellvjepa.embedding.foretelling import Answer, Seen, answers, latent_errors, mask_token, step_weights
from cellvjepa.embedding.map_image import map_folder, map_is_there, new_map, open_map, place_of
from cellvjepa.embedding.provenance import reference_of
from cellvjepa.embedding.reading import common_channels
from cellvjepa.embedding.readout import FOLDS, RIDGE, Readout, Sums, fold_of
from cellvjepa.embedding.tiles import Tile, Tiling, Values, blended, tile_movie
from cellvjepa.embedding.token_places import TokenPlaces, places_in_movie
from cellvjepa.errors import UserError
from cellvjepa.model.device import choose_device
from cellvjepa.model.predictor_file import PredictorCard, load_predictor
from cellvjepa.model.vjepa import VJepa
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import Reference, position_scale
from cellvjepa.progress import Progress, silent
from cellvjepa.writing import writable_folder

MAP = "surprise.zarr"
_OVERLAP = 0.5
_FITTED_CLIPS = 256  # of a movie, evenly spread, that the last layer is fitted to


@dataclass(frozen=True, eq=False)
class Foreteller:
    """A frozen model that can foretell, and how it is asked.

    Parameters
    ----------
    model, card
        As :func:`cellvjepa.model.predictor_file.load_predictor` gives them; the model on the device to use.
    shape
        What a clip is.
    reference
        Sampling that the encoder was trained at.
    seen
        What each time step is foretold from: the rest of the clip, or what is before it.
    refit
        Whether what is foretold follows from what the predictor says and what is seen just before and after, by a layer fitted to each
        movie (:class:`cellvjepa.embedding.readout.Readout`), or is what the predictor says, as it was trained.
    """

    model: VJepa
    card: PredictorCard
    shape: ClipShape
    reference: Reference
    seen: Seen = "rest"
    refit: bool = True


def write_surprise(
    foreteller: Foreteller,
    movies: Sequence[Movie],
    out: str | os.PathLike[str],
    *,
    batch_size: int = 32,
    overlap: float = _OVERLAP,
    progress: Progress = silent,
) -> list[Path]:
    """Write a map of surprise for each movie: ``out/<movie>/surprise.zarr``, an OME-Zarr image that lies upon the movie.

    float32, one channel for each of the movie's, and one number for each token: the distance between what is foretold of the place and
    what the target encoder says, each time step hidden in turn; averaged where clips overlap. NaN where nothing is
    foretold: the first steps where the past alone is seen. A map that is there already is left as it is.

    Parameters
    ----------
    movies
        With their levels measured.
    out
        Folder to write to.
    batch_size
        Clips per forward pass.
    overlap
        Share of a clip that it has in common with the next one, along each axis. [0-1)
    progress
        Told of each batch; may cancel: the maps of earlier movies are kept.

    Returns
    -------
    list of Path
        The maps.

    Raises
    ------
    UserError
        If clips have one time step only, a movie cannot give such clips, the movies' channels differ, a map of something else is in
        the way, or the maps cannot be written.
    """
    folder = writable_folder(out)
    asked = for_all(foreteller, movies)
    model = weights_sha256(asked.model)
    written = []
    for movie in movies:
        tiling = surprise_tiling(movie, asked, overlap)
        path = map_folder(folder, movie) / MAP
        about = _about(movie, asked, overlap, model)
        if not map_is_there(path, about):
            channels = asked.shape.channels or ()
            with new_map(path, place_of(movie, asked.shape, tiling), channels, "float32", about) as steps:
                errors = _errors(asked, movie, tiling, batch_size, progress)
                for step, values_zyxC in blended(tiling, errors, len(channels), step_weights(tiling.clip_grid, asked.seen)):
                    steps[step] = np.moveaxis(values_zyxC, -1, 0)
        written.append(path)
    return written


@dataclass(frozen=True, eq=False)
class SurpriseMap:
    """The map of one movie.

    Parameters
    ----------
    values_Ctzyx
        float32: the surprise of each token of each channel; NaN where nothing is foretold.
    places
        Where the tokens lie.
    """

    values_Ctzyx: npt.NDArray[np.float32]
    places: TokenPlaces


def surprise_of_movie(
    model: str | os.PathLike[str],
    movie: Movie,
    out: str | os.PathLike[str],
    channels: Sequence[str] | None = None,
    seen: Seen = "rest",
    *,
    refit: bool = True,
    progress: Progress = silent,
) -> SurpriseMap:
    """Write the map of one movie as `cellvjepa surprise` does, or find it there, and read it.

    Parameters
    ----------
    model
        A run with its predictor, or ``"encoder_tiny"``.
    movie
        With its levels measured.
    out
        Folder to write to.
    channels
        Of the movie; None: those that the model asks for.
    seen, refit
        As for :class:`Foreteller`.
    progress
        Told of each batch; may cancel.

    Raises
    ------
    UserError
        As :func:`write_surprise` and :func:`cellvjepa.model.predictor_file.load_predictor`.
    """
    network, encoder_card, card = load_predictor(model)
    config = config_from(encoder_card.provenance.get("config", {}), (), Path(model))
    network.to(choose_device(config.embed.device))
    shape = ClipShape.of(config.clip)
    asked = Foreteller(network, card, replace(shape, channels=tuple(channels)) if channels else shape, reference_of(encoder_card), seen, refit)
    (path,) = write_surprise(asked, [movie], out, batch_size=config.embed.batch_size, progress=progress)
    values_tCzyx = np.asarray(open_map(path)[:], np.float32)
    tiling = surprise_tiling(movie, for_all(asked, [movie]), _OVERLAP)
    return SurpriseMap(np.moveaxis(values_tCzyx, 1, 0), places_in_movie(movie, asked.shape, tiling))


def for_all(foreteller: Foreteller, movies: Sequence[Movie]) -> Foreteller:
    """Return the same with the channels that all movies have, in the order of the first.

    Raises
    ------
    UserError
        If the movies' channels differ.
    """
    return replace(foreteller, shape=replace(foreteller.shape, channels=common_channels(tuple(movies), foreteller.shape)))


def surprise_tiling(movie: Movie, asked: Foreteller, overlap: float) -> Tiling:
    """Return the tiling of a movie for its map.

    Raises
    ------
    UserError
        If clips have one time step only, or the movie cannot give them.
    """
    tiling = tile_movie(movie, asked.shape, asked.model.target_encoder.shape.tubelet, overlap)
    if tiling.clip_grid.t < 2:
        raise UserError(
            "a clip of this model is one time step, so nothing can be foretold from the rest",
            "use a model whose clip.frames are at least twice its model.tubelet's",
            movie.uri,
        )
    return tiling


def _about(movie: Movie, asked: Foreteller, overlap: float, model: str) -> dict[str, Any]:
    refit = {"clips": _FITTED_CLIPS, "folds": FOLDS, "ridge": RIDGE} if asked.refit else None
    return about_map(movie, asked.shape, asked.reference, overlap) | {"model": model, "foretold_from": asked.seen, "refit": refit}


def _errors(asked: Foreteller, movie: Movie, tiling: Tiling, batch_size: int, progress: Progress) -> Iterator[tuple[Tile, Values]]:
    device, grid = next(asked.model.parameters()).device, tiling.clip_grid
    factors = position_scale(movie, asked.shape, asked.reference)
    scale_4 = None if factors == (1, 1, 1, 1) else torch.tensor(factors, device=device)
    token, precision = mask_token(asked.card.hides), embedding_precision(device)

    def asking(some: Tiling, stage: str) -> Iterator[tuple[Sequence[Tile], torch.Tensor, list[list[Answer]]]]:
        """Yield tiles, in which stretch of time their steps lie, and what each of their channels answers."""
        for tiles, pixels in tile_batches(movie, some, asked.shape, batch_size, stage, progress):
            steps_Bt = torch.tensor([tile.corner[0] for tile in tiles])[:, None] + torch.arange(grid.t)
            channels = torch.split(torch.from_numpy(pixels).to(device), 1, dim=1)
            found = [answers(asked.model, one, asked.seen, token, scale_4, precision) for one in channels]
            yield tiles, fold_of(steps_Bt, tiling.grid.t).to(device), found

    readouts: list[Readout | None] = [None] * len(asked.shape.channels or ())
    if asked.refit:
        some = replace(tiling, tiles=tuple(tiling.tiles[i] for i in _spread(len(tiling.tiles), _FITTED_CLIPS)))
        fits = [Sums() for _ in readouts]
        for _, folds_Bt, found in asking(some, f"getting to know {movie.name}"):
            for fit, channel in zip(fits, found, strict=True):
                for answer in channel:
                    fit.add(answer.known, answer.target, folds_Bt[:, answer.step])
        readouts = [fit.readout() for fit in fits]
    for tiles, folds_Bt, found in asking(tiling, f"surprise of {movie.name}"):
        errors = [latent_errors(channel, grid, readout, folds_Bt) for channel, readout in zip(found, readouts, strict=True)]
        errors_BNC = torch.stack(errors, dim=-1).cpu().numpy()
        yield from zip(tiles, errors_BNC.reshape(len(tiles), grid.t, grid.z, grid.y, grid.x, -1), strict=True)


def _spread(length: int, most: int) -> list[int]:
    """Return at most ``most`` indices, evenly spread."""
    return sorted(set(np.linspace(0, length - 1, min(length, most)).round().astype(int).tolist()))
