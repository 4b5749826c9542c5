"""The attentive pooler and classifier of V-JEPA 2: a learned query that asks the tokens of a clip what they show."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from cellvjepa.model.layers import initialise, mlp, plain_block

_norm = partial(nn.LayerNorm, eps=1e-5)


class CrossAttention(nn.Module):
    """Queries attend to tokens; as in V-JEPA 2 there is no projection behind the heads.

    Parameters
    ----------
    dim, heads
        Width, and heads that share it.
    dropout
        Share of attention weights dropped in training.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)

    def forward(self, queries_BQD: torch.Tensor, tokens_BND: torch.Tensor) -> torch.Tensor:
        """Return (B, Q, D): for each query the values of the tokens it attends to."""
        # A weighted sum of values is the value of the weighted sum.
        batch, queries, width = queries_BQD.shape
        _, v_HED = self.kv.weight.view(2, self.heads, -1, width)
        bias_HE = self.kv.bias[width:].view(self.heads, -1)
        weights = F.dropout(self.weights(queries_BQD, tokens_BND), self.dropout, self.training)
        mixed_BQHD = (weights @ tokens_BND).view(batch, queries, self.heads, width)
        shares_BQH1 = weights.sum(dim=-1).view(batch, queries, self.heads, 1)
        answers: torch.Tensor = torch.einsum("bqhd,hed->bqhe", mixed_BQHD, v_HED) + shares_BQH1 * bias_HE
        return answers.flatten(2)

    def weights(self, queries_BQD: torch.Tensor, tokens_BND: torch.Tensor) -> torch.Tensor:
        """Return how much each head of each query attends to each token: (B, Q heads, N), heads fastest, which sum to 1 over N."""
        # With few queries it is cheaper to bring them to the tokens than to make a key and a value of every token: q (K x) is (q K) x.
        # The bias of the keys adds the same to all scores of a query.
        batch, queries, width = queries_BQD.shape
        q = self.q(queries_BQD).view(batch, queries, self.heads, -1)
        k_HED, _ = self.kv.weight.view(2, self.heads, -1, width)
        asked = torch.einsum("bqhe,hed->bqhd", q, k_HED).flatten(1, 2) * q.shape[-1] ** -0.5
        return torch.softmax(asked @ tokens_BND.transpose(1, 2), dim=-1)


class CrossAttentionBlock(nn.Module):
    """Cross attention with normed tokens and a residual on the query, then an MLP.

    Parameters
    ----------
    dim, heads, mlp_ratio, dropout
        As in :class:`AttentivePooler`.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(dim)
        self.xattn = CrossAttention(dim, heads, dropout)
        self.norm2 = _norm(dim)
        self.mlp = mlp(dim, int(mlp_ratio * dim), dropout)

    def forward(self, queries_BQD: torch.Tensor, tokens_BND: torch.Tensor) -> torch.Tensor:
        """Return the queries, (B, Q, D), after they have seen the tokens."""
        queries = queries_BQD + self.xattn(queries_BQD, self.norm1(tokens_BND))
        answered: torch.Tensor = queries + self.mlp(self.norm2(queries))
        return answered


class AttentivePooler(nn.Module):
    """Pools the tokens of a clip into one vector (V-JEPA, arXiv 2404.08471, section 4; V-JEPA 2, arXiv 2506.09985, section 5).

    Parameters
    ----------
    dim
        Width of the tokens.
    heads
        Attention heads; must divide ``dim``.
    depth
        Blocks: ``depth - 1`` of self attention over all tokens, then the cross attention. V-JEPA has 1, V-JEPA 2 has 4.
    mlp_ratio
        Width inside the MLPs over ``dim``.
    dropout
        Share of attention weights and of MLP outputs dropped in training.
    """

    def __init__(self, dim: int, heads: int, depth: int = 1, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.query_tokens = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(plain_block(dim, heads, mlp_ratio, dropout) for _ in range(depth - 1))
        self.cross_attention_block = CrossAttentionBlock(dim, heads, mlp_ratio, dropout)

    def forward(self, tokens_BND: torch.Tensor) -> torch.Tensor:
        """Return one vector per clip, (B, D)."""
        for block in self.blocks:
            tokens_BND = block(tokens_BND)
        pooled: torch.Tensor = self.cross_attention_block(self.query_tokens.expand(len(tokens_BND), -1, -1), tokens_BND)
        return pooled.squeeze(1)

    def attention(self, tokens_BND: torch.Tensor) -> torch.Tensor:
        """Return how much each head of the query attends to each token, (B, heads, N), which sum to 1 over N."""
        for block in self.blocks:
            tokens_BND = block(tokens_BND)
        block = self.cross_attention_block
        weights: torch.Tensor = block.xattn.weights(self.query_tokens.expand(len(tokens_BND), -1, -1), block.norm1(tokens_BND))
        return weights


class AttentiveClassifier(nn.Module):
    """An attentive pooler and a linear layer: the attentive probe.

    Parameters
    ----------
    dim, heads, depth, mlp_ratio, dropout
        As in :class:`AttentivePooler`.
    classes
        Number of classes.
    """

    def __init__(self, dim: int, heads: int, classes: int, depth: int = 1, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.pooler = AttentivePooler(dim, heads, depth, mlp_ratio, dropout)
        self.linear = nn.Linear(dim, classes)

    def forward(self, tokens_BND: torch.Tensor) -> torch.Tensor:
        """Return one logit per class, (B, classes)."""
        logits: torch.Tensor = self.linear(self.pooler(tokens_BND))
        return logits


def initialise_classifier(classifier: AttentiveClassifier, rng: torch.Generator) -> None:
    """Draw the initial weights as V-JEPA 2 does, in place, from ``rng`` alone."""
    pooler = classifier.pooler
    initialise(classifier, pooler.blocks, rng)
    last = pooler.cross_attention_block.mlp.get_submodule("fc2")
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.div_(math.sqrt(2.0 * (len(pooler.blocks) + 1)))
