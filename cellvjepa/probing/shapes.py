"""Shape and texture made by hand: what scikit-image measures of a cell's outline and of the grain of its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.outlines import read_outline
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import Clip
from cellvjepa.movies.movie import Movie
from cellvjepa.probing.handmade import Features
from cellvjepa.progress import Progress, silent

_SHAPES = ("area", "eccentricity", "solidity", "extent", "perimeter", "axis_major_length", "axis_minor_length")
_GRAINS = ("contrast", "homogeneity", "correlation", "energy")
_GREYS = 16  # of the co-occurrence matrix: more would leave it almost empty in a small crop
_DISTANCES_PX = (1, 4)
_ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
_FACTS = ("area_px", "speed_px_per_frame")
_INTENSITY = "intensity"  # columns that begin so hold what was measured under the cell

Floats = npt.NDArray[np.float32]


def outline_features(movies: Mapping[str, Movie], labels: Mapping[str, Movie], clips: Sequence[Clip], shape: ClipShape) -> Features:
    """Describe the outlines of cells in label images: family ``shape``.

    Parameters
    ----------
    movies, labels
        Movies and their label images, by the name of the movie.
    clips
        Clips of cells.
    shape
        Of the clips.

    Returns
    -------
    Features
        Of each of scikit-image's ``regionprops`` area, eccentricity, solidity, extent, perimeter and axes [native px]: mean and spread
        over the frames that show the cell, and last minus first. NaN where no frame shows it.
    """
    rows = []
    for clip in clips:
        outline = read_outline(labels[clip.movie], movies[clip.movie], clip, shape)
        own_TYX: npt.NDArray[np.bool_] = np.logical_or.reduce(outline.own_TZYX, axis=1)
        rows.append(_over_time([_region(frame_YX) for frame_YX in own_TYX if frame_YX.any()]))
    names = [f"shape: {name} {what}" for what in ("mean", "spread", "change") for name in _SHAPES]
    return Features(np.array(rows, np.float64).reshape(len(clips), len(names)), tuple(names))


def texture_features(clips_BCTZYX: Floats, channels: tuple[str, ...]) -> Features:
    """Describe the grain of the middle frame by its grey-level co-occurrence matrix: family ``texture``.

    Haralick, Shanmugam and Dinstein 1973 (doi 10.1109/TSMC.1973.4309314): contrast, homogeneity, correlation and energy of pairs of
    pixels 1 and 4 apart, averaged over four directions; 16 greys between the movie's levels.

    Parameters
    ----------
    clips_BCTZYX
        float32 clips as ``read_clip`` gives them, 0 to 1 between the movie's levels; planes are averaged.
    channels
        Names of the C channels.
    """
    frames_BCYX = clips_BCTZYX[:, :, clips_BCTZYX.shape[2] // 2].mean(axis=2)
    greys = np.clip(np.nan_to_num(frames_BCYX) * _GREYS, 0, _GREYS - 1).astype(np.uint8)
    values = [np.concatenate([_grain(image_YX) for image_YX in images_CYX]) for images_CYX in greys]
    names = [f"texture: {what} at {distance} px ({channel})" for channel in channels for what in _GRAINS for distance in _DISTANCES_PX]
    return Features(np.array(values, np.float64).reshape(len(clips_BCTZYX), len(names)), tuple(names))


def window_features(table: pd.DataFrame, rows_N: npt.NDArray[np.int64]) -> Features:
    """Describe windows by what their table already knows of their tracks: family ``track``.

    Parameters
    ----------
    table
        The whole table of a store: the windows before and after one tell how its cell changes.
    rows_N
        int64 (N,): the rows to describe.

    Returns
    -------
    Features
        Area, speed and intensity where they are known, how they change per frame from the window before to the one after, and how far
        the cell gets between these. NaN where unknown; columns that are unknown for all rows, or for windows of no track, are left out.
    """
    asked = table.iloc[rows_N]
    tracked = asked["track_id"].to_numpy() >= 0
    columns = [name for name in map(str, table) if name in _FACTS or name.startswith(_INTENSITY)]
    numbers = [name for name in columns if pd.api.types.is_numeric_dtype(table[name])]
    found = {f"track: {name}": asked[name].to_numpy(np.float64) for name in numbers}
    keys = pd.MultiIndex.from_frame(asked[["movie", "track_id"]].drop_duplicates())
    near = table[pd.MultiIndex.from_frame(table[["movie", "track_id"]]).isin(keys)].sort_values(["movie", "track_id", "t_start"], kind="stable")
    by_track = near.groupby(["movie", "track_id"], sort=False, observed=True)
    # At the ends of a track, where there is no window before or after, the window itself stands in.
    before, after = (by_track[["t_start", "y_px", "x_px", *numbers]].shift(way).fillna(near).infer_objects() for way in (1, -1))
    passed = (after["t_start"] - before["t_start"]).where(lambda frames: frames > 0).astype(np.float64)
    steps = (after - before).astype(np.float64).div(passed, axis="index").reindex(asked.index)
    found["track: net speed"] = np.hypot(steps["y_px"].to_numpy(), steps["x_px"].to_numpy())
    found |= {f"track: change of {name}": steps[name].to_numpy() for name in numbers}
    known = {name: np.where(tracked, values, np.nan) for name, values in found.items()}
    kept = {name: values for name, values in known.items() if np.isfinite(values).any()}
    return Features(np.stack(list(kept.values()), axis=1) if kept else np.zeros((len(asked), 0)), tuple(kept))


def shapes_of_clips(
    movies: Mapping[str, Movie], labels: Mapping[str, Movie], clips: Sequence[Clip], shape: ClipShape, progress: Progress = silent
) -> Features | None:
    """Return :func:`outline_features` of clips, told piece by piece; None where a clip has no cell or its movie no label image."""
    if not clips or any(clip.movie not in labels or not clip.cell_values for clip in clips):
        return None
    parts = []
    for start in range(0, len(clips), 64):
        parts.append(outline_features(movies, labels, clips[start : start + 64], shape))
        progress("outlines", min(start + 64, len(clips)), len(clips))
    return Features(np.concatenate([part.values_ND for part in parts]), parts[0].names)


def _region(own_YX: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    from skimage.measure import regionprops

    (region,) = regionprops(own_YX.astype(np.uint8))  # type: ignore[no-untyped-call]
    return np.array([float(getattr(region, name)) for name in _SHAPES])


def _over_time(frames: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    if not frames:
        return np.full(3 * len(_SHAPES), np.nan)
    values = np.stack(frames)
    return np.concatenate([values.mean(axis=0), values.std(axis=0), values[-1] - values[0]])


def _grain(grey_YX: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    from skimage.feature import graycomatrix, graycoprops

    fit = [distance for distance in _DISTANCES_PX if distance < min(grey_YX.shape)] or [1]
    pairs = graycomatrix(grey_YX, fit, _ANGLES, levels=_GREYS, symmetric=True, normed=True)  # type: ignore[no-untyped-call]
    found = np.stack([graycoprops(pairs, what).mean(axis=1) for what in _GRAINS])  # type: ignore[no-untyped-call]
    # In a crop smaller than a distance, the largest distance that fits stands in.
    return np.pad(found, ((0, 0), (0, len(_DISTANCES_PX) - len(fit))), mode="edge").reshape(-1)
