"""Opening archives for commands, and saying what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellvjepa.config import Config
from cellvjepa.terminal import Terminal

if TYPE_CHECKING:
    from cellvjepa.movies.readers import Archive, Given


def open_for_clips(paths: list[str], given: Given, config: Config, terminal: Terminal) -> Archive:
    """Open what yields clips; what does not is left out with a note."""
    from cellvjepa.movies.clip_shape import ClipShape
    from cellvjepa.movies.readers import open_archives
    from cellvjepa.movies.usable import usable

    archive = usable(open_archives(paths, given, progress=terminal), ClipShape.of(config.clip))
    for line in grouped([(skipped.path, f"{skipped.what}. {skipped.remedy}.") for skipped in archive.skipped]):
        terminal.note(f"skipped {line}")
    return archive


def grouped(findings: list[tuple[str, str]]) -> list[str]:
    """Say what many have in common once: ``"a.tif and 3 more: ..."``."""
    by_sentence: dict[str, list[str]] = {}
    for name, sentence in findings:
        by_sentence.setdefault(sentence, []).append(name)
    return [f"{names[0] if len(names) == 1 else f'{names[0]} and {len(names) - 1} more'}: {sentence}" for sentence, names in by_sentence.items()]
