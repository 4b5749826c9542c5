"""Outlining cells without a trained network: flatten the background, threshold, and cut what touches at its necks (watershed).

The steps are those of CellProfiler's IdentifyPrimaryObjects; thresholds, distances and watersheds are scikit-image's and scipy's. What differs
is which maxima are cells: all are seeds, and then neighbours are joined whose neck is nearly as wide as the smaller of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.config import SegmentConfig

_Floats = npt.NDArray[np.float32]
_Labels = npt.NDArray[np.int32]

_SMOOTHING, _BACKGROUND = 1 / 15, 4.0  # in diameters
_LEAST_SMOOTHING_PX = 0.7
_SMALLEST = 1 / 8  # of the area (volume) of a disk (ball) of one diameter
_NOISE = 8.0  # standard deviations over the background: nothing below is a cell, whatever a histogram says
_HISTOGRAM_PIXELS = 300_000
_LOCAL_FLOOR = 0.7  # of Li's threshold
_TILE_QUANTILE = 0.3
_TILE_SAMPLES = 24  # along each axis
_SEED_BLUR = 1 / 12  # in diameters
_COARSEST_PX = 10.0  # cells that are larger than twice this are outlined in a coarser image


@dataclass(frozen=True)
class Lengths:
    """The lengths of a configuration in pixels along each axis of a frame, Y X or Z Y X."""

    diameter: tuple[float, ...]
    smoothing: tuple[float, ...]
    background: tuple[float, ...]
    smallest_px: float
    largest_px: float


def lengths_of(config: SegmentConfig, diameter_um: float, pixel_um: Sequence[float]) -> Lengths:
    """Return the lengths in pixels.

    Parameters
    ----------
    config
        What is None in it follows from the diameter.
    diameter_um
        What a cell measures across [um, or px where the pixel size is not known].
    pixel_um
        Extent of a pixel along each axis [um]; 1 where it is not known.
    """
    plane_um2, voxel = math.prod(pixel_um[-2:]), math.prod(pixel_um)
    smoothing_um = config.smoothing_um or max(_SMOOTHING * diameter_um, _LEAST_SMOOTHING_PX * min(pixel_um[-2:]))
    disk = math.pi / 4 * diameter_um**2 if len(pixel_um) == 2 else math.pi / 6 * diameter_um**3
    depth_um = 1.0 if len(pixel_um) == 2 else diameter_um  # an area in a stack is that of the middle of a cell
    smallest = _SMALLEST * disk / voxel if config.min_area_um2 is None else config.min_area_um2 * depth_um / voxel
    largest = math.inf if config.max_area_um2 is None else config.max_area_um2 * depth_um / voxel
    assert plane_um2 > 0
    return Lengths(
        tuple(diameter_um / size for size in pixel_um),
        tuple(smoothing_um / size for size in pixel_um),
        tuple((config.background_um or _BACKGROUND * diameter_um) / size for size in pixel_um),
        smallest,
        largest,
    )


def outlined(frame: npt.NDArray[Any], config: SegmentConfig, lengths: Lengths) -> _Labels:
    """Outline the cells of one frame.

    Parameters
    ----------
    frame
        Y X or Z Y X, native values.
    config
        How.
    lengths
        From :func:`lengths_of`.

    Returns
    -------
    ndarray
        int32, as the frame: 0 where there is no cell, else the number of the cell, from 1 on.
    """
    factor = max(1, int(min(lengths.diameter[-2:]) / _COARSEST_PX))
    values = _coarser(np.asarray(frame, np.float32), factor)
    if config.cells == "dark":
        values = -values
    coarse = _Coarse(factor)
    smooth = smoothed(flattened(values, coarse.of(lengths.background)), coarse.of(lengths.smoothing))
    inside = above(smooth, config, coarse.of(lengths.background))
    volume = factor**2
    inside = _without_small_holes(inside, lengths.smallest_px / volume)
    labels = cut_at_necks(inside, smooth, config, coarse.of(lengths.diameter))
    return sized(_finer(labels, factor, frame.shape), lengths.smallest_px, lengths.largest_px)


@dataclass(frozen=True)
class _Coarse:
    """Turns native pixels into those of an image that is coarser along Y and X."""

    factor: int

    def of(self, native: tuple[float, ...]) -> tuple[float, ...]:
        return (*native[:-2], *(length / self.factor for length in native[-2:]))


def flattened(values: _Floats, reach: Sequence[float]) -> _Floats:
    """Return values without their background: a low quantile of tiles as wide as ``reach`` [px], with straight lines in between."""
    from scipy.ndimage import zoom

    steps = [max(1, round(reach_px / 2)) for reach_px in reach]
    counts = [max(1, round(length / step)) for length, step in zip(values.shape, steps, strict=True)]
    edges = [np.linspace(0, length, count + 1).round().astype(int) for length, count in zip(values.shape, counts, strict=True)]
    low = np.empty(counts, np.float32)
    for at in np.ndindex(*counts):
        # A tile looks as far as its neighbours, so that a cell that fills it is not taken for background.
        parts = tuple(slice(e[max(0, i - 1)], e[min(len(e) - 1, i + 2)]) for e, i in zip(edges, at, strict=True))
        tile = values[parts]
        down, across = (max(1, length // _TILE_SAMPLES) for length in tile.shape[-2:])
        some = tile[..., ::down, ::across].reshape(-1)
        low[at] = np.partition(some, int(_TILE_QUANTILE * (some.size - 1)))[int(_TILE_QUANTILE * (some.size - 1))]
    if low.size == 1:
        return values - low.item()
    shape = [length / count for length, count in zip(values.shape, counts, strict=True)]
    background = zoom(low, shape, order=1, mode="nearest", grid_mode=True)
    return np.asarray(values - background, np.float32)


def smoothed(values: _Floats, sigma: Sequence[float]) -> _Floats:
    """Return values blurred by a Gaussian of ``sigma`` [px]."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(values, sigma, truncate=3.0), np.float32)


def above(smooth: _Floats, config: SegmentConfig, reach: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Return which pixels are brighter than the threshold, and than noise can be."""
    from scipy.ndimage import uniform_filter
    from skimage import filters

    floor = noise_floor(smooth, [length / 6 for length in reach])
    some = smooth.reshape(-1)[:: max(1, smooth.size // _HISTOGRAM_PIXELS)]
    if not some.max() > some.min():
        return np.zeros(smooth.shape, bool)
    if config.threshold == "local":
        # Where there is no cell, the mean around is nothing to be above of: what is much darker than the frame's cells is none of them.
        floor = max(floor, _LOCAL_FLOOR * float(filters.threshold_li(some)))  # type: ignore[no-untyped-call]
        level = np.maximum(uniform_filter(smooth, [max(1, round(length / 2)) for length in reach]) * config.threshold_factor, floor)
        return np.asarray(smooth > level)
    find: Any = {"otsu": filters.threshold_otsu, "li": filters.threshold_li, "triangle": filters.threshold_triangle}[config.threshold]
    return np.asarray(smooth > max(float(find(some)) * config.threshold_factor, floor))


def noise_floor(smooth: _Floats, width: Sequence[float]) -> float:
    """Return what values of the background alone hardly ever reach; the background is at about 0.

    The noise is the spread within squares of ``width`` [px] in the quietest tenth of them: some are of background in the most crowded frame.
    """
    sides = [max(3, round(length)) for length in width[-2:]]
    whole = [length // side * side for length, side in zip(smooth.shape[-2:], sides, strict=True)]
    if not all(whole):
        return 0.0
    plane = smooth.reshape(-1, *smooth.shape[-2:])[smooth.reshape(-1, *smooth.shape[-2:]).shape[0] // 2]
    tiles = plane[: whole[0], : whole[1]].reshape(whole[0] // sides[0], sides[0], whole[1] // sides[1], sides[1])
    return _NOISE * float(np.quantile(tiles.std(axis=(1, 3)), 0.1))


def cut_at_necks(inside: npt.NDArray[np.bool_], smooth: _Floats, config: SegmentConfig, diameter: Sequence[float]) -> _Labels:
    """Return the cells that lie inside an outline, cut where it is narrow or dark."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter, label
    from skimage.segmentation import watershed

    if config.split == "none" or not inside.any():
        return np.asarray(label(inside)[0], np.int32)
    flat = max(diameter)
    height = np.ones(inside.shape, np.float32)
    if config.split in ("distance", "both"):
        height *= np.asarray(distance_transform_edt(inside, sampling=[flat / length for length in diameter]), np.float32)
    if config.split in ("intensity", "both"):
        height *= np.maximum(smooth, 0)
    height = np.asarray(gaussian_filter(height, [max(0.5, _SEED_BLUR * length) for length in diameter]), np.float32)
    seeds = _maxima(height, inside)
    pieces = np.asarray(watershed(-height, seeds, mask=inside, connectivity=1), np.int32)  # type: ignore[no-untyped-call]
    return joined(pieces, height, config.neck)


def joined(pieces: _Labels, height: _Floats, neck: float) -> _Labels:
    """Join neighbouring pieces unless the highest pass between them is below ``neck`` times the lower of their summits."""
    count = int(pieces.max())
    if not count:
        return pieces
    summit = np.zeros(count + 1, np.float32)
    np.maximum.at(summit, pieces.reshape(-1), height.reshape(-1))
    passes = _passes(pieces, height)
    parent = np.arange(count + 1)

    def root(piece: int) -> int:
        while parent[piece] != piece:
            parent[piece] = parent[parent[piece]]
            piece = int(parent[piece])
        return piece

    for level, one, other in sorted(passes, reverse=True):
        a, b = root(one), root(other)
        if a != b and level >= neck * min(summit[a], summit[b]) and (neck > 0 or level >= 0):
            parent[b] = a
            summit[a] = max(summit[a], summit[b])
    roots = np.array([root(piece) for piece in range(count + 1)])
    return np.asarray(np.unique(roots, return_inverse=True)[1].astype(np.int32)[pieces])


def sized(labels: _Labels, smallest_px: float, largest_px: float) -> _Labels:
    """Return labels without what is too small or too large, numbered anew from 1 on."""
    sizes = np.bincount(labels.reshape(-1))
    kept = (sizes >= smallest_px) & (sizes <= largest_px)
    kept[0] = False
    return np.asarray(np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels])


def _passes(pieces: _Labels, height: _Floats) -> list[tuple[float, int, int]]:
    """Return each pair of neighbouring pieces, with the height of the highest pass between them."""
    found: dict[tuple[int, int], float] = {}
    for axis in range(pieces.ndim):
        low, high = (tuple(slice(*ends) if a == axis else slice(None) for a in range(pieces.ndim)) for ends in ((None, -1), (1, None)))
        one, other = pieces[low], pieces[high]
        border = (one != other) & (one > 0) & (other > 0)
        level = np.minimum(height[low][border], height[high][border])
        pairs = np.sort(np.stack([one[border], other[border]], axis=1), axis=1)
        for (a, b), value in zip(pairs.tolist(), level.tolist(), strict=True):
            found[a, b] = max(found.get((a, b), -math.inf), value)
    return [(value, a, b) for (a, b), value in found.items()]


def _maxima(height: _Floats, inside: npt.NDArray[np.bool_]) -> _Labels:
    """Return the local maxima, one number for each, of plateaus too; whatever is too small to have one gets one."""
    from scipy.ndimage import label, maximum_filter

    peaks = (height == maximum_filter(height, size=3)) & inside
    everywhere = np.ones((3,) * height.ndim)
    seeds, count = label(peaks, everywhere)
    parts, many = label(inside)
    seen = np.bincount(parts[peaks], minlength=many + 1) > 0
    lonely = inside & ~seen[parts]
    return np.asarray(np.where(lonely, count + parts, seeds), np.int32)


def _without_small_holes(inside: npt.NDArray[np.bool_], largest_px: float) -> npt.NDArray[np.bool_]:
    """Return an outline without the holes that are smaller than the smallest cell."""
    from scipy.ndimage import label

    outside, _ = label(~inside)
    sizes = np.bincount(outside.reshape(-1))
    small = sizes < largest_px
    small[0] = False
    return np.asarray(inside | small[outside])


def _coarser(values: _Floats, factor: int) -> _Floats:
    """Return the means of squares of ``factor`` pixels; what is left over at the ends makes squares with the last rows and columns repeated."""
    if factor == 1:
        return values
    missing = [(0, 0)] * (values.ndim - 2) + [(0, -length % factor) for length in values.shape[-2:]]
    padded = np.pad(values, missing, mode="edge")
    y, x = padded.shape[-2:]
    return np.asarray(padded.reshape(*padded.shape[:-2], y // factor, factor, x // factor, factor).mean(axis=(-3, -1)), np.float32)


def _finer(labels: _Labels, factor: int, shape: tuple[int, ...]) -> _Labels:
    return labels.repeat(factor, axis=-2).repeat(factor, axis=-1)[..., : shape[-2], : shape[-1]] if factor > 1 else labels
