"""Where a probe looks: the attention of its query over the tokens of a clip, or what each token adds to the answer of a linear probe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.errors import UserError
from cellvjepa.probing.attentive import AttentiveHead, time_summary
from cellvjepa.probing.head import FittedHead
from cellvjepa.probing.linear import LinearHead
from cellvjepa.probing.multilabel import MultilabelHead
from cellvjepa.probing.ordinal import OrdinalHead
from cellvjepa.probing.probe import Probe

_MEAN = "mean"

View = Literal["attention", "contribution"]


@dataclass(frozen=True, eq=False)
class TokenView:
    """What the tokens of one clip mean to a probe.

    Parameters
    ----------
    kind
        ``"attention"``: how much the query attends to each place, the mean over its heads; each map sums to 1, channels included.
        ``"contribution"``: what each token adds to the logit of a class of a linear probe on mean-pooled tokens, before its temperature;
        each map sums to the logit less the class's bias.
    names
        Of the maps. An attentive probe has one query for all classes, and so one map; of an order or of several classes at once each
        question has its own.
    values_QCtzyx
        float32: the maps, over channels, t, z, y, x. With one step in time where the probe reads summaries over time.
    probabilities_K
        float64: what the probe says of this clip.
    """

    kind: View
    names: tuple[str, ...]
    values_QCtzyx: npt.NDArray[np.float32]
    probabilities_K: npt.NDArray[np.float64]


def query_attention(probe: Probe, tokens: npt.NDArray[Any]) -> TokenView:
    """Return where a probe looks in a clip.

    Parameters
    ----------
    probe
        An attentive one, or a linear one on mean-pooled tokens.
    tokens
        (C, t, z, y, x, D): the tokens of one clip, by the encoder and with the channels that the probe was made with.

    Raises
    ------
    UserError
        If the probe has neither attention nor a sum over tokens (:func:`why_no_view`), or the tokens are not those of its clips.
    """
    if problem := why_no_view(probe):
        raise UserError(problem, "choose an attentive probe", "the probe")
    wanted = probe.made_from.shape
    if probe.kind != "attentive":
        head = probe.head
        assert isinstance(head, FittedHead)
        assert isinstance(head.head, LinearHead)
        if wanted != (tokens.shape[0] * tokens.shape[-1],):
            raise UserError(
                f"the probe reads {wanted[0]} numbers and these tokens give {tokens.shape[0] * tokens.shape[-1]}", "use its own encoder", "the probe"
            )
        mean_D = tokens.mean(axis=(1, 2, 3, 4), dtype=np.float64).reshape(1, -1)
        return TokenView("contribution", probe.classes, _contributions(head.head, tokens), head.probabilities(mean_D)[0])
    if tuple(tokens.shape) != tuple(wanted):
        raise UserError(f"the probe reads tokens of shape {tuple(wanted)} and these are {tuple(tokens.shape)}", "use its own encoder", "the probe")
    names, heads = _questions(probe)
    maps = [_attention(head.head, tokens) for head in heads if isinstance(head.head, AttentiveHead)]
    return TokenView("attention", names, np.stack(maps), probe.head.probabilities(tokens[None])[0])


def why_no_view(probe: Probe) -> str:
    """Say in a sentence why there is nothing to show of a probe; ``""`` if there is."""
    if isinstance(probe.head, FittedHead):
        if probe.kind == "linear" and probe.made_from.statistic == _MEAN:
            return ""
        if probe.kind == "linear":
            return (
                "a linear probe has no attention, and only on mean-pooled tokens is its answer a sum over tokens; this one reads more than their mean"
            )
        if probe.kind == "knn":
            return "a nearest-neighbour probe has no attention: it compares whole clips"
        return ""
    _, heads = _questions(probe)
    if any(head.kind != "attentive" for head in heads):
        return "not all questions of this probe are asked by attention: some of its parts are linear or compare whole clips"
    return ""


def _questions(probe: Probe) -> tuple[tuple[str, ...], tuple[FittedHead, ...]]:
    """Return the queries of a probe, and what they ask."""
    head = probe.head
    if isinstance(head, MultilabelHead):
        return probe.classes, head.heads
    if isinstance(head, OrdinalHead):
        ordered = [probe.classes[k] for k in np.argsort(head.rank_K)]
        return tuple(f"above {name}" for name in ordered[:-1]), head.heads
    assert isinstance(head, FittedHead)
    return ("all classes",), (head,)


def _attention(head: AttentiveHead, tokens: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return how much the query attends to each place, (C, t, z, y, x), the mean over its heads."""
    places = head.places(tokens[None], time_summary(tokens[None]))
    with torch.inference_mode():
        weights_HL: torch.Tensor = head.network.attention(places.batch(slice(None)))[0]
    channels, _, *plane = head.grid
    # Of summaries over time there is one for all steps.
    steps = places.values_NCLE.shape[2] // math.prod(plane)
    return weights_HL.mean(dim=0).numpy().reshape(channels, steps, *plane)


def _contributions(head: LinearHead, tokens: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return (K, C, t, z, y, x): the logit of a class is linear in the mean of the tokens, and so a sum over them."""
    channels, *places, width = tokens.shape
    weight_KCD = (head.weight_KD / head.scale_D).reshape(head.classes, channels, width)
    centred = tokens.astype(np.float64) - head.mean_D.reshape(channels, 1, 1, 1, 1, width)
    found: npt.NDArray[np.float32] = (np.einsum("ctzyxd,kcd->kctzyx", centred, weight_KCD) / np.prod(places)).astype(np.float32)
    return found
