from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder, EncoderShape, new_encoder
from cellvjepa.model.weights import load_encoder, require_shape, save_encoder

SHAPE = EncoderShape((2, 1, 4, 4), dim=24, depth=2, heads=2, rope="interleaved", axes=("t", "y", "x"), pixel_mean=0.4, pixel_std=0.3)
PROVENANCE = {"step": 600, "movies": ["a.tif"], "config": {"clip": {"frames": 8}}}


@pytest.fixture
def encoder() -> Encoder:
    return new_encoder(SHAPE, torch.Generator().manual_seed(0))


@pytest.fixture
def run(encoder: Encoder, tmp_path: Path) -> Path:
    save_encoder(encoder, tmp_path / "run", PROVENANCE)
    return tmp_path / "run"


def _rewritten(run: Path, card: object = None, drop: str | None = None, **change: object) -> Path:
    """Write the file anew with fields of its described shape changed, another description, or a tensor less."""
    path = run / "encoder.safetensors"
    tensors = load_file(path)
    tensors.pop(drop or "", None)
    described = {"shape": {**dataclasses.asdict(SHAPE), **change}, "provenance": {}} if card is None else card
    save_file(tensors, path, metadata={"cellvjepa_encoder": described if isinstance(described, str) else json.dumps(described)})
    return path


def test_what_is_loaded_is_what_was_saved(encoder: Encoder, run: Path):
    pixels = torch.rand(2, 1, 4, 1, 8, 8)
    for source in (run, run / "encoder.safetensors", str(run)):
        loaded, card = load_encoder(source)
        assert torch.equal(loaded(pixels), encoder(pixels))
        assert (card.shape, card.provenance) == (SHAPE, PROVENANCE)
        assert not loaded.training
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_card_is_written_for_people_and_scripts(run: Path):
    card = json.loads((run / "encoder.json").read_text())
    assert card["shape"]["dim"] == 24
    assert card["provenance"] == PROVENANCE
    assert card["sha256"] == hashlib.sha256((run / "encoder.safetensors").read_bytes()).hexdigest() == load_encoder(run)[1].sha256


def test_the_weights_file_is_complete_by_itself(run: Path):
    (run / "encoder.json").unlink()
    assert load_encoder(run)[1].shape == SHAPE


def test_saving_leaves_nothing_beside_and_replaces_what_was_there(run: Path, encoder: Encoder):
    save_encoder(encoder, run, {"step": 700})
    assert sorted(path.name for path in run.iterdir()) == ["encoder.json", "encoder.safetensors"]
    assert load_encoder(run)[1].provenance == {"step": 700}


def test_loaded_weights_do_not_hang_on_the_file(run: Path, encoder: Encoder):
    loaded, _ = load_encoder(run)
    (run / "encoder.safetensors").write_bytes(b"")
    assert torch.equal(loaded.norm.weight, encoder.norm.weight)


def test_half_precision_is_saved_as_float32(encoder: Encoder, tmp_path: Path):
    save_encoder(encoder.bfloat16(), tmp_path, {})
    assert {tensor.dtype for tensor in load_file(tmp_path / "encoder.safetensors").values()} == {torch.float32}


def test_loading_leaves_the_global_generator_alone(run: Path):
    before = torch.random.get_rng_state()
    load_encoder(run)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_missing_file_is_refused(tmp_path: Path):
    for source in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="there is no encoder here. give the folder of a run"):
            load_encoder(source)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"\x80\x04\x95pickle"])
def test_a_file_that_is_no_safetensors_is_refused(run: Path, content: bytes):
    (run / "encoder.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"encoder.safetensors: the file cannot be read as safetensors .* copy the file again"):
        load_encoder(run)


def test_a_truncated_file_is_refused(run: Path):
    path = run / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        load_encoder(run)


def test_a_flipped_bit_is_noticed_though_the_file_can_be_read(run: Path):
    path = run / "encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 64
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"encoder\.safetensors: the weights are not those that were written"):
        load_encoder(run)


def test_weights_of_another_program_are_refused(run: Path):
    save_file({"weight": torch.zeros(3)}, run / "encoder.safetensors")
    with pytest.raises(UserError, match="this safetensors file is not an encoder written by cellvjepa. give the folder of a run"):
        load_encoder(run)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"dim": 48}, r"patch_embed.proj.weight is \(24, 32\), should be \(48, 32\)"),
        ({"depth": 3}, "28 tensors where a depth of 3 has 40"),
        ({"depth": 10**12}, "28 tensors where a depth of 1000000000000 has"),
        ({"dim": 2**61, "heads": 2**58}, "patch_embed.proj.weight is"),
        ({"tubelet": [2, 1, 8, 4]}, r"patch_embed.proj.weight is \(24, 32\), should be \(24, 64\)"),
    ],
)
def test_tensors_that_do_not_fit_the_description_are_refused(run: Path, change: dict[str, object], found: str):
    with pytest.raises(UserError, match=f"the tensors are not those of the encoder that the file describes: {found}"):
        load_encoder(_rewritten(run, **change))


def test_a_missing_tensor_is_named(run: Path):
    path = run / "encoder.safetensors"
    tensors = load_file(path)
    tensors["blocks.1.norm1.wait"] = tensors.pop("blocks.1.norm1.weight")
    described = {"shape": dataclasses.asdict(SHAPE), "provenance": {}}
    save_file(tensors, path, metadata={"cellvjepa_encoder": json.dumps(described)})
    with pytest.raises(UserError, match=r"blocks.1.norm1.weight is missing, should be \(24,\)"):
        load_encoder(path)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"rope": "sideways"}, "the encoder's description is wrong: rope"),
        ({"dim": "wide"}, "the encoder's description is wrong: dim"),
        ({"heads": 0}, "the encoder's description is wrong:.*1 or more"),
        ({"heads": 12}, "heads of 2 numbers cannot hold positions"),
        ({"flavour": 3}, "the encoder has properties unknown here: flavour. update cellvjepa"),
    ],
)
def test_an_impossible_description_is_refused(run: Path, change: dict[str, object], found: str):
    with pytest.raises(UserError, match=found):
        load_encoder(_rewritten(run, **change))


@pytest.mark.parametrize("card", ["{", "3", "[]", '{"shape": {}}', '{"shape": 3, "provenance": {}}'])
def test_an_unreadable_description_is_refused(run: Path, card: str):
    with pytest.raises(UserError, match="the encoder's description cannot be read. copy the file again"):
        load_encoder(_rewritten(run, card))


def test_an_incomplete_description_is_refused(run: Path):
    with pytest.raises(UserError, match="the encoder's description is wrong: tubelet"):
        load_encoder(_rewritten(run, {"shape": {}, "provenance": {}}))


def test_another_configuration_is_refused_by_the_names_of_the_fields_that_differ():
    other = dataclasses.replace(SHAPE, heads=4, rope="tiled")  # every tensor has the same size
    with pytest.raises(
        UserError, match="run1: this is a checkpoint of another configuration: heads is 4 there and 2 here, rope is tiled there and interleaved here"
    ):
        require_shape(other, SHAPE, "run1")
    require_shape(dataclasses.replace(SHAPE), SHAPE, "run1")
