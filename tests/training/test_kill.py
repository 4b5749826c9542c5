"""A run that is killed at any moment, also while it writes a checkpoint, goes on exactly as if it had not been."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cellvjepa.config import Config, save_config
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder
from cellvjepa.training.checkpoint import list_checkpoints, load_checkpoint
from cellvjepa.training.metrics import read_metrics
from cellvjepa.training.optimizer import make_optimizer

KILLS = 20
STEPS = 200
STEPS_PER_KILL = 6  # at the most, about: a quick machine must not come to the end too early
EVERY = 3  # steps between checkpoints
TIMES = {"clips_per_s", "data_wait", "seconds"}


class Pretraining:
    """`cellvjepa pretrain`, as often as wanted: its processes come from :mod:`forked_pretraining`."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server
        assert self._said() == "ready"

    def start(self, *arguments: str | Path) -> int:
        """Start a run and return its process id."""
        assert self._server.stdin is not None
        self._server.stdin.write(shlex.join(str(argument) for argument in arguments) + "\n")
        self._server.stdin.flush()
        return int(self._said())

    def ended(self) -> int:
        """Wait for the run and return its exit status, negative where a signal ended it."""
        return int(self._said())

    def _said(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()


@pytest.fixture
def pretraining() -> Iterator[Pretraining]:
    command = [sys.executable, str(Path(__file__).with_name("forked_pretraining.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield Pretraining(server)
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(60) == 0


def losses(run: Path) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in read_metrics(run / "metrics.jsonl")]


def steps_done(run: Path) -> int:
    rows = read_metrics(run / "metrics.jsonl") if (run / "metrics.jsonl").exists() else []
    return rows[-1]["step"] + 1 if rows else 0


def wait_a_moment(seconds: float, checkpoints: Path, enough: int) -> None:
    """Wait for a time, or until there is a checkpoint of a step."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not any(checkpoint.step >= enough for checkpoint in list_checkpoints(checkpoints)):
        time.sleep(0.001)


def wait_for_a_write(checkpoints: Path, done: int, pid: int) -> None:
    """Wait until a process writes a checkpoint of a later step."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        os.kill(pid, 0)  # raises where there is no such process any more
        if any(int(path.name[6:14]) > done for path in checkpoints.glob(".step_*")):
            return
        time.sleep(0.0005)
    raise AssertionError("no checkpoint was written within a minute")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows neither forks nor knows SIGKILL")
def test_a_run_killed_twenty_times_continues_exactly(pretraining: Pretraining, toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    """At most the steps since the last checkpoint are lost, no checkpoint is ever unreadable, and the end is that of a run left alone.

    Half of the kills come at a random moment, half while a checkpoint is being written.
    """
    training = tiny_config.training.model_copy(update={"steps": STEPS, "checkpoint_every": EVERY})
    config = tiny_config.model_copy(update={"training": training})
    save_config(config, tmp_path / "config.yaml")
    run, alone, moments = tmp_path / "killed", tmp_path / "alone", random.Random(0)
    arguments: list[str | Path] = [toy_archive, "--config", tmp_path / "config.yaml", "--out"]
    model = build_vjepa(config, seed=1)
    optimizer = make_optimizer(model, config)
    newest = interrupted = 0
    for kill in range(KILLS):
        begun = (run / "config.yaml").exists()
        pid = pretraining.start(*arguments, run, *["--resume"] * begun)
        if kill % 2:
            wait_for_a_write(run / "checkpoints", newest + EVERY, pid)  # the second one, so that all of these kills bring it further
            time.sleep(moments.uniform(0, 0.02) if kill % 4 == 1 else 0)
        else:
            wait_a_moment(moments.uniform(0, 1.5), run / "checkpoints", STEPS_PER_KILL * (kill + 1))
        os.kill(pid, signal.SIGKILL)
        assert pretraining.ended() == -signal.SIGKILL, "the run ended before it could be killed"
        interrupted += any((run / "checkpoints").glob(".step_*"))
        known = list_checkpoints(run / "checkpoints")
        for checkpoint in known:
            load_checkpoint(checkpoint, model, optimizer, config)
        before, newest = newest, known[-1].step if known else 0
        assert newest >= before
        assert steps_done(run) - newest <= EVERY
    assert newest > EVERY
    assert interrupted, "a kill must have come while a checkpoint was being written"
    for arguments_left in ([*arguments, run, "--resume"], [*arguments, alone]):
        pretraining.start(*arguments_left)
        assert pretraining.ended() == 0
    assert losses(run) == losses(alone)
    assert [row["step"] for row in losses(run)] == list(range(STEPS + 1))
    weights = load_encoder(alone)[0].state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in load_encoder(run)[0].state_dict().items())
    assert not list(run.rglob(".*")), "what killed processes were writing is removed"
