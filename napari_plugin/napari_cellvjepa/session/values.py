"""What layers remember, as plain values that a file can hold: texts, numbers, lists; selections of rows and paths in a form of their own.

Whatever stands in a layer's metadata under a name ``cellvjepa_...`` and is made of such values comes along with a session, whoever
put it there; what is made of anything else does not.
"""

from __future__ import annotations

import base64
import binascii
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_RUNS = 500  # a selection of more pieces is kept as bits
_MOST_ROWS = 2**28
_LONGEST_ARRAY = 4096  # numbers of an array that are written out
_DEEPEST = 12

NOT_PLAIN = object()


@dataclass
class Packing:
    """Turns values into plain ones.

    Parameters
    ----------
    folder
        Where the session stands: paths are written relative to it where that is possible.
    selections
        The selections met so far: several layers share one.
    """

    folder: Path
    selections: list[dict[str, Any]] = field(default_factory=list)

    def value(self, value: Any) -> Any:
        """Return a plain value, or NOT_PLAIN where there is none."""
        if isinstance(value, np.generic):  # before the numbers: some of them are numbers as well, which YAML does not know
            return self.value(value.item())
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return int(value) if isinstance(value, int) else float(value)
        if isinstance(value, os.PathLike):
            return self.path(os.fspath(value))
        if isinstance(value, str):
            return self.path(value) if _is_path(value) else str(value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, list | tuple):
            return self._sequence([self.value(one) for one in value])
        if isinstance(value, dict):
            values = {key: self.value(one) for key, one in value.items()}
            plain = all(isinstance(key, str) for key in values) and not any(one is NOT_PLAIN for one in values.values())
            return values if plain else NOT_PLAIN
        return NOT_PLAIN

    def path(self, path: str) -> dict[str, str]:
        """Return a path relative to the session's folder, beside what it is now; an address stays as it is."""
        if "://" in path:
            return {"_path": path}
        absolute = os.path.abspath(path)  # noqa: PTH100 - a link keeps its name
        try:
            relative = os.path.relpath(absolute, self.folder)
        except ValueError:  # on another drive
            return {"_path": absolute}
        return {"_path": Path(relative).as_posix(), "_was": absolute}

    def _array(self, array: npt.NDArray[Any]) -> Any:
        if array.dtype == bool and array.ndim == 1:
            packed = packed_rows(array)
            if packed not in self.selections:
                self.selections.append(packed)
            return {"_selection": self.selections.index(packed)}
        if array.size <= _LONGEST_ARRAY and array.dtype.kind in "biuf":
            return array.tolist()
        return NOT_PLAIN

    @staticmethod
    def _sequence(values: list[Any]) -> Any:
        return NOT_PLAIN if any(one is NOT_PLAIN for one in values) else values


@dataclass(frozen=True)
class Unpacking:
    """Turns plain values back.

    Parameters
    ----------
    folder
        Where the session stands.
    selections
        Those of the session.
    """

    folder: Path
    selections: tuple[npt.NDArray[np.bool_], ...]

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return what a plain value stands for."""
        if depth > _DEEPEST:
            raise ValueError("values are nested too deeply")
        if isinstance(value, dict):
            if set(value) in ({"_path"}, {"_path", "_was"}):
                return self.path(value)
            if set(value) == {"_selection"}:
                return self.selections[int(value["_selection"])]
            return {str(key): self.value(one, depth + 1) for key, one in value.items()}
        if isinstance(value, list):
            return [self.value(one, depth + 1) for one in value]
        return value

    def path(self, value: dict[str, str]) -> str:
        """Return a path: relative to where the session is now, else where the file was when the session was saved."""
        written = str(value["_path"])
        if "://" in written:
            return written
        here = os.path.abspath(self.folder / written)  # noqa: PTH100 - a link keeps its name
        places = [here, str(value.get("_was", here))]
        # A part of a file, or a pattern of many, does not exist as such.
        return next((place for of in (Path, _parent) for place in places if _exists(of(place))), here)


def packed_rows(chosen_N: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return a selection as ranges of rows, ``0-5 7 9-20``, or as bits where these would be longer."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen_N, [False]]).astype(np.int8)))
    starts, stops = edges[::2], edges[1::2] - 1
    if len(starts) <= _MOST_RUNS:
        runs = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
        return {"of": len(chosen_N), "rows": " ".join(runs)}
    return {"of": len(chosen_N), "bits": base64.b64encode(zlib.compress(np.packbits(chosen_N).tobytes(), 9)).decode("ascii")}


def unpacked_rows(packed: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """Return a selection: bool (N,).

    Raises
    ------
    ValueError
        If it is none.
    """
    length = int(packed["of"])
    if not 0 <= length <= _MOST_ROWS:
        raise ValueError(f"a selection of {length} rows")
    chosen = np.zeros(length, bool)
    if "bits" in packed:
        try:
            data = zlib.decompressobj().decompress(base64.b64decode(str(packed["bits"]), validate=True), length // 8 + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"the bits of a selection cannot be read ({error})") from None
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=length) if len(data) * 8 >= length else None
        if bits is None:
            raise ValueError("a selection has too few bits")
        return bits.astype(bool)
    for run in str(packed["rows"]).split():
        first, _, last = run.partition("-")
        start, stop = int(first), int(last or first)
        if not 0 <= start <= stop < length:
            raise ValueError(f"there are no rows {run} of {length}")
        chosen[start : stop + 1] = True
    return chosen


def _is_path(text: str) -> bool:
    return os.path.isabs(text) and "\n" not in text and len(text) < 4096  # noqa: PTH117 - no path, perhaps


def _parent(path: str) -> Path:
    return Path(path).parent


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
