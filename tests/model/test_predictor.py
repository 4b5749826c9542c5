from __future__ import annotations

import torch

from cellvjepa.model.encoder import Encoder
from cellvjepa.model.grid import Grid
from cellvjepa.model.layers import gather_tokens
from cellvjepa.model.masking import Mask
from cellvjepa.model.predictor import Predictor

GRID = Grid(4, 1, 4, 4)


def test_predictions_are_those_of_vjepa_2(golden: dict[str, torch.Tensor], golden_predictor: Predictor):
    mask = Mask(golden["mask_ctx"], golden["mask_tgt"])
    predicted = golden_predictor(golden["out_masked"], [mask], [1], GRID)[0]
    torch.testing.assert_close(predicted, golden["pred_out_masktoken1"], atol=1e-5, rtol=0)


def test_predictions_from_a_full_context_are_those_of_vjepa_2(golden: dict[str, torch.Tensor], golden_encoder: Encoder, golden_predictor: Predictor):
    mask = Mask(golden["mask_ctx"], golden["mask_tgt"])
    context = gather_tokens(golden_encoder(golden["x"].unsqueeze(3)), mask.context_BK)
    torch.testing.assert_close(golden_predictor(context, [mask], [1], GRID)[0], golden["pred_from_full_ctx"], atol=1e-5, rtol=0)


def test_each_generator_has_its_own_mask_token(golden: dict[str, torch.Tensor], golden_predictor: Predictor):
    mask = Mask(golden["mask_ctx"], golden["mask_tgt"])
    one, other = (golden_predictor(golden["out_masked"], [mask], [index], GRID)[0] for index in (0, 2))
    assert (one - other).abs().max() > 0.1


def test_positions_count_on_a_rectangle(golden: dict[str, torch.Tensor], golden_predictor: Predictor):
    # The reference computes positions from grid_size ** 2: on a rectangle tokens 3 and 8 would lie at other places than they do.
    mask = Mask(golden["mask_ctx"], golden["mask_tgt"])
    square = golden_predictor(golden["out_masked"], [mask], [1], GRID)[0]
    rectangle = golden_predictor(golden["out_masked"], [mask], [1], Grid(4, 1, 2, 8))[0]
    assert (square - rectangle).abs().max() > 0.01


def test_targets_are_answered_in_the_order_they_are_asked_for(golden: dict[str, torch.Tensor], golden_predictor: Predictor):
    straight = Mask(golden["mask_ctx"], golden["mask_tgt"])
    reverse = Mask(golden["mask_ctx"], golden["mask_tgt"].flip(1))
    expected = golden_predictor(golden["out_masked"], [straight], [1], GRID)[0].flip(1)
    torch.testing.assert_close(golden_predictor(golden["out_masked"], [reverse], [1], GRID)[0], expected, atol=1e-5, rtol=0)
