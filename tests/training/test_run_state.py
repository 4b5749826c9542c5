"""How a run stands, from its folder alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cellvjepa.config import Config, save_config
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.readers import open_archive
from cellvjepa.training.pretrain import pretrain
from cellvjepa.training.recent import recent_runs, remember_run
from cellvjepa.training.run_state import MetricsSoFar, read_new_metrics, read_run_state, usable_encoder


def line(step: int, **more: Any) -> str:
    return json.dumps({"step": step, "seconds": float(step), "health": "green", **more}) + "\n"


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    assert read_new_metrics(file) == MetricsSoFar()
    file.write_text(line(0) + line(1))
    first = read_new_metrics(file)
    assert [row["step"] for row in first.rows] == [0, 1]
    assert read_new_metrics(file, first) is first
    with file.open("a") as out:
        out.write(line(2))
    second = read_new_metrics(file, first)
    assert [row["step"] for row in second.rows] == [0, 1, 2]
    assert second.rows[:2] == first.rows
    assert second.rows[0] is first.rows[0]  # what was read is not read again


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(0) + line(1)[:9])
    first = read_new_metrics(file)
    assert [row["step"] for row in first.rows] == [0]
    file.write_text(line(0) + line(1))
    assert [row["step"] for row in read_new_metrics(file, first).rows] == [0, 1]


@pytest.mark.parametrize("anew", ["", line(0), line(0) + line(1, loss=2.0), line(0) + line(1, loss=2.0) + line(2) + line(3)])
def test_a_file_that_was_written_anew_is_read_from_its_beginning(tmp_path: Path, anew: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(line(0) + line(1) + line(2))
    before = read_new_metrics(file)
    file.write_text(anew)
    assert list(read_new_metrics(file, before).rows) == [json.loads(text) for text in anew.splitlines()]


def test_time_left_is_that_of_the_process_that_trains_now(tmp_path: Path, tiny_config: Config) -> None:
    save_config(tiny_config, tmp_path / "config.yaml")  # of 6 steps
    rows = [line(0, seconds=100.0), line(1, seconds=200.0), line(2, seconds=3.0), line(3, seconds=5.0)]
    for count, left in ((1, None), (2, 500.0), (3, None), (4, 6.0)):
        (tmp_path / "metrics.jsonl").write_text("".join(rows[:count]))
        assert read_run_state(tmp_path).seconds_left == left


def test_a_folder_without_a_run_is_one_that_has_not_begun(tmp_path: Path) -> None:
    state = read_run_state(tmp_path / "nothing")
    assert (state.begun, state.ended, state.has_encoder, state.rows, state.seconds_left) == (False, False, False, (), None)
    with pytest.raises(UserError, match="this run has kept no encoder yet"):
        usable_encoder(tmp_path)


def test_from_the_first_checkpoint_to_the_end(toy_archive: Path, tmp_path: Path, tiny_config: Config) -> None:
    """The best encoder so far can be used while training goes on, and says what it was trained on; at the end that of the run is used."""
    from cellvjepa.model.encoder_settings import encoder_config
    from cellvjepa.model.weights import load_encoder

    movies, run = open_archive(toy_archive).movies, tmp_path / "run"

    def stop_at_four(stage: str, done: int, total: int) -> None:
        if stage == "pretraining" and done == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        pretrain(movies, run, tiny_config, progress=stop_at_four)
    state = read_run_state(run)
    assert (state.begun, state.ended, state.has_encoder, state.checkpoint_step) == (True, False, True, 4)
    assert state.config == tiny_config
    encoder = usable_encoder(run)
    _, card = load_encoder(encoder)
    assert encoder == run / f"encoder_of_step_{card.provenance['chosen']['step']}"
    assert encoder_config(encoder) == tiny_config
    assert card.provenance["movies"] == [movie.name for movie in movies]
    before = (encoder / "encoder.safetensors").read_bytes()

    pretrain(movies, run, tiny_config, resume=True)
    ended = read_run_state(run, state)
    assert ended.ended
    assert ended.rows[-1]["step"] == tiny_config.training.steps
    assert usable_encoder(run) == run
    assert (encoder / "encoder.safetensors").read_bytes() == before
    assert recent_runs()[0] == run  # what was trained last is remembered


def test_a_run_that_is_gone_on_with_has_not_ended(toy_archive: Path, tmp_path: Path, tiny_config: Config) -> None:
    run = tmp_path / "run"
    pretrain(open_archive(toy_archive).movies, run, tiny_config)
    assert read_run_state(run).ended
    later_ns = (run / "encoder.safetensors").stat().st_mtime_ns + 1_000_000_000
    os.utime(run / "config.yaml", ns=(later_ns, later_ns))  # as at the beginning of each part of a run
    assert not read_run_state(run).ended


def test_recent_runs_are_in_order_without_those_that_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLVJEPA_CACHE", str(tmp_path / "cache"))
    assert recent_runs() == ()
    for name in ("a", "b", "a"):
        (tmp_path / name).mkdir(exist_ok=True)
        remember_run(tmp_path / name)
    assert recent_runs() == (tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").rmdir()
    assert recent_runs() == (tmp_path / "b",)
    (tmp_path / "cache" / "runs.json").write_text("{")
    assert recent_runs() == ()
    monkeypatch.setenv("CELLVJEPA_CACHE", "")
    remember_run(tmp_path / "b")
    assert recent_runs() == ()
