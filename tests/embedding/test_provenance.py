from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cellvjepa.embedding.provenance import Provenance, Source, differences, levels_table, reference_of
from cellvjepa.errors import UserError
from cellvjepa.model.weights import EncoderCard
from cellvjepa.movies.movie import PixelSize
from cellvjepa.movies.reference import Reference


@pytest.fixture
def provenance(toy):
    return Provenance(toy.source, toy.shape, ("dna", "actin"), "mean", "float32", levels_table(toy.movies, ("dna", "actin")))


def test_written_and_read_it_is_the_same(provenance):
    source = replace(provenance.source, reference=Reference(30.0, PixelSize(None, 0.5, 0.25)))
    shape = replace(provenance.clip_shape, channels=("dna", "actin"), pixel_um=0.5, z=3)
    written = replace(provenance, source=source, clip_shape=shape, date="2026-01-02T03:04:05+00:00", follow="smooth", mask_weight=0.25)
    read = Provenance.from_uns(written.to_uns())
    assert differences(read, written) == []
    assert (read.follow, read.mask_weight, read.hide_neighbours) == ("smooth", 0.25, False)
    assert (read.source, read.clip_shape, read.channels, read.pool, read.date) == (source, shape, ("dna", "actin"), "mean", written.date)


def test_stores_from_before_there_were_outlines_are_read(provenance):
    uns = {name: value for name, value in provenance.to_uns().items() if name not in ("follow", "mask_weight", "hide_neighbours")}
    assert differences(Provenance.from_uns(uns), provenance) == []


def test_an_encoder_card_becomes_a_source(toy):
    card = EncoderCard(toy.encoder.shape, {"config": {"a": 1}, "interval_s": 30.0, "pixel_um": {"z": None, "y": 0.5, "x": 0.5}}, "ab")
    source = Source.of(card, "runs/a", ["archive"])
    assert source == Source("ab", "runs/a", '{"a": 1}', ("archive",), Reference(30.0, PixelSize(None, 0.5, 0.5)))
    assert reference_of(EncoderCard(toy.encoder.shape, {"interval_s": None, "pixel_um": None}, "ab")) == Reference()
    assert json.loads(source.config) == {"a": 1}


@pytest.mark.parametrize(
    "said",
    [
        {"interval_s": 0.0},
        {"interval_s": "x"},
        {"interval_s": [1]},
        {"pixel_um": {"y": 1}},
        {"pixel_um": {"z": None, "y": -1, "x": 1}},
        {"pixel_um": "1"},
    ],
)
def test_an_impossible_sampling_is_refused(toy, said):
    with pytest.raises(UserError, match=r"encoder.json: its card gives no sampling that could be .* copy the run again"):
        reference_of(EncoderCard(toy.encoder.shape, said, "ab"))


def test_levels_are_those_of_the_named_channels(toy):
    table = levels_table((toy.movies[1], toy.movies[0]), ("actin",))
    assert table.values.tolist() == [["a.tif", "actin", 0.0, 1000.0], ["b.tif", "actin", 0.0, 1000.0]]
    with pytest.raises(UserError, match="levels have not been measured"):
        levels_table((replace(toy.movies[0], levels=None),), ("actin",))


def test_every_difference_that_changes_vectors_is_told(provenance, toy):
    other = replace(
        provenance,
        source=replace(provenance.source, checkpoint_sha256="f" * 64, reference=Reference(1.0)),
        clip_shape=replace(provenance.clip_shape, frames=8, channels=("dna",)),
        channels=("dna",),
        pool="moments",
        precision="bfloat16",
        follow="smooth",
        mask_weight=0.5,
        hide_neighbours=True,
    )
    assert differences(provenance, other) == [
        "the model's checkpoint is 000000000000 in the store and ffffffffffff now",
        "clip.frames is 4 in the store and 8 now",
        "clip.channels is None in the store and ('dna',) now",
        "the list of channels is ['dna', 'actin'] in the store and ['dna'] now",
        "embed.pool is mean in the store and moments now",
        "embed.follow is still in the store and smooth now",
        "embed.mask_weight is 0.0 in the store and 0.5 now",
        "embed.hide_neighbours is False in the store and True now",
        "the precision is float32 in the store and bfloat16 now",
        "the sampling of the training is Reference(interval_s=None, pixel_um=None) in the store and Reference(interval_s=1.0, pixel_um=None) now",
    ]
    fewer = replace(provenance, levels=levels_table(toy.movies[:1], ("dna", "actin")))
    assert differences(provenance, fewer) == ["the levels of 4 channels of movies are in the store, and there are 2 now"]
    assert differences(fewer, provenance) == ["channel 'dna' of 'b.tif' is not in the store"]
    assert differences(provenance, replace(provenance, levels=provenance.levels.assign(low=np.float64(0)))) == []
