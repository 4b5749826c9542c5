"""Several processes train what one would with the whole batch, keep one log, and end together."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cellvjepa.config import Config, load_config, save_config
from cellvjepa.errors import UserError
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.readers import open_archive
from cellvjepa.training.checkpoint import list_checkpoints
from cellvjepa.training.pretrain import pretrain
from cellvjepa.training.processes import ALONE, Processes, together
from cellvjepa.training.sharing import check_shares
from tests.training.several import ROOT, Starter, assert_same_losses, ended, start, with_training


def command(archive: Path, config: Config, run: Path) -> list[str]:
    save_config(config, run.parent / "settings.yaml")
    return ["-m", "cellvjepa", "pretrain", str(archive), "--out", str(run), "--config", str(run.parent / "settings.yaml")]


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not any(known.step >= step for known in list_checkpoints(run / "checkpoints")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_process_is_alone_and_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with together() as processes:
        assert processes is ALONE
    assert not torch.distributed.is_initialized()
    values, model = torch.rand(3, 2), torch.nn.Linear(1, 1)
    assert ALONE.mean(values) is values
    assert torch.equal(ALONE.std(values), values.std())
    assert torch.equal(ALONE.std(values, dim=0, correction=0), values.std(dim=0, correction=0))
    assert ALONE.replicate(model) is model
    assert (ALONE.largest(3), ALONE.total(3), ALONE.from_first("me")) == (3, 3, "me")
    assert ALONE.device(torch.device("cuda:1")) == torch.device("cuda:1")


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.set_device", taken.append)
    assert Processes(7, 8, 3).device(torch.device("cuda")) == torch.device("cuda:3") == taken[0]
    assert Processes(1, 2, 1).device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(UserError, match=r"more processes than GPUs on this machine \(4\)\. start torchrun with --nproc-per-node=4"):
        Processes(4, 8, 4).device(torch.device("cuda"))
    with pytest.raises(UserError, match=r"names one GPU \(cuda:1\) for several processes\. set training.device=auto"):
        Processes(0, 2, 0).device(torch.device("cuda:1"))
    with pytest.raises(UserError, match=r"several processes cannot train on mps\. start one process, or set training.device=cpu"):
        Processes(0, 2, 0).device(torch.device("mps"))


def test_batches_must_divide_evenly(caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(None, ["training.batch_size=24", "training.live_blocks=8"])
    check_shares(config, Processes(0, 4))
    assert not caplog.messages
    check_shares(config, Processes(0, 3))
    assert caplog.messages == ["training.live_blocks (8) is not a multiple of the 3 processes: some pieces of movies are decoded by several of them"]
    with pytest.raises(
        UserError, match="training.batch_size: 5 processes cannot share a batch of 24 clips evenly. make it a multiple of 5, or start"
    ):
        check_shares(config, Processes(0, 5))
    with pytest.raises(UserError, match=r"4 processes cannot share a batch of 24 clips evenly in 4 parts each .*make it a multiple of 16"):
        check_shares(with_training(config, accumulation=4), Processes(0, 4))


def test_objectives_are_those_of_the_whole_batch_and_an_error_is_told_once(start_two: Starter) -> None:
    """Then one meets an error while the other waits for it: it alone tells, and the other must not wait for ever."""
    codes, _, told = ended(start_two("-W", "error", str(Path(__file__).with_name("shared_objective.py"))))
    assert codes == [1, 2], told  # the command line would make a 2 and a line of the first
    assert told.count("Traceback") == told.count("UserError: all was well") == 1


def test_two_processes_train_as_one_with_the_whole_batch(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    """Under torchrun, with accumulation, augmentation and every statistic of the batch: same losses to rounding, one log, one encoder."""
    varied = {"orientations": True, "gain": 0.2, "sigreg": 0.1, "auxiliary": "differences"}
    config = with_training(tiny_config, batch_size=8, accumulation=2, **varied)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    codes, out, told = ended([start(*torchrun, *command(toy_archive, config, tmp_path / "two"))])
    assert codes == [0], told
    assert out.count("Encoder: ") == told.count("pretraining: 6/6") == 1
    one = pretrain(open_archive(toy_archive).movies, tmp_path / "one", config)
    assert_same_losses(tmp_path / "two", one, 1e-5)
    weights, same = (load_encoder(run)[0].state_dict() for run in (tmp_path / "two", one))
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, same[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize("shard", ["off", "on"])
def test_a_signal_to_one_of_two_stops_both_and_one_goes_on(
    shard: str, start_two: Starter, toy_archive: Path, tiny_config: Config, tmp_path: Path
) -> None:
    config = with_training(tiny_config, steps=60, checkpoint_every=3, shard=shard)
    run = tmp_path / "two"
    two = start_two(*command(toy_archive, config, run))
    wait_for_step(run, 3, two[0])
    two[1].send_signal(signal.SIGUSR1)
    codes, _, told = ended(two)
    assert codes == [0, 0], told
    stopped = list_checkpoints(run / "checkpoints")[-1].step
    assert [line for line in told.splitlines() if line.startswith("cellvjepa")] == [
        f"cellvjepa: stopped by SIGUSR1 after step {stopped}; --resume goes on"
    ]
    pretrain(open_archive(toy_archive).movies, run, config, resume=True)
    assert_same_losses(run, pretrain(open_archive(toy_archive).movies, tmp_path / "one", config), 1e-3)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process and those it starts compute with one thread: with another number, the same sums are rounded differently."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_sigterm_saves_and_the_run_goes_on_exactly(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    config = with_training(tiny_config, steps=60, checkpoint_every=7)
    run = tmp_path / "stopped"
    process = start(*command(toy_archive, config, run))
    wait_for_step(run, 7, process)
    for _ in range(3):  # the cluster and torchrun may both hand it on
        process.send_signal(signal.SIGTERM)
    codes, _, told = ended([process])
    assert codes == [0], told
    stopped = list_checkpoints(run / "checkpoints")[-1].step
    assert f"cellvjepa: stopped by SIGTERM after step {stopped}; --resume goes on" in told.splitlines()
    assert 7 <= stopped < 60
    pretrain(open_archive(toy_archive).movies, run, config, resume=True)
    assert_same_losses(run, pretrain(open_archive(toy_archive).movies, tmp_path / "alone", config), 0)


def test_a_process_that_is_killed_ends_the_others(start_two: Starter, toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    config = with_training(tiny_config, steps=500, checkpoint_every=3)
    two = start_two(*command(toy_archive, config, tmp_path / "run"))
    wait_for_step(tmp_path / "run", 3, two[0])
    two[1].kill()
    codes, _, told = ended(two)
    assert codes == [2, -signal.SIGKILL], told
    assert "another process of this run has gone away" in told
    assert "Traceback" not in told


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_the_script_for_clusters_is_valid() -> None:
    script = ROOT / "workflows" / "pretrain.slurm"
    checks = [["bash", "-n"], *([["shellcheck"]] if shutil.which("shellcheck") else [])]
    for check in checks:
        found = subprocess.run([*check, str(script)], capture_output=True, text=True, check=False)
        assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
