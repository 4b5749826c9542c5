"""Outlines by brightness and shape: claims about drawn cells whose outlines are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cellvjepa.cells.cell_size import measured_diameter_px
from cellvjepa.cells.watershed import cut_at_necks, flattened, joined, lengths_of, outlined, sized
from cellvjepa.config import SegmentConfig

PLANE = (1.0, 1.0)


def drawn(
    places: list[tuple[float, float]], radius: float = 8.0, size: int = 160, background: float = 100.0, slope: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Bright disks on a background that may rise along x, with noise; and which pixels belong to which disk."""
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for number, (row, column) in enumerate(places, start=1):
        labels[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = number
    image = background + slope * x + 200.0 * (labels > 0) + np.random.default_rng(seed).normal(0, 8, labels.shape)
    return image.clip(0).astype(np.uint16), labels


def found(image: np.ndarray, diameter: float = 16.0, **settings: Any) -> np.ndarray:
    config = SegmentConfig(**settings)
    return outlined(image, config, lengths_of(config, diameter, PLANE if image.ndim == 2 else (2.0, 1.0, 1.0)))


def overlaps(labels: np.ndarray, truth: np.ndarray) -> list[float]:
    """For each true cell, the largest intersection over union with a found one."""
    best = []
    for number in range(1, truth.max() + 1):
        own = truth == number
        others = [other for other in np.unique(labels[own]) if other]
        best.append(max(((own & (labels == other)).sum() / (own | (labels == other)).sum() for other in others), default=0.0))
    return best


APART = [(30.0, 30.0), (30.0, 90.0), (90.0, 40.0), (100.0, 110.0)]
TOUCHING = [(50.0, 50.0), (50.0, 65.5), (110.0, 100.0), (125.5, 100.0)]


@pytest.mark.parametrize("threshold", ["otsu", "li", "triangle", "local"])
def test_cells_that_lie_apart_are_found_by_every_threshold(threshold: str) -> None:
    image, truth = drawn(APART)
    labels = found(image, threshold=threshold)
    assert labels.dtype == np.int32
    assert sorted(np.unique(labels)) == [0, 1, 2, 3, 4]
    assert min(overlaps(labels, truth)) > 0.6


def test_dark_cells_are_found_when_they_are_asked_for() -> None:
    image, truth = drawn(APART)
    dark = (1000 - image).astype(np.uint16)
    assert min(overlaps(found(dark, cells="dark"), truth)) > 0.75
    assert max(overlaps(found(dark), truth)) < 0.5


@pytest.mark.parametrize("split", ["distance", "both"])
def test_cells_that_touch_are_cut_at_the_neck(split: str) -> None:
    image, truth = drawn(TOUCHING)
    assert min(overlaps(found(image, split=split), truth)) > 0.7
    assert found(image, split="none").max() == 2
    assert found(image, split=split, neck=0.0).max() == 2


def test_a_long_cell_is_not_cut() -> None:
    y, x = np.mgrid[:120, :160]
    cell = ((y - 60) / 9) ** 2 + ((x - 80) / 45) ** 2 <= 1
    image = 100 + 200 * cell + np.random.default_rng(0).normal(0, 5, cell.shape)
    assert found(image, diameter=24.0).max() == 1


def test_a_background_that_rises_is_taken_away() -> None:
    image, truth = drawn(APART, slope=1.0)
    assert min(overlaps(found(image), truth)) > 0.75
    flat = flattened(image.astype(np.float32), (64.0, 64.0))
    outside = truth == 0
    assert np.ptp(image[outside].astype(float)) > 150
    assert abs(np.median(flat[outside & (np.arange(160) < 40)]) - np.median(flat[outside & (np.arange(160) > 120)])) < 30


def test_noise_alone_holds_no_cell() -> None:
    rng = np.random.default_rng(1)
    for frame in (rng.normal(100, 10, (300, 300)), rng.poisson(5, (300, 300)), np.full((50, 60), 7), np.zeros((3, 3))):
        assert found(frame).max() == 0


def test_holes_and_size_limits() -> None:
    y, x = np.mgrid[:100, :100]
    far = np.hypot(y - 50, x - 50)
    ring = 100 + 200 * ((far <= 14) & (far > 2)) + np.random.default_rng(0).normal(0, 5, far.shape)
    labels = found(ring, diameter=28.0)
    assert labels[50, 50] == labels[50, 60] == 1
    image, _ = drawn(APART)
    assert found(image, min_area_um2=400).max() == 0
    assert found(image, max_area_um2=100).max() == 0
    assert sized(np.array([[1, 1, 0, 5], [1, 0, 9, 9]], np.int32), 2, 2).tolist() == [[0, 0, 0, 0], [0, 0, 1, 1]]


def test_lengths_are_in_um_where_pixels_have_a_size() -> None:
    lengths = lengths_of(SegmentConfig(min_area_um2=10, background_um=50), 10.0, (0.5, 0.5))
    assert lengths.diameter == (20.0, 20.0)
    assert lengths.background == (100.0, 100.0)
    assert (lengths.smallest_px, lengths.largest_px) == (40.0, float("inf"))


def test_large_cells_are_outlined_in_a_coarser_image_and_lie_where_they_are() -> None:
    image, truth = drawn([(40.0, 40.0), (110.0, 100.0)], radius=24.0, size=161)
    assert min(overlaps(found(image, diameter=48.0), truth)) > 0.8


def test_cells_in_a_stack() -> None:
    z, y, x = np.mgrid[:12, :60, :60]
    image = np.random.default_rng(0).normal(100, 5, z.shape)
    for row, column in ((18, 18), (40, 42)):
        image += 200 * (((z - 6) * 2) ** 2 + (y - row) ** 2 + (x - column) ** 2 <= 64)
    labels = found(image)
    assert labels.shape == image.shape
    assert labels.max() == 2
    assert labels[6, 18, 18] != labels[6, 40, 42]


def test_what_cells_measure_across_is_measured() -> None:
    for radius in (6.0, 12.0):
        frames = [drawn([(30.0, 30.0), (30.0, 90.0), (90.0, 40.0), (100.0, 110.0)], radius=radius, seed=seed)[0] for seed in range(3)]
        assert measured_diameter_px(frames, SegmentConfig(), PLANE) == pytest.approx(2 * radius, rel=0.15)
    assert measured_diameter_px([np.full((50, 50), 3)], SegmentConfig(), PLANE) is None


def test_pieces_are_joined_over_high_passes_only() -> None:
    # Three summits on a line, with passes at 9/10 and 5/8 of the lower of their neighbours.
    height = np.array([[10.0, 9.0, 10.0, 5.0, 8.0]], np.float32)
    pieces = np.array([[1, 1, 2, 2, 3]], np.int32)
    assert joined(pieces, height, 0.8).tolist() == [[1, 1, 1, 1, 2]]
    assert joined(pieces, height, 0.95).tolist() == [[1, 1, 2, 2, 3]]
    assert joined(pieces, height, 0.0).tolist() == [[1, 1, 1, 1, 1]]


def test_nothing_inside_gives_no_cell() -> None:
    empty = np.zeros((8, 8), bool)
    assert cut_at_necks(empty, np.zeros((8, 8), np.float32), SegmentConfig(), (4.0, 4.0)).max() == 0
