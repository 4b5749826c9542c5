"""What the metadata of a Zarr store says, in one form for Zarr 2 and 3 and for OME-Zarr before and since 0.5. Nothing here is believed yet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.scale import number
from cellvjepa.movies.readers.zarr.folder import AccessDeniedError, ZarrFolder, printable

WRITE_AGAIN = "write it again with a current OME-Zarr writer"

_OF_GROUPS = ("multiscales", "plate", "well", "labels", "series", "bioformats2raw.layout")


@dataclass(frozen=True)
class Node:
    """A group or an array of a store.

    Parameters
    ----------
    folder
        Where it lies.
    metadata
        What Zarr has to know; of a Zarr 2 group nothing.
    attributes
        What users know.
    zarr_format
        2 or 3.
    """

    folder: ZarrFolder
    metadata: Mapping[str, Any]
    attributes: Mapping[str, Any]
    zarr_format: int

    @property
    def is_array(self) -> bool:
        """Whether it is an array."""
        return "shape" in self.metadata

    @property
    def ome(self) -> Mapping[str, Any]:
        """Return the OME part of the attributes: below ``ome`` since 0.5, but a writer may have forgotten that."""
        ome = self.attributes.get("ome")
        return ome if isinstance(ome, dict) else self.attributes

    @property
    def forgot_ome(self) -> bool:
        """Whether the writer has forgotten that."""
        return self.zarr_format == 3 and self.ome is self.attributes

    @property
    def is_image(self) -> bool:
        """Whether it is the group of an image."""
        return not self.is_array and "multiscales" in self.ome

    @property
    def is_series_collection(self) -> bool:
        """Whether it is the top of what bioformats2raw writes: numbered images, and their OME-XML."""
        return self.ome.get("bioformats2raw.layout") == 3

    def listed(self, *keys: str) -> list[str]:
        """Return what is listed somewhere in the OME part: ``listed("plate", "wells")``; of entries with a path, their paths."""
        found: object = self.ome
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        entries = [entry.get("path") if isinstance(entry, dict) else entry for entry in found] if isinstance(found, list) else []
        return list(dict.fromkeys(entry for entry in entries if isinstance(entry, str) and entry.strip("/.")))


@dataclass(frozen=True)
class Dataset:
    """One level of an image: the path of its array within the group, and the scale of each axis where there is one."""

    path: str
    steps: tuple[float | None, ...]


@dataclass(frozen=True)
class Multiscale:
    """The metadata of an image.

    Parameters
    ----------
    datasets
        The levels, that of full resolution first.
    axes
        Name of each axis, in our letters where it is one of ours; None where the store names none.
    units
        Unit of each axis, where there is one.
    channels
        Names of the channels, where there are some.
    """

    datasets: tuple[Dataset, ...]
    axes: tuple[str, ...] | None
    units: tuple[str | None, ...]
    channels: tuple[str | None, ...]


def node_at(folder: ZarrFolder) -> Node | None:
    """Read the metadata of a group or an array; None where neither is.

    Raises
    ------
    UserError
        If there are some that cannot be read.
    """
    denied: list[AccessDeniedError] = []

    def read(name: str) -> bytes | None:
        try:
            return folder.read(name)
        except AccessDeniedError as error:  # a public bucket says so of what is not there
            denied.append(error)
            return None

    raw = read("zarr.json")
    if raw is not None:
        found = _json(raw, f"{folder.address}/zarr.json")
        said = found.get("attributes")
        return Node(folder, found, said if isinstance(said, dict) else {}, 3)
    raw = read(".zattrs")
    attributes = {} if raw is None else _json(raw, f"{folder.address}/.zattrs")
    is_there = raw is not None
    if not any(key in attributes for key in _OF_GROUPS):
        raw = read(".zarray")
        if raw is not None:
            return Node(folder, _json(raw, f"{folder.address}/.zarray"), attributes, 2)
    if is_there or read(".zgroup") is not None:
        return Node(folder, {}, attributes, 2)
    if denied:
        raise denied[0]
    return None


def array_node(folder: ZarrFolder, zarr_format: int) -> Node | None:
    """Read the metadata of what must be an array, in a group of some format.

    Raises
    ------
    UserError
        If they cannot be read.
    """
    name = "zarr.json" if zarr_format == 3 else ".zarray"
    raw = folder.read(name)
    return None if raw is None else Node(folder, _json(raw, f"{folder.address}/{name}"), {}, zarr_format)


def multiscale_of(node: Node) -> Multiscale:
    """Read the metadata of an image.

    Raises
    ------
    UserError
        If it does not say where the pixels are.
    """
    multiscale = _first(node.ome.get("multiscales"), "multiscales", node)
    _first(multiscale.get("datasets"), "datasets", node)
    datasets = tuple(_datasets(multiscale))
    if not datasets or datasets[0].path != multiscale["datasets"][0].get("path"):
        raise UserError("the metadata does not say where the pixels are", WRITE_AGAIN, node.folder.address)
    found = multiscale.get("axes")
    # Up to 0.3 axes were plain names, or not there.
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in found] if isinstance(found, list) else None
    units = [axis.get("unit") for axis in axes or ()]
    return Multiscale(
        datasets=datasets,
        axes=None if axes is None else _letters(axes),
        units=tuple(unit if isinstance(unit, str) else None for unit in units),
        channels=_channels(node.ome),
    )


def _json(raw: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the metadata cannot be read ({error})", "copy the store again", where) from error
    if not isinstance(found, dict):
        raise UserError("the metadata is no JSON object", WRITE_AGAIN, where)
    return found


def _first(found: object, what: str, node: Node) -> Mapping[str, Any]:
    if isinstance(found, list) and found and isinstance(found[0], dict):
        return found[0]
    raise UserError(f"the metadata has no usable '{what}'", WRITE_AGAIN, node.folder.address)


def _datasets(multiscale: Mapping[str, Any]) -> Iterator[Dataset]:
    for dataset in multiscale["datasets"]:
        path = dataset.get("path") if isinstance(dataset, dict) else None
        if isinstance(path, str) and path.strip("/."):
            yield Dataset(path, _steps(dataset, multiscale))


def _letters(axes: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return our letter for each axis, by its name or else by its type."""
    in_space = [index for index, axis in enumerate(axes) if axis.get("type") == "space"]
    by_type = dict(zip(reversed(in_space), "XYZ", strict=False))
    letters = []
    for index, axis in enumerate(axes):
        name = str(axis.get("name")).upper()
        by_type_of_axis = {"time": "T", "channel": "C"}.get(str(axis.get("type")), by_type.get(index, "?"))
        letters.append(name if name in ("T", "C", "Z", "Y", "X") else by_type_of_axis)
    return tuple(letters)


def _steps(dataset: Mapping[str, Any], multiscale: Mapping[str, Any]) -> tuple[float | None, ...]:
    """Return the scale of each axis: that of the array times that of all arrays."""
    steps: list[float | None] = []
    for owner in (dataset, multiscale):
        transformations = owner.get("coordinateTransformations")
        for transformation in transformations if isinstance(transformations, list) else ():
            scale = transformation.get("scale") if isinstance(transformation, dict) else None
            if isinstance(scale, list):
                factors = [number(factor) for factor in scale]
                before = steps or [1.0] * len(factors)
                steps = [None if s is None or f is None else s * f for s, f in zip(before, factors, strict=False)]
    return tuple(steps)


def _channels(ome: Mapping[str, Any]) -> tuple[str | None, ...]:
    omero = ome.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    labels = [channel.get("label") if isinstance(channel, dict) else None for channel in channels] if isinstance(channels, list) else []
    return tuple(printable(label) if isinstance(label, str) else None for label in labels)
