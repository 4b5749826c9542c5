"""OME-Zarr 0.4 and 0.5 (and what is close to them): one image as a movie, with its coarser copies."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, Problem, Resolution
from cellvjepa.movies.readers.axes import Arrangement, arrange
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.scale import Scale, believed, in_s, in_um
from cellvjepa.movies.readers.zarr.array import array_at, refuse_what_is_not_there
from cellvjepa.movies.readers.zarr.bioformats2raw import Series, series_of
from cellvjepa.movies.readers.zarr.folder import METADATA_FILES, LocalFolder, ZarrFolder, printable
from cellvjepa.movies.readers.zarr.images import Image, images_below, labels_below, path_below, plate_groups
from cellvjepa.movies.readers.zarr.metadata import WRITE_AGAIN, Multiscale, Node, multiscale_of, node_at
from cellvjepa.movies.readers.zarr.pixels import ZarrPixels
from cellvjepa.movies.readers.zarr.pyramid import factor_of
from cellvjepa.movies.readers.zarr.remote import folder_at

__all__ = ["Image", "images_in", "is_image", "label_uris", "labels_of", "open_folder", "open_image", "recognises"]


def recognises(path: Path) -> bool:
    """Whether this is a part of a Zarr store."""
    return any(os.path.isfile(path / name) for name in METADATA_FILES)  # noqa: PTH113 - a Path raises where one may not look


def is_image(path: Path) -> bool:
    """Whether this is the group of an image, as far as its metadata can be read."""
    try:
        node = node_at(LocalFolder(path))
    except UserError:
        return False  # whoever looks into it will say so
    return node is not None and node.is_image


def images_in(store: Path) -> tuple[list[Image], list[UserError]]:
    """Find the images of a local store by walking it: plates, collections and odd group names alike.

    Returns
    -------
    images
        In natural order.
    errors
        What could not be read on the way, and what is listed but not there.
    """
    return images_below(LocalFolder(store))


def labels_of(image: Path) -> list[Path]:
    """Return the label images that belong to an image, in natural order.

    Raises
    ------
    UserError
        If they cannot be read.
    """
    return [Path(labels.address) for labels in labels_below(LocalFolder(image))]


def label_uris(uri: str) -> list[str]:
    """Return the label images that belong to the image of a movie, local or remote.

    Raises
    ------
    UserError
        If they cannot be read.
    """
    return [labels.address for labels in labels_below(folder_at(uri))]


def open_image(path: Path, name: str, given: Given = NOTHING) -> Movie:
    """Open the group of an image as a movie, at its full resolution.

    Raises
    ------
    UserError
        If the group is no image, or its metadata and its arrays do not fit together.
    """
    return open_folder(LocalFolder(path), name, given)


def open_folder(folder: ZarrFolder, name: str, given: Given = NOTHING) -> Movie:
    """Open the group of an image as a movie, wherever it lies.

    Raises
    ------
    UserError
        If the group is no image, or its metadata and its arrays do not fit together.
    """
    node = _image_at(folder)
    multiscale = multiscale_of(node)
    pixels = _full_pixels(node, multiscale, given)
    sparse = refuse_what_is_not_there(pixels.array, folder.address)
    pixels.check_codecs()
    groups = plate_groups(folder, name)
    scale, channels, series = _described(node, multiscale, pixels, in_plate=bool(groups))
    if series is not None and series.name and not groups:
        groups = {"field": series.name}
    pyramid, left_out = _pyramid(node, multiscale, pixels, given)
    return Movie(
        uri=folder.address,
        name=name,
        pixels=pixels,
        channels=distinct_names(channels, pixels.shape[1]),
        pixel_um=scale.pixel_um,
        interval_s=scale.interval_s,
        axes=pixels.arrangement.origins,
        codec=pixels.array.codec,
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
        problems=(*pixels.arrangement.problems, *_forgotten(node), *sparse, *scale.problems, *left_out),
        groups=groups,
        pyramid=pyramid,
    )


def reopen_pixels(uri: str, level: int, given: Given) -> ZarrPixels:
    """Open the pixels of an image again."""
    node = _image_at(folder_at(uri))
    multiscale = multiscale_of(node)
    full = _full_pixels(node, multiscale, given)
    return full if level == 0 else _level_pixels(node, multiscale, full, level, given)


def _image_at(folder: ZarrFolder) -> Node:
    if printable(folder.address) != folder.address:
        raise UserError("its name is no UTF-8", "rename the file or folder", printable(folder.address))
    node = node_at(folder)
    if node is None:
        raise UserError("there is no Zarr store here", "check the address; what is remote must be OME-Zarr", folder.address)
    if node.is_image:
        return node
    if node.is_array:
        raise UserError("this is an array inside a Zarr store", "give the group above it, which says what the axes are", folder.address)
    inside = [path_below(image.folder, folder) for image in images_below(folder)[0] if not image.is_labels]
    if inside:
        what = f"this group is no image, but has {len(inside)} inside ({', '.join(inside[:3])}{', ...' * (len(inside) > 3)})"
        raise UserError(what, "give it as an archive, or give one of these", folder.address)
    raise UserError("this Zarr group has no OME-Zarr image in it ('multiscales' is missing)", WRITE_AGAIN, folder.address)


def _full_pixels(node: Node, multiscale: Multiscale, given: Given) -> ZarrPixels:
    uri = node.folder.address
    array = array_at(node, multiscale.datasets[0].path)
    return ZarrPixels(uri, partial(reopen_pixels, uri, 0, given), array, _arrangement(multiscale, array.shape, uri, given))


def _level_pixels(node: Node, multiscale: Multiscale, full: ZarrPixels, level: int, given: Given) -> ZarrPixels:
    array = array_at(node, multiscale.datasets[level].path)
    if len(array.shape) != len(full.array.shape):
        raise UserError(f"it has {len(array.shape)} axes", WRITE_AGAIN, full.uri)
    return ZarrPixels(full.uri, partial(reopen_pixels, full.uri, level, given), array, full.arrangement)


def _pyramid(node: Node, multiscale: Multiscale, full: ZarrPixels, given: Given) -> tuple[tuple[Resolution, ...], list[Problem]]:
    """Open the coarser copies that fit; one that does not is left out and never in the way of the movie."""
    found: list[Resolution] = []
    left_out: list[Problem] = []
    for level, dataset in enumerate(multiscale.datasets[1:], start=1):
        try:
            pixels = _level_pixels(node, multiscale, full, level, given)
            refuse_what_is_not_there(pixels.array, full.uri)
            factor = factor_of(pixels, full, _ratios(dataset.steps, multiscale.datasets[0].steps, full.arrangement))
            if pixels.array.codec != full.array.codec:
                pixels.check_codecs()
        except UserError as error:
            left_out.append(Problem(f"its coarser copy {printable(dataset.path):.80} is not used: {error.what}", WRITE_AGAIN))
            continue
        if factor is not None:
            found.append(Resolution(pixels, factor))
    return tuple(sorted(found, key=lambda resolution: math.prod(resolution.factor))), left_out


def _ratios(coarse: Sequence[float | None], full: Sequence[float | None], arrangement: Arrangement) -> list[float | None]:
    """Return how much coarser Z, Y and X are, as far as the metadata say it."""
    found: list[float | None] = []
    for source in arrangement.sources[2:]:
        few = None if source is None or source >= len(coarse) else coarse[source]
        many = None if source is None or source >= len(full) else full[source]
        found.append(few / many if few and many else None)
    return found


def _forgotten(node: Node) -> tuple[Problem, ...]:
    what = "the metadata of the image are not below 'ome', where OME-Zarr 0.5 has them"
    return (Problem(what, f"they are read all the same; {WRITE_AGAIN} for other programs"),) if node.forgot_ome else ()


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


def _described(node: Node, multiscale: Multiscale, pixels: ZarrPixels, *, in_plate: bool) -> tuple[Scale, tuple[str | None, ...], Series | None]:
    """Return what is believed of its scale, and the names of its channels; the store comes first, then the XML beside it."""
    steps = multiscale.datasets[0].steps

    def step(axis: str) -> tuple[float | None, str | None]:
        source = pixels.arrangement.sources["TCZYX".index(axis)]
        if source is None or source >= min(len(steps), len(multiscale.units)):
            return None, None
        return steps[source], multiscale.units[source]

    frames, channels, planes, *_ = pixels.shape
    names = multiscale.channels
    z_um, y_um, x_um, interval_s = in_um(*step("Z")), in_um(*step("Y")), in_um(*step("X")), in_s(*step("T"))
    complete = y_um is not None and x_um is not None and (interval_s is not None or frames == 1)
    series = None
    if node.folder.name.isdecimal() and not (in_plate and complete):
        series = series_of(node.folder, steps_up=3 if in_plate else 1)
    if series is not None:
        names = names if len(names) == channels else series.channels
        z_um = series.z_um if z_um is None else z_um
        y_um, x_um = (series.y_um, series.x_um) if y_um is None or x_um is None else (y_um, x_um)
        interval_s = series.interval_s if interval_s is None else interval_s
    return believed(z_um, y_um, x_um, interval_s, frames=frames, planes=planes), names, series
