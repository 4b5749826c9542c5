from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from cellvjepa.embedding.dense import COLOURS, FEATURES, weights_sha256, write_dense_maps
from cellvjepa.embedding.map_image import map_folder, open_map
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.model.encoder import EncoderShape, cut_tubelets, new_encoder
from cellvjepa.model.grid import grid_of
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.readers import open_movie
from cellvjepa.movies.reference import UNKNOWN, Reference
from tests.embedding.conftest import SHAPE


class Averages(torch.nn.Module):
    """An encoder that looks at nothing but the tubelet itself: its mean, its spread and its smallest value."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = EncoderShape((2, 1, 8, 8), 3, 1, 1, "interleaved", ("t", "y", "x"))
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def grid_of(self, pixels):
        return grid_of(*pixels.shape[2:], self.shape.tubelet)

    def forward(self, pixels, scale_4=None):
        tubelets = cut_tubelets(pixels, self.shape.tubelet)
        return torch.stack([tubelets.mean(-1), tubelets.std(-1), tubelets.amin(-1)], dim=-1)


def expected_means(movie, channel):
    """Means of 2 x 8 x 8 boxes of a movie on its levels, reflected at its lower and right edges where they end within a box."""
    pixels = movie.pixels[:, channel, 0].astype(np.float64) / 1000
    frames, height, width = pixels.shape
    pixels = np.pad(pixels, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="reflect")[: frames // 2 * 2]
    return pixels.reshape(frames // 2, 2, pixels.shape[1] // 8, 8, -1, 8).mean(axis=(1, 3, 5))


def test_a_map_is_what_the_encoder_says_of_each_place(toy, tmp_path):
    """With an encoder that sees one tubelet at a time, blending of overlapping clips must change nothing."""
    folders = write_dense_maps(Averages(), toy.movies, SHAPE, UNKNOWN, tmp_path, batch_size=7)
    assert folders == [tmp_path / "a.tif", tmp_path / "b.tif"]
    for movie, folder in zip(toy.movies, folders, strict=True):
        features = np.asarray(open_map(folder / FEATURES)[:])
        assert features.dtype == np.float16
        assert features.shape == (6, 2 * 3, 1, -(-movie.shape["Y"] // 8), -(-movie.shape["X"] // 8))
        for index, name in enumerate(("dna", "actin")):  # in the order of the first movie
            np.testing.assert_allclose(features[:, 3 * index, 0], expected_means(movie, movie.channels.index(name)), atol=2e-3)


def test_images_that_end_within_a_token_are_reflected(toy, tmp_path):
    movie = replace(toy.movies[0], name="odd.tif", pixels=type(toy.movies[0].pixels)(toy.movies[0].pixels.array[:11, :, :, :37, :43]))
    (folder,) = write_dense_maps(Averages(), [movie], SHAPE, UNKNOWN, tmp_path)
    np.testing.assert_allclose(np.asarray(open_map(folder / FEATURES)[:])[:, 0, 0], expected_means(movie, 0), atol=2e-3)


def test_maps_open_as_movies_with_the_scale_of_what_they_show(toy, tmp_path):
    (folder,) = write_dense_maps(toy.encoder, toy.movies[:1], SHAPE, UNKNOWN, tmp_path)
    features, colours = (open_movie(folder / name) for name in (FEATURES, COLOURS))
    assert features.shape == {"T": 6, "C": 48, "Z": 1, "Y": 5, "X": 6}
    assert features.channels[:2] == ("dna e000", "dna e001")
    assert features.channels[24] == "actin e000"
    assert (features.interval_s, features.pixel_um.y, features.pixel_um.x) == (120.0, 4.0, 4.0)
    assert (colours.pixels.dtype, colours.shape["C"]) == (np.uint8, 3)
    scale, shift = json.loads((folder / FEATURES / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]["datasets"][0][
        "coordinateTransformations"
    ]
    assert scale["scale"] == [120.0, 1.0, 1.0, 4.0, 4.0]
    assert shift["translation"] == [30.0, 0.0, 0.0, 1.75, 1.75]  # the first token's centre lies between frames 0 and 1, pixels 3 and 4


def test_maps_are_valid_ome_zarr(toy, tmp_path):
    import yaozarrs

    (folder,) = write_dense_maps(toy.encoder, toy.movies[:1], SHAPE, UNKNOWN, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: yaozarrs.validate_zarr_store(str(folder / name)) for name in (FEATURES, COLOURS)}
    for name, channels in ((FEATURES, 48), (COLOURS, 3)):
        image = found[name].ome_metadata()
        assert isinstance(image, yaozarrs.v05.Image)
        (multiscale,) = image.multiscales
        assert [(axis.name, axis.type, axis.unit) for axis in multiscale.axes] == [
            ("t", "time", "second"),
            ("c", "channel", None),
            ("z", "space", None),
            ("y", "space", "micrometer"),
            ("x", "space", "micrometer"),
        ]
        assert [dataset.path for dataset in multiscale.datasets] == ["0"]
        assert len(image.omero.channels) == channels


def test_colours_follow_the_features(toy, tmp_path):
    """Places of a drifting square are coloured otherwise than the ground, and colours use their range."""
    (folder,) = write_dense_maps(Averages(), [replace(toy.movies[1], levels=np.tile([0.0, 1000.0], (2, 1)))], SHAPE, UNKNOWN, tmp_path)
    colours = np.asarray(open_map(folder / COLOURS)[:])
    means = np.asarray(open_map(folder / FEATURES)[:])[:, 0]
    red = colours[:, 0].astype(float).reshape(-1)
    assert abs(np.corrcoef(red, means.reshape(-1))[0, 1]) > 0.9
    assert (red.min(), red.max()) == (0, 255)


def test_a_finished_map_is_left_and_another_one_is_refused(toy, tmp_path):
    args = (toy.encoder, toy.movies[:1], SHAPE, UNKNOWN, tmp_path)
    (folder,) = write_dense_maps(*args)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    seen = []
    write_dense_maps(*args, progress=lambda *event: seen.append(event))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert not seen
    with pytest.raises(
        UserError, match=r"features.zarr: there is a map made in another way \(overlap is 0.5 there and 0.25 now\)\. choose another --out"
    ):
        write_dense_maps(*args, overlap=0.25)
    other = new_encoder(toy.encoder.shape, torch.Generator().manual_seed(7))
    with pytest.raises(UserError, match=r"\(encoder is [0-9a-f]+ there and [0-9a-f]+ now\)"):
        write_dense_maps(other, *args[1:])
    with pytest.raises(UserError, match="reference is"):
        write_dense_maps(*args[:3], Reference(30.0, None), tmp_path)


def test_what_is_no_map_is_not_replaced(toy, tmp_path):
    (tmp_path / "a.tif" / FEATURES).mkdir(parents=True)
    (tmp_path / "a.tif" / FEATURES / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="something is here that is no map of cellvjepa. choose another --out"):
        write_dense_maps(toy.encoder, toy.movies[:1], SHAPE, UNKNOWN, tmp_path)
    assert (tmp_path / "a.tif" / FEATURES / "notes.txt").read_text() == "mine"


def test_a_cancelled_map_leaves_nothing_and_the_ones_before(toy, tmp_path):
    def cancel(stage, done, total):
        if stage == "mapping b.tif" and done:
            raise Cancelled

    with pytest.raises(Cancelled):
        write_dense_maps(toy.encoder, toy.movies, SHAPE, UNKNOWN, tmp_path, batch_size=4, progress=cancel)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")) == ["a.tif/features.zarr", "a.tif/pca.zarr"]
    write_dense_maps(toy.encoder, toy.movies, SHAPE, UNKNOWN, tmp_path, batch_size=4)
    assert (tmp_path / "b.tif" / COLOURS / "zarr.json").is_file()


def test_no_name_leads_out_of_the_folder(toy, tmp_path):
    for name in ("../../evil.tif", "/etc/evil", "..\\..\\evil", "a/../../b", "...", "plate.zarr/B/3/0", "c:\\x"):
        folder = map_folder(tmp_path / "out", replace(toy.movies[0], name=name))
        assert folder.resolve().is_relative_to((tmp_path / "out").resolve()), name
        assert ".." not in folder.relative_to(tmp_path).parts
    assert map_folder(tmp_path, replace(toy.movies[0], name="plate.zarr/B/3/0")) == tmp_path / "plate.zarr" / "B" / "3" / "0"


def test_an_encoder_of_no_numbers_is_said(toy, tmp_path):
    broken = new_encoder(toy.encoder.shape, torch.Generator().manual_seed(0)).eval()
    broken.norm.weight.data[0] = float("nan")
    with pytest.raises(UserError, match="the encoder's output is not finite"):
        write_dense_maps(broken, toy.movies[:1], SHAPE, UNKNOWN, tmp_path)
    assert not list(tmp_path.rglob("*.zarr"))


def test_all_planes_of_a_stack_are_mapped(tmp_path):
    from tests.embedding.conftest import make_movie

    pixels = np.zeros((4, 1, 3, 16, 24), np.uint16)
    pixels[:, 0, 1] = 1000
    shape = ClipShape(4, None, 16, None, None, "stack")
    (folder,) = write_dense_maps(Averages(), [make_movie("z.tif", pixels, ("dna",))], shape, UNKNOWN, tmp_path)
    np.testing.assert_allclose(np.asarray(open_map(folder / FEATURES)[:])[:, 0].mean(axis=(0, 2, 3)), [0, 1, 0], atol=1e-3)


def test_the_checksum_is_that_of_the_weights(encoder):
    assert weights_sha256(encoder) == weights_sha256(new_encoder(encoder.shape, torch.Generator().manual_seed(0)))
    assert weights_sha256(encoder) != weights_sha256(new_encoder(encoder.shape, torch.Generator().manual_seed(1)))
