"""Pictures of cells: a frame of a movie with its cells, and masks laid over a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cellvjepa.report.style import FAINT, INK, MUTED, PALETTE, calm, in_order, legend_columns, marks_of, new_figure, png_of

Pixels = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_LARGEST_PX = 1200  # a frame larger than this is shown smaller
_WIDTH_IN, _HEIGHT_IN, _FLATTEST_IN = 6.4, 7.5, 1.0
_UNNAMED = PALETTE[1]
_TARGET, _LEFT_OUT = PALETTE[1], "#e6ecef"


@dataclass(frozen=True)
class CellMarks:
    """Where the cells of a frame are, and what they are called.

    Parameters
    ----------
    positions_N2
        float (N, 2): centres (y, x) [px].
    names_N
        N names of categories; cells of one category get one colour. Empty: all are alike.
    outlines_YX
        int (Y, X) label image, or None: circles are drawn instead.
    ids_N
        int (N,): the value of each cell in ``outlines_YX``.
    """

    positions_N2: npt.ArrayLike
    names_N: Sequence[str] = ()
    outlines_YX: npt.NDArray[np.integer] | None = None
    ids_N: Sequence[int] = ()


@dataclass(frozen=True)
class DrawnMask:
    """One mask of one clip on the grid of tokens: ``context_TYX`` and ``target_TYX`` are bool (T', Y', X')."""

    name: str
    context_TYX: Bools
    target_TYX: Bools


def draw_frame(
    frame_YX: Pixels,
    cells: CellMarks | None = None,
    *,
    order: Sequence[str] | None = None,
    pixel_um: float | None = None,
    limits: tuple[float, float] | None = None,
) -> bytes:
    """Draw one frame of a movie in grey, with its cells outlined or circled.

    Parameters
    ----------
    frame_YX
        (Y, X) numbers of any type.
    cells
        The cells in this frame.
    order
        Order of the names in the legend; fixes their colours.
    pixel_um
        Size of a pixel [um], for a scale bar; None draws none.
    limits
        Values shown black and white; None takes the percentiles 1 and 99.8.

    Returns
    -------
    bytes
        A PNG.
    """
    height_px, width_px = frame_YX.shape
    grey = _grey(frame_YX, limits)
    step, zoom = -(-max(frame_YX.shape) // _LARGEST_PX), max(1, 800 // max(frame_YX.shape))
    picture = np.repeat(_enlarged(grey[::step, ::step], zoom)[..., None], 3, axis=2)
    names = list(cells.names_N) if cells else []
    marks = marks_of(names, order)
    positions_N2 = np.asarray(cells.positions_N2 if cells else (), dtype=np.float64).reshape(-1, 2)
    colours = [_on_black(marks[name].colour) for name in names] or [_on_black(_UNNAMED)] * len(positions_N2)
    if cells and cells.outlines_YX is not None:
        outlines = _enlarged(cells.outlines_YX[::step, ::step], zoom)
        picture = _outlined(picture, outlines, dict(zip(cells.ids_N, colours, strict=True)), max(1, zoom * 3 // 4))
    per_px_in = min(_WIDTH_IN / width_px, _HEIGHT_IN / height_px)
    figure = new_figure(
        _WIDTH_IN if names else max(per_px_in * width_px, _FLATTEST_IN), max(per_px_in * height_px, _FLATTEST_IN) + (0.35 if names else 0.0)
    )
    axes = figure.add_subplot()
    axes.imshow(picture, extent=(-0.5, width_px - 0.5, height_px - 0.5, -0.5), interpolation="nearest")
    axes.set_axis_off()
    if cells and cells.outlines_YX is None and len(positions_N2):
        diameter_pt = float(np.clip(0.5 * 72 * per_px_in * np.sqrt(width_px * height_px / len(positions_N2)), 6, 26))
        axes.scatter(positions_N2[:, 1], positions_N2[:, 0], s=diameter_pt**2, facecolors="none", edgecolors=colours, linewidths=1.5)
    if pixel_um:
        _scale_bar(axes, width_px, height_px, pixel_um)
    if names:
        shown = in_order(names, order)
        lines = [Line2D([], [], color=marks[name].colour, linewidth=3, label=name) for name in shown]
        columns = legend_columns(shown, _WIDTH_IN)
        figure.legend(handles=lines, loc="outside lower center", ncols=columns, frameon=False, fontsize=9, labelcolor=INK)
    return png_of(figure)


def draw_masks(clip_TYX: npt.NDArray[np.floating], masks: Sequence[DrawnMask]) -> bytes:
    """Draw what the network sees of a clip and what it has to predict, one row per mask and one column per time step of tokens.

    What the encoder sees is shown as it is, targets are veiled in orange, and what is neither is blank.

    Parameters
    ----------
    clip_TYX
        float (T, Y, X), 0 is shown black and 1 white.
    masks
        The masks; their grids divide the clip evenly.

    Returns
    -------
    bytes
        A PNG.
    """
    columns = len(masks[0].context_TYX)
    each_frames = len(clip_TYX) // columns
    grey_TYX = _grey(clip_TYX, (0.0, 1.0))[::each_frames][:columns]
    cell_in = min(1.5, 9.0 / columns)
    figure = new_figure(cell_in * columns + 1.25, (cell_in + 0.12) * (1 + len(masks)) + 0.75)
    all_axes = figure.subplots(1 + len(masks), columns, squeeze=False)
    for t in range(columns):
        _bare(all_axes[0, t], np.repeat(grey_TYX[t][..., None], 3, axis=2))
        last = (t + 1) * each_frames - 1
        frames = f"frame {last}" if each_frames == 1 else f"frames {t * each_frames}-{last}"
        all_axes[0, t].set_title(frames, fontsize=8.5, color=MUTED)
    _row_name(all_axes[0, 0], "the clip")
    for row, mask in enumerate(masks, start=1):
        assert mask.context_TYX.shape == mask.target_TYX.shape
        for t in range(columns):
            _bare(all_axes[row, t], _veiled(grey_TYX[t], mask.context_TYX[t], mask.target_TYX[t]))
        shares = f"{mask.context_TYX.mean():.0%} seen\n{mask.target_TYX.mean():.0%} asked for"
        _row_name(all_axes[row, 0], f"{mask.name}\n{shares}")
    meanings = (("#3a444b", "seen by the encoder"), (_TARGET, "to be predicted"), (_LEFT_OUT, "left out"))
    patches = [Patch(facecolor=colour, label=meaning) for colour, meaning in meanings]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return png_of(figure)


def _grey(pixels: Pixels, limits: tuple[float, float] | None) -> Floats:
    values = np.nan_to_num(pixels.astype(np.float64))
    low, high = np.percentile(values, [1, 99.8]) if limits is None else limits
    shown: Floats = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return shown


def _on_black(colour: str) -> tuple[float, float, float]:
    # The darker colours of the palette are made for white paper.
    red, green, blue = (0.72 * part + 0.28 for part in to_rgb(colour))
    return red, green, blue


def _enlarged(image_YX: npt.NDArray[np.generic], zoom: int) -> npt.NDArray[np.generic]:
    return image_YX.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _outlined(picture_YX3: Floats, labels_YX: npt.NDArray[np.generic], colours: Mapping[int, tuple[float, float, float]], width_px: int) -> Floats:
    border = np.zeros(labels_YX.shape, dtype=bool)
    for axis in (0, 1):
        for shift in range(-width_px, width_px + 1):
            border |= np.roll(labels_YX, shift, axis=axis) != labels_YX
    drawn = picture_YX3.copy()
    for label, colour in colours.items():
        drawn[border & (labels_YX == label)] = colour
    return drawn


def _scale_bar(axes: Axes, width_px: int, height_px: int, pixel_um: float) -> None:
    wanted_um = width_px * pixel_um / 5
    steps = 10.0 ** np.floor(np.log10(wanted_um)) * np.array([1.0, 2.0, 5.0])
    length_um = float(steps[steps <= wanted_um].max())
    right, y = width_px * 0.96, height_px * 0.955
    axes.plot([right - length_um / pixel_um, right], [y, y], color="white", linewidth=3, solid_capstyle="butt")
    axes.text(right - length_um / pixel_um / 2, y - height_px * 0.015, f"{length_um:g} µm", color="white", ha="center", va="bottom", fontsize=9)


def _veiled(grey_YX: Floats, context_YX: Bools, target_YX: Bools) -> Floats:
    up = (grey_YX.shape[0] // context_YX.shape[0], grey_YX.shape[1] // context_YX.shape[1])
    assert (context_YX.shape[0] * up[0], context_YX.shape[1] * up[1]) == grey_YX.shape, "the grid of tokens divides the clip"
    context, target = (np.kron(mask, np.ones(up, dtype=bool)) for mask in (context_YX, target_YX))
    rgb = np.repeat(grey_YX[..., None], 3, axis=2)
    target_3 = np.array(to_rgb(_TARGET))
    asked = target_3 + 0.5 * rgb * (1 - target_3)
    shown: Floats = np.where(context[..., None], rgb, np.where(target[..., None], asked, to_rgb(_LEFT_OUT)))
    return shown


def _bare(axes: Axes, picture: Floats) -> None:
    axes.imshow(picture, interpolation="nearest", vmin=0, vmax=1)
    calm(axes, grid=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(FAINT)


def _row_name(axes: Axes, name: str) -> None:
    axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9, color=INK, labelpad=8)
