"""A batch is computed in as few parts as fit the memory, and in more where it turns out not to suffice."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.training import micro_batch
from cellvjepa.training import trainer as trainer_module
from cellvjepa.training.micro_batch import clips_that_fit, free_bytes, is_out_of_memory, kept_bytes, parts_of
from cellvjepa.training.processes import Processes
from cellvjepa.training.trainer import Trainer
from tests.training.made_up import made_up_examples

CPU = torch.device("cpu")


def with_training(config: Config, **values: object) -> Config:
    return config.model_copy(update={"training": config.training.model_copy(update=values)})


def short_of_memory(monkeypatch: pytest.MonkeyPatch, trainer: Trainer, clips: int, error: BaseException) -> list[int]:
    """Let a forward pass of more clips at once fail; return the numbers of clips that were tried."""
    forward, tried = trainer.model.forward, []

    def failing(pixels: torch.Tensor, *others: object) -> object:
        tried.append(len(pixels))
        if len(pixels) > clips:
            raise error
        return forward(pixels, *others)

    monkeypatch.setattr(trainer.model, "forward", failing)
    return tried


@given(st.integers(1, 200), st.integers(0, 200))
def test_a_batch_is_cut_into_the_fewest_equal_parts_that_fit(batch: int, at_most: int):
    parts = parts_of(batch, at_most)
    assert batch % parts == 0
    assert batch // parts <= max(1, at_most)
    assert all(batch // fewer > max(1, at_most) for fewer in range(1, parts) if batch % fewer == 0)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_what_lack_of_memory_looks_like(error: BaseException, found: bool):
    assert is_out_of_memory(error) == found


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_out_of_memory_halves_the_clips_at_once_and_goes_on(
    error: BaseException, tiny_config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    config = with_training(tiny_config, accumulation=1)
    trainer, asked = (Trainer(build_vjepa(c, seed=0), c, CPU) for c in (config, with_training(tiny_config, accumulation=2)))
    tried = short_of_memory(monkeypatch, trainer, 2, error)
    with caplog.at_level(logging.WARNING):
        results = [trainer.step(step, made_up_examples(config, step)) for step in range(2)]
    assert tried == [4, 2, 2, 2, 2]
    assert [record.message for record in caplog.records] == ["out of memory with 4 clips at once; going on with 2"]
    assert trainer.computed["clips_at_once"] == [2]
    expected = [asked.step(step, made_up_examples(config, step)) for step in range(2)]  # the same as if two parts had been asked for
    assert [result.total for result in results] == [result.total for result in expected]
    assert all(torch.equal(a, b) for a, b in zip(trainer.model.parameters(), asked.model.parameters(), strict=True))


def test_a_single_clip_that_does_not_fit_is_the_users_to_solve(tiny_config: Config, monkeypatch: pytest.MonkeyPatch):
    trainer = Trainer(build_vjepa(tiny_config, seed=0), with_training(tiny_config, accumulation=1), CPU)
    tried = short_of_memory(monkeypatch, trainer, 0, MemoryError())
    with pytest.raises(UserError, match=r"does not suffice for a single clip\. set training\.activation_checkpointing=true, or lower clip\.size_px"):
        trainer.step(0, made_up_examples(tiny_config, 0))
    assert tried == [4, 2, 1]


def test_memory_for_one_clip_and_not_for_two_is_enough(tiny_config: Config, monkeypatch: pytest.MonkeyPatch):
    """How many fit is found out with two; that this fails is an answer as well."""
    trainer = Trainer(build_vjepa(tiny_config, seed=0), with_training(tiny_config, accumulation=None), CPU)
    tried = short_of_memory(monkeypatch, trainer, 1, MemoryError())
    trainer.step(0, made_up_examples(tiny_config, 0))
    assert tried == [2, 1, 1, 1, 1]
    monkeypatch.setattr(trainer, "processes", Processes(0, 2))
    trainer.parts.clear()
    with pytest.raises(UserError, match=r"does not suffice for two clips at once\. set training\.accumulation=4"):
        trainer.step(1, made_up_examples(tiny_config, 1))


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_or_a_job_counts(version: int, tmp_path: Path):
    """The tightest of the groups that a process is in; files that were read do not count as used."""
    job = tmp_path / ("memory/job" if version == 1 else "job")
    (job / "step").mkdir(parents=True)
    membership = tmp_path / "membership"
    membership.write_text("5:cpu:/job/step\n4:memory:/job/step\n" if version == 1 else "0::/job/step\n")
    limit, used, cache = (
        ("memory.max", "memory.current", "inactive_file")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    for group, most in ((job, "1000"), (job / "step", "max")):
        (group / limit).write_text(f"{most}\n")
        (group / used).write_text("700\n")
        (group / "memory.stat").write_text(f"anon 500\n{cache} 200\n")
    assert micro_batch._free_of_group(tmp_path, membership) == 1000 - 700 + 200
    (job / limit).write_text("max\n")
    assert micro_batch._free_of_group(tmp_path, membership) is None
    assert micro_batch._free_of_group(tmp_path, tmp_path / "none") is None


def test_processes_on_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(micro_batch, "_free_of_system", lambda: 1000)
    monkeypatch.setattr(micro_batch, "_free_of_group", lambda: 600)
    assert free_bytes(CPU) == 600
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert free_bytes(CPU) == 300


def test_several_processes_do_not_halve_for_themselves(tiny_config: Config, monkeypatch: pytest.MonkeyPatch):
    trainer = Trainer(build_vjepa(tiny_config, seed=0), with_training(tiny_config, accumulation=1), CPU)
    monkeypatch.setattr(trainer, "processes", Processes(0, 2))
    short_of_memory(monkeypatch, trainer, 2, MemoryError())
    with pytest.raises(UserError, match=r"does not suffice for 4 clips at once\. set training\.accumulation=2 and go on with --resume"):
        trainer.step(0, made_up_examples(tiny_config, 0))


def test_other_errors_are_not_taken_for_lack_of_memory(tiny_config: Config, monkeypatch: pytest.MonkeyPatch):
    trainer = Trainer(build_vjepa(tiny_config, seed=0), tiny_config, CPU)
    short_of_memory(monkeypatch, trainer, 0, RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        trainer.step(0, made_up_examples(tiny_config, 0))


def test_the_number_of_parts_follows_the_memory(tiny_config: Config, monkeypatch: pytest.MonkeyPatch):
    clips = []
    for share in (100.0, 3.0, 1.7, 0.1):
        trainer = Trainer(build_vjepa(tiny_config, seed=0), with_training(tiny_config, accumulation=None), CPU)
        before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
        needed = {}

        def fitting(run: object, batch: int, trained: int, device: torch.device, share: float = share, needed: dict[str, int] = needed) -> int:
            one, two = (kept_bytes(lambda count=count: run(count)) for count in (1, 2))  # type: ignore[operator]
            needed["free"] = int(trained + share * (two - one) * micro_batch._OVERHEAD / micro_batch._SHARE)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(micro_batch, "free_bytes", lambda _: needed["free"])
                return clips_that_fit(run, batch, trained, device)  # type: ignore[arg-type]

        monkeypatch.setattr(trainer_module, "clips_that_fit", fitting)
        trainer.evaluate(made_up_examples(tiny_config, 0))
        assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())
        assert all(parameter.grad is None for parameter in trainer.model.parameters())
        clips += trainer.computed["clips_at_once"]  # type: ignore[arg-type, operator]
    assert clips == [4, 2, 1, 1]


def test_what_is_kept_for_the_backward_pass_is_counted_once():
    weights = torch.ones(1000, requires_grad=True)

    def run() -> None:
        product = weights * torch.arange(1000.0)  # keeps the numbers; weights are multiplied by something that needs no gradient
        (product.exp() * 2).sum()  # keeps what exp gave
        (product.exp() * 2).sum()

    assert kept_bytes(run) == 3 * 4000


def test_a_system_tells_how_much_memory_is_free(monkeypatch: pytest.MonkeyPatch):
    assert 2**20 < free_bytes(CPU) < 2**50
    monkeypatch.setattr(micro_batch, "Path", lambda _: Path("nowhere"))
    assert 2**20 < free_bytes(CPU) < 2**50
