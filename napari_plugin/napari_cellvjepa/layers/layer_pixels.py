"""The array of any layer as the pixels of a movie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class LayerPixels:
    """The array of a layer, T [Z] Y X, as the pixels of a movie, T C Z Y X.

    Parameters
    ----------
    data
        Anything that is indexed by slices: numpy, dask, zarr, ...
    """

    data: Any

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Lengths of T, C, Z, Y, X."""
        t, *z, y, x = map(int, self.data.shape)
        return t, 1, z[0] if z else 1, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """The native type."""
        found: np.dtype[Any] = np.dtype(self.data.dtype)
        return found

    @property
    def chunks(self) -> tuple[int, int, int, int, int]:
        """What a read decodes at the least: one frame, as far as we know."""
        return 1, 1, 1, self.shape[3], self.shape[4]

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        """Return a part, as numpy indexing does it."""
        parts = [*(key if isinstance(key, tuple) else (key,))]
        if ... in parts:
            at = parts.index(...)
            parts[at : at + 1] = [slice(None)] * (6 - len(parts))
        parts += [slice(None)] * (5 - len(parts))
        t, c, z, y, x = (part if isinstance(part, slice) else slice(int(part), int(part) + 1 or None) for part in parts)
        read = np.asarray(self.data[(t, z, y, x) if self.data.ndim == 4 else (t, y, x)])
        block = (read if self.data.ndim == 4 else read[:, None])[:, None]
        block = block[:, c, (slice(None) if self.data.ndim == 4 else z)]
        return np.array(block[tuple(slice(None) if isinstance(part, slice) else 0 for part in parts)])
