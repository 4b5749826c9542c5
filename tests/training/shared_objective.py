"""Run by two processes: what they compute of their rows of a batch is what one computes of all of it. Asserts; the first ends with an error."""

from __future__ import annotations

import torch

from cellvjepa.config import Config, load_config
from cellvjepa.errors import UserError
from cellvjepa.model.vjepa import Prediction
from cellvjepa.training.objectives import objective
from cellvjepa.training.processes import ALONE, Processes, share_state, together

B, K, M, D, P, FRAMES = 6, 5, 7, 4, 8, 4


def draw(seed: int) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    shapes = ((B, K, D), (B, M, D), (B, M, P))
    return tuple(torch.randn(*shape, generator=rng).requires_grad_() for shape in shapes)


def total(leaves: tuple[torch.Tensor, ...], rows: slice, config: Config, processes: Processes) -> torch.Tensor:
    context, predicted, own = (leaf[rows] for leaf in leaves)
    target, theirs = draw(1)[1].detach()[rows], draw(1)[2].detach()[rows]
    made = Prediction((context,), (predicted,), (target,), target.mean(dim=1), **heads(own, theirs, config))
    loss = objective(made, config, 3, processes)
    trivial = processes.mean(loss.trivial)
    whole = objective(Prediction((draw(0)[0],), (draw(0)[1],), (draw(1)[1],), target, **heads(draw(0)[2], draw(1)[2], config)), config, 3)
    torch.testing.assert_close(trivial, whole.trivial)
    return loss.total


def heads(own: torch.Tensor, theirs: torch.Tensor, config: Config) -> dict[str, tuple[torch.Tensor, ...]]:
    """Return what the heads say that these settings ask for, and no others: they tell the objective what to compute."""
    asked = {"painted": (own,), "hidden": (theirs,)}
    return asked | {"unrest_said": (own,), "unrest": (theirs,)} if config.training.auxiliary in ("unrest", "motion") else asked


def check_objective(processes: Processes, overrides: list[str]) -> None:
    config = load_config(None, [f"model.tubelet=[{FRAMES}, 1, 8, 8]", *overrides])
    alone, shared = draw(0), draw(0)
    rows = processes.part.rows
    whole = total(alone, slice(None), config, ALONE)
    whole.backward()
    own = total(shared, rows, config, processes)
    own.backward()
    torch.testing.assert_close(processes.mean(own.detach()), whole.detach())
    for one, other in zip(alone, shared, strict=True):
        if one.grad is None:
            assert other.grad is None
            continue
        assert other.grad is not None
        # Gradients are averaged over the processes: what a row adds to the average is its part of the whole.
        torch.testing.assert_close(other.grad[rows] / processes.count, one.grad[rows], rtol=1e-4, atol=1e-6)


def check_agreement(processes: Processes) -> None:
    assert processes.largest(10 * processes.rank) == 10
    assert processes.total(1 + processes.rank) == 3
    assert processes.from_first({"rank": processes.rank}) == {"rank": 0}
    values = torch.arange(12.0).reshape(6, 2)
    for dim, correction in ((None, 1), (0, 0)):
        torch.testing.assert_close(processes.std(values[processes.part.rows], dim, correction), values.std(dim=dim, correction=correction))


def check_state(processes: Processes) -> None:
    """The first has taken three steps; the other, with weights of its own, none."""
    torch.manual_seed(processes.rank)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(3 if processes.first else 0):
        optimizer.zero_grad()
        model(torch.ones(3)).sum().backward()
        optimizer.step()
    share_state(processes, model, optimizer)
    kept = [*model.parameters(), *(tensor for state in optimizer.state.values() for tensor in state.values())]
    assert len(kept) == 2 + 2 * 3
    for tensor in kept:
        assert torch.equal(processes.mean(tensor.detach()), tensor)


if __name__ == "__main__":
    with together() as processes:
        assert processes.count == 2
        check_agreement(processes)
        check_state(processes)
        check_objective(processes, ["training.variance_covariance=0"])
        check_objective(processes, ["training.variance_covariance=0.5"])
        check_objective(processes, ["training.variance_covariance=0.5", "training.variance_covariance_on=predicted", "training.sigreg=0.5"])
        check_objective(processes, ["training.auxiliary=differences"])
        check_objective(processes, ["training.auxiliary=pixels"])
        check_objective(processes, ["training.auxiliary=motion"])
        check_objective(processes, ["training.objective=pixels"])
        if processes.first:
            raise UserError("all was well", "look at the other")
        processes.largest(0)
