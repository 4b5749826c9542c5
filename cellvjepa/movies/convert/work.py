"""The work of a conversion: shards of all images through one pool of threads, in ``DST.partial``, which is renamed at the end.

Each thread takes a shard from the source to the disk, so that one decodes while another compresses or waits for the disk, and memory
is that of a few slabs whatever the size of the movies.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.convert.image import ImagePlan, Key, ShardWork, SourceDamaged, is_intact, is_still_so
from cellvjepa.movies.convert.journal import Journal, Written, open_journal, target_of
from cellvjepa.movies.convert.layout import SHARD_BYTES
from cellvjepa.movies.convert.metadata import array_metadata, group_metadata, image_metadata, label_metadata
from cellvjepa.movies.convert.places import groups_above
from cellvjepa.movies.convert.shard import write_checked
from cellvjepa.movies.levels import with_levels
from cellvjepa.progress import Progress
from cellvjepa.writing import only_one, readable_write_errors, writable_folder

_JOURNALS = "journal"
_MEMORY_BYTES = 2**32
_SLABS_PER_THREAD = 2.5  # the slab, what its reader holds besides, its coarser copies
_LOOK_S = 0.2  # between looks at whether the user wants to stop


@dataclass(eq=False)
class _Image:
    """An image while it is written."""

    plan: ImagePlan
    folder: Path
    journal: Journal
    stop: Event
    damage: UserError | None = None
    written_bytes: int = 0


@dataclass(frozen=True, eq=False)
class _Job:
    """A slab that a thread works on, or will."""

    image: _Image
    future: Future[Written | None]
    decoded_bytes: int
    is_last: bool


def write_images(plans: Sequence[ImagePlan], root: str, final: Path, progress: Progress) -> int:
    """Write all images, or what is missing of them, and give them their final name.

    Parameters
    ----------
    plans
        What to write.
    root
        Of the archive; a conversion is only continued from the same.
    final
        Where to.

    Returns
    -------
    int
        Bytes of all files of pixels.

    Raises
    ------
    UserError
        If a source is damaged or has changed, or nothing can be written. What could be written is kept.
    Cancelled
        If ``progress`` says so; what is done is kept.
    """
    partial = partial_of(final)
    _begin(partial, root, partial / final.name)
    with only_one(partial / _JOURNALS / "lock", "this is being written by another process", "wait until it has finished, or stop it", partial):
        return _write_all(plans, partial, final, progress)


def partial_of(final: Path) -> Path:
    """Return the folder in which a conversion is unfinished: its journal, and the store under its final name."""
    return final.with_name(f"{final.name}.partial")


def _write_all(plans: Sequence[ImagePlan], partial: Path, final: Path, progress: Progress) -> int:
    store = partial / final.name
    _remove_what_is_no_longer_wanted(partial / _JOURNALS, store, {plan.target for plan in plans})
    images = [_opened(plan, partial / _JOURNALS, store) for plan in plans]
    _run(images, progress)
    damaged = [image for image in images if image.damage is not None]
    if damaged:
        raise _damage(damaged, len(images), store)
    for place, group in groups_above([plan.movie for plan in plans], [plan.target for plan in plans], final).items():
        _write_json(store / place / "zarr.json", group)
    with readable_write_errors(final):
        if os.path.lexists(final):
            raise UserError("this exists already", "remove it, and convert again", final)
        os.rename(store, final)  # noqa: PTH104 - as os.replace elsewhere
        shutil.rmtree(partial)
    return sum(image.written_bytes for image in images)


def _begin(partial: Path, root: str, store: Path) -> None:
    marker = partial / _JOURNALS / "source.json"
    if os.path.lexists(partial) and not marker.is_file() and (not partial.is_dir() or any(path.name != _JOURNALS for path in partial.iterdir())):
        raise UserError("this is in the way, and no unfinished conversion", "remove it, or choose another name for the conversion", partial)
    if marker.is_file() and not store.is_dir():  # it has got its final name, and is not here any more
        shutil.rmtree(partial)
    if not marker.is_file():
        writable_folder(marker.parent)
        _write_json(marker, {"root": root})
    elif _root_of(marker) != root:
        raise UserError(f"an unfinished conversion of {_root_of(marker)} is here", "finish it first, or remove it", partial)
    with readable_write_errors(store):
        store.mkdir(exist_ok=True)


def _root_of(marker: Path) -> str:
    try:
        return str(json.loads(marker.read_bytes())["root"])
    except (ValueError, KeyError, TypeError):
        return "something unknown"


def _opened(plan: ImagePlan, journals: Path, store: Path) -> _Image:
    name = hashlib.sha256(plan.target.encode()).hexdigest()[:16]
    journal = open_journal(journals / f"{name}.jsonl", plan.begun())
    done = sum(file.size for written in journal.written.values() for file in written.files) if journal.finished else 0
    return _Image(plan, store / plan.target, journal, Event(), written_bytes=done)


def _remove_what_is_no_longer_wanted(journals: Path, store: Path, wanted: set[str]) -> None:
    """Remove images whose movies have been taken out of the archive since."""
    for path in journals.glob("*.jsonl"):
        target = target_of(path)
        if target is not None and target not in wanted:
            place = store / target
            if target and place.is_dir() and place.resolve().is_relative_to(store.resolve()):
                shutil.rmtree(place)
            path.unlink()


def _run(images: Sequence[_Image], progress: Progress) -> None:
    todo = [image for image in images if not image.journal.finished]
    threads = _threads([image.plan for image in todo])
    with ThreadPoolExecutor(threads) as pool:
        try:
            intact = _checked(todo, pool, progress)
            total = sum(image.plan.decoded_bytes for image in todo)
            done = sum(image.plan.shard_bytes(key) for image in todo for key in image.plan.keys if (image.plan.target, key) in intact)
            jobs = _jobs(todo, intact, pool)
            pending: deque[_Job] = deque()
            while True:
                progress("converting [MB]", round(done / 1e6), round(total / 1e6))
                while len(pending) < 2 * threads and (job := next(jobs, None)) is not None:
                    pending.append(job)
                if not pending:
                    break
                if _is_ready(pending[0].future):
                    done += _note(pending.popleft())
        finally:
            for image in todo:
                image.stop.set()
            pool.shutdown(cancel_futures=True)


def _checked(images: Sequence[_Image], pool: ThreadPoolExecutor, progress: Progress) -> set[tuple[str, Key]]:
    """Return what was written before and is still so on the disk, by image and shard; the source must not have changed.

    Raises
    ------
    UserError
        If it has.
    """
    before = [(image, written) for image in images for written in image.journal.written.values()]
    futures = [pool.submit(is_intact, written, image.folder) for image, written in before]
    intact = set()
    for number, (image, written) in enumerate(before):
        while not _is_ready(futures[number]):
            progress("checking what is done", number, len(before))
        if futures[number].result():
            intact.add((image.plan.target, written.key))
            image.written_bytes += sum(file.size for file in written.files)
    for image in images:
        first = next(iter(image.journal.written.values()), None)
        try:
            if first is not None and not is_still_so(image.plan, first):
                again = "remove the unfinished conversion and start again"
                raise UserError("its pixels have changed since its conversion was begun", again, image.plan.movie.uri)
        except SourceDamaged as error:
            image.damage = error.error
    return intact


def _jobs(images: Sequence[_Image], intact: set[tuple[str, Key]], pool: ThreadPoolExecutor) -> Iterator[_Job]:
    for image in images:
        keys = [key for key in image.plan.keys if (image.plan.target, key) not in intact]
        if not keys and image.damage is None:
            _finish(image)
        for key in keys:
            work = ShardWork(image.plan, key, image.folder)
            for number in range(len(work.slabs)):
                if image.damage is None:
                    is_last = key is keys[-1] and number == len(work.slabs) - 1
                    yield _Job(image, pool.submit(work.add, number, image.stop), work.decoded_bytes(number), is_last)


def _is_ready(future: Future[Any]) -> bool:
    return bool(wait([future], timeout=_LOOK_S).done)


def _note(job: _Job) -> int:
    """Take note of what has become of a slab, and return its size."""
    image = job.image
    try:
        written = job.future.result()
    except Cancelled:
        assert image.damage is not None  # what is damaged elsewhere is given up
    except SourceDamaged as error:
        image.damage = image.damage or error.error
        image.stop.set()
    else:
        if written is not None:
            image.journal.add(written)
            image.written_bytes += sum(file.size for file in written.files)
    if job.is_last and image.damage is None:
        _finish(image)
    return job.decoded_bytes


def _finish(image: _Image) -> None:
    """Write the metadata, that of the image last."""
    try:
        movie = with_levels(image.plan.movie)
    except UserError as error:
        image.damage = error
        return
    for part in image.plan.parts:
        for k, level in enumerate(part.layout.levels):
            _write_json(image.folder / part.folder / str(k) / "zarr.json", array_metadata(level, part.movie.pixels.dtype))
        if part.folder:
            _write_json(image.folder / part.folder / "zarr.json", label_metadata(part, movie))
    if image.plan.labels:
        _write_json(image.folder / "labels" / "zarr.json", group_metadata({"labels": list(image.plan.labels)}))
    _write_json(image.folder / "zarr.json", image_metadata(image.plan, movie))
    image.journal.finish()


def _write_json(path: Path, content: dict[str, object]) -> None:
    beside = path.with_name(f"{path.name}.new")
    write_checked(beside, [json.dumps(content, indent=2).encode()])
    with readable_write_errors(path):
        os.replace(beside, path)


def _threads(plans: Sequence[ImagePlan]) -> int:
    """Return how many shards may be worked on at once: one more than there are cores, as one waits for the disk, and as fit into memory."""
    largest = max((part.layout.slab_bytes for plan in plans for part in plan.parts), default=0)
    return max(1, min((os.cpu_count() or 1) + 1, int(_MEMORY_BYTES / (_SLABS_PER_THREAD * largest + SHARD_BYTES))))


def _damage(damaged: Sequence[_Image], count: int, store: Path) -> UserError:
    first = damaged[0].damage
    assert first is not None
    if count == 1:
        return first
    more = f" ({len(damaged)} of {count} movies are damaged; the others are in {store})"
    return UserError(f"{first.what}{more}", f"{first.remedy}, or take them out of the archive; then convert again", first.where)
