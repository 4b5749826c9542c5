"""OME-Zarr 0.4 and 0.5 (and what is close to them): images, wherever in a store they are."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Key, LazyPixels, Movie, Problem, Shape5, region_of, reopened
from cellvjepa.movies.readers import zarr_metadata
from cellvjepa.movies.readers.axes import Arrangement, arrange
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.names import natural_key
from cellvjepa.movies.readers.scale import Scale, believed, in_s, in_um
from cellvjepa.movies.readers.zarr_metadata import WRITE_AGAIN, Multiscale, Node, is_node, multiscale_of, node_at

LARGEST_CHUNK_BYTES = 2**30  # a chunk is decoded whole to get at one pixel; one that claims to be larger is not believed

_SPARSEST = 1000  # an array must have at least one in so many of the chunks it claims
_COPY_AGAIN = "copy the store again"
_DAMAGE = (OSError, ValueError, TypeError, RuntimeError, MemoryError, KeyError)  # what zarr and its codecs raise at damaged bytes


@dataclass(frozen=True, eq=False)
class ZarrPixels:
    """:class:`~cellvjepa.movies.movie.LazyPixels` of one Zarr array.

    Parameters
    ----------
    uri
        The group of the image.
    reopen
        Makes these pixels again; pickling is calling it elsewhere (:func:`cellvjepa.movies.movie.reopened`).
    array
        The array, with whatever axes it has.
    arrangement
        Which of its axes is which.
    """

    uri: str
    reopen: Callable[[], LazyPixels]
    array: zarr.Array[Any]
    arrangement: Arrangement

    def _tczyx(self, lengths: tuple[int, ...]) -> Shape5:
        t, c, z, y, x = (1 if source is None else int(lengths[source]) for source in self.arrangement.sources)
        return t, c, z, y, x

    @property
    def shape(self) -> Shape5:
        """Return the lengths of T, C, Z, Y, X."""
        return self._tczyx(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the native type, in the byte order of this machine."""
        return np.dtype(self.array.dtype).newbyteorder("=")

    @property
    def chunks(self) -> Shape5:
        """Return the size of a chunk; in a sharded array that of a chunk within a shard."""
        return self._tczyx(self.array.chunks)

    def __getitem__(self, key: Key, /) -> npt.NDArray[Any]:
        """Return a part, as numpy indexing does it.

        Raises
        ------
        UserError
            If a chunk cannot be read or decoded.
        """
        region = region_of(key, self.shape)
        wanted = [slice(0, 1)] * self.array.ndim
        for source, part in zip(self.arrangement.sources, region.slices, strict=True):
            if source is not None:
                wanted[source] = part
        try:
            found = np.asarray(self.array[tuple(wanted)])
        except _DAMAGE as error:
            first = ", ".join(f"{axis}={part.start}" for axis, part in zip("TCZYX", region.slices, strict=True))
            raise UserError(f"the pixels from {first} on cannot be read ({str(error) or type(error).__name__})", _COPY_AGAIN, self.uri) from error
        # Of an axis that the array does not have, none may have been asked for.
        absent = tuple(part if source is None else slice(None) for source, part in zip(self.arrangement.sources, region.slices, strict=True))
        return np.squeeze(self.arrangement.to_tczyx(found)[absent].astype(self.dtype, copy=False), axis=region.dropped)

    def __reduce__(self) -> tuple[Callable[..., LazyPixels], tuple[Callable[[], LazyPixels], str, Shape5, str]]:
        """Pickle by re-opening."""
        return reopened, (self.reopen, self.uri, self.shape, self.dtype.str)


@dataclass(frozen=True)
class Image:
    """A group of a store with pixels in it, which may be labels."""

    path: Path
    is_labels: bool


def recognises(path: Path) -> bool:
    """Whether this is a part of a Zarr store."""
    return is_node(path)


def is_image(path: Path) -> bool:
    """Whether this is the group of an image.

    Raises
    ------
    UserError
        If it is part of a store and its metadata cannot be read.
    """
    return is_node(path) and node_at(path).is_image


def images_in(store: Path) -> tuple[list[Image], list[UserError]]:
    """Find the images of a store by walking it: plates, collections and odd group names alike.

    Returns
    -------
    images
        In natural order.
    errors
        What could not be read on the way.
    """
    images, errors = [], []
    to_visit = [store]
    while to_visit:
        path = to_visit.pop()
        try:
            node = node_at(path)
            if node.is_image:
                images.append(Image(path, "image-label" in node.ome or path.parent.name == "labels"))
            if not node.is_array:
                to_visit += sorted(_children(path), key=lambda child: natural_key(child.name), reverse=True)
        except UserError as error:
            errors.append(error)
    return images, errors


def _children(path: Path) -> list[Path]:
    try:
        return [child for child in path.iterdir() if not child.is_symlink() and is_node(child)]
    except OSError as error:
        raise UserError(f"the folder cannot be read ({error.strerror})", "ask for the right to read it", path) from error


def open_image(path: Path, name: str, given: Given = NOTHING) -> Movie:
    """Open the group of an image as a movie, at its full resolution.

    Raises
    ------
    UserError
        If the group is no image, or its metadata and its arrays do not fit together.
    """
    uri = str(path)
    node = node_at(path)
    _refuse_what_is_no_image(node)
    multiscale = multiscale_of(node)
    array, codec = _open_array(path, multiscale.array)
    arrangement = _arrangement(multiscale, array.shape, uri, given)
    pixels = ZarrPixels(uri, partial(reopen_pixels, uri, given), array, arrangement)
    scale = _scale(multiscale, pixels)
    return Movie(
        uri=uri,
        name=name,
        pixels=pixels,
        channels=distinct_names(multiscale.channels, pixels.shape[1]),
        pixel_um=scale.pixel_um,
        interval_s=scale.interval_s,
        axes=arrangement.origins,
        codec=codec,
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
        problems=(*arrangement.problems, *scale.problems),
    )


def reopen_pixels(uri: str, given: Given) -> ZarrPixels:
    """Open the pixels of an image again."""
    pixels = open_image(Path(uri), uri, given).pixels
    assert isinstance(pixels, ZarrPixels)
    return pixels


def _refuse_what_is_no_image(node: Node) -> None:
    if node.is_image:
        return
    if node.is_array:
        raise UserError("this is an array inside a Zarr store", "give the group above it, which says what the axes are", node.path)
    inside = [image.path.relative_to(node.path).as_posix() for image in images_in(node.path)[0] if not image.is_labels]
    if inside:
        what = f"this group is no image, but has {len(inside)} inside ({', '.join(inside[:3])}{', ...' * (len(inside) > 3)})"
        raise UserError(what, "give it as an archive, or give one of these", node.path)
    raise UserError("this Zarr group has no OME-Zarr image in it ('multiscales' is missing)", WRITE_AGAIN, node.path)


def _open_array(image: Path, inner: str) -> tuple[zarr.Array[Any], str]:
    path = image / inner
    if not path.resolve().is_relative_to(image.resolve()):
        raise UserError(f"the metadata points out of the image, to {inner}", "do not use this store: it may have been tampered with", image)
    node = node_at(path) if is_node(path) else None
    if node is None or not node.is_array:
        raise UserError(f"the array {inner} that the metadata names is not there", _COPY_AGAIN, image)
    try:
        array = zarr.open_array(str(path), mode="r")
    except _DAMAGE as error:
        raise UserError(f"the array {inner} cannot be opened ({error})", WRITE_AGAIN, image) from error
    _check_claims(array, path, image)
    return array, node.codec


def _check_claims(array: zarr.Array[Any], folder: Path, image: Path) -> None:
    """Believe nothing that the files themselves contradict."""
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "uif":
        raise UserError(f"its pixels are of a type that is not read ({dtype})", "save it as 8 or 16 bit, or 32-bit float", image)
    if not array.shape or 0 in array.shape:
        raise UserError(f"the array is empty ({array.shape})", WRITE_AGAIN, image)
    if math.prod(array.chunks) * dtype.itemsize > LARGEST_CHUNK_BYTES:
        shown = " x ".join(map(str, array.chunks))
        raise UserError(f"one chunk claims {shown} pixels", "write it again with smaller chunks, such as 16 x 256 x 256", image)
    claimed = math.prod(math.ceil(n / c) for n, c in zip(array.shape, array.shards or array.chunks, strict=True))
    there = 0
    for _, _, names in os.walk(folder):
        there += sum(name not in zarr_metadata.FILES for name in names)
        if there * _SPARSEST >= claimed:
            return
    raise UserError(f"the array claims {claimed:,} chunks, but {there:,} are there", _COPY_AGAIN, image)


def _arrangement(multiscale: Multiscale, shape: tuple[int, ...], uri: str, given: Given) -> Arrangement:
    if given.axes is not None:
        return arrange(["?"] * len(shape), shape, uri, given=given.axes)
    if multiscale.axes is not None:
        if len(multiscale.axes) != len(shape):
            raise UserError(f"the metadata names {len(multiscale.axes)} axes, but the array has {len(shape)}", WRITE_AGAIN, uri)
        return arrange(multiscale.axes, shape, uri)
    if len(shape) != 5:
        return arrange(("?",) * (len(shape) - 2) + ("Y", "X"), shape, uri)
    found = arrange("TCZYX", shape, uri)
    assumed = Problem("the store does not name its axes; they are taken as T C Z Y X", WRITE_AGAIN)
    return replace(found, origins=dict.fromkeys("TCZYX", "assumed"), problems=(assumed,))


def _scale(multiscale: Multiscale, pixels: ZarrPixels) -> Scale:
    def step(axis: str) -> tuple[float | None, str | None]:
        source = pixels.arrangement.sources["TCZYX".index(axis)]
        if source is None or source >= min(len(multiscale.steps), len(multiscale.units)):
            return None, None
        return multiscale.steps[source], multiscale.units[source]

    frames, _, planes, *_ = pixels.shape
    return believed(in_um(*step("Z")), in_um(*step("Y")), in_um(*step("X")), in_s(*step("T")), frames=frames, planes=planes)
