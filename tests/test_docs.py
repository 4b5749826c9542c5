"""What the pages of docs/ point to is there, and each page can be reached."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def targets(page: Path) -> list[str]:
    return re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path) -> None:
    for target in targets(page):
        assert (page.parent / target).exists(), f"docs/{page.name} points to {target}, which is not there"


def test_every_page_and_picture_is_pointed_to() -> None:
    pointed = {(DOCS / target).resolve() for page in [*PAGES, DOCS.parent / "README.md"] for target in targets(page)}
    pointed |= {(DOCS.parent / target).resolve() for target in targets(DOCS.parent / "README.md")}
    lost = [path for path in [*PAGES, *DOCS.rglob("*.png")] if path.resolve() not in pointed]
    assert not lost, f"nothing points to {lost}"
