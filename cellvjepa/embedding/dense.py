"""Dense maps: the features of every place of a movie, as OME-Zarr, and their principal components as a film in colours."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.embedding.encoding import embedding_precision, encode_tokens
from cellvjepa.embedding.map_image import map_folder, map_is_there, new_map, open_map, place_of
from cellvjepa.embedding.reading import common_channels, read_batches
from cellvjepa.embedding.tiles import Tile, Tiling, Values, blended, tile_movie
from cellvjepa.embedding.token_colours import token_pca
from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import known_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import Reference, position_scale
from cellvjepa.progress import Progress, silent
from cellvjepa.writing import writable_folder

FEATURES, COLOURS = "features.zarr", "pca.zarr"


def write_dense_maps(
    encoder: Encoder,
    movies: Sequence[Movie],
    shape: ClipShape,
    reference: Reference,
    out: str | os.PathLike[str],
    *,
    batch_size: int = 32,
    overlap: float = 0.5,
    progress: Progress = silent,
) -> list[Path]:
    """Write the features of every place of movies, and a picture of them.

    Movies are covered with overlapping clips as the encoder knows them, and where clips overlap their tokens are averaged, with more
    weight where a token was near the middle of its clip. Two OME-Zarr images for each movie, in ``out/<movie>``: ``features.zarr``,
    float16, one channel for each number of a token (those of the movie's channels follow each other), and ``pca.zarr``, uint8, their
    first three principal components in this movie as red, green and blue. Both lie upon the movie in whatever shows OME-Zarr. A map
    that is there already is left as it is.

    Parameters
    ----------
    encoder
        The frozen encoder, on the device to use.
    movies
        With their levels measured.
    shape
        What a clip is.
    reference
        Sampling that the encoder was trained at.
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
        The folder of each movie's maps.

    Raises
    ------
    UserError
        If a movie cannot give such clips, the movies' channels differ, a map of something else is in the way, the encoder gives no
        numbers, or the maps cannot be written.
    """
    folder = writable_folder(out)
    shape = replace(shape, channels=common_channels(tuple(movies), shape))
    made = weights_sha256(encoder)
    written = []
    for movie in movies:
        about = about_map(movie, shape, reference, overlap) | {"encoder": made}
        tiling = tile_movie(movie, shape, encoder.shape.tubelet, overlap)
        place, own = place_of(movie, shape, tiling), map_folder(folder, movie)
        if not map_is_there(own / FEATURES, about):
            names = tuple(f"{channel} e{i:03d}" for channel in shape.channels or () for i in range(encoder.shape.dim))
            with new_map(own / FEATURES, place, names, "float16", about) as steps:
                said = tile_tokens(encoder, movie, tiling, shape, reference, batch_size, progress)
                for step, values_zyxF in blended(tiling, said, len(names)):
                    if not np.isfinite(values_zyxF).all():
                        raise UserError("the encoder's output is not finite", "its training has diverged: use an encoder from before that", movie.uri)
                    steps[step] = np.moveaxis(values_zyxF, -1, 0).astype(np.float16)
        if not map_is_there(own / COLOURS, about):
            with new_map(own / COLOURS, place, ("first", "second", "third"), "uint8", about, ("FF0000", "00FF00", "0000FF")) as steps:
                for step, colours_CZYX in _in_colours(own / FEATURES, tiling, progress):
                    steps[step] = colours_CZYX
        written.append(own)
    return written


def about_map(movie: Movie, shape: ClipShape, reference: Reference, overlap: float) -> dict[str, Any]:
    """Return what makes the maps of a movie what they are, whatever network they are of; JSON values."""
    levels = known_levels(movie)[[movie.channels.index(name) for name in shape.channels or movie.channels]]
    return {
        "movie": movie.name,
        "movie_shape": list(movie.pixels.shape),
        "clip_shape": asdict(shape) | {"channels": list(shape.channels or movie.channels)},
        "reference": asdict(reference),
        "levels": levels.tolist(),
        "overlap": overlap,
    }


def weights_sha256(*networks: torch.nn.Module) -> str:
    """Return a checksum of the weights of networks, the same wherever they are."""
    digest = hashlib.sha256()
    for network in networks:
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data.cast("B"))
    return digest.hexdigest()


def tile_batches(
    movie: Movie, tiling: Tiling, shape: ClipShape, batch_size: int, stage: str, progress: Progress
) -> Iterator[tuple[Sequence[Tile], npt.NDArray[np.float32]]]:
    """Yield tiles and their pixels, (B, C, T, Z, Y, X) float32, in the order of the tiling."""
    done, tiles = 0, tiling.tiles
    progress(stage, 0, len(tiles))
    named: Mapping[str, Movie] = {movie.name: movie}
    for clips, pixels_BCTZYX in read_batches(named, [tile.clip for tile in tiles], shape, batch_size):
        yield tiles[done : done + len(clips)], pixels_BCTZYX
        done += len(clips)
        progress(stage, done, len(tiles))


def tile_tokens(
    encoder: Encoder, movie: Movie, tiling: Tiling, shape: ClipShape, reference: Reference, batch_size: int, progress: Progress
) -> Iterator[tuple[Tile, Values]]:
    """Yield tiles and their tokens, (t, z, y, x, C D) float32, those of the channels side by side, in the order of the tiling."""
    device = next(encoder.parameters()).device
    factors = position_scale(movie, shape, reference)
    scale_4 = None if factors == (1, 1, 1, 1) else torch.tensor(factors, device=device)
    grid = tiling.clip_grid
    for tiles, pixels in tile_batches(movie, tiling, shape, batch_size, f"mapping {movie.name}", progress):
        tokens_BCND = encode_tokens(encoder, torch.from_numpy(pixels).to(device), scale_4, embedding_precision(device))
        tokens = tokens_BCND.permute(0, 2, 1, 3).reshape(len(tiles), grid.t, grid.z, grid.y, grid.x, -1).cpu().numpy()
        yield from zip(tiles, tokens, strict=True)


def _in_colours(features: Path, tiling: Tiling, progress: Progress) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Yield the first three principal components of each step, (3, Z, Y, X) uint8."""
    steps, grid = open_map(features), tiling.grid
    colours = token_pca((_tokens_of(np.asarray(steps[step])) for step in range(grid.t)), grid.tokens)
    for step in range(grid.t):
        progress("colouring", step, grid.t)
        yield step, colours.rgb(_tokens_of(np.asarray(steps[step]))).T.reshape(3, grid.z, grid.y, grid.x)
    progress("colouring", grid.t, grid.t)


def _tokens_of(features_FZYX: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return features_FZYX.reshape(len(features_FZYX), -1).T.astype(np.float64)
