"""Asking a run to stop by a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellvjepa.errors import Stopped
from cellvjepa.training import stop_file
from cellvjepa.training.stop_file import UntilAsked, ask_run_to_stop


@pytest.fixture(autouse=True)
def _always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_file, "_LOOK_EVERY_S", 0.0)


def test_it_hands_on_until_it_is_asked(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    progress = UntilAsked(tmp_path, lambda stage, done, total: told.append((stage, done, total)))
    progress("pretraining", 1, 9)
    ask_run_to_stop(tmp_path)
    with pytest.raises(Stopped, match="stopped by SIGTERM while pretraining"):
        progress("pretraining", 2, 9)
    assert told == [("pretraining", 1, 9)]
    progress("pretraining", 3, 9)  # one request is one request
    assert told[-1] == ("pretraining", 3, 9)


def test_what_was_asked_of_an_earlier_process_does_not_count(tmp_path: Path) -> None:
    ask_run_to_stop(tmp_path)
    told: list[int] = []
    UntilAsked(tmp_path, lambda stage, done, total: told.append(done))("pretraining", 1, 9)
    assert told == [1]


def test_a_process_that_does_nothing_leaves_what_was_asked_of_another(tmp_path: Path) -> None:
    at_work = UntilAsked(tmp_path, lambda stage, done, total: None)
    at_work("pretraining", 1, 9)
    ask_run_to_stop(tmp_path)
    UntilAsked(tmp_path, lambda stage, done, total: None)  # refused before its first step
    with pytest.raises(Stopped):
        at_work("pretraining", 2, 9)


def test_a_run_is_stopped_and_gone_on_with(toy_archive: Path, tmp_path: Path) -> None:
    """As on Windows, where there are no signals: the exit code is 0, and --resume ends the run."""
    from cellvjepa.cli import run
    from cellvjepa.training.run_state import read_run_state

    out = tmp_path / "run"
    small = ["model.dim=24", "model.depth=1", "model.heads=2", "model.predictor_dim=12", "model.predictor_depth=1", "model.predictor_heads=1"]
    small += ["clip.frames=8", "clip.size_px=32", "training.steps=4", "training.batch_size=4", "training.log_every=1", "monitor.clips=4"]
    words = ["pretrain", str(toy_archive), "--out", str(out), *[word for one in small for word in ("--set", one)]]
    original = UntilAsked.__call__

    def asked_at_two(self: UntilAsked, stage: str, done: int, total: int, /) -> None:
        if stage == "pretraining" and done == 2 and not (out / "asked").exists():
            (out / "asked").touch()
            ask_run_to_stop(out)
        original(self, stage, done, total)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UntilAsked, "__call__", asked_at_two)
        assert run(words) == 0
    assert read_run_state(out).checkpoint_step == 2
    assert not read_run_state(out).ended
    assert run([*words, "--resume"]) == 0
    assert read_run_state(out).ended
