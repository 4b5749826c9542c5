"""What windows show of their cells: crops that follow, and what is known beside the vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellvjepa.cells.sightings import cell_values_of, sightings
from cellvjepa.cells.table import COLUMNS, Cells
from cellvjepa.cells.windows import grid_windows, track_windows, windows_at
from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import frame_starts
from cellvjepa.movies.movie import Movie

MakeMovie = Callable[..., Movie]
SHAPE = ClipShape(frames=4, interval_s=None, size_px=8, pixel_um=None, channels=None, z="max")


def cells_of(rows: Sequence[tuple[int, int, float, float]], **columns: object) -> Cells:
    table = pd.DataFrame(rows, columns=["track_id", "t", "y_px", "x_px"]).assign(
        **{"movie": "pos4.tif", "z_px": np.nan, "area_px": np.nan, "parent_track_id": -1, **columns}
    )
    return Cells(table[[*COLUMNS, *(name for name in columns if name not in COLUMNS)]].sort_values(["movie", "track_id", "t"], ignore_index=True))


def test_a_crop_that_follows_moves_with_a_steady_cell(make_movie: MakeMovie) -> None:
    cells = cells_of([(5, t, 19.5 - t, 12.5 + 3 * t) for t in range(4)])
    windows = track_windows([make_movie()], cells, SHAPE, follow="smooth")
    assert windows.follow == "smooth"
    row = windows.table.iloc[0]
    assert (row["y_px"], row["x_px"], row["drift_y_px"], row["drift_x_px"]) == (18.0, 17.0, -3.0, 9.0)
    starts_T2 = frame_starts(windows.clips[0], 4)
    np.testing.assert_array_equal(starts_T2 + 4, [[20, 13], [19, 16], [18, 19], [17, 22]])  # the cell is between pixels 3 and 4 of the crop
    assert track_windows([make_movie()], cells, SHAPE).follow == "still"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 11), st.floats(0, 39), st.floats(0, 49)), min_size=1, max_size=12, unique_by=lambda row: row[0]),
    st.integers(1, 5),
)
def test_the_line_is_the_one_of_least_squares_through_the_filled_track(
    make_movie: MakeMovie, track: list[tuple[int, float, float]], frames: int
) -> None:
    shape = ClipShape(frames, None, 8, None, None, "max")
    track = sorted(track)
    rows = cells_of([(3, *place) for place in track]).table
    for row in sightings(make_movie(t=12), rows, shape, 1, "smooth").itertuples():
        t = np.arange(row.t_start, row.t_start + frames)
        for column, axis in (("y", 1), ("x", 2)):
            filled = np.interp(t, [place[0] for place in track], [place[axis] for place in track])  # rests before and after
            slope = np.polynomial.Polynomial.fit(t, filled, 1).convert().coef[1:].sum() if frames > 1 else 0.0
            assert getattr(row, f"drift_{column}_px") == pytest.approx(slope * (frames - 1), abs=1e-6)
            assert getattr(row, f"{column}_px") == pytest.approx(filled.mean(), abs=1e-6)


def test_a_crop_that_follows_stays_inside_the_image(make_movie: MakeMovie) -> None:
    cells = cells_of([(1, t, 2.0, 30.0 + 5 * t) for t in range(4)])
    clip = track_windows([make_movie()], cells, SHAPE, follow="smooth").clips[0]
    starts_T2 = frame_starts(clip, 4)
    assert (starts_T2 >= 0).all()
    assert (starts_T2 + 8 <= [40, 50]).all()
    small = track_windows([make_movie(y=5)], cells, SHAPE, follow="smooth")
    assert small.clips[0].drift[0] == 0
    assert small.table["padded"].tolist() == [True]


def test_windows_are_found_again_from_their_table(make_movie: MakeMovie) -> None:
    cells = cells_of([(5, t, 20.0 - t, 12.5 + 3 * t) for t in range(4)], label=[7, 9, 9, 7])
    for follow in ("still", "smooth"):
        windows = track_windows([make_movie()], Cells(cells.table, {"pos4.tif": make_movie()}), SHAPE, follow=follow)
        assert windows.clips[0].cell_values == (7, 9, 9, 7)
        again = windows_at(make_movie(), SHAPE, windows.table)
        assert again.clips == windows.clips
        pd.testing.assert_frame_equal(again.table, windows.table)


def test_values_of_pixels_are_told_only_where_they_are_not_the_track_id(make_movie: MakeMovie) -> None:
    cells = cells_of([(5, t, 20.0, 20.0) for t in (0, 1, 3)], label=[6, 6, 8])
    named = track_windows([make_movie()], Cells(cells.table, {"pos4.tif": make_movie()}), SHAPE)
    assert named.table["cell_values"].tolist() == ["6 6 0 8"]
    assert cell_values_of("6 6 0 8") == (6, 6, 0, 8)
    # The column means something else in a table of tracks: what people called the cell.
    other = track_windows([make_movie()], cells, SHAPE)
    assert "cell_values" not in other.table
    assert other.clips[0].cell_values == (5,)


def test_speed_is_the_way_by_the_time_also_over_gaps(make_movie: MakeMovie) -> None:
    cells = cells_of([(1, 0, 10.0, 10.0), (1, 1, 13.0, 14.0), (1, 3, 13.0, 20.0), (2, 0, 5.0, 5.0)])
    table = track_windows([make_movie()], cells, SHAPE, min_cover=0.0).table
    np.testing.assert_allclose(table["speed_px_per_frame"], [(5 + 6) / 3, np.nan])
    assert table["speed_um_per_s"].isna().all()
    assert table["covered"].tolist() == [0.75, 0.25]
    scaled = track_windows([make_movie(um=2.0, s=10.0)], cells, SHAPE, min_cover=0.0).table
    np.testing.assert_allclose(scaled["speed_um_per_s"], [11 / 3 * 2 / 10, np.nan])


def test_the_mean_is_over_the_frames_where_something_is_known(make_movie: MakeMovie) -> None:
    cells = cells_of([(1, t, 20.0, 20.0) for t in range(4)], area_px=[10.0, np.nan, 30.0, np.nan], intensity_dna=[1.0, 2.0, np.nan, np.nan])
    row = track_windows([make_movie()], cells, SHAPE).table.iloc[0]
    assert (row["area_px"], row["intensity_dna"]) == (20.0, 1.5)


def test_what_is_at_the_border_says_so(make_movie: MakeMovie) -> None:
    places = pd.DataFrame({"t_start": [0, 0, 0], "y_px": [20.0, 1.0, 20.0], "x_px": [25.0, 25.0, 49.0], "track_id": [1, 2, 3]})
    table = windows_at(make_movie(), SHAPE, places).table
    assert table["border_px"].tolist() == [19.5, 1.5, 0.5]
    assert table["shifted"].tolist() == [False, True, True]
    assert not table["padded"].any()
    assert windows_at(make_movie(y=7), SHAPE, places.assign(y_px=3.0)).table["padded"].all()


def test_a_stride_in_minutes_is_the_nearest_number_of_frames(make_movie: MakeMovie) -> None:
    cells = cells_of([(1, t, 20.0, 20.0) for t in range(12)])
    windows = track_windows([make_movie(s=50.0)], cells, SHAPE, stride_min=2.5)
    assert windows.table["t_start"].tolist() == [0, 3, 6, 9]
    assert grid_windows([make_movie(t=8, s=50.0)], SHAPE, stride_min=0.1).table["t_start"].unique().tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"pos4.tif: the movie does not say its frame interval. give the stride in frames \(embed.stride_frames\)"):
        track_windows([make_movie()], cells, SHAPE, stride_min=2.5)
