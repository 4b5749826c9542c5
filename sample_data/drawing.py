"""How a simulated cell looks in one frame, and what the camera makes of it. Used by make_sample.py.

Lengths are in px, intensities in photo-electrons, angles in rad; images are (Y, X).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

Floats = npt.NDArray[np.float64]

REACH_PX = 24  # no part of a cell is further than this from its centre
CELL_E, BACKGROUND_E, HAZE_E = 150.0, 14.0, 2.0
PSF_PX, READ_NOISE_E, COUNTS_PER_E, OFFSET_COUNTS = 0.9, 1.2, 0.14, 4.0


@dataclass(frozen=True)
class Body:
    """What stays with a cell: size, brightness (about 1), the waves of its outline, two textures it drifts between, its nucleus."""

    radius_px: float
    brightness: float
    waves_K2: Floats
    textures_2YX: Floats
    nucleus_2: Floats


@dataclass(frozen=True)
class Look:
    """One blob in one frame. A cell is one of them, a dividing cell two and a bridge, a dying cell many.

    ``size`` and ``gain`` multiply radius and brightness; ``wobble`` and ``grain`` say how much of the body's uneven outline
    and of its texture is seen [0-1]; ``plate`` how far the nucleus has become a bar across the cell [0-1].
    """

    body: Body
    y: float
    x: float
    turn: float
    t: int
    gain: float = 1.0
    size: float = 1.0
    wobble: float = 1.0
    grain: float = 1.0
    plate: float = 0.0


def body_of(rng: np.random.Generator) -> Body:
    """Draw a body; the same rules for all, whatever they will do."""
    waves = np.stack([rng.uniform(0.03, [0.13, 0.07, 0.05]), rng.uniform(0, 2 * np.pi, 3)], axis=1)
    textures = gaussian_filter(rng.normal(size=(2, 40, 40)), (0, 1.7, 1.7), mode="wrap")
    textures /= textures.std(axis=(1, 2), keepdims=True)
    return Body(rng.uniform(6.9, 9.6), float(np.exp(rng.normal(0, 0.2))), waves, textures, rng.uniform(-0.28, 0.28, 2))


def paint(looks: list[Look], size_px: int) -> tuple[tuple[slice, slice], Floats, Floats]:
    """Draw the blobs of one cell.

    Returns
    -------
    tuple
        The part of the image they touch, their light there [e-], and the distance from the centre in units of the outline
        (below 1 is inside).
    """
    y0, x0 = (max(0, round(c) - REACH_PX) for c in (looks[0].y, looks[0].x))
    y1, x1 = (min(size_px, round(c) + REACH_PX + 1) for c in (looks[0].y, looks[0].x))
    y_YX, x_YX = np.mgrid[y0:y1, x0:x1].astype(np.float64)
    light, distance = np.zeros(y_YX.shape), np.full(y_YX.shape, np.inf)
    for look in looks:
        blob, far = _blob(look, y_YX, x_YX)
        # Blobs of one cell merge rather than add up: it is one sheet of material.
        light, distance = np.maximum(light, blob), np.minimum(distance, far)
    return (slice(y0, y1), slice(x0, x1)), light, distance


def _blob(look: Look, y_YX: Floats, x_YX: Floats) -> tuple[Floats, Floats]:
    body, (sin, cos) = look.body, (np.sin(look.turn), np.cos(look.turn))
    radius = body.radius_px * look.size
    dy, dx = (y_YX - look.y) / radius, (x_YX - look.x) / radius
    along, across = dy * sin + dx * cos, dy * cos - dx * sin
    angle = np.arctan2(across, along)
    drift = 0.09 * look.t  # outline and texture change slowly, at the same pace in every cell
    outline = 1 + look.wobble * sum(a * np.cos(k * angle + p + drift * (-1) ** k) for k, (a, p) in enumerate(body.waves_K2, start=2))
    distance = np.hypot(along, across) / outline
    grid = np.stack([across, along]) * 9 + 20
    first, second = (map_coordinates(texture, grid, order=1, mode="wrap") for texture in body.textures_2YX)
    texture = first * np.cos(drift) + second * np.sin(drift)
    nucleus = np.exp(-(((along - body.nucleus_2[0]) / 0.4) ** 2 + ((across - body.nucleus_2[1]) / 0.4) ** 2))
    bar = np.exp(-((along / 0.16) ** 2) - (across / 0.5) ** 2)
    dome = np.sqrt(np.clip(1 - distance**2, 0, None))
    soft = 1 / (1 + np.exp(np.clip((distance - 1) * radius / 0.45, -40, 40)))
    inside = 0.3 * soft + 0.5 * dome + soft * (0.3 * (1 - look.plate) * nucleus + 0.9 * look.plate * bar)
    return CELL_E * body.brightness * look.gain * inside * np.clip(1 + 0.2 * look.grain * texture, 0.2, None), distance


def mother_looks(look: Look, daughters: tuple[Body, Body], s: float) -> list[Look]:
    """Show a dividing cell ``s`` frames after it began: it rounds up, forms a plate, is drawn apart, and its halves spread."""
    rounded = float(np.clip((s - 1) / 4, 0, 1))
    if s < 8:
        plate = float(np.clip((s - 4) / 2, 0, 1))
        return [replace(look, size=1 - 0.1 * rounded, gain=look.gain * (1 + 0.3 * rounded), wobble=1 - rounded, grain=1 - 0.8 * rounded, plate=plate)]
    apart = float(np.clip((s - 7) / 6, 0, 1))
    spread = float(np.clip((s - 10) / 5, 0, 1))
    half = 1.3 * daughters[0].radius_px * (0.25 + 0.75 * apart)
    halves = []
    for side, body in zip((-1, 1), daughters, strict=True):
        y, x = look.y + side * half * np.sin(look.turn), look.x + side * half * np.cos(look.turn)
        gain, size = look.gain * (1.3 - 0.3 * spread), 0.9 + 0.1 * spread
        halves.append(Look(body, y, x, look.turn, look.t, gain, size, spread, 0.2 + 0.8 * spread, plate=0.8 * (1 - spread)))
    bridge = replace(look, size=0.4, gain=0.5 * look.gain, wobble=0.0, grain=0.0)
    return [bridge, *halves]


def bleb_looks(look: Look, blebs_N5: Floats, s: float) -> list[Look]:
    """Show a dying cell ``s`` frames after it began: it shrinks, boils over with blebs, and falls into pieces that fade.

    A bleb is (frame of its peak, angle, radius as a share of the cell's, frames it lasts, distance from the centre).
    """
    shrunk = float(np.clip((s - 1) / 7, 0, 1))
    broken = float(np.clip((s - 10) / 4, 0, 1))
    gain = look.gain * (1 + 0.35 * shrunk) * (1 - 0.8 * broken)
    core = replace(look, size=1 - 0.35 * shrunk - 0.25 * broken, gain=gain, wobble=1 - 0.5 * shrunk, grain=1 + 0.5 * shrunk)
    looks = [core]
    for peak, angle, share, lasts, reach in blebs_N5:
        # Late blebs never go back: they are the pieces the cell falls into.
        swell = 1.0 if s > peak > 10 else float(np.clip(1 - abs(s - peak) / lasts * 2, 0, 1))
        if swell > 0.1:
            far = look.body.radius_px * (0.75 * reach + 0.6 * broken * reach)
            y, x = look.y + far * np.sin(angle), look.x + far * np.cos(angle)
            looks.append(replace(look, y=y, x=x, size=share * swell, gain=0.9 * gain, wobble=0.0, grain=0.0))
    return looks


def illumination(rng: np.random.Generator, frames: int, size_px: int) -> tuple[Floats, Floats]:
    """Draw the light (T, Y, X), about 1 and slowly drifting, and the background (Y, X) [e-], whose haze and dirt never move."""
    y_YX, x_YX = np.mgrid[0:size_px, 0:size_px] / size_px - 0.5
    tilt, phase, t_T11 = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi), np.arange(frames)[:, None, None]
    bent = tilt + 0.02 * t_T11
    vignette = 1.06 - 0.3 * (y_YX**2 + x_YX**2)
    light = vignette * (1 + 0.14 * (np.sin(bent) * y_YX + np.cos(bent) * x_YX)) * (1 + 0.05 * np.sin(2 * np.pi * t_T11 / 60 + phase))
    dirt = gaussian_filter((rng.random((size_px, size_px)) > 0.9994) * rng.uniform(20, 70, (size_px, size_px)), 1.2)
    haze = gaussian_filter(rng.normal(size=(size_px, size_px)), 14)
    return light, np.clip(BACKGROUND_E + HAZE_E * haze / haze.std() + dirt, 1, None)


def camera(photons_YX: Floats, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Blur by the microscope, count electrons with Poisson and read noise, and digitise with 8 bits.

    The expected count is first rounded to 1/64 e-, so that the last digit of a sine cannot change a pixel.
    """
    expected = np.round(gaussian_filter(photons_YX, PSF_PX) * 64) / 64
    electrons = rng.poisson(expected) + rng.normal(0, READ_NOISE_E, expected.shape)
    counts: npt.NDArray[np.uint8] = np.clip(np.round(electrons * COUNTS_PER_E + OFFSET_COUNTS), 0, 255).astype(np.uint8)
    return counts
