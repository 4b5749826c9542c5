"""The study of few labels: the other methods compute what their papers say, windows of one quadrant never show another, verdicts are earned."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from cellvjepa import sample_data_folder
from cellvjepa.config import load_config
from cellvjepa.model.encoder import new_encoder
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.readers import open_movie

STUDIES = Path(__file__).parents[2] / "workflows" / "studies"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> object:
    """Import a module of the studies, which import each other by name."""
    monkeypatch.syspath_prepend(STUDIES)
    return importlib.import_module


def _module(study: object, name: str) -> ModuleType:
    assert callable(study)
    found = study(name)
    assert isinstance(found, ModuleType)
    return found


def test_exchanging_the_windows_exchanges_the_answers_and_keeps_the_loss(study: object) -> None:
    tarrow = _module(study, "tarrow")
    torch.manual_seed(0)
    head = tarrow.ArrowHead(16).eval()
    tokens = torch.randn(5, 2, 4, 9, 16)
    logits = head.logits(head.dense(tokens))
    exchanged = head.logits(head.dense(tokens.flip(1)))
    assert not torch.allclose(logits[:, 0], logits[:, 1])
    torch.testing.assert_close(exchanged, logits.flip(1))


def test_the_arrow_head_learns_which_window_is_brighter(study: object) -> None:
    tarrow = _module(study, "tarrow")
    torch.manual_seed(0)
    head = tarrow.ArrowHead(8)
    tokens = torch.randn(16, 2, 2, 4, 8)
    tokens[:, 1] += 1.0
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    first = head(tokens).item()
    for _ in range(30):
        optimizer.zero_grad()
        head(tokens).backward()
        optimizer.step()
    assert head(tokens).item() < first / 2


def test_decorrelation_is_least_where_features_are_unlike(study: object) -> None:
    tarrow = _module(study, "tarrow")
    apart = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1]]).T[None]
    alike = torch.tensor([[1.0, -1, 1, -1], [1, -1, 1, -1]]).T[None]
    assert tarrow.decorrelation(alike).item() == pytest.approx(math.log(2))
    assert tarrow.decorrelation(apart).item() == pytest.approx(math.log(1 + math.exp(-5)), rel=1e-4)


def test_nt_xent_is_the_formula_of_the_paper(study: object) -> None:
    contrastive = _module(study, "time_contrastive")
    pairs = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(pairs.reshape(6, 5), dim=1)
    terms = []
    for i in range(6):
        mate = i + 1 if i % 2 == 0 else i - 1
        others = sum(torch.exp(unit[i] @ unit[k] / 0.2) for k in range(6) if k != i)
        terms.append(-torch.log(torch.exp(unit[i] @ unit[mate] / 0.2) / others))
    assert contrastive.nt_xent(pairs).item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-5)


def test_windows_of_a_pair_are_turned_alike_only_where_asked(study: object) -> None:
    training = _module(study, "pair_training")
    one = torch.arange(64.0).reshape(1, 1, 1, 1, 1, 8, 8)
    pairs = one.expand(32, 2, 1, 1, 1, 8, 8)
    alike = training.turned(pairs, torch.Generator().manual_seed(0), alike=True)
    apart = training.turned(pairs, torch.Generator().manual_seed(0), alike=False)
    assert torch.equal(alike[:, 0], alike[:, 1])
    assert not torch.equal(apart[:, 0], apart[:, 1])
    assert len({tuple(window.flatten().tolist()) for window in alike[:, 0]}) == 8  # all orientations


@pytest.mark.parametrize("name", ["tarrow", "time_contrastive"])
def test_other_methods_train_our_encoder_from_our_initial_weights(name: str, study: object, tmp_path: Path) -> None:
    training, module = _module(study, "pair_training"), _module(study, name)
    head = module.ArrowHead if name == "tarrow" else module.ContrastiveHead
    tiny = ["clip.frames=4", "clip.size_px=16", "model.tubelet=[2,1,8,8]", "model.dim=24", "model.depth=1", "model.heads=2", "training.batch_size=8"]
    config = load_config(None, [*tiny, "training.steps=2", "training.device=cpu", "training.seed=3"])
    shape = build_vjepa(config, 0).context_encoder.shape
    movie = open_movie(sample_data_folder() / "simulated" / "field1.ome.tif")
    training.train_on_pairs(training.Method(module.views, head), (movie,), shape, config, tmp_path)
    encoder, card = load_encoder(tmp_path)
    began = new_encoder(shape, torch.Generator().manual_seed(3)).state_dict()
    moved = [float((encoder.state_dict()[key] - value).abs().max()) for key, value in began.items()]
    assert 0 < max(moved) < 0.01  # two steps of at most the learning rate
    assert card.provenance["processor_s"] > 0


def test_no_window_of_a_quadrant_shows_another(study: object) -> None:
    tasks = _module(study, "few_labels_tasks")
    movie = open_movie(sample_data_folder() / "simulated" / "field1.ome.tif")
    shape = ClipShape.of(load_config(None, ["clip.size_px=32"]).clip)
    table = tasks.grid_of_windows(movie, shape)
    assert set(table["quadrant"]) == {"quadrant0", "quadrant1", "quadrant2", "quadrant3"}
    seen = {name: np.zeros((192, 192), bool) for name in set(table["quadrant"])}
    for row in table.itertuples():
        y, x = round(row.y_px + 0.5) - 16, round(row.x_px + 0.5) - 16
        seen[row.quadrant][y : y + 32, x : x + 32] = True
    assert sum(part.astype(int) for part in seen.values()).max() == 1  # type: ignore[union-attr]


def test_time_tasks_pair_each_clip_with_itself_in_another_time(study: object) -> None:
    tasks = _module(study, "few_labels_tasks")
    movie = tasks.in_memory(with_levels(open_movie(sample_data_folder() / "simulated" / "field1.ome.tif")))
    shape = ClipShape.of(load_config(None, ["clip.size_px=32"]).clip)
    found = tasks.time_of_grid("toy", movie, shape)
    count = len(found.clips) // 4
    plain, backwards, _, mixed = np.split(found.clips, 4)
    assert np.array_equal(plain, backwards[:, :, ::-1])
    assert np.array_equal(np.sort(plain, axis=2), np.sort(mixed, axis=2))
    assert [task.name for task in found.tasks] == ["direction toy", "stride toy", "order toy"]
    for task in found.tasks:
        assert task.rows[:count].tolist() == list(range(count))
        assert task.codes_N.tolist() == [0] * count + [1] * count
        for fold in task.folds:
            assert not set(task.groups_N[fold.train]) & set(task.groups_N[fold.test])


def test_a_verdict_needs_seeds_and_more_than_two_standard_errors(study: object) -> None:
    table = _module(study, "few_labels_table")
    assert table.in_words(np.array([0.1, 0.11])) == "+0.105 ± 0.005"
    assert table.in_words(np.array([0.1, 0.11, 0.12])).endswith("**ahead**")
    assert table.in_words(np.array([-0.1, -0.11, -0.12])).endswith("**behind**")
    assert table.in_words(np.array([0.1, -0.11, 0.12])).endswith("within noise")
    assert table.in_words(np.array([0.002, 0.002, 0.002])).endswith("within noise")


def test_differences_are_between_equal_seeds(study: object) -> None:
    table = _module(study, "few_labels_table")
    results = [
        {"variant": method, "seed": seed, "scores": {"t 5 mean": value}}
        for method, seed, value in [("ours", 0, 0.9), ("ours", 1, 0.7), ("untrained", 1, 0.6)]
    ]
    assert table.comparison(results, "untrained", "t 5 mean") == "+0.100"
