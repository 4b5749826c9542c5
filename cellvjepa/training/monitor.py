"""What tells whether pretraining goes well, measured on a fixed set of clips: the loss does not.

In small runs the collapsed encoder has the lowest loss, so ranks of features are watched instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cellvjepa.model.encoder import Encoder


@dataclass(frozen=True)
class Health:
    """State of an encoder on the fixed clips.

    ``rankme`` is the effective number of independent directions in which whole clips differ, ``rankme_tokens`` the same
    for the tokens within a clip (mean over clips); ``cosine`` is the mean cosine between clips (1: all alike).
    """

    rankme: float
    rankme_tokens: float
    cosine: float


def rankme(features_ND: torch.Tensor) -> torch.Tensor:
    """Return the effective rank of features: exp of the entropy of their normalised singular values.

    After RankMe (arXiv 2210.02885, equation 1), on centred features: else the mean, which all clips share, hides the rest.
    Leading dimensions are batch dimensions.

    Parameters
    ----------
    features_ND
        (..., N, D) features.

    Returns
    -------
    torch.Tensor
        (...) ranks between 1 and min(N, D).
    """
    features = features_ND.float()
    singular = torch.linalg.svdvals(features - features.mean(dim=-2, keepdim=True))
    shares = singular / singular.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    return torch.exp(torch.special.entr(shares).sum(dim=-1))


@torch.inference_mode()
def measure_health(encoder: Encoder, pixels_B1TZYX: torch.Tensor, batch_size: int, scale_B4: torch.Tensor | None = None) -> Health:
    """Measure an encoder on the monitor's clips.

    Parameters
    ----------
    encoder
        The target encoder.
    pixels_B1TZYX
        (B, 1, T, Z, Y, X) float32 clips as :func:`cellvjepa.movies.clips.read_clip` gives them, on the encoder's device.
    batch_size
        Clips per forward pass.
    scale_B4
        Their sampling relative to the encoder's reference, as for :class:`cellvjepa.model.encoder.Encoder`.
    """
    pooled, ranks = [], []
    for start in range(0, len(pixels_B1TZYX), batch_size):
        part = slice(start, start + batch_size)
        tokens_BND = encoder(pixels_B1TZYX[part], scale_4=None if scale_B4 is None else scale_B4[part]).float()
        pooled.append(tokens_BND.mean(dim=1))
        ranks.append(rankme(tokens_BND))
    clips_BD = torch.cat(pooled)
    unit = torch.nn.functional.normalize(clips_BD, dim=-1)
    count = len(clips_BD)
    cosine = ((unit @ unit.T).sum() - count) / (count * (count - 1))
    return Health(float(rankme(clips_BD)), float(torch.cat(ranks).mean()), float(cosine))
