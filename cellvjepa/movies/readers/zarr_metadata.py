"""What the metadata of a Zarr store says, in one form for Zarr 2 and 3 and for OME-Zarr before and since 0.5. Nothing here is believed yet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.scale import number

FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
WRITE_AGAIN = "write it again with a current OME-Zarr writer"

_LARGEST_BYTES = 2**26
_PLAIN_CODECS = ("bytes", "transpose", "crc32c")


@dataclass(frozen=True)
class Node:
    """A group or an array of a store.

    Parameters
    ----------
    path
        Its folder.
    metadata
        What Zarr has to know; of a Zarr 2 group nothing.
    attributes
        What users know.
    """

    path: Path
    metadata: Mapping[str, Any]
    attributes: Mapping[str, Any]

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
    def is_image(self) -> bool:
        """Whether it is the group of an image."""
        return not self.is_array and "multiscales" in self.ome

    @property
    def codec(self) -> str:
        """Return the compression of an array for people: ``blosc/lz4``, ``zstd``, ``none``."""
        compressor = self.metadata.get("compressor")
        if isinstance(compressor, dict):
            return "/".join(str(compressor[key]) for key in ("id", "cname") if key in compressor)
        return _codec(self.metadata.get("codecs"))


@dataclass(frozen=True)
class Multiscale:
    """The metadata of an image.

    Parameters
    ----------
    array
        Path of the array of full resolution, within the group.
    axes
        Name of each axis, in our letters where it is one of ours; None where the store names none.
    units
        Unit of each axis, where there is one.
    steps
        Scale of each axis, where there is one.
    channels
        Names of the channels, where there are some.
    """

    array: str
    axes: tuple[str, ...] | None
    units: tuple[str | None, ...]
    steps: tuple[float | None, ...]
    channels: tuple[str | None, ...]


def is_node(path: Path) -> bool:
    """Whether a folder is a group or an array of a store."""
    return path.is_dir() and any((path / name).is_file() for name in FILES)


def node_at(path: Path) -> Node:
    """Read the metadata of a group or an array.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    if (path / "zarr.json").is_file():
        metadata = _read_json(path / "zarr.json")
        attributes = metadata.get("attributes")
        return Node(path, metadata, attributes if isinstance(attributes, dict) else {})
    attributes = _read_json(path / ".zattrs") if (path / ".zattrs").is_file() else {}
    metadata = _read_json(path / ".zarray") if (path / ".zarray").is_file() else {}
    return Node(path, metadata, attributes)


def multiscale_of(node: Node) -> Multiscale:
    """Read the metadata of an image.

    Raises
    ------
    UserError
        If it does not say where the pixels are.
    """
    multiscale = _first(node.ome.get("multiscales"), "multiscales", node.path)
    dataset = _first(multiscale.get("datasets"), "datasets", node.path)
    array = dataset.get("path")
    if not isinstance(array, str) or not array.strip("/."):
        raise UserError("the metadata does not say where the pixels are", WRITE_AGAIN, node.path)
    found = multiscale.get("axes")
    # Up to 0.3 axes were plain names, or not there.
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in found] if isinstance(found, list) else None
    units = [axis.get("unit") for axis in axes or ()]
    return Multiscale(
        array=array,
        axes=None if axes is None else _letters(axes),
        units=tuple(unit if isinstance(unit, str) else None for unit in units),
        steps=_steps(dataset, multiscale),
        channels=_channels(node.ome),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        too_large = path.stat().st_size > _LARGEST_BYTES
        found = None if too_large else json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"the metadata cannot be read ({error})", "copy the store again", path) from error
    if not isinstance(found, dict):
        raise UserError("the metadata is " + ("absurdly large" if too_large else "no JSON object"), WRITE_AGAIN, path)
    return found


def _first(found: object, what: str, where: Path) -> Mapping[str, Any]:
    if isinstance(found, list) and found and isinstance(found[0], dict):
        return found[0]
    raise UserError(f"the metadata has no usable '{what}'", WRITE_AGAIN, where)


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
    return tuple(label if isinstance(label, str) else None for label in labels)


def _codec(codecs: object) -> str:
    for codec in codecs if isinstance(codecs, list) else ():
        if not isinstance(codec, dict) or codec.get("name") in _PLAIN_CODECS:
            continue
        settings = codec.get("configuration")
        settings = settings if isinstance(settings, dict) else {}
        if codec.get("name") == "sharding_indexed":
            return _codec(settings.get("codecs"))
        return "/".join(str(part) for part in (codec.get("name"), settings.get("cname")) if part)
    return "none"
