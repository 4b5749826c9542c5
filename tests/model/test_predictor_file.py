from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.encoder import new_encoder
from cellvjepa.model.grid import Grid
from cellvjepa.model.masking import draw_masks
from cellvjepa.model.predictor_file import PREDICTOR_FILE, PredictorState, kept_predictor, load_predictor, predictor_state, save_predictor
from cellvjepa.model.vjepa import VJepa, build_vjepa
from cellvjepa.model.weights import save_encoder


def trained_of(config: Config) -> VJepa:
    """Return a model whose two encoders differ, as they do in training."""
    model = build_vjepa(config, 0)
    model.target_encoder.load_state_dict(new_encoder(model.context_encoder.shape, torch.Generator().manual_seed(9)).state_dict())
    return model


def kept(model: VJepa, config: Config, folder: Path, provenance: dict[str, object] | None = None) -> Path:
    card = save_encoder(model.encoder, folder, provenance or {})
    state = predictor_state(model, config.mask_generators)
    if state is not None:
        save_predictor(state, folder, card.sha256)
    return folder


def tampered(path: Path, tensors: dict[str, torch.Tensor | None] | None = None, **card: object) -> None:
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["cellvjepa_predictor"]) | card
        found = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
    found = {name: tensor for name, tensor in (found | (tensors or {})).items() if tensor is not None}
    save_file(found, path, metadata={"cellvjepa_predictor": json.dumps(described)})


def test_what_is_read_foretells_as_what_was_kept(tiny_config: Config, tmp_path: Path) -> None:
    import numpy as np

    model = trained_of(tiny_config).eval()
    read, _, card = load_predictor(kept(model, tiny_config, tmp_path))
    assert card.hides == ("blocks", "future")
    assert not any(parameter.requires_grad for parameter in read.parameters())
    pixels = torch.rand(2, 1, 8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    masks = draw_masks(Grid(4, 1, 4, 4), tiny_config.mask_generators, 2, np.random.default_rng(0))
    with torch.no_grad():
        expected, found = model(pixels, masks), read(pixels, masks)
    for part in ("context", "predicted", "targets"):
        assert all(torch.equal(one, other) for one, other in zip(getattr(expected, part), getattr(found, part), strict=True))


def test_the_target_of_a_student_is_its_teacher(tiny_config: Config, tmp_path: Path) -> None:
    training = tiny_config.training.model_copy(update={"objective": "frozen_teacher", "teacher": "runs/teacher"})
    model = trained_of(tiny_config.model_copy(update={"training": training}))
    assert model.encoder is model.context_encoder
    read, _, card = load_predictor(kept(model, tiny_config, tmp_path))
    assert not card.follows
    for name in ("context_encoder", "target_encoder"):
        assert all(torch.equal(getattr(model, name).state_dict()[key], tensor) for key, tensor in getattr(read, name).state_dict().items())


def test_a_copy_is_no_window_into_the_model(tiny_config: Config) -> None:
    model = trained_of(tiny_config)
    state = predictor_state(model, tiny_config.mask_generators)
    assert isinstance(state, PredictorState)
    before = state.tensors["predictor.proj.weight"].clone()
    torch.nn.init.zeros_(model.predictor.proj.weight)
    assert torch.equal(state.tensors["predictor.proj.weight"], before)


def test_models_without_predictor_are_told_apart(tiny_config: Config, tmp_path: Path) -> None:
    training = tiny_config.training.model_copy(update={"objective": "pixels"})
    pixels = tiny_config.model_copy(update={"training": training})
    folder = kept(build_vjepa(pixels, 0), pixels, tmp_path / "pixels", {"config": pixels.model_dump(mode="json")})
    with pytest.raises(
        UserError, match="pixels: this model learnt to predict pixels, and has no predictor of features. train one with training.objective=latent"
    ):
        load_predictor(folder)
    save_encoder(trained_of(tiny_config).encoder, tmp_path / "old", {})
    with pytest.raises(
        UserError, match=r"old: this model comes without its predictor \(no predictor.safetensors\). give a run of 'cellvjepa pretrain'"
    ):
        load_predictor(tmp_path / "old" / "encoder.safetensors")
    with pytest.raises(UserError, match="there is no encoder here"):
        load_predictor(tmp_path / "nowhere")


def test_a_predictor_of_another_encoder_is_refused(tiny_config: Config, tmp_path: Path) -> None:
    folder = kept(trained_of(tiny_config), tiny_config, tmp_path)
    card = save_encoder(build_vjepa(tiny_config, 5).encoder, folder, {})
    with pytest.raises(UserError, match=f"{PREDICTOR_FILE}: this predictor belongs to another encoder than the one beside it"):
        load_predictor(folder)
    assert kept_predictor(folder, card) is None
    assert kept_predictor(tmp_path / "nothing", card) is None


@pytest.mark.parametrize(
    ("tensors", "card", "said"),
    [
        ({"predictor.proj.bias": None}, {}, "their number"),
        ({"predictor.embed.weight": torch.zeros(3, 3)}, {}, "embed.weight"),
        ({"predictor.proj.weight": torch.zeros(2, 2)}, {}, "predictor.proj.weight"),
        ({"other_encoder.norm.bias": torch.zeros(5)}, {}, "other_encoder.norm.bias"),
        ({}, {"layers": 7}, "the number of layers"),
        ({}, {"shape": {"dim": 12, "depth": 10**9, "heads": 1, "generators": 2}}, "their number"),
        ({}, {"shape": {"dim": 10**9, "depth": 1, "heads": 1, "generators": 2}}, "embed.weight"),
        ({}, {"shape": {"dim": 12, "depth": 0, "heads": 1, "generators": 2}}, "contradicts itself"),
        ({}, {"hides": ["blocks"]}, "contradicts itself"),
        ({}, {"hides": ["blocks", "everything"]}, "cannot be read"),
        ({}, {"layers": "many"}, "cannot be read"),
    ],
)
def test_what_was_tampered_with_is_refused(
    tiny_config: Config, tmp_path: Path, tensors: dict[str, torch.Tensor | None], card: dict[str, object], said: str
) -> None:
    folder = kept(trained_of(tiny_config), tiny_config, tmp_path)
    tampered(folder / PREDICTOR_FILE, tensors, **card)
    with pytest.raises(UserError, match=said):
        load_predictor(folder)


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"\xff" * 64])
def test_a_damaged_file_is_refused(tiny_config: Config, tmp_path: Path, damage: object) -> None:
    folder = kept(trained_of(tiny_config), tiny_config, tmp_path)
    path = folder / PREDICTOR_FILE
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(UserError, match=r"predictor.safetensors: the file cannot be read as safetensors .* copy the run again"):
        load_predictor(folder)


def test_the_card_says_what_the_predictor_is(tiny_config: Config, tmp_path: Path) -> None:
    folder = kept(trained_of(tiny_config), tiny_config, tmp_path)
    with safe_open(folder / PREDICTOR_FILE, framework="pt") as file:
        card = json.loads(file.metadata()["cellvjepa_predictor"])
    assert card["shape"] == dataclasses.asdict(build_vjepa(tiny_config, 0).predictor.shape)
