"""Several processes that train one model together, one for each GPU: who this one is, what all agree on, and how they end.

Each makes its own rows of every batch (:class:`cellvjepa.movies.schedule.Part`) and has the whole model; gradients are averaged.
With one process, which is the usual case, everything here does nothing.
"""

from __future__ import annotations

import gc
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from cellvjepa.errors import Cancelled, Stopped, UserError
from cellvjepa.movies.schedule import Part

_Value = TypeVar("_Value")

# How long one may keep the others waiting: levels of a large archive are measured, a share that has gone away is waited for.
_PATIENCE = timedelta(hours=4)
_TOLD = "cellvjepa/told"  # under this name the first process that ends with a message leaves its exit code


@dataclass(frozen=True)
class Processes:
    """Those that train together, as one of them sees it.

    Parameters
    ----------
    rank
        Which of all this is, from 0; the first one writes what a run leaves.
    count
        How many there are, on all machines.
    local_rank
        Which of those on this machine, from 0.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, and talks to the user."""
        return self.rank == 0

    @property
    def part(self) -> Part:
        """What this one makes of each batch."""
        return Part(self.rank, self.count)

    def device(self, chosen: torch.device) -> torch.device:
        """Return where this process computes: on the GPU of its own, or on the CPU.

        Parameters
        ----------
        chosen
            What :func:`cellvjepa.model.device.choose_device` found for ``training.device``.

        Raises
        ------
        UserError
            If one GPU is named for several processes, there are fewer GPUs than processes, or it is a device for one process only.
        """
        if self.count == 1 or chosen.type == "cpu":
            return chosen
        if chosen.type != "cuda":
            raise UserError(f"several processes cannot train on {chosen.type}", "start one process, or set training.device=cpu", "training.device")
        if chosen != torch.device("cuda"):
            raise UserError(f"training.device names one GPU ({chosen}) for several processes", "set training.device=auto", "training.device")
        found = torch.cuda.device_count()
        if self.local_rank >= found:
            raise UserError(f"there are more processes than GPUs on this machine ({found})", f"start torchrun with --nproc-per-node={found}")
        own = torch.device("cuda", self.local_rank)
        torch.cuda.set_device(own)
        return own

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over the processes, of each value for itself; gradients pass through it."""
        return values if self.count == 1 else cast(torch.Tensor, _Mean.apply(values, self.count))  # type: ignore[no-untyped-call]

    def std(self, values: torch.Tensor, dim: int | None = None, correction: int = 1) -> torch.Tensor:
        """Return ``torch.std`` of the values of all processes, each of which has as many; over all of them, or along ``dim``."""
        if self.count == 1:
            return values.std(dim=dim, correction=correction)
        own = values.numel() if dim is None else values.shape[dim]
        centred = values - self.mean(values.mean(dim=dim, keepdim=dim is not None))
        return (self.mean(centred.square().sum(dim=dim)) * self.count / (own * self.count - correction)).sqrt()

    def largest(self, value: int) -> int:
        """Return the largest of the values that the processes have."""
        if self.count == 1:
            return value
        found = torch.tensor(value)  # on the CPU: no GPU has to be waited for
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def total(self, value: int) -> int:
        """Return the sum of the values that the processes have."""
        if self.count == 1:
            return value
        found = torch.tensor(value)
        dist.all_reduce(found)
        return int(found)

    def from_first(self, value: _Value) -> _Value:
        """Return, everywhere, the value that the first process has."""
        if self.count == 1:
            return value
        held: list[Any] = [value if self.first else None]
        dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        return cast(_Value, held[0])

    def tensors_from_first(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return, everywhere, what the first process has, by name; elsewhere what is given is ignored. On the CPU."""
        if self.count == 1:
            return tensors
        kinds = self.from_first({name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()})
        received = {}
        for name, (shape, dtype) in kinds.items():
            received[name] = tensors[name].cpu().contiguous() if self.first else torch.empty(shape, dtype=dtype)
            dist.broadcast(received[name], src=0)
        return received

    def replicate(self, model: nn.Module) -> nn.Module:
        """Return a module that computes what the model does, and whose gradients are averaged; weights become those of the first process."""
        if self.count == 1:
            return model
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the option has a new name, which not every version knows
            return DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)


ALONE = Processes()


def share_state(processes: Processes, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Bring model and optimiser of all processes to the state of the first one's."""
    if processes.count == 1:
        return
    own = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        own |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
    shared = processes.tensors_from_first(own)
    if processes.first:
        return
    model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in shared.items() if name.startswith("model.")})
    states: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in shared.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".")
            states.setdefault(int(index), {})[field] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def adding_up(replica: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which gradients only add up; they are averaged at the first backward pass outside it."""
    return cast(AbstractContextManager[None], replica.no_sync()) if isinstance(replica, DistributedDataParallel) else nullcontext()


@contextmanager
def together() -> Iterator[Processes]:
    """Join the processes that torchrun started; without it this is one alone, and nothing happens.

    All end when one does. An error that all meet, and one that a single process meets while the others wait for it, is told once: by
    whoever comes first. The others leave with the same exit code and in silence.

    Raises
    ------
    UserError
        If another process has gone away without a word.
    SystemExit
        Where another one has told what happened.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    store, rank, count = next(rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=_PATIENCE)
    try:
        processes = Processes(rank, count, int(os.environ.get("LOCAL_RANK", str(rank))))
        yield processes
        processes.largest(0)  # all stay until the first one has written what a run leaves
    except BaseException as error:
        _forget_frames(error)
        told = _tell(store, rank, _exit_code(error))
        if told is not None:
            raise SystemExit(told) from None
        if _is_a_lost_connection(error):
            raise UserError(
                "another process of this run has gone away",
                "look above, or into the log of its machine, for its last words; then go on with --resume",
            ) from None
        raise
    finally:
        dist.destroy_process_group()


class _Mean(torch.autograd.Function):
    """The mean over the processes. What is minimised is the mean of what they compute, so the gradient is the mean of theirs."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, count: int) -> torch.Tensor:
        ctx.count = count
        mean = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(mean)
        return mean / count

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        mean = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(mean)
        return mean / ctx.count, None


def _forget_frames(error: BaseException) -> None:
    """Let go of what the functions that failed knew, the replica above all: where it outlives its group, PyTorch waits for ever at the end."""
    chained: BaseException | None = error
    while chained is not None:
        traceback.clear_frames(chained.__traceback__)
        chained = chained.__context__
    gc.collect()


def _tell(store: Any, rank: int, code: int) -> int | None:
    """Claim to be the one that tells how the run ended; return the exit code of another that was earlier, else None."""
    mine = f"{rank} {code}"
    try:
        first = store.compare_set(_TOLD, "", mine).decode()
    except RuntimeError:  # whoever kept the store is gone
        return None
    return None if first == mine else int(first.split()[1])


def _exit_code(error: BaseException) -> int:
    """Return the exit code of the command line (:mod:`cellvjepa.cli`) for an error."""
    if isinstance(error, Stopped):
        return 0
    if isinstance(error, (Cancelled, KeyboardInterrupt)):
        return 130
    return 2 if isinstance(error, UserError) or _is_a_lost_connection(error) else 1


def _is_a_lost_connection(error: BaseException) -> bool:
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
