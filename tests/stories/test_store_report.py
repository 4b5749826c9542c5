"""What the report of a store says must follow from its numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellvjepa.probing.nuisances import Reading, StoreReport
from cellvjepa.probing.scores import Interval
from cellvjepa.stories.store_report import lead, tell_store, verdicts

NAN = float("nan")


def reading(name: str, value: float, half: float = 0.05, knn: float | None = None) -> Reading:
    score = Interval(value, value - half, value + half)
    other = score if knn is None else Interval(knn, knn - half, knn + half)
    return Reading(name, "", {"linear": score, "knn": other}, 100, 2, 8, "movie")


def report(*found: Reading, phenotype: Reading | None = None, shortcut: Reading | None = None) -> StoreReport:
    return StoreReport("runs/cells.zarr", "labels.csv" if phenotype else "", phenotype, shortcut, found, 100, 1000, ())


@pytest.mark.parametrize(
    ("nuisance", "kind", "words"),
    [
        (reading("plate", 0.95), "bad", "Plate is easier to read from these embeddings (ROC AUC 0.95 [0.90, 1.00]) than the phenotype (0.80"),
        (reading("plate", 0.55, knn=0.95), "bad", "ROC AUC 0.95"),
        (reading("plate", 0.86), "warn", "Plate seems easier to read (ROC AUC 0.86"),
        (reading("plate", 0.95, NAN), "warn", "the intervals do not rule out the opposite"),
        (reading("intensity", 0.79), "warn", "Intensity is about as easy to read (ROC AUC 0.79 [0.74, 0.84]) as the phenotype"),
        (reading("plate", 0.60), "good", "Plate is harder to read (ROC AUC 0.60"),
    ],
)
def test_a_nuisance_beside_the_phenotype(nuisance: Reading, kind: str, words: str) -> None:
    (verdict,) = verdicts(report(nuisance, phenotype=reading("phenotype", 0.8)))
    assert verdict.kind == kind
    assert words in verdict.text


def test_remedies_suit_the_nuisance() -> None:
    found = [reading(name, 0.95) for name in ("plate", "frame number", "distance to the border", "intensity of dna")]
    remedies = [verdict.text.partition(").")[2] for verdict in verdicts(report(*found, phenotype=reading("phenotype", 0.7)))]
    assert [remedy.split()[0] for remedy in remedies] == ["Compare", "Compare", "Leave", "Check"]
    assert len(set(remedies)) == 4


def test_confounded_labels_are_named() -> None:
    (verdict,) = verdicts(report(phenotype=reading("phenotype", 0.8), shortcut=reading("phenotype", 0.9)))
    assert verdict.kind == "bad"
    assert "Phenotype and batch are confounded" in verdict.text
    (verdict,) = verdicts(report(phenotype=reading("phenotype", 0.8), shortcut=reading("phenotype", 0.6)))
    assert verdict.kind == "good"


def test_leads() -> None:
    phenotype = reading("phenotype", 0.8)
    assert "Easier to read: plate. Clusters" in lead(report(reading("plate", 0.95), reading("well", 0.81), phenotype=phenotype))
    assert "As easy to read, within the intervals: well." in lead(report(reading("well", 0.81), phenotype=phenotype))
    assert "better than each of the 1 nuisances" in lead(report(reading("well", 0.5), phenotype=phenotype))
    unscored = Reading("plate", "", {}, reason="too few groups: there is one")
    assert lead(report(unscored, phenotype=phenotype)).endswith("no nuisance could be scored.")
    assert lead(report(reading("well", 0.9))).startswith("Most easily read from these embeddings: well (ROC AUC 0.90")
    assert lead(report(unscored)).startswith("Nothing could be scored")
    assert lead(report(phenotype=Reading("phenotype", "", {}, reason="too few groups"))) == "The phenotype could not be scored: too few groups."


def test_page_and_json_hold_the_same(tmp_path: Path) -> None:
    unscored = Reading("well <position>", "", {}, reason="too few groups: 2 wells")
    page = tell_store(tmp_path, report(reading("plate", 0.95, NAN), unscored, phenotype=reading("phenotype", 0.8)))
    text = page.read_text(encoding="utf-8")
    assert "seems easier to read" in text
    assert "well &lt;position&gt;" in text
    assert "too few groups: 2 wells" in text
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["nuisances"][0]["scores"]["linear"] == {"value": 0.95, "low": None, "high": None}
    assert numbers["nuisances"][1] == {**numbers["nuisances"][1], "scores": None, "reason": "too few groups: 2 wells"}
    assert numbers["verdicts"][0]["kind"] == "warn"
    assert (tmp_path / "figures" / "nuisances.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_without_any_number_has_no_picture(tmp_path: Path) -> None:
    assert "Nothing could be scored" in tell_store(tmp_path, report(Reading("plate", "", {}, reason="it is unknown"))).read_text()
    assert not (tmp_path / "figures").exists()
