"""Movies behind addresses: OME-Zarr on a web server or in a bucket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers.finding import LABELS, Skipped
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.names import looks_like_labels
from cellvjepa.movies.readers.zarr.folder import ZarrFolder
from cellvjepa.movies.readers.zarr.images import images_below, path_below
from cellvjepa.movies.readers.zarr.metadata import node_at
from cellvjepa.movies.readers.zarr.ome_zarr import open_folder
from cellvjepa.movies.readers.zarr.remote import remote_folder
from cellvjepa.progress import Progress, silent

_REQUESTS = 16  # at once: what takes time is their way, not what they bring


def open_remote(address: str, name: str | None = None, given: Given = NOTHING) -> Movie:
    """Open the group of an image behind an address.

    Raises
    ------
    UserError
        If there is none, or the server cannot be reached.
    """
    folder = remote_folder(address)
    return open_folder(folder, folder.name if name is None else name, given)


def open_remote_archive(address: str, given: Given = NOTHING, *, progress: Progress = silent) -> tuple[list[Movie], list[Skipped]]:
    """Open all movies of a remote store, such as a plate.

    Raises
    ------
    UserError
        If there is no store, the server cannot be reached, or it cannot be asked what is there.
    """
    root = remote_folder(address)
    top = node_at(root)
    if top is not None and top.is_image:
        return [open_folder(root, root.name, given)], []
    images, errors = images_below(root)
    skipped = [Skipped(error.where or root.address, error.what, error.remedy) for error in errors]
    if not images and not errors:
        raise _nothing_found(root, top is None)
    wanted = []
    for image in images:
        name = path_below(image.folder, root)
        if image.is_labels or looks_like_labels(name):
            skipped.append(Skipped(image.folder.address, *LABELS))
        else:
            wanted.append((image.folder, name))

    def opened(what: tuple[ZarrFolder, str]) -> Movie | Skipped:
        try:
            return open_folder(*what, given)
        except UserError as error:
            return Skipped(what[0].address, error.what, error.remedy)

    results: list[Movie | Skipped] = []
    with ThreadPoolExecutor(_REQUESTS) as pool:
        try:
            for result in pool.map(opened, wanted):
                progress("opening movies", len(results), len(wanted))
                results.append(result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    progress("opening movies", len(wanted), len(wanted))
    movies = [one for one in results if isinstance(one, Movie)]
    skipped += [one for one in results if isinstance(one, Skipped)]
    if not movies:
        others = f" ({len(skipped) - 1} more images were skipped)" if len(skipped) > 1 else ""
        raise UserError(f"there is no movie that can be used: {skipped[0].what}{others}", skipped[0].remedy, skipped[0].path)
    return movies, skipped


def _nothing_found(root: ZarrFolder, nothing_at_all: bool) -> UserError:
    remedy = "give the address of an image or a plate"
    if not nothing_at_all:
        return UserError("this Zarr group lists no images", remedy, root.address)
    if root.children() is None:
        return UserError("there is no Zarr store here, and the server does not list its folders", remedy, root.address)
    return UserError("there is no Zarr store here", "check the address; what is remote must be OME-Zarr", root.address)
