"""A model in pieces: each of several processes keeps its part of every tensor, and a block is whole only while it is computed.

This is FSDP2 (``torch.distributed.fsdp.fully_shard``). Weights, gradients, what the optimiser keeps and the target encoder are cut
along their first axis, so whatever looks at one number at a time (AdamW, EMA) needs no other process. Checkpoints, monitors and
encoder files know nothing of it: for them the model is put together in the first process.

Imports of PyTorch's sharding take a second, so they are made where there is something to shard.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn

from cellvjepa.config import Config
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.predictor import Predictor
from cellvjepa.model.vjepa import VJepa
from cellvjepa.training.optimizer import make_optimizer
from cellvjepa.training.processes import Processes

LARGEST_REPLICA = 350_000_000  # weights of an encoder: ViT-L has 303 million, ViT-H 632 million


def is_sharded(config: Config, processes: Processes) -> bool:
    """Tell whether the processes keep the model in pieces (``training.shard``); one process alone never does."""
    if processes.count == 1 or config.training.shard == "off":
        return False
    return config.training.shard == "on" or encoder_weights(config) > LARGEST_REPLICA


def encoder_weights(config: Config) -> int:
    """Return how many weights the matrices of an encoder's blocks have; the rest is less than a hundredth of them in large ones."""
    model = config.model
    return model.depth * model.dim * (4 * model.dim + 2 * (model.mlp_dim or 4 * model.dim))


def predictor_weights(config: Config) -> int:
    """Return the same of the predictor, whose hidden layers are four times as wide as it is."""
    return 12 * config.model.predictor_depth * config.model.predictor_dim**2


def shard(model: VJepa, device: torch.device, processes: Processes) -> None:
    """Leave in each process, on its device, only its part of the model; weights become those of the first process.

    Each block is put together from all processes before it is computed and let go of afterwards, there and back; what is no block
    is small and stays together from the forward to the backward pass.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    for tensor in model.state_dict().values():
        dist.broadcast(tensor, src=0)
    # What the model returns are views; the warning is about changing those in place, which nobody does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor", category=UserWarning)
    mesh = init_device_mesh(device.type, (processes.count,))
    for part in (model.context_encoder, model.target_encoder, model.predictor):
        for block in part.blocks:
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def clip_shards(parameters: Sequence[nn.Parameter], largest_norm: float, processes: Processes) -> torch.Tensor:
    """Scale gradients in pieces down to a norm, as ``clip_grad_norm_`` does whole ones, and return the norm that they had, 0-dim."""
    grads = [_own(parameter.grad) for parameter in parameters if parameter.grad is not None]
    squares = torch.stack(torch._foreach_norm(grads)).square().sum()
    norm = (processes.mean(squares) * processes.count).sqrt()
    torch._foreach_mul_(grads, (largest_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def whole_model(model: VJepa, device: torch.device, processes: Processes) -> VJepa:
    """Put a model in pieces together on a device of the first process; elsewhere its numbers mean nothing. All processes must ask."""
    tensors = {name: _whole(tensor, device, processes) for name, tensor in model.state_dict().items()}
    encoder = model.context_encoder.shape
    with torch.device("meta"):
        put_together = VJepa(Encoder(encoder), Predictor(model.predictor.shape, encoder), model.asked)
    if not processes.first:
        return put_together.to_empty(device="cpu")  # of which no page is ever touched
    put_together.load_state_dict(tensors, assign=True)
    return put_together


def whole_state(model: VJepa, optimizer: torch.optim.Optimizer, config: Config, processes: Processes) -> tuple[VJepa, torch.optim.AdamW]:
    """Put a model in pieces and its optimiser together in the memory of the first process, as :func:`whole_model`."""
    cpu = torch.device("cpu")
    put_together = whole_model(model, cpu, processes)
    together = make_optimizer(put_together, config)
    kept = optimizer.state_dict()["state"]
    state = {index: {name: _whole(tensor, cpu, processes) for name, tensor in fields.items()} for index, fields in kept.items()}
    if processes.first:
        together.load_state_dict({"state": state, "param_groups": together.state_dict()["param_groups"]})
    return put_together, together


def share_whole(whole: VJepa, whole_optimizer: torch.optim.Optimizer, model: VJepa, optimizer: torch.optim.Optimizer, processes: Processes) -> None:
    """Bring a model in pieces and its optimiser to the state of the whole ones that the first process has."""
    tensors = whole.state_dict()
    for name, piece in model.state_dict().items():
        _own(piece).copy_(_own(_cut(tensors[name], piece)))
    kept = whole_optimizer.state_dict()["state"]
    # Counters are scalars, which everybody needs; the rest is as large as its parameter.
    counters = processes.from_first({index: {name: value if value.ndim == 0 else None for name, value in kept[index].items()} for index in kept})
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for index, fields in counters.items():
        like = parameters[index]
        state[index] = {
            name: _cut(kept[index][name] if processes.first else torch.empty(like.shape), like) if counter is None else counter
            for name, counter in fields.items()
        }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _whole(tensor: torch.Tensor, device: torch.device, processes: Processes) -> torch.Tensor:
    """Return a tensor in one piece, on a device of the first process; elsewhere an empty one, so that nothing is held."""
    from torch.distributed.tensor import DTensor

    whole = tensor.detach()
    if isinstance(whole, DTensor):
        whole = whole.full_tensor()
    return whole.to(device) if processes.first else whole.new_empty(0, device="cpu")


def _cut(whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the first process in pieces such as those of another one."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(whole.detach().to(like.device), like.device_mesh, like.placements)


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """Return the piece of a tensor that this process has."""
    from torch.distributed.tensor import DTensor

    assert isinstance(tensor, DTensor)
    return tensor.to_local().detach()
