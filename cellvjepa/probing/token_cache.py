"""Tokens of clips kept on the disk, so that the next probe on the same clips takes seconds.

One file per clip, float16, under a name made of everything the tokens depend on: the encoder's weights, the clip, the levels and
sampling of its movie, and the state of the movie's files. It is only ever a short cut: a file that is damaged counts as none, and
where the folder cannot be written to, nothing is kept and nothing fails. What has not been used for longest goes when there is too
much.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellvjepa.cells.outlines import Outlines
from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import Clip, known_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers.memory.database import users_memory
from cellvjepa.movies.readers.memory.sources import Sources, Stamps, chunk_folders_of, sources_of
from cellvjepa.movies.reference import Reference
from cellvjepa.writing import atomic_path, remove_leftovers

FOLDER = "tokens"
_SUFFIX = ".tokens"
_FORMAT = 1  # of the files, and of how tokens are computed: larger whenever older ones no longer hold
_HEADER = struct.Struct("<4sI6I")  # name, checksum of the rest, shape
_NAME = b"CVT1"
_AFTER_CLEARING = 0.9  # of what may be kept
_LARGEST_FLOAT16 = 65504.0

Halves = npt.NDArray[np.float16]


@dataclass(frozen=True)
class TokenCache:
    """A folder of tokens.

    Parameters
    ----------
    folder
        The folder; None keeps nothing.
    largest_bytes
        What it may hold.
    read_only
        What is there is used, nothing is added: for predicting a whole archive, whose tokens would push out the labelled ones.
    """

    folder: Path | None
    largest_bytes: int
    read_only: bool = False

    def recall(self, key: str) -> Halves | None:
        """Return the tokens under a key, (C, t, z, y, x, D) float16; None where there are none, or they are damaged."""
        if self.folder is None or not key:
            return None
        path = self._path(self.folder, key)
        try:
            data = path.read_bytes()
            name, checksum, *shape = _HEADER.unpack_from(data)
            body = memoryview(data)[_HEADER.size :]
            if name != _NAME or zlib.crc32(struct.pack("<6I", *shape)) ^ zlib.crc32(body) != checksum:
                return None
            with contextlib.suppress(OSError):
                os.utime(path)  # used just now
            return np.frombuffer(body, "<f2").reshape(shape)
        except (OSError, struct.error, ValueError):
            return None

    def keep(self, tokens: Mapping[str, Halves]) -> None:
        """Keep tokens under their keys; an empty key is for tokens that cannot be named, and they are not kept."""
        if self.folder is None or self.read_only:
            return
        try:
            for key, one in tokens.items():
                if key and one.nbytes <= self.largest_bytes:
                    body = np.ascontiguousarray(one, "<f2").tobytes()
                    checksum = zlib.crc32(struct.pack("<6I", *one.shape)) ^ zlib.crc32(body)
                    with atomic_path(self._path(self.folder, key)) as part:
                        part.write_bytes(_HEADER.pack(_NAME, checksum, *one.shape) + body)
        except (OSError, UserError):
            return  # full or not ours to write: then this run does without

    def clear(self) -> None:
        """Remove what has not been used for longest until what is left may be kept, and what a killed process left half written."""
        if self.folder is None or self.read_only or not self.folder.is_dir():
            return
        found = []
        for path in self.folder.glob(f"??/*{_SUFFIX}"):
            with contextlib.suppress(OSError):
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= self.largest_bytes:
            return
        remove_leftovers(self.folder, f"*{_SUFFIX}")
        for _, size, path in sorted(found):
            if total <= _AFTER_CLEARING * self.largest_bytes:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size

    def _path(self, folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}{_SUFFIX}"


NO_CACHE = TokenCache(None, 0)


def users_token_cache(largest_gb: float, read_only: bool = False) -> TokenCache:
    """Return the cache in the user's cache folder, or in the one that CELLVJEPA_CACHE names (empty: none); 0 GB: none."""
    remembered = users_memory().file
    if remembered is None or largest_gb <= 0:
        return NO_CACHE
    return TokenCache(remembered.parent / FOLDER, int(largest_gb * 1e9), read_only)


def token_keys(
    encoder_sha256: str,
    movies: Mapping[str, Movie],
    clips: Sequence[Clip],
    shape: ClipShape,
    reference: Reference,
    outlines: Outlines,
    precision: str,
) -> list[str]:
    """Return the name of each clip's tokens; empty where the state of its movie's files cannot be known (remote, or written just now).

    Of an OME-Zarr image, new chunks are noticed, but not one that is written again in its place.
    """
    stamps = Stamps()
    named = {name: movies[name] for name in {clip.movie for clip in clips}}
    shared = [_FORMAT, encoder_sha256, asdict(shape), asdict(reference), precision]
    about = {}
    for name, movie in named.items():
        states = [_state(stamps, movie)]
        if outlines.hide_neighbours:
            states.append(_state(stamps, outlines.labels[name]))
        parts = [*shared, movie.uri, asdict(movie.pixel_um) if movie.pixel_um else None, movie.interval_s, known_levels(movie).tolist(), states]
        about[name] = "" if None in states else json.dumps(parts, default=str)
    return [_key(about[clip.movie], clip, outlines.hide_neighbours) for clip in clips]


def _key(about: str, clip: Clip, with_cell: bool) -> str:
    if not about:
        return ""
    where = [clip.t0, clip.t_step, clip.z0, clip.y0, clip.x0, list(clip.extent), list(clip.drift), list(clip.cell_values) if with_cell else None]
    return hashlib.blake2b(f"{about}\n{json.dumps(where, default=int)}".encode(), digest_size=16).hexdigest()


def _state(stamps: Stamps, movie: Movie) -> str | None:
    if (sources := sources_of(movie)) is None:
        return None
    return stamps.of(Sources((*sources.files, *chunk_folders_of(movie)), sources.folders))


def as_halves(tokens: npt.NDArray[np.float32]) -> Halves:
    """Return float16; what is too large for it is cut."""
    return np.clip(tokens, -_LARGEST_FLOAT16, _LARGEST_FLOAT16).astype(np.float16)
