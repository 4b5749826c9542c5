from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellvjepa.cells.table import COLUMNS, Cells
from cellvjepa.cells.windows import Windows, grid_windows, track_windows, windows_at
from cellvjepa.errors import UserError
from cellvjepa.movies.clips import ClipShape, grid_clips
from cellvjepa.movies.movie import Movie

MakeMovie = Callable[..., Movie]
SHAPE = ClipShape(frames=4, interval_s=None, size_px=8, pixel_um=None, channels=None, z="max")


def cells_of(rows: Sequence[tuple[int, int, float, float]], movie: str = "pos4.tif") -> Cells:
    table = pd.DataFrame(rows, columns=["track_id", "t", "y_px", "x_px"]).assign(movie=movie, z_px=np.nan, area_px=np.nan, parent_track_id=-1)
    return Cells(table[list(COLUMNS)].sort_values(["movie", "track_id", "t"], ignore_index=True))


def brief(windows: Windows) -> list[tuple[int, int, float, float]]:
    return list(windows.table[["track_id", "t_start", "y_px", "x_px"]].itertuples(index=False, name=None))


def test_a_track_is_cut_into_windows_centred_on_its_mean_position(make_movie: MakeMovie) -> None:
    # It walks one pixel to the right per frame, from frame 3 on.
    table = cells_of([(5, t, 20.0, 10.0 + t) for t in range(3, 11)]).table
    cells = Cells(table.assign(area_px=table["t"] * 10.0, parent_track_id=2, intensity=100.0))
    windows = track_windows([make_movie(um=0.5, s=60.0)], cells, SHAPE)
    assert brief(windows) == [(5, 3, 20.0, 14.5), (5, 7, 20.0, 18.5)]
    row = windows.table.iloc[0].to_dict()
    assert row == {
        "clip_id": "pos4.tif#id5_t3",
        "movie": "pos4.tif",
        "track_id": 5,
        "t_start": 3,
        "t_stop": 7,
        "time_s": 180.0,
        "z_px": 0.0,
        "y_px": 20.0,
        "x_px": 14.5,
        "y_um": 10.0,
        "x_um": 7.25,
        "area_px": 45.0,
        "intensity": 100.0,
        "covered": 1.0,
        "speed_px_per_frame": 1.0,
        "speed_um_per_s": 0.5 / 60,
        "track_age_frames": 0,
        "parent_track_id": 2,
        "border_px": 15.0,
        "shifted": False,
        "padded": False,
    }
    assert windows.table["track_age_frames"].tolist() == [0, 4]
    clip = windows.clips[0]
    assert (clip.t0, clip.y0, clip.x0, clip.extent) == (3, 17, 11, (1, 8, 8))


def test_windows_overlap_where_the_stride_is_smaller(make_movie: MakeMovie) -> None:
    windows = track_windows([make_movie()], cells_of([(5, t, 20.0, 20.0) for t in range(8)]), SHAPE, stride_frames=2, min_cover=1.0)
    assert windows.table["t_start"].tolist() == [0, 2, 4]


def test_a_window_at_the_end_of_the_movie_is_shifted_back_and_there_once(make_movie: MakeMovie) -> None:
    windows = track_windows([make_movie(t=10)], cells_of([(5, t, float(t), 20.0) for t in range(10)]), SHAPE, min_cover=0.25)
    assert brief(windows) == [(5, 0, 1.5, 20.0), (5, 4, 5.5, 20.0), (5, 6, 7.5, 20.0)]
    overlapping = track_windows([make_movie(t=10)], cells_of([(5, t, float(t), 20.0) for t in range(10)]), SHAPE, stride_frames=1, min_cover=0.25)
    assert overlapping.table["t_start"].tolist() == list(range(7))


def test_only_windows_that_show_their_cell_often_enough_are_kept(make_movie: MakeMovie) -> None:
    rows = [(1, t, 20.0, 20.0) for t in (0, 1, 2, 3)] + [(2, t, 20.0, 20.0) for t in (0, 3)] + [(3, 0, 20.0, 20.0)]
    for min_cover, kept in ((1.0, [1]), (0.75, [1]), (0.5, [1, 2]), (0.25, [1, 2, 3]), (0.0, [1, 2, 3])):
        assert track_windows([make_movie()], cells_of(rows), SHAPE, min_cover=min_cover).table["track_id"].tolist() == kept


def test_cover_counts_the_sampled_frames_only(make_movie: MakeMovie) -> None:
    shape = ClipShape(frames=4, interval_s=30.0, size_px=8, pixel_um=None, channels=None, z="max")  # every third frame
    movie = make_movie(s=10.0)
    between = cells_of([(1, t, 20.0, 20.0) for t in range(12) if t % 3 or t == 0])  # in frame 0 and wherever no sampled frame is
    with pytest.raises(UserError, match="the best shows it in 1,"):
        track_windows([movie], between, shape)
    on = cells_of([(1, t, 20.0 + t, 20.0) for t in (0, 3, 6, 9)])
    windows = track_windows([movie], on, shape, min_cover=1.0)
    assert brief(windows) == [(1, 0, 24.5, 20.0)]
    assert windows.table["t_stop"].tolist() == [10]


@st.composite
def tracks(draw: st.DrawFn) -> list[tuple[int, int, float, float]]:
    rows = []
    for track_id in draw(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)):
        for t in draw(st.lists(st.integers(0, 19), min_size=1, max_size=20, unique=True)):
            rows.append((track_id, t, draw(st.floats(0, 39)), draw(st.floats(0, 49))))
    return rows


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tracks(), st.integers(1, 5), st.integers(1, 3), st.one_of(st.none(), st.integers(1, 9)), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
def test_windows_are_those_found_by_looking_at_one_track_after_another(
    make_movie: MakeMovie, rows: list[tuple[int, int, float, float]], frames: int, step: int, stride: int | None, min_cover: float
) -> None:
    movie = make_movie(t=20, s=5.0)
    shape = ClipShape(frames, step * 5.0, 8, None, None, "max")
    span = (frames - 1) * step + 1
    expected = []
    for track_id in sorted({row[0] for row in rows}):
        places = {t: (y, x) for found, t, y, x in rows if found == track_id}
        starts = {min(start, 20 - span) for start in range(min(places), max(places) + 1, stride or frames * step)}
        for start in sorted(starts):
            shown = [places[t] for t in range(start, start + span, step) if t in places]
            if shown and len(shown) >= round(min_cover * frames, 6):
                expected.append((track_id, start, *np.mean(shown, axis=0)))
    if not expected:
        with pytest.raises(UserError, match="no window of"):
            track_windows([movie], cells_of(rows), shape, stride, min_cover)
        return
    windows = track_windows([movie], cells_of(rows), shape, stride, min_cover)
    np.testing.assert_allclose(brief(windows), expected, atol=1e-9)
    assert all(0 <= clip.t0 <= 20 - span for clip in windows.clips)
    assert all(0 <= clip.y0 <= 32 and 0 <= clip.x0 <= 42 for clip in windows.clips)
    assert windows.table["clip_id"].is_unique


def test_movies_come_one_after_another_and_those_without_cells_are_left_out(make_movie: MakeMovie) -> None:
    movies = [make_movie(name) for name in ("b.tif", "empty.tif", "a.tif")]
    table = pd.concat([cells_of([(1, t, 20.0, 20.0) for t in range(4)], name).table for name in ("a.tif", "b.tif")], ignore_index=True)
    windows = track_windows(movies, Cells(table), SHAPE)
    assert windows.table["clip_id"].tolist() == ["b.tif#id1_t0", "a.tif#id1_t0"]


def test_the_depth_of_a_window_is_that_of_its_cell_or_else_the_middle_of_the_clip(make_movie: MakeMovie) -> None:
    table = cells_of([(1, t, 20.0, 20.0) for t in range(4)] + [(2, t, 20.0, 20.0) for t in range(4)]).table
    known = Cells(table.assign(z_px=table["track_id"].map({1: 4.0, 2: np.nan})))
    assert track_windows([make_movie(z=6)], known, SHAPE).table["z_px"].tolist() == [4.0, 2.5]


def test_grid_windows_are_the_clips_of_the_grid_with_their_centres(make_movie: MakeMovie) -> None:
    movies = [make_movie("a.tif", t=9, um=2.0), make_movie("b.tif", t=4, y=5)]
    windows = grid_windows(movies, SHAPE)
    assert windows.clips == (*grid_clips(movies[0], SHAPE), *grid_clips(movies[1], SHAPE))
    assert set(windows.table["track_id"]) == {-1}
    assert windows.table["clip_id"].is_unique
    first = windows.table.iloc[0]
    assert (first["t_start"], first["t_stop"], first["y_px"], first["x_px"], first["y_um"], first["x_um"]) == (0, 4, 3.5, 3.5, 7.0, 7.0)
    padded = windows.table[windows.table["movie"] == "b.tif"].iloc[0]
    assert padded["y_px"] == 2.5  # the image stands in the middle of the clip, as well as whole pixels allow
    assert np.isnan(padded["y_um"])
    assert np.isnan(padded["time_s"])
    assert grid_windows(movies[:1], SHAPE, stride_frames=2).table["t_start"].unique().tolist() == [0, 2, 4, 5]


def test_given_windows_are_taken_in_the_order_given(make_movie: MakeMovie) -> None:
    table = pd.DataFrame({"t_start": [9, 2, 2], "y_px": [1.0, 20.0, 20.0], "x_px": [25.0, 49.0, 48.0], "track_id": [4, 8, -1], "note": list("abc")})
    windows = windows_at(make_movie(), SHAPE, table)
    assert brief(windows) == [(4, 9, 1.0, 25.0), (8, 2, 20.0, 49.0), (-1, 2, 20.0, 48.0)]
    assert windows.table["clip_id"].tolist() == ["pos4.tif#id4_t9", "pos4.tif#id8_t2", "pos4.tif#t2_z0_y17_x42"]
    assert [(clip.t0, clip.y0, clip.x0) for clip in windows.clips] == [(9, 0, 22), (2, 17, 42), (2, 17, 42)]
    assert windows_at(make_movie(), SHAPE, table.drop(columns="track_id").iloc[:2]).table["track_id"].tolist() == [-1, -1]


def test_a_given_window_outside_the_movie_or_given_twice_is_refused(make_movie: MakeMovie) -> None:
    table = pd.DataFrame({"t_start": [27], "y_px": [1.0], "x_px": [25.0], "track_id": [4]})
    with pytest.raises(UserError, match=r"pos4.tif: a clip of 4 frames cannot start at frame 27 of 30. start it between 0 and 26"):
        windows_at(make_movie(), SHAPE, table)
    twice = pd.concat([table.assign(t_start=3)] * 2, ignore_index=True)
    with pytest.raises(UserError, match="1 windows are given more than once, the first is pos4.tif#id4_t3. keep one row per window"):
        windows_at(make_movie(), SHAPE, twice)


def test_no_window_at_all_is_refused_with_what_would_give_one(make_movie: MakeMovie) -> None:
    short = cells_of([(1, 0, 20.0, 20.0), (2, 5, 20.0, 20.0)])
    message = "shows its cell in 50% of them: the best shows it in 1, and the longest track is 1 frame long. .*--set embed.min_cover=0.25"
    with pytest.raises(UserError, match=message):
        track_windows([make_movie()], short, SHAPE)
    assert len(track_windows([make_movie()], short, SHAPE, min_cover=0.25).clips) == 2
    with pytest.raises(UserError, match="there are no cells in these movies; the cells are in pos4.tif. give the cells of these movies"):
        track_windows([make_movie("other.tif")], short, SHAPE)


def test_a_movie_with_cells_that_is_too_short_is_refused(make_movie: MakeMovie) -> None:
    with pytest.raises(UserError, match="pos4.tif: the movie has 3 frames, but a clip of 4 frames needs 4"):
        track_windows([make_movie(t=3)], cells_of([(1, 0, 20.0, 20.0)]), SHAPE)
