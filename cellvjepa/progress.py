"""How long work tells what it is doing: one callback, which may also stop it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as ``progress(stage, done, total)`` from the thread that does the work.

    ``stage`` is a short phrase for people ("embedding"), ``done`` and ``total`` count steps of that stage.
    It may raise :class:`cellvjepa.errors.Cancelled`: whatever calls it stops there and keeps what is done.
    """

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Take note of ``done`` out of ``total`` steps of ``stage``."""


def silent(stage: str, done: int, total: int) -> None:
    """Take note of nothing: the default :class:`Progress`."""
