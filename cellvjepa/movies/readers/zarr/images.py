"""The images of a Zarr store, wherever in it they are, and the labels that belong to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.names import natural_key
from cellvjepa.movies.readers.zarr.folder import LocalFolder, ZarrFolder, printable
from cellvjepa.movies.readers.zarr.metadata import Node, node_at

_REQUESTS = 16  # at once, to a server
_MOST_SERIES = 10_000  # that are looked for by number
_MOST_FOLDERS, _MOST_REMOTE_FOLDERS = 1_000_000, 5_000  # that are looked into
_MOST_PLAIN = 3  # folders without metadata, one in the other, before what follows is not of this store
_IN_PLATE = (re.compile(r"[A-Za-z]{1,2}"), re.compile(r"[0-9]{1,2}"))


@dataclass(frozen=True)
class Image:
    """A group of a store with pixels in it, which may be labels."""

    folder: ZarrFolder
    is_labels: bool

    @property
    def path(self) -> Path:
        """Return its path, where it is local."""
        return Path(self.folder.address)


def images_below(store: ZarrFolder) -> tuple[list[Image], list[UserError]]:
    """Find the images of a store: plates, collections and odd group names alike.

    A local store is walked, whatever its metadata say. A remote one is believed where it says what is in it, and walked where it does
    not and its folders can be listed.

    Returns
    -------
    images
        In natural order. Of a remote store no labels; and what is believed may turn out not to be there.
    errors
        What could not be read on the way, and what is listed but not there.
    """
    if not isinstance(store, LocalFolder):
        try:
            node = node_at(store)
            listed = None if node is None else _listed_images(node)
        except UserError as error:
            return [], [error]
        if listed is not None:
            return listed
    return _walk(store)


def labels_below(image: ZarrFolder) -> list[ZarrFolder]:
    """Return the label images that belong to an image, in natural order.

    Raises
    ------
    UserError
        If they cannot be read.
    """
    above = image.child("labels")
    node = node_at(above)
    if node is None:
        return []
    names = dict.fromkeys((*node.listed("labels"), *(above.children() or ())))
    found = []
    for name in sorted(names, key=natural_key):
        place = above.child(name)
        labels = node_at(place)
        if labels is not None and labels.is_image:
            found.append(place)
    return found


def plate_groups(image: ZarrFolder, name: str) -> dict[str, str]:
    """Return what an image of a plate belongs to: plate, row, column, well and field; nothing for other images.

    Parameters
    ----------
    image
        Its group.
    name
        The name of the movie; what comes before its row is the name of the plate, which may lie anywhere in an archive.
    """
    well = image.parent()
    row = None if well is None else well.parent()
    plate = None if row is None else row.parent()
    if well is None or row is None or plate is None or not _is_plate(plate, row, well):
        return {}
    within = name.split("/")[:-3]
    return {
        "plate": "/".join(within) or plate.name,
        "row": row.name,
        "column": well.name,
        "well": row.name + (well.name.lstrip("0") or well.name),
        "field": image.name,
    }


def path_below(folder: ZarrFolder, above: ZarrFolder) -> str:
    """Return the path of a folder within one that it lies in."""
    parts: list[str] = []
    at: ZarrFolder | None = folder
    while at is not None and at != above:
        parts.append(at.name)
        at = at.parent()
    return "/".join(reversed(parts))


def _is_plate(plate: ZarrFolder, row: ZarrFolder, well: ZarrFolder) -> bool:
    """Whether these are the folders of a plate, by their names or else by what the well says."""
    try:
        if _IN_PLATE[0].fullmatch(row.name) and _IN_PLATE[1].fullmatch(well.name) and (plate.name.endswith(".zarr") or node_at(plate) is not None):
            return True
        node = node_at(well)
    except UserError:
        return False  # that is no reason not to open the image
    return node is not None and "well" in node.ome


def _walk(store: ZarrFolder) -> tuple[list[Image], list[UserError]]:
    """Look into folder after folder, one generation after the other; at a server into many at once."""
    images: list[Image] = []
    errors: list[UserError] = []
    is_local = isinstance(store, LocalFolder)
    most = _MOST_FOLDERS if is_local else _MOST_REMOTE_FOLDERS
    seen, generation = 0, [(store, 0)]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        while generation and seen < most:
            seen += len(generation)
            visits = map(_visit, generation) if is_local else pool.map(_visit, generation)
            generation = []
            for image, inside, trouble in visits:
                images += [] if image is None else [image]
                generation += inside
                errors += trouble
    if generation:
        errors.append(UserError(f"there are more than {most:,} folders in it", "give a folder further below", store.address))
    return sorted(images, key=lambda image: natural_key(image.folder.address)), errors


def _visit(place: tuple[ZarrFolder, int]) -> tuple[Image | None, list[tuple[ZarrFolder, int]], list[UserError]]:
    """Look into one folder; the number says how many right above it have no metadata. Return the image that it is, and what is in it."""
    folder, plain_above = place
    errors: list[UserError] = []
    image, inside = None, []
    try:
        node = None
        try:
            node = node_at(folder)
        except UserError as error:
            errors.append(error)
            if not isinstance(folder, LocalFolder):  # it may be that nothing can be asked of the server
                return None, [], errors
        if node is not None and node.is_image:
            image = Image(folder, _is_labels(node))
        plain = plain_above + 1 if node is None else 0
        if plain <= _MOST_PLAIN and (node is None or not node.is_array):
            inside = [(folder.child(name), plain) for name in sorted(_children(folder, node, errors), key=natural_key)]
    except UserError as error:
        errors.append(error)
    return image, inside, errors


def _children(folder: ZarrFolder, node: Node | None, errors: list[UserError]) -> Iterator[str]:
    """Give the folders below one that may hold images, and note those that cannot or are missing."""
    names = set(folder.children() or ())
    arrays = [] if node is None else [dataset.get("path") for dataset in _datasets(node) if isinstance(dataset, dict)]
    for name in names:
        if printable(name) != name:
            errors.append(UserError("its name is no UTF-8", "rename the folder", f"{folder.address}/{printable(name)}"))
        elif name not in arrays:
            yield name
    fields = [] if node is None else [("field", path) for path in node.listed("well", "images")]
    wells = [] if node is None else [("well", path) for path in node.listed("plate", "wells")]
    for kind, path in wells + fields:
        try:
            missing = path.split("/")[0] not in names or folder.child(path).children() in (None, [])
        except UserError:
            missing = True
        if missing:
            errors.append(_missing(kind, path, folder.address))


def _datasets(node: Node) -> list[object]:
    multiscales = node.ome.get("multiscales")  # of a group that is no image there are none
    first = multiscales[0] if isinstance(multiscales, list) and multiscales else None
    datasets = first.get("datasets") if isinstance(first, dict) else None
    return datasets if isinstance(datasets, list) else []


def _is_labels(node: Node) -> bool:
    above = node.folder.parent()
    return "image-label" in node.ome or (above is not None and above.name == "labels")


def _missing(kind: str, path: str, where: str) -> UserError:
    return UserError(f"the {kind} {printable(path)} that the metadata lists is not there", "copy the store again", where)


def _listed_images(node: Node) -> tuple[list[Image], list[UserError]] | None:
    """Return the images that the metadata list; None where they list none."""
    folder = node.folder
    if node.is_image:
        return [Image(folder, _is_labels(node))], []
    if "plate" in node.ome and node.listed("plate", "wells"):
        with ThreadPoolExecutor(_REQUESTS) as pool:
            found = list(pool.map(lambda path: _fields(folder, path), sorted(node.listed("plate", "wells"), key=natural_key)))
        return [image for images, _ in found for image in images], [error for _, errors in found for error in errors]
    if "well" in node.ome:
        return [Image(folder.child(path), False) for path in sorted(node.listed("well", "images"), key=natural_key)], []
    if node.is_series_collection:
        return _series(folder)
    if "labels" in node.ome:
        return [Image(folder.child(name), True) for name in sorted(node.listed("labels"), key=natural_key)], []
    return None


def _fields(plate: ZarrFolder, path: str) -> tuple[list[Image], list[UserError]]:
    try:
        folder = plate.child(path)
        well = node_at(folder)
        if well is None:
            return [], [_missing("well", path, plate.address)]
        return [Image(folder.child(field), False) for field in sorted(well.listed("well", "images"), key=natural_key)], []
    except UserError as error:
        return [], [error]


def _series(top: ZarrFolder) -> tuple[list[Image], list[UserError]]:
    """Return the series of what bioformats2raw wrote: as they are listed, or else 0, 1, 2, ... as long as there are some."""
    index = node_at(top.child("OME"))
    listed = [] if index is None else index.listed("series")
    if listed:
        return [Image(top.child(path), False) for path in listed], []
    images: list[Image] = []
    while len(images) < _MOST_SERIES and (node := node_at(top.child(str(len(images))))) is not None and node.is_image:
        images.append(Image(node.folder, False))
    return images, []
