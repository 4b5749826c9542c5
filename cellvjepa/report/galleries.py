"""Clips on paper: a gallery of stills, and a montage over time, at 300 dots per inch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cellvjepa.errors import UserError
from cellvjepa.report.style import INK, MUTED, new_figure, png_of, svg_of
from cellvjepa.writing import atomic_path

PRINT_DPI = 300
_PICTURE_IN = 0.95  # height and width of a picture [inches]
_GAP_IN, _MARGIN_IN, _LINE_IN = 0.06, 0.12, 0.125
_NAME_IN = 1.15  # for what stands beside a row of a montage
_COLUMNS = 7  # as many pictures as a page is wide
_FONT_PT = 7.0
_ALIKE = 0.01  # pixel sizes and intervals that differ less are the same
_BAR_SHARE = 0.35  # of a picture, at most
_UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))


@dataclass(frozen=True, eq=False)
class PicturedClip:
    """A clip to be drawn.

    Parameters
    ----------
    frames
        uint8 T Y X, or T Y X 3 in colour.
    caption
        One or two lines.
    interval_s, pixel_um
        From frame to frame and from pixel to pixel; None: not known.
    """

    frames: npt.NDArray[np.uint8]
    caption: str
    interval_s: float | None = None
    pixel_um: float | None = None


def save_gallery(path: str | os.PathLike[str], clips: Sequence[PicturedClip], columns: int = _COLUMNS) -> Path:
    """Draw the middle frame of each clip with its caption, in lines, and save that as PNG or SVG (by the ending of the path).

    A scale bar stands in the first picture if all have the same pixel size, else in each; its length is told below.

    Parameters
    ----------
    columns
        Pictures in a line.

    Raises
    ------
    UserError
        If the path ends in neither, or cannot be written to.
    """
    assert clips
    across = min(columns, len(clips))
    lines = max(clip.caption.count("\n") + 1 for clip in clips)
    step_in = _PICTURE_IN + lines * _LINE_IN + 2 * _GAP_IN
    rows = -(-len(clips) // across)
    figure, axes = _paper(across * (_PICTURE_IN + _GAP_IN), rows * step_in)
    for number, clip in enumerate(clips):
        x, y = number % across * (_PICTURE_IN + _GAP_IN), number // across * step_in
        _draw(axes, clip.frames[len(clip.frames) // 2], x, y)
        axes.text(x + _PICTURE_IN / 2, y + _PICTURE_IN + _GAP_IN / 2, clip.caption, ha="center", va="top", fontsize=_FONT_PT, color=INK)
        if number == 0 or not _alike([each.pixel_um for each in clips]):
            _draw_bar(axes, clip, x, y)
    _foot(axes, _told_bar(clips), rows * step_in)
    return _save(figure, path)


def save_montage(path: str | os.PathLike[str], clips: Sequence[PicturedClip], times: int = 8) -> Path:
    """Draw one row for each clip and one column for each of some times, in even steps from its first frame on; save it as PNG or SVG.

    Above the columns stands the time since a clip's first frame, or the number of the frame where the interval is not known or not the same.

    Parameters
    ----------
    times
        Columns at most.

    Raises
    ------
    UserError
        If the path ends in neither, or cannot be written to.
    """
    assert clips
    frames = min(len(clip.frames) for clip in clips)
    shown = np.arange(0, frames, -(-frames // times))
    heads = time_names(shown, clips[0].interval_s if _alike([clip.interval_s for clip in clips]) else None)
    step_in = _PICTURE_IN + _GAP_IN
    figure, axes = _paper(_NAME_IN + len(shown) * step_in, _LINE_IN + len(clips) * step_in)
    for row, clip in enumerate(clips):
        y = _LINE_IN + row * step_in
        axes.text(_NAME_IN - _GAP_IN, y + _PICTURE_IN / 2, clip.caption, ha="right", va="center", fontsize=_FONT_PT, color=INK)
        for column, (t, head) in enumerate(zip(shown, heads, strict=True)):
            x = _NAME_IN + column * step_in
            _draw(axes, clip.frames[t], x, y)
            if row == 0:
                axes.text(x + _PICTURE_IN / 2, y - _GAP_IN / 2, head, ha="center", va="bottom", fontsize=_FONT_PT, color=MUTED)
        if row == 0 or not _alike([each.pixel_um for each in clips]):
            _draw_bar(axes, clip, _NAME_IN, y)
    _foot(axes, _told_bar(clips), _LINE_IN + len(clips) * step_in)
    return _save(figure, path)


def time_names(frames: npt.NDArray[np.int64], interval_s: float | None) -> list[str]:
    """Return the times of frames in the largest unit in which the last is at least two, e.g. ``0 min``, ``5 min``; without interval their numbers."""
    if interval_s is None:
        return [f"frame {t}" for t in frames]
    last_s = float(frames[-1]) * interval_s
    unit, unit_s = next(((name, size) for name, size in _UNITS if last_s >= 2 * size), _UNITS[-1])
    values = frames * interval_s / unit_s
    least = float(np.diff(values).min(initial=values[-1]))
    # As few digits as say it nearly right.
    digits = next((n for n in range(3) if np.abs(values - values.round(n)).max() <= 0.05 * least), 3)
    return [f"{value:.{digits}f} {unit}" for value in values]


def _alike(values: Sequence[float | None]) -> bool:
    known = [value for value in values if value is not None]
    return len(known) == len(values) and max(known) <= min(known) * (1 + _ALIKE)


def _paper(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """Return a figure whose axes count in inches, from the upper left corner inside its margin."""
    width, height = width_in + 2 * _MARGIN_IN, height_in + 2 * _MARGIN_IN + 2 * _LINE_IN
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-_MARGIN_IN, width - _MARGIN_IN)
    axes.set_ylim(height - _MARGIN_IN, -_MARGIN_IN)
    axes.set_autoscale_on(False)
    return figure, axes


def _draw(axes: Axes, frame: npt.NDArray[np.uint8], x: float, y: float) -> None:
    coloured = frame if frame.ndim == 3 else frame[..., None].repeat(3, axis=2)  # else greys would go through a map of colours, one step off
    axes.imshow(
        coloured,
        extent=(x, x + _PICTURE_IN, y + _PICTURE_IN, y),
        aspect="auto",
        interpolation="none",  # pixels stay pixels, in an SVG too
    )


def bar_um(width_um: float) -> float:
    """Return a length for a scale bar: 1, 2 or 5 times a power of ten, the longest that is short enough for a picture so wide."""
    wanted = width_um * _BAR_SHARE
    steps = 10.0 ** np.floor(np.log10(wanted)) * np.array([1.0, 2.0, 5.0])
    return float(steps[steps <= wanted * (1 + 1e-9)].max())


def _draw_bar(axes: Axes, clip: PicturedClip, x: float, y: float) -> None:
    if clip.pixel_um is None:
        return
    width_um = clip.pixel_um * clip.frames.shape[2]
    length, right, low = bar_um(width_um) / width_um * _PICTURE_IN, x + 0.94 * _PICTURE_IN, y + 0.92 * _PICTURE_IN
    for colour, width_pt in (("black", 3.0), ("white", 2.0)):  # seen on bright and on dark ground
        axes.plot([right - length, right], [low, low], color=colour, linewidth=width_pt, solid_capstyle="butt")


def _told_bar(clips: Sequence[PicturedClip]) -> str:
    widths = [clip.pixel_um * clip.frames.shape[2] for clip in clips if clip.pixel_um is not None]
    if not widths:
        return "Pixel size not known."
    lengths = sorted({bar_um(width) for width in widths})
    some = "" if len(widths) == len(clips) else " where the pixel size is known"
    return f"Scale bar: {' or '.join(f'{length:g}' for length in lengths)} µm{some}."


def _foot(axes: Axes, text: str, y: float) -> None:
    axes.text(0, y + _LINE_IN, text, ha="left", va="top", fontsize=_FONT_PT, color=MUTED)


def _save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    final = Path(path)
    draw = {".png": lambda: png_of(figure, PRINT_DPI), ".svg": lambda: svg_of(figure)}.get(final.suffix.lower())
    if draw is None:
        raise UserError(f"pictures are not written as '{final.suffix or final.name}'", "end the name in .png or .svg", final)
    with atomic_path(final) as part:
        part.write_bytes(draw())
    return final
