"""What the report of a probe for several classes says must follow from its numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.probing.labelled import Labelled
from cellvjepa.probing.multilabel_evaluation import MultilabelEvaluation, evaluate_multilabel
from cellvjepa.report.page import Note, Table
from cellvjepa.stories.multilabel_probe import lead, page_of, score_section, tell_multilabel_probe
from tests.probing.test_multilabel_evaluation import write

CONFIG = ProbeConfig(folds=3, bootstrap=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def found(folder: Path) -> MultilabelEvaluation:
    return evaluate_multilabel(Labelled.of(*write(folder), CONFIG), CONFIG)


def test_page_json_and_tables_hold_the_same(found: MultilabelEvaluation, folder: Path) -> None:
    page = tell_multilabel_probe(folder / "out", found, folder / "s.zarr").read_text()
    told = json.loads((folder / "out" / "report.json").read_text())
    assert (told["classes"], told["several labels at once"]) == (["bright", "fast"], True)
    assert told["macro"]["ROC AUC"]["value"] == pytest.approx(found.scores.macro["ROC AUC"].value)
    assert lead(found) in page
    assert found.scores.by_class[0]["F1"].value == told["scores by class"]["bright"]["F1"]["value"]
    assert len(pd.read_csv(folder / "out" / "predictions.csv")) == len(found.fits_NK)
    assert set(pd.read_csv(folder / "out" / "comparison.csv")["class"]) == {"bright", "fast"}
    assert "--labels" in told["command"]
    assert {path.name for path in (folder / "out" / "figures").glob("*.svg")} == {
        f"{name}.svg" for name in ("classes", "comparison", "learning_curve", "reliability")
    }


def test_each_class_has_a_line_and_so_have_macro_and_micro(found: MultilabelEvaluation) -> None:
    (table,) = (block for block in score_section(found).blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["bright", "fast", "macro", "micro", "macro, row by row", "macro, guessing"]
    assert table.rows[0][1] == str(found.fits_NK[:, 0].sum())
    assert table.rows[2][2] == str(found.scores.macro["balanced accuracy"])
    assert table.rows[-1][4] == "0.50"


def test_what_is_missing_is_said(found: MultilabelEvaluation) -> None:
    page = page_of(found, (), "the disk is gone")
    notes = [block.text for section in page.sections for block in section.blocks if isinstance(block, Note)]
    assert "The clips cannot be shown: the disk is gone" in notes
    assert any("missing from the comparison" in note for note in notes)
