"""What the pages of the See dock show, without a window."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels, Points
from typer.testing import CliRunner

import cellvjepa
from cellvjepa.cli import app
from cellvjepa.config import Config
from cellvjepa.model.grid import Grid
from cellvjepa.model.masking import draw_masks
from napari_cellvjepa.layers.maps import MAP_KEY, world_place
from napari_cellvjepa.layers.of_movies import Space
from napari_cellvjepa.see.dock import SeeWidget
from napari_cellvjepa.see.features import CLIP, MOVIE, TIME
from napari_cellvjepa.see.tokens import TOKENS_KEY
from napari_cellvjepa.see.where import CELL
from tests.plugin.see.upon import of_kind, place_clip, value_at, world_of

Bare = tuple[Any, SeeWidget]
Done = Callable[[SeeWidget], None]


def test_masks_hide_the_native_pixels_and_frames_that_their_tokens_read(bare: Bare, odd_run: Path, done: Done) -> None:
    """By hand: 4 frames, every other one, are 8 native frames; 16 px of 0.75 um are 24 native px; a token is 2 frames, 8 x 4 px."""
    viewer, widget = bare
    widget.where.model.set_text(str(odd_run))
    widget.masks.seed.setValue(3)
    place_clip(widget, viewer, 7, 20, 23)
    widget.masks.show_masks.click()
    done(widget)
    layers = of_kind(viewer, "masks")
    assert [type(layer) for layer in layers] == [Labels, Labels]
    assert [layer.visible for layer in layers] == [True, False]
    t0, y0, x0 = 4, 9, 12  # 7 frames are spanned, and 24 px around 20.5, 23.5, where halves go up
    assert layers[0].metadata[MAP_KEY]["clip"] == {"t0": t0, "t_step": 2, "frames": 4, "y0": y0, "x0": x0, "extent": [1, 24, 24]}
    generators = Config().masks.generators
    for layer, mask in zip(layers, draw_masks(Grid(2, 1, 2, 4), generators, 1, np.random.default_rng(3)), strict=True):
        seen, asked = mask.context_BK[0].tolist(), mask.target_BM[0].tolist()
        for frame, y, x in np.ndindex(16, 48, 48):
            found = value_at(layer, world_of(viewer, frame, y, x))
            inside = t0 <= frame < t0 + 8 and y0 <= y < y0 + 24 and x0 <= x < x0 + 24
            assert (found is not None) == inside
            if inside:
                token = ((frame - t0) // 4 * 2 + (y - y0) // 12) * 4 + (x - x0) // 6
                assert found == (1 if token in seen else 2 if token in asked else 3)


def test_drawing_again_takes_the_place_of_what_was_drawn(bare: Bare, done: Done) -> None:
    viewer, widget = bare
    widget.masks.show_masks.click()
    done(widget)
    first, second = of_kind(viewer, "masks")
    before, first.visible, second.visible = first.data.copy(), False, True
    widget.masks.again.click()
    assert widget.masks.seed.value() == 1
    done(widget)
    again, other = of_kind(viewer, "masks")
    assert (again.name, again.visible, other.visible) == (first.name, False, True)
    assert (again.data != before).any()
    assert "seed 1" in widget.running.status.text()
    assert viewer.layers.selection.active is viewer.layers[0]  # whoever clicks next means the image
    widget.clear.click()
    assert [layer.name for layer in viewer.layers] == ["toy.ome.tif"]


def test_features_of_a_clip_are_the_principal_components_of_its_tokens(bare: Bare, whole_run: Path, done: Done) -> None:
    from sklearn.decomposition import PCA

    viewer, widget = bare
    place_clip(widget, viewer, 8, 24, 24)
    widget.features.show_colours.click()
    done(widget)
    (layer,) = of_kind(viewer, "features")
    assert (type(layer), layer.rgb, layer.data.shape) == (Image, True, (4, 4, 4, 4))
    encoder, _ = cellvjepa.load_encoder(whole_run)
    movie = layer.metadata[TOKENS_KEY].sight.movie
    shape = cellvjepa.ClipShape(8, None, 32, None, ("phase",), "max")
    tokens = cellvjepa.token_features(encoder, [movie], [cellvjepa.clip_at(movie, shape, 4, 24.0, 24.0)], shape).reshape(64, -1)
    values = PCA(3, svd_solver="full").fit_transform(tokens.astype(float))
    low, high = np.percentile(values, (1, 99), axis=0)
    expected = np.rint(255 * np.clip((values - low) / (high - low), 0, 1))
    shown = layer.data[..., :3].reshape(64, 3).astype(float)
    for number in range(3):  # up to the sign of a component
        assert min(np.abs(shown[:, number] - one).max() for one in (expected[:, number], 255 - expected[:, number])) <= 1
    assert value_at(layer, world_of(viewer, 4, 9, 9)) is not None  # 32 px around 24.5, where halves go up
    assert value_at(layer, world_of(viewer, 3, 9, 9)) is None
    assert value_at(layer, world_of(viewer, 4, 8, 9)) is None


def test_likeness_is_one_at_the_clicked_place_and_follows_clicks(bare: Bare, done: Done) -> None:
    viewer, widget = bare
    widget.features.alike.click()
    widget.features.take_click(world_of(viewer, 7, 30, 30))  # features are computed first
    done(widget)
    (layer,) = of_kind(viewer, "likeness")
    (ring,) = of_kind(viewer, "clicked token")
    assert isinstance(ring, Points)
    assert value_at(layer, world_of(viewer, 7, 30, 30)) == pytest.approx(1, abs=1e-6)
    assert layer.data.max() == value_at(layer, world_of(viewer, 7, 30, 30))
    first = layer.data.copy()
    widget.features.take_click(world_of(viewer, 9, 14, 22))
    assert of_kind(viewer, "likeness") == [layer]
    assert layer.data[tuple(np.rint(ring.data[0]).astype(int))] == pytest.approx(1, abs=1e-6)
    assert value_at(layer, world_of(viewer, 9, 14, 22)) == pytest.approx(1, abs=1e-6)
    assert value_at(layer, world_of(viewer, 7, 30, 30)) == pytest.approx(value_at_array(first, layer, world_of(viewer, 9, 14, 22)), abs=1e-6)
    widget.features.take_click(world_of(viewer, 9, 2, 2))  # beside the clip
    assert "no features of this place" in widget.running.status.text()


def value_at_array(data: np.ndarray, layer: Any, world: np.ndarray) -> float:
    return float(data[tuple(np.rint((world - layer.translate) / layer.scale).astype(int))])


def test_the_whole_image_is_computed_where_the_time_slider_goes(bare: Bare, done: Done) -> None:
    viewer, widget = bare
    viewer.dims.set_point(0, 0)
    widget.features.scope.setCurrentText(TIME)
    widget.features.show_colours.click()
    done(widget)
    (layer,) = of_kind(viewer, "features")
    assert layer.data.shape == (8, 6, 6, 4)
    painted = layer.data[..., 3].all(axis=(1, 2))
    assert painted[0]
    assert not painted[-1]
    assert not layer.data[~painted].any()
    viewer.dims.set_point(0, 15 * 60)
    done(widget)
    assert layer.data[-1, ..., 3].all()
    layer_there = of_kind(viewer, "features")
    assert layer_there == [layer]
    viewer.layers.remove(layer)  # then nobody wants to see more
    viewer.dims.set_point(0, 7 * 60)
    assert not widget.running.busy


def test_the_whole_movie_has_the_colours_that_the_command_writes(bare: Bare, done: Done, tmp_path: Path) -> None:
    viewer, widget = bare
    widget.features.scope.setCurrentText(MOVIE)
    widget.features.show_colours.click()
    done(widget)
    (layer,) = of_kind(viewer, "features")
    words = shlex.split(widget.features.copy.text_of_command())
    words[words.index("--out") + 1] = str(tmp_path / "maps")
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    written = cellvjepa.open_movie(tmp_path / "maps" / "toy.ome.tif" / "pca.zarr").pixels[:, :, 0]
    assert np.abs(np.moveaxis(np.asarray(written, int), 1, -1) - layer.data[..., :3]).max() <= 2


def test_the_clip_of_the_selected_cell_is_that_of_its_row(bare: Bare, toy_store: Path, done: Done, notices: list[str]) -> None:
    from napari.layers import Layer

    from napari_cellvjepa.layers.opening import read_store

    viewer, widget = bare
    widget.where.model.set_text("")
    widget.where.clip.setCurrentText(CELL)
    widget.masks.show_masks.click()
    assert notices == ["Clip: no cell of a store is selected. open a store, and select one of its points."]
    (points,) = (viewer.add_layer(Layer.create(*layer)) for layer in read_store(str(toy_store)))
    points.selected_data = {5}
    widget.features.show_colours.click()
    done(widget)
    (layer,) = of_kind(viewer, "features")
    found = cellvjepa.open_store(toy_store)
    sight = layer.metadata[TOKENS_KEY].sight
    assert sight.clip.clip_id == found.table["clip_id"].iloc[5]
    assert sight.source.model == found.provenance.source.model
    # The mean of its tokens is its vector: these are the very pixels that were embedded.
    field = layer.metadata[TOKENS_KEY].field
    if found.provenance.pool == "mean":
        np.testing.assert_allclose(np.mean([field.tokens(step).mean(axis=(0, 1, 2)) for step in field.steps], axis=0), found.X[5], atol=1e-5)
    assert "--model" in widget.surprise.command()
    assert widget.surprise.command()[-3] == found.provenance.source.model


def test_depth_and_a_time_axis_in_front_are_minded(bare: Bare, whole_run: Path, tmp_path: Path, done: Done) -> None:
    viewer, widget = bare
    stack = np.random.default_rng(0).integers(0, 1000, (10, 3, 40, 48)).astype(np.uint16)
    layer = viewer.add_image(stack, name="stack", scale=(60, 2, 0.5, 0.5))
    widget.where.image.choose(layer)
    widget.masks.show_masks.click()
    done(widget)
    first = of_kind(viewer, "masks")[0]
    assert first.data.shape == (4, 1, 4, 4)
    for plane in range(3):  # a projection stands for all planes
        world = world_place(Space.of_layer(layer), (5.0, float(plane), 20.0, 24.0))
        assert value_at(first, world) in (1, 2, 3)
    widget.features.scope.setCurrentText(CLIP)
    widget.features.show_colours.click()
    done(widget)
    assert of_kind(viewer, "features")[0].data.shape == (4, 1, 4, 4, 4)
    with pytest.raises(cellvjepa.UserError, match="this image is not a file that a command could read"):
        widget.features.command()


def test_channels_are_looked_at_one_by_one(bare: Bare, tmp_path: Path, done: Done) -> None:
    from napari.layers import Layer

    from napari_cellvjepa.layers.opening import read_movie

    viewer, widget = bare
    pixels = np.random.default_rng(0).integers(0, 1000, (10, 2, 40, 40)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "two.ome.tif", pixels, metadata={"axes": "TCYX", "Channel": {"Name": ["red", "green"]}})
    layers = [viewer.add_layer(Layer.create(*layer)) for layer in read_movie(str(tmp_path / "two.ome.tif"))]
    found = {}
    for layer in layers:
        widget.where.image.choose(layer)
        widget.features.show_colours.click()
        done(widget)
        (shown,) = [one for one in of_kind(viewer, "features") if one.metadata[MAP_KEY]["movie"] == "two.ome.tif"]
        found[shown.metadata[MAP_KEY]["channel"]] = shown.metadata[TOKENS_KEY].field.tokens(0)
    assert sorted(found) == ["green", "red"]
    assert found["red"].shape[-1] == 24
    assert np.abs(found["red"] - found["green"]).max() > 0.01
    assert "clip.channels=[green]" in widget.features.command()


def test_a_clip_that_moves_with_its_cell_is_laid_upon_what_it_shows(bare: Bare, toy: Path, whole_run: Path, tmp_path: Path, done: Done) -> None:
    """Cell 4 walks right by a pixel a frame; a clip that follows it does so too, and so do its masks, features and clicks."""
    from napari.layers import Layer

    from napari_cellvjepa.layers.opening import read_store

    viewer, widget = bare
    archive = cellvjepa.open_archive(toy)
    movies = [cellvjepa.with_levels(movie) for movie in archive.movies]
    encoder, card = cellvjepa.load_encoder(whole_run)
    config = Config.model_validate(card.provenance["config"])
    shape = cellvjepa.ClipShape(8, None, 16, None, None, "max")
    embed = config.embed.model_copy(update={"follow": "smooth", "pool": "mean"})
    windows = cellvjepa.track_windows(movies, cellvjepa.read_cells(toy / "cells.csv", archive), shape, follow="smooth")
    source = cellvjepa.Source.of(card, whole_run, [toy])
    store = cellvjepa.embed_windows(encoder, movies, windows, shape, embed, tmp_path / "moving.zarr", source)
    row = next(i for i, clip in enumerate(windows.clips) if clip.drift[1] > 5)
    clip = windows.clips[row]
    (points,) = (viewer.add_layer(Layer.create(*layer)) for layer in read_store(str(store)))
    points.selected_data = {row}
    widget.where.clip.setCurrentText(CELL)
    widget.features.show_colours.click()
    done(widget)
    assert "moving with its cell" in widget.running.status.text()
    (layer,) = of_kind(viewer, "features")
    for frame, moved in ((0, 0), (7, clip.drift[1])):
        shown = [x for x in range(48) if (value := value_at(layer, world_of(viewer, clip.t0 + frame, clip.y0 + 3, x))) is not None and value[3]]
        assert shown == list(range(clip.x0 + moved, clip.x0 + moved + 16))
    widget.features.alike.click()
    widget.features.take_click(world_of(viewer, clip.t0 + 7, clip.y0 + 3, clip.x0 + clip.drift[1] + 15))
    (likeness,) = of_kind(viewer, "likeness")
    tokens = likeness.metadata[TOKENS_KEY]
    assert tokens.clicked == (3, 0, 0, 1)  # the last step, and the right one of two
    assert value_at(likeness, world_of(viewer, clip.t0 + 7, clip.y0 + 3, clip.x0 + clip.drift[1] + 15)) == pytest.approx(1, abs=1e-6)
    (ring,) = of_kind(viewer, "clicked token")
    assert len(ring.data) == 2  # the two frames of the token
    np.testing.assert_allclose(
        ring.data[1] * ring.scale + ring.translate, world_of(viewer, clip.t0 + 7, clip.y0 + 3.5, clip.x0 + clip.drift[1] + 11.5)
    )
