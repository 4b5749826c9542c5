"""A way around a torchvision whose compiled part does not fit the installed torch.

timm imports torchvision, of whose compiled operators we use none. Where torch is a CPU build and torchvision is not (or the
other way round), these operators are missing and ``import torchvision`` fails although everything else in it works.
"""

from __future__ import annotations

import importlib

import torch

_MISSING = "operator torchvision::nms does not exist"
# The two operators whose shape functions torchvision registers without asking whether they exist.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision() -> torch.library.Library | None:
    """Import torchvision; where that fails for want of its operators, declare them (they still compute nothing) and try again.

    Returns
    -------
    torch.library.Library or None
        The declarations, which live as long as this object; ``None`` where torchvision was whole.

    Raises
    ------
    RuntimeError
        If the import fails for another reason.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING not in str(error):
            raise
    else:
        return None
    declarations = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        declarations.define(schema)  # type: ignore[no-untyped-call]
    importlib.import_module("torchvision")
    return declarations
