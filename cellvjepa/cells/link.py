"""Linking cells from frame to frame: with laptrack, never by ourselves; and telling whether they are linked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.lineage import Lineage, ordered_links, tracks_of
from cellvjepa.config import LinkConfig
from cellvjepa.errors import UserError
from cellvjepa.progress import Progress, silent

Linking: TypeAlias = Literal["laptrack", "done"]

_INSTALL = 'install it with: pip install "cellvjepa[tracking]"'
# Of ids that are in two frames in a row, how many must be nearest to themselves to be taken for tracks. Where each frame counts its cells from
# 1 on without a gap, as segmentation does and tracks hardly ever do, more is asked for. Measured: tracks of nuclei 1.00 and of dense cells
# 0.996; the same numbered anew in each frame, by rows, 0.69 and 0.40 (few cells that move little keep their numbers for long).
_FOLLOWED = 0.5
_FOLLOWED_IF_COUNTED = 0.9
_COUNTED = 0.9  # of the frames
_LONE = 0.9  # of all ids, how many may be in one frame only
_PAIRS = 20  # before anything is concluded
_MOST_FRAMES = 50  # that are looked at
_RADIUS_PX = 15.0  # how far a cell of unknown size may move in a frame: laptrack's own default
# Mother and daughters, by area: together the daughters are about as large as the mother, and each is clearly smaller.
_DAUGHTERS, _DAUGHTER = (0.6, 1.5), 0.8
_MOTHER_FRAMES = 3  # over which the area of the mother is measured, and that each daughter must be there


def as_tracks(table: pd.DataFrame, link: Linking | None, where: Path, *, progress: Progress = silent) -> pd.DataFrame:
    """Return the cells of a label image as tracks.

    Parameters
    ----------
    table
        The cells of one movie: ``track_id`` (the pixel values), ``t``, ``y_px``, ``x_px``, optionally ``z_px``, ``area_px``.
    link
        See :func:`cellvjepa.cells.table.read_cells`.
    where
        The label image, for messages.
    progress
        Told of linking.

    Raises
    ------
    UserError
        If the pixel values seem to be no track ids, and nothing is said about it; or laptrack is not installed.
    """
    if link == "laptrack":
        return linked(table.assign(label=table["track_id"]), progress=progress)
    said = None if link == "done" else why_unlinked(table)
    if said is not None:
        remedy = "link them with --link laptrack; if they are tracks all the same, say so with --link done"
        raise UserError(f"the cells of this label image are not linked from frame to frame: {said}", remedy, where)
    return table


def why_unlinked(table: pd.DataFrame) -> str | None:
    """Tell why the ids of a label image are no track ids, or None where they may be.

    Ids of tracks follow cells: from one frame to the next, the cell that is nearest to where id 7 was is nearly always id 7. Segmentation
    numbers the cells of each frame anew, so that it is another one.

    Parameters
    ----------
    table
        The cells of one movie: ``track_id``, ``t``, ``y_px``, ``x_px``.
    """
    lengths = table.groupby("track_id").size()
    if table["t"].nunique() > 1 and len(lengths) >= _PAIRS and (lengths == 1).mean() >= _LONE:
        return f"{(lengths == 1).sum()} of {len(lengths)} ids are in one frame only"
    frames = table.groupby("t")["track_id"]
    counted = (frames.max() == frames.size()).mean() >= _COUNTED
    followed = pairs = 0
    at = {int(str(t)): rows[["track_id", "y_px", "x_px"]].to_numpy(np.float64) for t, rows in table.groupby("t")}
    steps = [t for t in at if t + 1 in at]
    for t in steps[:: max(1, len(steps) // _MOST_FRAMES)]:
        here, there = at[t], at[t + 1]
        nearest = _nearest(here[:, 1:], there[:, 1:])
        both = np.isin(here[:, 0], there[:, 0])
        pairs += int(both.sum())
        followed += int((there[nearest, 0] == here[:, 0])[both].sum())
    if pairs >= _PAIRS and followed < (_FOLLOWED_IF_COUNTED if counted else _FOLLOWED) * pairs:
        return f"where an id is in two frames that follow each other, another cell is nearer {pairs - followed} of {pairs} times"
    return None


def linked(table: pd.DataFrame, config: LinkConfig | None = None, *, progress: Progress = silent) -> pd.DataFrame:
    """Link cells with laptrack (Jaqaman et al. 2008, as TrackMate does it): frame by frame, then over gaps.

    By default a cell may move a diameter from frame to frame (that of the median area; 15 px where areas are unknown), may be missing in
    two frames, and no divisions are looked for: from positions alone laptrack found 30 of them where there are 3
    (sample_data/migration_nuclei), and a wrong mother is worse than none. Where they are asked for, areas must fit, too.

    Parameters
    ----------
    table
        The cells of one movie: ``t``, ``y_px``, ``x_px``, optionally ``z_px``, ``area_px``, and any other column.
    config
        How far cells move, and whether they divide; None: by the defaults.
    progress
        Told of beginning and end.

    Returns
    -------
    table
        The same with other ``track_id`` (int64, from 1 on), and with ``parent_track_id`` where divisions are looked for.

    Raises
    ------
    UserError
        If laptrack is not installed.
    """
    try:
        from laptrack import LapTrack
    except ImportError:
        raise UserError("linking cells needs the library laptrack", _INSTALL, "--link") from None
    if table.empty:
        return table
    progress("linking cells", 0, 1)
    config = config or LinkConfig()
    axes = [axis for axis in ("z_px", "y_px", "x_px") if axis in table.columns and table[axis].notna().all()]
    t, positions = table["t"].to_numpy(np.int64), table[axes].to_numpy(np.float64)
    rows = [np.flatnonzero(t == frame) for frame in range(int(t.min()), int(t.max()) + 1)]
    limit = _reach_px(table, len(axes), config.reach_diameters) ** 2
    # By default the tenth of gaps that are widest stay open, however narrow they are: of nine cells that are missing at once, one is lost.
    # laptrack counts the frames from the last before a gap to the first after it.
    gap = {"gap_closing_cutoff": limit, "gap_closing_max_frame_count": config.gap_frames + 1} if config.gap_frames else {"gap_closing_cutoff": False}
    tracker = LapTrack(cutoff=limit, splitting_cutoff=limit if config.divisions else False, alternative_cost_percentile=100, **gap)
    tree = tracker.predict([positions[row] for row in rows])
    links, _ = ordered_links(t, np.array([[rows[f][i], rows[g][j]] for (f, i), (g, j) in tree.edges], np.int64).reshape(-1, 2))
    found = tracks_of(t, links)
    if not config.divisions:
        progress("linking cells", 1, 1)
        return table.assign(track_id=found.track_id_N + 1)
    areas = table["area_px"].to_numpy(np.float64) if "area_px" in table.columns else np.full(len(table), np.nan)
    found = tracks_of(t, without_false_divisions(t, links, areas, found))
    progress("linking cells", 1, 1)
    return table.assign(track_id=found.track_id_N + 1, parent_track_id=np.where(found.parent_track_id_N < 0, -1, found.parent_track_id_N + 1))


def without_false_divisions(
    t_N: npt.NDArray[np.int64], links_K2: npt.NDArray[np.int64], area_N: npt.NDArray[np.float64], lineage: Lineage
) -> npt.NDArray[np.int64]:
    """Return links without those from a cell to a new one beside it, unless areas say that it divided.

    The daughters must add up to the mother as it was before, each be clearly smaller, and stay.

    Parameters
    ----------
    t_N
        ``(N,)``: the frame of each cell.
    links_K2
        ``(K, 2)``: pairs of cells, the earlier one first.
    area_N
        ``(N,)``: their areas; NaN: nothing is known that speaks against it.
    lineage
        The tracks that the links make.
    """
    kept = np.ones(len(links_K2), bool)
    by_track = pd.DataFrame({"track": lineage.track_id_N, "t": t_N, "area": area_N}).sort_values("t").groupby("track")
    last = by_track["area"].apply(lambda areas: areas.tail(_MOTHER_FRAMES).median())
    first = by_track["area"].apply(lambda areas: areas.head(_MOTHER_FRAMES).median())
    lengths = by_track.size()
    sources, counts = np.unique(links_K2[:, 0], return_counts=True)
    for source in sources[counts > 1]:
        own = np.flatnonzero(links_K2[:, 0] == source)
        daughters = lineage.track_id_N[links_K2[own, 1]]
        mother = float(last[lineage.track_id_N[source]])
        sizes = first[daughters].to_numpy(np.float64)
        fits = not (sizes.sum() < _DAUGHTERS[0] * mother or sizes.sum() > _DAUGHTERS[1] * mother or (sizes > _DAUGHTER * mother).any())
        if not fits or (lengths[daughters] < _MOTHER_FRAMES).any():
            nearest = own[np.argmin(np.abs(sizes - mother))] if np.isfinite(sizes).all() else own[0]
            kept[own[own != nearest]] = False
    return links_K2[kept]


def _reach_px(table: pd.DataFrame, dimensions: int, diameters: float) -> float:
    sizes = table["area_px"].dropna().to_numpy(np.float64) if "area_px" in table.columns else np.zeros(0)
    if not sizes.size:
        return _RADIUS_PX * diameters
    size = float(np.median(sizes))
    return diameters * (2 * math.sqrt(size / math.pi) if dimensions == 2 else math.cbrt(6 * size / math.pi))


def _nearest(here_ND: npt.NDArray[np.float64], there_MD: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    from scipy.spatial import KDTree

    return np.asarray(KDTree(there_MD).query(here_ND)[1], np.int64)
