from __future__ import annotations

import pytest

from cellvjepa.probing.label_sets import members, one_spelling


@pytest.mark.parametrize(
    ("written", "spelling"),
    [
        ("dividing", "dividing"),
        ("None", "None"),
        ("bright; dividing", "bright;dividing"),
        ("dividing;bright;dividing;", "bright;dividing"),
        ("bright;none", "bright"),
        ("none;", "none"),
        (";", ""),
        ("bright;Unsure", "unsure"),
    ],
)
def test_a_set_has_one_spelling(written: str, spelling: str) -> None:
    assert one_spelling(written) == spelling
    assert one_spelling(spelling) == spelling


def test_members() -> None:
    assert members("dividing;bright") == ("bright", "dividing")
    assert members("dividing") == ("dividing",)
    assert members("None") == ()
