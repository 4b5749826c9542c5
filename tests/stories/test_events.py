"""The report on events, and the commands about events and labelling, on stores whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cellvjepa.cli import run
from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.store import add_columns
from cellvjepa.errors import UserError
from cellvjepa.probing.event_study import study_events, with_conditions
from cellvjepa.stories.events import numbers, tell_events
from tests.embedding.made_up import rows_of_tracks, store_of_table

STARTS = tuple(range(0, 40, 2))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Four movies of six cells, windows of 4 frames every 2; in a and b cells die after 10 to 15 frames, in c and d every second after 30.

    Half of the last movies' cells live, and one cell is dying when it is first seen.
    """
    table = rows_of_tracks(*((f"{movie}.tif", i, STARTS) for movie in "abcd" for i in range(6)))
    fast, track = table["movie"].isin(["a.tif", "b.tif"]), table["track_id"]
    onset = np.where(fast, 10 + track, np.where(track % 2 == 0, 30, 1000))
    onset = np.where((table["movie"] == "d.tif") & (track == 0), -9, onset)
    p = np.clip((table["t_start"] + 4 - onset) / 4, 0, 1)
    path = store_of_table(tmp_path / "cells.zarr", table.assign(area_px=100 - 50 * p), np.random.default_rng(0).normal(size=(len(table), 3)))
    add_columns(path, pd.DataFrame({"p_dying": p, "p_resting": 1 - p}), "probe", {"labels": "labels.csv"})
    return path


@pytest.fixture
def conditions(tmp_path: Path) -> Path:
    path = tmp_path / "conditions.csv"
    path.write_text("movie,drug\na,yes\nb,yes\nc,no\nd.tif,no\n")
    return path


def test_the_report_says_what_was_put_in(store: Path, conditions: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.csv"
    known.write_text("movie,track_id,label,t_start,t_stop\na,1,dying,11,42\na,2,dying,14,42\n")
    study = study_events(store, ["dying"], ProbeConfig(), by="drug", conditions_csv=conditions, known_csv=known)
    found = numbers(study)["events"]["dying"]
    assert found["found"] == 12 + 6
    drug = {line["condition"]: line for line in found["conditions"]}
    assert (drug["yes"]["tracks"], drug["yes"]["with the event"]) == (12, 12)
    assert (drug["no"]["tracks"], drug["no"]["with the event"]) == (11, 5)
    assert drug["no"]["median"] is None, "half of them live"
    assert drug["yes"]["median"] == pytest.approx(12 / 60)
    assert found["logrank"]["p_tracks"] < 0.001
    assert found["logrank"]["p_movies"] == pytest.approx(2 / 6), "four movies cannot say more"
    assert (found["known"]["known"], found["known"]["matched"], found["known"]["mean_frames"]) == (2, 2, -1)
    page = tell_events(tmp_path / "out", study)
    text = page.read_text()
    for said in ("&#x27;dying&#x27; was found 18 times in 24 tracks", "1 of 24 tracks show", "p = 0.333 by shuffling the 4 movies"):
        assert said in text
    assert json.loads((tmp_path / "out" / "report.json").read_text())["settings"]["event_threshold"] == 0.5
    tracks = pd.read_csv(tmp_path / "out" / "tracks.csv")
    assert tracks["watched_h"].to_numpy() == pytest.approx(42 / 60)
    for name in ("tracks", "survival_dying", "aligned_dying", "errors_dying"):
        picture = np.asarray(Image.open(tmp_path / "out" / "figures" / f"{name}.png").convert("L"))
        assert picture.std() > 5
        assert (tmp_path / "out" / "figures" / f"{name}.svg").read_text().startswith("<?xml")


def test_where_nothing_happens_there_is_a_report_all_the_same(store: Path, tmp_path: Path) -> None:
    study = study_events(store, ["dying"], ProbeConfig(event_min_frames=1e6))
    text = tell_events(tmp_path / "out", study).read_text()
    assert "was found 0 times in 24 tracks" in text
    assert "nothing to average" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("movie,dose\na,1\n", r"the columns are movie, dose\. the file needs 'drug'"),
        ("drug\nyes\n", r"movie or well to say where it holds"),
        ("movie,drug\na,yes\na,no\n", r"drug is given twice for a.tif"),
        ("movie,drug\na,yes\nb,yes\nc,\n", r"\d+ rows of the store have no drug \(the first: c.tif\)"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "conditions.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        with_conditions(rows_of_tracks(*((f"{m}.tif", 1, (0, 4)) for m in "abc")), path, "drug")


def test_conditions_may_be_those_of_wells(tmp_path: Path) -> None:
    path = tmp_path / "conditions.csv"
    path.write_text("well,drug\nA1,yes\nB2,no\nC3,yes\n")
    table = rows_of_tracks(("a.tif", 1, (0,)), ("b.tif", 1, (0,))).assign(well=["B2", "A1"])
    assert with_conditions(table, path, "drug")["drug"].tolist() == ["no", "yes"]


def test_the_commands(store: Path, conditions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["events", str(store), "--event", "dying", "--by", "drug", "--conditions", str(conditions), "--out", str(tmp_path / "out")]
    assert run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["events"]["dying"]["found"] == 18
    assert run(["suggest", str(store), "--count", "4", "--out", str(tmp_path / "next.csv")]) == 0
    assert "4 of 480 unlabelled clips" in capsys.readouterr().out
    assert run(["suggest", str(store), "--out", str(tmp_path / "next.csv")]) == 2
    assert "somebody may have filled it in" in capsys.readouterr().err
    asked = pd.read_csv(tmp_path / "next.csv")
    for who, said in (("kim", ["dying", "resting"] * 2), ("lee", ["dying", "resting", "dying", "dying"])):
        asked.assign(label=said, annotator=who).to_csv(tmp_path / f"{who}.csv", index=False)
    files = [str(tmp_path / "kim.csv"), str(tmp_path / "lee.csv")]
    assert run(["agreement", *files, "--out", str(tmp_path / "different.csv")]) == 0
    assert "kim and lee: kappa 0.50" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "different.csv")) == 1
    assert run(["agreement", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["kappa"] == 0.5


def test_mistakes_are_one_line(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", str(store), "--event", "born", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "cellvjepa: --event: the probe knows no class 'born'. choose from dying, resting.\n"
    assert run(["events", str(store), "--event", "dying", "--conditions", "x.csv", "--out", str(tmp_path / "out")]) == 2
    assert "name it with --by" in capsys.readouterr().err
