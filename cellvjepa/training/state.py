"""The state of a training, model and optimiser, as named tensors in a safetensors file, and back."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cellvjepa.errors import UserError

_MODEL, _OPTIMIZER = "model.", "optimizer."


def write_state(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write weights as ``model.NAME`` and what the optimiser keeps of parameter i as ``optimizer.i.FIELD``.

    Raises
    ------
    OSError, SafetensorError
        If it cannot be written.
    """
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for index, kept in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{field}": tensor for field, tensor in kept.items()}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def read_state(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Bring a model and its optimiser to the state in a file.

    The file's sizes are compared with the model's before any tensor is read; weights are copied to where they are, one after another.

    Raises
    ------
    UserError
        If the tensors are not those of this model; nothing is changed then.
    OSError, SafetensorError
        If the file cannot be read.
    """
    with safe_open(path, framework="pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a mapping
        _refuse_other_tensors(found, model, optimizer, path)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.copy_(file.get_tensor(_MODEL + name))
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name in found:
            if name.startswith(_OPTIMIZER):
                index, field = name.removeprefix(_OPTIMIZER).split(".")
                state.setdefault(int(index), {})[field] = file.get_tensor(name).clone()  # else a window into the file
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _refuse_other_tensors(found: dict[str, tuple[int, ...]], model: torch.nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> None:
    wanted = {_MODEL + name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name in found:
        index, _, field = name.removeprefix(_OPTIMIZER).partition(".")
        if name.startswith(_OPTIMIZER) and field and index.isdecimal() and int(index) < len(parameters):
            # Counters are scalars; averages are as large as what they are averages of.
            wanted[name] = () if found[name] == () else tuple(parameters[int(index)].shape)
    differing = [name for name in sorted(wanted.keys() | found.keys()) if wanted.get(name) != found.get(name)]
    if differing:
        name = differing[0]
        there, here = (f"of size {list(sizes[name])}" if name in sizes else "missing" for sizes in (found, wanted))
        raise UserError(
            f"its tensors are not those of this model: {name} is {there} there and {here} here"
            + f" (and {len(differing) - 1} more)" * (len(differing) > 1),
            "resume with the settings and the version of cellvjepa it was made with",
            path,
        )
