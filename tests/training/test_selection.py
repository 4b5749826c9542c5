"""Which encoder is kept: a function of the measurements that is known as soon as they are made, and never of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from cellvjepa.model.encoder import EncoderShape, new_encoder
from cellvjepa.model.weights import load_encoder
from cellvjepa.training.selection import BestEncoder, Choice, choose, kept_step, label_free_score, noise, publish_best
from tests.training.histories import config_of, history

SHAPE = EncoderShape((2, 1, 8, 8), 24, 1, 2, "interleaved", ("t", "y", "x"))


def chosen(ranks: Sequence[float], **others: Sequence[object]) -> int:
    found = choose(history(ranks, config_of(), **others), config_of())
    assert found is not None
    return found.step


def test_of_equal_ones_the_latest_is_kept() -> None:
    assert chosen([14.0, *[20.0] * 5]) == 250


def test_a_clearly_better_one_is_kept_though_later_ones_are_green() -> None:
    assert chosen([14, 20, 40, 62, 40, 40, 40]) == 150


def test_luck_among_few_clips_does_not_choose() -> None:
    """Shares of right answers among 64 clips waver by .06: equally good encoders, so the last is kept, and with many clips what is ahead."""
    ranks, lucky = [30.0] * 8, [0.5, 0.5, 0.64, 0.5, 0.47, 0.5, 0.48, 0.49]
    assert chosen(ranks, time_order=lucky) == 350
    wide = config_of("monitor.clips=4096")
    found = choose(history([2000.0] * 8, wide, time_order=lucky), wide)
    assert found is not None
    assert found.step == 100


def test_the_best_of_a_dozen_equally_good_measurements_is_seldom_taken_for_better() -> None:
    rng, config = np.random.default_rng(0), config_of()
    kept = []
    for _ in range(200):
        shares = {key: [float(value) for value in rng.binomial(64, true, 12) / 64] for key, true in (("time_order", 0.6), ("frame_gap", 0.8))}
        found = choose(history([30.0] * 12, config, **shares), config)
        assert found is not None
        kept.append(found.step)
    assert np.mean(np.array(kept) == 550) > 0.85


def test_the_loss_does_not_choose() -> None:
    ranks, losses = [14, 20, 25, 30, 31, 32], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert chosen(ranks, loss=losses) == chosen(ranks, loss=losses[::-1]) == chosen(ranks, loss=[np.nan] * 6)


def test_a_slide_into_collapse_is_not_kept() -> None:
    """Neither what is yellow or red, nor what had begun to fall before that was certain."""
    assert chosen([14.3, 15, 16, 7, 5, 4.3, 4.3, 4.3]) == 100


def test_labels_come_first() -> None:
    ranks = [14, 20, 25, 30, 40, 50]
    assert chosen(ranks, labelled=[None, None, 0.9, None, 0.7, None]) == 100
    assert chosen(ranks) == 250


def test_few_labelled_windows_choose_less() -> None:
    """0.9 and 0.75 are not the same of 256 windows, but they are of 40, where two standard errors of the difference are 0.22."""
    ranks, labelled = [14, 20, 25, 30, 40, 50], [None, None, 0.9, None, 0.75, None]
    assert chosen(ranks, labelled=labelled, labelled_windows=[None, None, 256, None, 256, None]) == 100
    assert chosen(ranks, labelled=labelled, labelled_windows=[None, None, 40, None, 40, None]) == 200


def test_random_features_are_kept_only_where_nothing_else_is_healthy() -> None:
    assert chosen([60, 50, 45, 44, 44]) > 0
    assert chosen([14.3, 5, 4, 4, 4]) == 0


def test_the_choice_at_the_end_was_the_choice_when_it_was_measured() -> None:
    """Else the encoder to keep would have been overwritten: proven on random histories."""
    rng = np.random.default_rng(0)
    config = config_of()
    for _ in range(50):
        ranks = 14 * np.exp(np.cumsum(rng.normal(0, 0.25, 20)))
        labelled = [float(value) if i % 4 == 0 else None for i, value in enumerate(rng.random(20))]
        rows = history(list(np.clip(ranks, 1, 63)), config, labelled=labelled if rng.random() < 0.5 else [None] * 20)
        kept = None
        for i in range(1, 21):
            now = choose(rows[:i], config)
            if now is not None and now.step == rows[i - 1]["step"]:
                kept = now.step
        last = choose(rows, config)
        assert last is not None
        assert kept == last.step


def test_scores_are_shares() -> None:
    row = history([63.0], config_of())[0]
    assert label_free_score(row, row, config_of()) == pytest.approx((1 + 1 + 0.7 + 0.6 + 0.9) / 5)
    row = history([31.5], config_of(), place=[None], time_order=[None], frame_gap=[None])[0]
    assert label_free_score(row, row, config_of()) == pytest.approx((0.5 + 1) / 2)


def test_the_encoder_as_it_was_when_measured_comes_to_disk(tmp_path: Path) -> None:
    encoder = new_encoder(SHAPE, torch.Generator().manual_seed(0))
    best = BestEncoder(tmp_path / "checkpoints")
    best.remember(50, encoder)
    expected = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    torch.nn.init.zeros_(encoder.patch_embed.proj.weight)
    best.keep(Choice(50, 0.6, "because"))
    best.remember(100, encoder)
    best.keep(Choice(50, 0.6, "because"))  # an older one is still the best: nothing changes
    best.write()
    publish_best(tmp_path, encoder, 100, {"movies": []})
    kept, card = load_encoder(tmp_path)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in kept.state_dict().items())
    assert card.provenance == {"movies": [], "chosen": {"step": 50, "score": 0.6, "why": "because"}}
    assert kept_step(tmp_path) == 50


def test_a_run_that_kept_none_gives_its_last(tmp_path: Path) -> None:
    encoder = new_encoder(SHAPE, torch.Generator().manual_seed(0))
    publish_best(tmp_path, encoder, 100, {})
    assert kept_step(tmp_path) == 100
    BestEncoder(tmp_path / "checkpoints").forget()


def test_a_best_encoder_that_a_power_cut_has_spoilt_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = new_encoder(SHAPE, torch.Generator().manual_seed(0))
    best = BestEncoder(tmp_path / "checkpoints")
    best.remember(50, encoder)
    best.keep(Choice(50, 0.6, "because"))
    best.write()
    (tmp_path / "checkpoints" / "best_encoder" / "encoder.safetensors").write_bytes(b"cut")
    publish_best(tmp_path, encoder, 100, {})
    assert kept_step(tmp_path) == 100
    assert "that of the last step is taken" in caplog.text


def test_few_clips_that_go_on_long_enough_choose_less() -> None:
    many, few = (history([20.0], config_of(), frame_gap_clips=[clips])[0] for clips in (64, 8))
    assert noise(few, config_of(), labelled=False) > 1.5 * noise(many, config_of(), labelled=False)
