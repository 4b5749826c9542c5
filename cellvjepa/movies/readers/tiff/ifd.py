"""The pages of a TIFF as they stand in the file: lists of tags, read without believing any number in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import FileIO
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.remedies import COPY_AGAIN

_READ_AT_ONCE = 512  # bytes: holds nearly every page's tags
_MOST_TAGS = 4096
_TYPES = {
    1: "u1",
    2: "u1",
    3: "u2",
    4: "u4",
    5: "u4",
    6: "i1",
    7: "u1",
    8: "i2",
    9: "i4",
    10: "i4",
    11: "f4",
    12: "f8",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
_WORDS = {5: 2, 10: 2}  # fractions are two numbers
_SIZES = np.zeros(2**16, np.int64)
for _code, _type in _TYPES.items():
    _SIZES[_code] = np.dtype(_type).itemsize * _WORDS.get(_code, 1)


@dataclass(frozen=True, eq=False)
class Page:
    """One page.

    Parameters
    ----------
    offset
        Where its tags start [byte].
    following
        Where the next page starts [byte]; 0 at the end.
    raw, entry
        The tags as they stand in the file, and how: short values stand in the tag itself, of others their place.
    """

    offset: int
    following: int
    raw: bytes
    entry: np.dtype[Any]

    @property
    def tags(self) -> npt.NDArray[Any]:
        """Return ``code``, ``type``, ``count`` and ``value`` of each tag."""
        return np.frombuffer(self.raw, self.entry)

    def __contains__(self, code: int) -> bool:
        """Whether the page has a tag."""
        return bool((self.tags["code"] == code).any())


@dataclass(frozen=True, eq=False)
class Alike:
    """Pages with the same tags.

    Parameters
    ----------
    indices
        Which they are.
    tags
        ``(pages, tags)``.
    """

    indices: npt.NDArray[np.int64]
    tags: npt.NDArray[Any]


@dataclass(eq=False)
class TagFile:
    """An open TIFF of which only the tags are read. Use it as a context manager.

    Raises
    ------
    UserError
        If a tag or a page reaches beyond the end of the file, or pages come round in a circle.
    """

    path: str
    file: FileIO = field(init=False)
    size: int = field(init=False)
    order: Literal["<", ">"] = field(init=False)
    is_big: bool = field(init=False)

    def __post_init__(self) -> None:
        """Open the file and read its first bytes."""
        self.file = FileIO(self.path)
        try:
            self.size = self.file.seek(0, 2)
            start = self.bytes_at(0, min(self.size, 16))
            self.order = ">" if start.startswith(b"MM") else "<"
            self.is_big = start[2:4] in (b"+\0", b"\0+")
            if len(start) < (16 if self.is_big else 8):
                raise self.cut_short()
            self.first_offset = int(np.frombuffer(start, f"{self.order}u{self._word}", 1, self._word)[0])
        except BaseException:
            self.file.close()
            raise
        self._entry = np.dtype(
            [
                ("code", f"{self.order}u2"),
                ("type", f"{self.order}u2"),
                ("count", f"{self.order}u{self._word}"),
                ("value", f"{self.order}u{self._word}"),
            ]
        )

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self.file.close()

    @property
    def _word(self) -> int:
        return 8 if self.is_big else 4

    def cut_short(self) -> UserError:
        """Return what to say where pages are missing."""
        return UserError("the file is truncated: pages are missing at its end", COPY_AGAIN, self.path)

    def bytes_at(self, offset: int, length: int) -> bytes:
        """Read bytes; fewer where the file ends."""
        if offset >= self.size:
            return b""
        self.file.seek(offset)
        return self.file.read(min(length, self.size - offset))

    def page_at(self, offset: int) -> Page:
        """Read the tags of one page."""
        head = 8 if self.is_big else 2
        data = self.bytes_at(offset, _READ_AT_ONCE)
        number = int.from_bytes(data[:head], "little" if self.order == "<" else "big")
        if number > _MOST_TAGS:
            raise UserError(f"the file is damaged: a page claims {number:,} tags", COPY_AGAIN, self.path)
        ends = head + number * self._entry.itemsize
        if len(data) < ends + self._word:
            data = self.bytes_at(offset, ends + self._word)
        if len(data) < ends or number == 0:
            raise self.cut_short()
        following = int.from_bytes(data[ends : ends + self._word], "little" if self.order == "<" else "big")
        return Page(offset, following, data[head:ends], self._entry)

    def first_page(self) -> Page:
        """Read the first page, all of whose tags must be there."""
        if self.first_offset < 8:
            raise UserError("the file holds no image", COPY_AGAIN, self.path)
        page = self.page_at(self.first_offset)
        self.check_tags(page)
        return page

    def check_tags(self, page: Page) -> None:
        """Make sure that the values of all tags lie in the file."""
        ends = self._ends(page.tags)
        if ends.size and ends.max() > self.size:
            raise self.cut_short()

    def _ends(self, tags: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        # In floats, because damaged counts and offsets do not fit into 64 bits together.
        sizes = _SIZES[tags["type"]] * tags["count"].astype(np.float64)
        return np.asarray(np.where(sizes > self._word, sizes + tags["value"].astype(np.float64), 0.0))

    def pages(self, first: Page) -> list[Page]:
        """Read all pages from one on."""
        found, seen, read = [first], {first.offset}, 0
        while (offset := found[-1].following) != 0:
            if offset in seen:
                raise UserError(f"the file is damaged: after page {len(found) - 1} its pages come round again", COPY_AGAIN, self.path)
            page = self.page_at(offset)
            read += len(page.raw)
            if read > self.size:
                raise UserError("the file is damaged: it claims more pages than can be in it", COPY_AGAIN, self.path)
            seen.add(offset)
            found.append(page)
        return found

    def values(self, page: Page, code: int) -> npt.NDArray[Any] | None:
        """Read the numbers of a tag: the text of a description as bytes, a fraction as two numbers; None where there is no such tag."""
        tags = page.tags[page.tags["code"] == code]
        return self._values(tags[0]) if len(tags) else None

    def texts(self, page: Page, code: int) -> list[str]:
        """Read the texts of all tags of one kind."""
        found = [self._values(tag) for tag in page.tags[page.tags["code"] == code]]
        return [value.tobytes().rstrip(b"\0 \r\n").decode("utf-8", "replace") for value in found if value.dtype == np.uint8]

    def number(self, page: Page, code: int, default: int) -> int:
        """Read a tag that holds one whole number."""
        values = self.values(page, code)
        return int(values[0]) if values is not None and values.size and values.dtype.kind in "ui" else default

    def _values(self, tag: npt.NDArray[Any]) -> npt.NDArray[Any]:
        kind = int(tag["type"])
        if kind not in _TYPES:
            return np.empty(0, "u4")
        dtype, count = np.dtype(_TYPES[kind]).newbyteorder(self.order), int(tag["count"]) * _WORDS.get(kind, 1)
        length = dtype.itemsize * count
        if length <= self._word:
            data = tag.tobytes()[-self._word :][:length]  # a field of its own would have turned its bytes round
        else:
            data = self.bytes_at(int(tag["value"]), length)
            if len(data) < length:
                raise self.cut_short()
        return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False)

    def scalars(self, groups: Sequence[Alike], codes: Sequence[int]) -> npt.NDArray[np.int64]:
        """Read tags that hold one whole number, of many pages at once.

        Parameters
        ----------
        groups
            The pages (:func:`gather`).
        codes
            The tags.

        Returns
        -------
        numpy.ndarray
            ``(pages, codes)``; -1 where a page has no such tag, the negative count less one where it holds several numbers.
        """
        out = np.full((_number(groups), len(codes)), -1, np.int64)
        for group in groups:
            for column, code in enumerate(codes):
                tag = _column(group, code)
                if tag is not None:
                    out[group.indices, column] = np.where(tag["count"] == 1, self._inline(tag), -1 - np.minimum(tag["count"].astype(np.int64), 2**31))
        return out

    def tables(self, groups: Sequence[Alike], code: int) -> npt.NDArray[np.int64] | None:
        """Read a tag that holds as many whole numbers in each of many pages (offsets, lengths).

        Returns
        -------
        numpy.ndarray
            ``(pages, numbers)``; None where a page has no such tag, or another number of them.
        """
        shared: npt.NDArray[np.int64] | None = None
        number = _number(groups)
        for group in groups:
            tag = _column(group, code)
            if tag is None:
                return None
            counts = np.unique(tag["count"])
            if len(counts) > 1 or (shared is not None and shared.shape[1] != counts[0]):
                return None
            if int(counts[0]) * number > self.size:  # every piece has a byte at least
                raise UserError("the file is damaged: it claims more pieces than can be in it", COPY_AGAIN, self.path)
            if shared is None:
                shared = np.empty((number, int(counts[0])), np.int64)
            if counts[0] == 1:
                shared[group.indices, 0] = self._inline(tag)
            else:
                for index, one in zip(group.indices, tag, strict=True):
                    values = self._values(one)
                    if values.dtype.kind not in "ui" or values.size != shared.shape[1]:
                        return None
                    shared[index] = values.astype(np.int64)
        return shared

    def _inline(self, tag: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return values that stand in the tags themselves."""
        bits = (8 * np.minimum(_SIZES[tag["type"]], self._word)).astype(np.uint64)
        whole, values = np.uint64(8 * self._word), tag["value"].astype(np.uint64)
        if self.order == ">":
            values = np.where(bits > 0, values >> (whole - np.maximum(bits, 1)), 0)
        else:
            values = values & np.where(bits >= 64, np.uint64(2**64 - 1), (np.uint64(1) << np.minimum(bits, 63)) - np.uint64(1))
        return values.astype(np.int64)


def gather(pages: Sequence[Page]) -> list[Alike]:
    """Put pages with the same tags together, so that they are looked at all at once."""
    by_length: dict[int, list[int]] = {}
    for index, page in enumerate(pages):
        by_length.setdefault(len(page.raw), []).append(index)
    groups = []
    for mine in by_length.values():
        entry = pages[mine[0]].entry
        tags = np.frombuffer(b"".join(pages[i].raw for i in mine), entry).reshape(len(mine), -1)
        _, kinds = (
            np.unique(tags["code"], axis=0, return_inverse=True) if (tags["code"] != tags["code"][0]).any() else (None, np.zeros(len(mine), int))
        )
        groups += [Alike(np.array(mine)[kinds.ravel() == kind], tags[kinds.ravel() == kind]) for kind in range(int(kinds.max()) + 1)]
    return groups


def _number(groups: Sequence[Alike]) -> int:
    return sum(len(group.indices) for group in groups)


def _column(group: Alike, code: int) -> npt.NDArray[Any] | None:
    at = np.flatnonzero(group.tags["code"][0] == code)
    return group.tags[:, at[0]] if at.size else None
