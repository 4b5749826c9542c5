"""Names of channels: those of the file, made distinct, or ch0, ch1, ... where it has none."""

from __future__ import annotations

from collections.abc import Sequence


def distinct_names(found: Sequence[str | None], channels: int) -> tuple[str, ...]:
    """Return one distinct name per channel.

    Parameters
    ----------
    found
        What the file calls its channels; ignored if there are not as many as channels.
    channels
        How many there are.
    """
    if len(found) != channels:
        found = [None] * channels
    names: list[str] = []
    for index, name in enumerate(found):
        plain = (name or "").strip() or f"ch{index}"
        candidate, copy = plain, 1
        while candidate in names:
            copy += 1
            candidate = f"{plain} {copy}"
        names.append(candidate)
    return tuple(names)
