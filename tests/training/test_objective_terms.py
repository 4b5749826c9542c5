"""The terms that a configuration can ask for, each against what it must do."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from cellvjepa.config import Config, config_from, load_config
from cellvjepa.errors import UserError
from cellvjepa.model.displacement import WIDTH
from cellvjepa.model.encoder import cut_tubelets
from cellvjepa.model.grid import grid_of
from cellvjepa.model.masking import Mask, draw_masks
from cellvjepa.model.pixel_statistics import PixelStatistics
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.waves import unrest
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.readers import open_archive
from cellvjepa.training.metrics import read_metrics
from cellvjepa.training.objectives import objective
from cellvjepa.training.objectives.differences import differences_l1
from cellvjepa.training.objectives.pixels import normalised, pixels_l1
from cellvjepa.training.objectives.sigreg import sigreg
from cellvjepa.training.objectives.unrest import unrest_l1
from cellvjepa.training.pretrain import _new_model, pretrain


def changed(config: Config, *settings: str) -> Config:
    return config_from(config.model_dump(), settings)


def batch(config: Config, seed: int = 0) -> tuple[torch.Tensor, list[Mask]]:
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.random((4, 1, 8, 1, 32, 32), np.float32))
    return pixels, draw_masks(grid_of(8, 1, 32, 32, config.model.tubelet), config.mask_generators, 4, rng)


def test_painting_what_is_hidden_costs_nothing() -> None:
    hidden = torch.randn(2, 5, 2 * 4 * 4, generator=torch.Generator().manual_seed(0))
    assert float(pixels_l1(normalised(hidden), hidden)) == 0
    steps = hidden.reshape(2, 5, 2, 16).diff(dim=2) / hidden.reshape(2, 5, 2, 16).diff(dim=2).std()
    said = torch.cat([steps, torch.full((2, 5, 1, 16), 99.0)], dim=2).flatten(2)  # the last frame has no successor: it is not looked at
    assert float(differences_l1(said, hidden, frames=2)) == pytest.approx(0, abs=1e-6)


def test_normalised_pixels_forget_brightness_and_contrast_of_each_tubelet() -> None:
    hidden = torch.randn(1, 3, 64, generator=torch.Generator().manual_seed(0)) * 100
    assert torch.allclose(normalised(hidden), normalised(2 * hidden + 7), atol=1e-2)
    assert float(normalised(torch.full((1, 1, 64), 5.0)).abs().max()) == 0


def test_differences_do_not_see_what_stays() -> None:
    rng = torch.Generator().manual_seed(0)
    hidden, still = torch.randn(2, 5, 4, 16, generator=rng), torch.randn(2, 5, 1, 16, generator=rng)
    said = torch.randn(2, 5, 64, generator=rng)
    assert torch.allclose(differences_l1(said, hidden.flatten(2), 4), differences_l1(said, (hidden + still).flatten(2), 4), atol=1e-5)
    with pytest.raises(ValueError, match="no differences"):
        differences_l1(said, hidden.flatten(2), 1)


def test_sigreg_is_least_for_normal_features_and_much_for_collapsed_ones() -> None:
    rng = torch.Generator().manual_seed(0)
    normal = torch.randn(64, 30, 16, generator=rng)
    found = {
        "normal": sigreg(normal, 0),
        "one direction": sigreg(normal[..., :1].expand(-1, -1, 16), 0),
        "constant": sigreg(torch.ones(64, 30, 16), 0),
        "narrow": sigreg(0.1 * normal, 0),
    }
    assert all(found["normal"] < 0.3 * other for name, other in found.items() if name != "normal"), found
    assert not torch.equal(sigreg(normal, 0), sigreg(normal, 1)), "directions are drawn anew at each step"
    assert torch.equal(sigreg(normal, 3), sigreg(normal, 3))


def test_sigreg_standardises_clips_by_how_much_they_differ_and_not_by_where_dimensions_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[torch.Tensor]()
    monkeypatch.setattr(import_module(sigreg.__module__), "_epps_pulley", lambda features, *others: seen.append(features) or features.sum())
    rng = torch.Generator().manual_seed(0)
    offsets, clips = torch.randn(16, generator=rng), 0.1 * torch.randn(64, 1, 16, generator=rng)
    sigreg((offsets + clips).expand(-1, 30, -1), 0)
    assert float(seen[1].square().mean()) == pytest.approx(1.0, rel=1e-3)
    sigreg(torch.ones(4, 3, 16), 0)
    assert float(seen[3].abs().max()) == 0.0


def test_averaged_targets_are_those_of_the_last_layers(tiny_config: Config) -> None:
    pixels, masks = batch(tiny_config)
    model = build_vjepa(changed(tiny_config, "training.target_layers=2"), seed=0)
    first, last = model.target_encoder.last_layers(pixels, 2)
    assert torch.allclose(last, model.target_encoder(pixels), atol=1e-6)
    norm = torch.nn.LayerNorm(last.shape[-1], elementwise_affine=False)
    wanted = norm((norm(first) + norm(last)) / 2)
    for mask, target in zip(masks, model(pixels, masks).targets, strict=True):
        assert torch.allclose(target, wanted.gather(1, mask.target_BM[..., None].expand_as(target)), atol=1e-5)
    with pytest.raises(UserError, match="targets of the last 9 layers are asked of an encoder of 2"):
        build_vjepa(changed(tiny_config, "training.target_layers=9"), seed=0)


def test_pixels_alone_need_no_target_encoder(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config = changed(tiny_config, "training.objective=pixels", "training.variance_covariance=0", "training.auxiliary=none")
    model = build_vjepa(config, seed=0)
    monkeypatch.setattr(model, "_targets", None)
    pixels, masks = batch(config)
    prediction = model(pixels, masks)
    loss = objective(prediction, config, 0)
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert prediction.targets == ()
    assert 0 < loss.error.item() == loss.total.item()
    assert model.pixel_head is not None
    assert model.pixel_head.weight.grad is not None


def test_the_variance_covariance_term_can_look_at_the_predictor(tiny_config: Config) -> None:
    pixels, masks = batch(tiny_config)
    prediction = build_vjepa(tiny_config, seed=0)(pixels, masks)
    on_context = objective(prediction, tiny_config, 0)
    on_predicted = objective(prediction, changed(tiny_config, "training.variance_covariance_on=predicted"), 0)
    assert torch.equal(on_context.error, on_predicted.error)
    assert not torch.equal(on_context.total, on_predicted.total)


@pytest.mark.parametrize("auxiliary", ["pixels", "differences"])
def test_an_auxiliary_target_adds_to_the_loss_and_trains_its_head(auxiliary: str, tiny_config: Config) -> None:
    config = changed(tiny_config, f"training.auxiliary={auxiliary}", "training.auxiliary_weight=0.5")
    model = build_vjepa(config, seed=0)
    pixels, masks = batch(config)
    prediction = model(pixels, masks)
    with_it, without = objective(prediction, config, 0), objective(prediction, changed(tiny_config, "training.auxiliary=none"), 0)
    assert with_it.total.item() > without.total.item()
    assert torch.equal(with_it.error, without.error)
    with_it.total.backward()  # type: ignore[no-untyped-call]
    assert model.pixel_head is not None
    assert model.pixel_head.weight.grad is not None


def test_a_student_learns_from_a_frozen_teacher(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    """Two stages (SALT): the teacher is trained on pixels; it then stays bit for bit as it is, and the student is what is kept."""
    movies = open_archive(toy_archive).movies
    teacher = pretrain(movies, tmp_path / "teacher", changed(tiny_config, "training.objective=pixels"))
    config = changed(tiny_config, "training.objective=frozen_teacher", f"training.teacher={teacher}")
    student = pretrain(movies, tmp_path / "student", config)
    taught, kept = load_encoder(teacher)[0].state_dict(), load_encoder(student)[0].state_dict()
    assert any(not torch.equal(taught[name], kept[name]) for name in taught)
    rows = read_metrics(student / "metrics.jsonl")
    assert rows[0]["loss"] != rows[-1]["loss"]


def test_a_teacher_says_what_it_said_though_pixels_are_standardised_otherwise(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    """A student of other clips, or of another seed, measures other statistics of pixels; its model has one standardisation for all its parts."""
    movies = open_archive(toy_archive).movies
    teacher = pretrain(movies, tmp_path / "teacher", changed(tiny_config, "training.steps=1"))
    config = changed(tiny_config, "training.objective=frozen_teacher", f"training.teacher={teacher}")
    student = _new_model(config, 1, PixelStatistics(0.7, 0.03, ()), None, tmp_path)
    pixels = torch.rand(2, 1, 8, 1, 32, 32)
    assert student.target_encoder.shape == student.context_encoder.shape
    torch.testing.assert_close(student.target_encoder(pixels), load_encoder(teacher)[0](pixels), atol=1e-4, rtol=1e-4)


def test_a_teacher_is_named_just_where_it_is_needed() -> None:
    for settings in (["training.objective=frozen_teacher"], ["training.teacher=runs/teacher"]):
        with pytest.raises(UserError, match="names the run to learn from"):
            load_config(None, settings)


def test_a_tubelet_of_one_frame_has_no_differences_to_predict() -> None:
    with pytest.raises(UserError, match="have no differences between frames"):
        load_config(None, ["training.auxiliary=differences", "model.tubelet=[1, 1, 8, 8]"])


def test_unrest_sees_change_and_nothing_else() -> None:
    """Still pictures have none; it grows with the change; brightness and what is there leave it alone."""
    rng = torch.Generator().manual_seed(0)
    still = torch.randn(2, 1, 1, 1, 8, 8, generator=rng).expand(-1, -1, 8, -1, -1, -1)
    moving = torch.randn(2, 1, 8, 1, 8, 8, generator=rng)

    def measured(clip: torch.Tensor) -> torch.Tensor:
        return unrest(cut_tubelets(clip, (4, 1, 4, 4)), steps=2, frames=4, channels=1)

    assert measured(still).shape == (2, 8, 4)
    assert torch.allclose(measured(still), torch.tensor(0.02).log().expand(2, 8, 4), atol=1e-3)
    little, much = measured(still + 0.1 * moving), measured(still + moving)
    assert bool((much > little + 1).all())
    assert torch.allclose(measured(still + moving + 5), much, atol=1e-4)
    assert torch.allclose(measured(moving), much, atol=1e-4)


def test_unrest_over_the_clip_is_seen_where_tubelets_are_single_frames() -> None:
    clip = torch.zeros(1, 1, 4, 1, 4, 8)
    clip[:, :, 2:, :, :, 4:] = 1.0
    still, changing = unrest(cut_tubelets(clip, (1, 1, 4, 4)), steps=4, frames=1, channels=1).reshape(4, 2).unbind(1)
    assert torch.allclose(still, torch.tensor(0.02).log().expand(4))
    assert torch.allclose(changing, torch.tensor(0.52).log().expand(4))


@pytest.mark.parametrize(("auxiliary", "more"), [("unrest", 0), ("motion", WIDTH)])
def test_what_is_said_of_change_trains_encoder_and_heads_and_ignores_the_unit(tiny_config: Config, auxiliary: str, more: int) -> None:
    config = changed(tiny_config, f"training.auxiliary={auxiliary}")
    model = build_vjepa(config, seed=0)
    pixels, masks = batch(config)
    prediction = model(pixels, masks)
    assert [tuple(part.shape) for part in prediction.unrest] == [tuple(part.shape) for part in prediction.unrest_said]
    assert len(prediction.unrest) == 2 * len(masks)
    assert prediction.unrest[0].shape[-1] == config.model.tubelet[0] + more
    said, measured = prediction.unrest_said[0], prediction.unrest[0]
    assert torch.allclose(unrest_l1(said, measured), unrest_l1(said, 3 * measured + 1), atol=1e-5)
    objective(prediction, config, 0).total.backward()  # type: ignore[no-untyped-call]
    assert model.unrest_heads is not None
    assert all(parameter.grad is not None for parameter in model.unrest_heads.parameters())
