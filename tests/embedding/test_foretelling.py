from __future__ import annotations

import numpy as np
import pytest
import torch

from cellvjepa.config import Config
from cellvjepa.embedding.foretelling import answers, hidden_steps, latent_errors, mask_token, step_masks, step_weights
from cellvjepa.embedding.readout import FOLDS, Sums
from cellvjepa.model.grid import Grid
from cellvjepa.model.layers import gather_tokens
from cellvjepa.model.predictor import PredictorShape
from cellvjepa.model.predictor_file import PredictorCard
from cellvjepa.model.vjepa import VJepa, build_vjepa
from cellvjepa.training.objectives.latent_l1 import latent_l1

CARD = PredictorCard(PredictorShape(12, 1, 1, 2), ("blocks", "future"), 1, True, "0" * 64)


@pytest.fixture(scope="module")
def model(tiny_config: Config) -> VJepa:
    built = build_vjepa(tiny_config, 0)
    with torch.no_grad():  # else all positions and mask tokens would say nearly the same
        built.predictor.mask_tokens.normal_(generator=torch.Generator().manual_seed(1))
    return built.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.rand(2, 1, 8, 1, 32, 32, generator=torch.Generator().manual_seed(2))


GRID = Grid(4, 1, 4, 4)


def errors_of(model, pixels, seen, token=0):
    return latent_errors(answers(model, pixels, seen, token), GRID)


@pytest.mark.parametrize("seen", ["rest", "past"])
def test_the_error_is_the_one_that_training_makes_small(model, pixels, seen):
    """For each hidden step, the mean over its tokens is the loss of V-JEPA for that mask."""
    errors = errors_of(model, pixels, seen).reshape(2, 4, 16)
    for step, mask in zip(hidden_steps(GRID, seen), step_masks(GRID, seen, 2), strict=True):
        prediction = model(pixels, [mask])
        torch.testing.assert_close(errors[:, step].mean(), latent_l1(prediction.predicted[0], prediction.targets[0]), atol=1e-5, rtol=0)
    assert torch.isnan(errors[:, [i for i in range(4) if i not in hidden_steps(GRID, seen)]]).all()


def test_what_is_hidden_is_not_seen(model, pixels, monkeypatch):
    """Measured against constant targets, the error at a step does not change when its own pixels do, and that of others does."""
    monkeypatch.setattr(model, "targets", lambda clips, scale: torch.zeros(len(clips), 64, 24))
    other = pixels.clone()
    other[:, :, 4:6] = 0  # step 2
    before, after = (errors_of(model, clips, "rest").reshape(2, 4, 16) for clips in (pixels, other))
    torch.testing.assert_close(before[:, 2], after[:, 2], atol=0, rtol=0)
    assert not any(torch.equal(before[:, step], after[:, step]) for step in (0, 1, 3))


def test_the_past_does_not_see_the_future(model, pixels, monkeypatch):
    monkeypatch.setattr(model, "targets", lambda clips, scale: torch.zeros(len(clips), 64, 24))
    other = pixels.clone()
    other[:, :, 6:] = 0  # step 3
    before, after = (errors_of(model, clips, "past").reshape(2, 4, 16) for clips in (pixels, other))
    torch.testing.assert_close(before[:, 2:], after[:, 2:], atol=0, rtol=0)
    assert torch.isnan(before[:, :2]).all()


def test_it_asks_with_the_token_that_hid_whole_steps(model, pixels):
    assert mask_token(("blocks", "future", "blocks")) == 1
    assert mask_token(("blocks", "blocks")) == 1
    assert not torch.equal(errors_of(model, pixels, "rest", 0), errors_of(model, pixels, "rest", 1))


def test_all_that_a_layer_may_look_at_is_blind_to_the_hidden_step(model, pixels):
    other = pixels.clone()
    other[:, :, 4:6] = 0  # step 2
    before, after = (answers(model, clips, "rest", 0) for clips in (pixels, other))
    assert torch.equal(before[2].known, after[2].known)
    assert not torch.equal(before[2].target, after[2].target)
    assert not any(torch.equal(before[step].known, after[step].known) for step in (0, 1, 3))


class Clock(torch.nn.Module):
    """Says of each place which time step it is, as a vector with a one at that number."""

    def forward(self, pixels, keep, scale_4, groups):
        return torch.nn.functional.one_hot(keep // 16, 24).float()


@pytest.mark.parametrize(("seen", "nearest"), [("rest", [(1, 1), (0, 2), (1, 3), (2, 2)]), ("past", [(1, 1), (2, 2)])])
def test_the_layer_looks_at_the_same_place_just_before_and_after(model, pixels, monkeypatch, seen, nearest):
    monkeypatch.setitem(model._modules, "context_encoder", Clock())
    found = answers(model, pixels, seen, 0)
    assert [(set(one.before.argmax(-1).reshape(-1).tolist()), set(one.after.argmax(-1).reshape(-1).tolist())) for one in found] == [
        ({before}, {after}) for before, after in nearest
    ]
    place = Grid(1, 1, 4, 4)
    monkeypatch.setitem(model._modules, "context_encoder", model.target_encoder)
    kept = answers(model, pixels, seen, 0)[-1]
    seen_tokens = model.target_encoder(pixels, kept.mask.context_BK)[:, -place.tokens :]
    torch.testing.assert_close(kept.before, torch.nn.functional.layer_norm(seen_tokens, (24,)), atol=1e-5, rtol=0)


class Shrunk(torch.nn.Module):
    """A predictor that knows all and says a hundredth of it, turned round."""

    def __init__(self, turn_DD, known):
        super().__init__()
        self.turn_DD, self.known = turn_DD, known

    def forward(self, context, masks, tokens, grid, scale_4):
        return [gather_tokens(self.known, mask.target_BM) @ self.turn_DD / 100 + 3 for mask in masks]


def test_a_fitted_layer_brings_out_what_the_predictor_knows(model, monkeypatch):
    pixels = torch.rand(24, 1, 8, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    turn = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(3)))[0]
    known = model.targets(pixels)
    monkeypatch.setitem(model._modules, "predictor", Shrunk(turn * 100, known))
    folds_Bt = torch.arange(24)[:, None].expand(24, 4) % FOLDS
    sums, found = Sums(), answers(model, pixels, "rest", 0)
    for answer in found:
        sums.add(answer.known, answer.target, folds_Bt[:, answer.step])
    readout = sums.readout()
    fitted = [(readout.said(answer.known, folds_Bt[:, answer.step]) - answer.target).abs().mean() for answer in found]
    assert latent_errors(found, GRID).mean() > 2
    assert max(fitted) < 0.3 * (known - known.mean(dim=(0, 1))).abs().mean()
    # In units of how wrong the layer usually is.
    assert latent_errors(found, GRID, readout, folds_Bt).square().mean() == pytest.approx(1, abs=0.5)


def test_steps_seen_from_both_sides_count_most():
    grid = Grid(4, 1, 2, 2)
    np.testing.assert_allclose(step_weights(grid, "rest"), [0.5, 1, 1, 0.5])
    np.testing.assert_allclose(step_weights(grid, "past"), [0, 0, 1, 1])
    assert hidden_steps(Grid(1, 1, 2, 2), "rest") == []
