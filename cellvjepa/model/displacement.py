"""How far what is at a place moves, by comparing frames: optical flow by matching blocks, coarse and soft."""

from __future__ import annotations

import torch
import torch.nn.functional as F

_LAGS = (1, 2)  # steps of the grid
WIDTH = 2 * len(_LAGS)  # numbers for each place
_CELLS = 2  # a tubelet's edge, in the cells that are compared
_REACH = 3  # how far a place is looked for [cells]
_SOFTNESS = 0.04  # of the softmax over shifts, as a share of the mean error
_NOISE = 0.01  # error of the camera, in variances of the pixels: what differs less is alike


@torch.no_grad()
def displacement(pixels_BCTZYX: torch.Tensor, tubelet: tuple[int, int, int, int], spread: float) -> torch.Tensor:
    """Return how far what is seen at each place moves within one and two steps of the grid.

    Region-based matching (Barron, Fleet & Beauchemin 1994, section 2.2), with a soft choice as of Singh there. Of each tubelet the middle
    frame is taken, averaged over its planes and to cells of half a tubelet's edge. A place, two tubelets wide, is compared with its
    surroundings in the frame one or two steps later (earlier, where there is none; a clip too short for either moves nowhere), at
    7 x 7 shifts of whole cells. A soft choice leans to where a picture is like itself: of real cells that stand still it says .2 tubelets,
    where they move .3 to .8. To take that off was tried, and did not make better features (workflows/studies/recipe.md).

    Parameters
    ----------
    pixels_BCTZYX
        (B, C, T, Z, Y, X) pixels of whole clips.
    tubelet
        Its frames, planes, height and width [px].
    spread
        Standard deviation of the pixels.

    Returns
    -------
    torch.Tensor
        (B, N, 4) float32, in the order of the tokens: for each lag the length of the mean shift [tubelets], and the logarithm of how much
        less the best shift leaves unexplained than none.
    """
    frames, planes, height, width = tubelet
    still = pixels_BCTZYX[:, :, frames // 2 :: frames].float() / spread
    batch, channels, steps, _, rows, columns = still.shape
    still = still.reshape(batch, channels, steps, -1, planes, rows, columns).mean(dim=4).transpose(1, 2).transpose(2, 3)  # (B, t, z, C, Y, X)
    cells = F.interpolate(still.flatten(0, 2), size=(_CELLS * rows // height, _CELLS * columns // width), mode="area")
    cells = cells.reshape(*still.shape[:4], *cells.shape[-2:])
    found = []
    for lag in _LAGS:
        other = _other_step(steps, lag, cells.device)
        error = _errors(cells.flatten(0, 2), cells[:, other].flatten(0, 2))
        least, unmoved = error.amin(dim=1), error[:, error.shape[1] // 2]
        far = _mean_shift(error).norm(dim=1).unflatten(0, (batch, steps, -1))
        far = far * (other != torch.arange(steps, device=other.device))[None, :, None, None, None]
        found += [far.flatten(0, 2), torch.log((unmoved + _NOISE) / (least + _NOISE))]
    return torch.stack(found, dim=-1).reshape(batch, -1, WIDTH)


def _other_step(steps: int, lag: int, device: torch.device) -> torch.Tensor:
    """Return with which step each is compared: a later one, else an earlier one, else itself."""
    step = torch.arange(steps, device=device)
    return torch.where(step + lag < steps, step + lag, torch.where(step >= lag, step - lag, step))


def _errors(now: torch.Tensor, then: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of places from their surroundings in another frame, (n, 49, y, x), for cells (n, C, rows, columns)."""
    size = now.shape[-2:]
    around = F.pad(then, (_REACH,) * 4, mode="replicate").unfold(2, size[0], 1).unfold(3, size[1], 1)  # (n, C, 7, 7, rows, columns)
    error = (now[:, :, None, None] - around).square_().mean(dim=1).flatten(1, 2)
    return F.avg_pool2d(error, 2 * _CELLS, _CELLS, _CELLS // 2, count_include_pad=False)


def _mean_shift(error: torch.Tensor) -> torch.Tensor:
    """Return the mean of the shifts, those that fit best counting most, (n, 2, y, x) [tubelets]."""
    # A place without texture is alike everywhere: the noise keeps its softmax flat, so that it stays where it is.
    weight = torch.softmax(-error / (_SOFTNESS * error.mean(dim=1, keepdim=True) + 0.2 * _NOISE), dim=1)
    shifts = torch.arange(-_REACH, _REACH + 1, dtype=error.dtype, device=error.device) / _CELLS
    each = torch.cartesian_prod(shifts, shifts)  # in the order of the errors
    return torch.einsum("nsyx,sk->nkyx", weight, each)
