from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import Ridge

from cellvjepa.embedding.readout import FOLDS, RIDGE, Sums, fold_of


def drawn(seed: int, clips: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return 5 places of each clip, of which 6 numbers are known and 3 follow from them with noise; two clips of each stretch."""
    rng = torch.Generator().manual_seed(seed)
    known = torch.randn(clips, 5, 6, generator=rng) + 1
    target = known @ torch.randn(6, 3, generator=torch.Generator().manual_seed(99)) - 2 + 0.3 * torch.randn(clips, 5, 3, generator=rng)
    return known, target, torch.arange(clips) % FOLDS


def test_each_stretch_is_judged_by_a_ridge_regression_on_the_others():
    sums, batches = Sums(), [drawn(0), drawn(1)]
    for batch in batches:
        sums.add(*batch)
    known, target, folds = (torch.cat(parts) for parts in zip(*batches, strict=True))
    found = sums.readout().said(known, folds)
    for fold in range(FOLDS):
        others = folds != fold
        inputs, outputs = known[others].flatten(0, 1).numpy(), target[others].flatten(0, 1).numpy()
        penalty = RIDGE * inputs.var(axis=0).mean() * len(inputs)
        expected = Ridge(alpha=penalty).fit(inputs, outputs).predict(known[~others].flatten(0, 1).numpy())
        np.testing.assert_allclose(found[~others].flatten(0, 1), expected, atol=1e-4)


def test_errors_are_mahalanobis_distances_by_what_is_left_elsewhere():
    known, target, folds = drawn(0, clips=80)
    sums = Sums()
    sums.add(known, target, folds)
    readout = sums.readout()
    said = readout.said(known, folds)
    found = readout.errors(said, target, folds)
    for fold in range(FOLDS):
        others = folds != fold
        left = (known[others] @ readout.matrices_KFD[fold] + readout.biases_KD[fold] - target[others]).flatten(0, 1).double().numpy()
        covariance = np.cov(left.T, bias=True)
        covariance += RIDGE * np.trace(covariance) / 3 * np.eye(3)
        wrong = (said - target)[~others].flatten(0, 1).double().numpy()
        expected = np.sqrt(np.einsum("nd,de,ne->n", wrong, np.linalg.inv(covariance), wrong) / 3)
        np.testing.assert_allclose(found[~others].flatten(), expected, rtol=1e-3)


def test_a_direction_that_is_never_foretold_well_counts_little():
    known, target, folds = drawn(0, clips=80)
    target[..., 0] += 20 * torch.randn(80, 5, generator=torch.Generator().manual_seed(5))
    sums = Sums()
    sums.add(known, target, folds)
    readout = sums.readout()
    said = readout.said(known, folds)
    usual = readout.errors(said, target, folds).mean()
    for number, least, most in ((0, 0.0, 0.2), (1, 0.5, 9.0)):
        event = target.clone()
        event[..., number] += 6
        more = readout.errors(said, event, folds).mean() - usual
        assert least < more < most


def test_what_happens_in_a_stretch_changes_only_what_is_said_of_the_others():
    known, target, folds = drawn(0)
    said = []
    for event in (0.0, 50.0):
        sums, changed = Sums(), target.clone()
        changed[folds == 2] += event
        sums.add(known, changed, folds)
        said.append(sums.readout().said(known, folds))
    assert torch.equal(said[0][folds == 2], said[1][folds == 2])
    assert not torch.allclose(said[0][folds != 2], said[1][folds != 2], atol=1)


def test_one_stretch_that_is_all_there_is_judges_itself():
    known, target, _ = drawn(0)
    folds = torch.full((8,), 2)
    sums = Sums()
    sums.add(known, target, folds)
    assert (sums.readout().said(known, folds) - target).abs().mean() < 0.5 * (target - target.mean(dim=(0, 1))).abs().mean()


def test_stretches_are_equal_parts_of_the_movie():
    assert fold_of(torch.arange(12), 12).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert fold_of(torch.arange(3), 3).tolist() == [0, 1, 2]
    assert fold_of(torch.tensor([5]), 4).tolist() == [FOLDS - 1]
