"""The command behind the Pretrain dock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import cellvjepa
from napari_cellvjepa.pretrain.request import PretrainRequest, check


@pytest.fixture
def request_(toy: Path, tmp_path: Path) -> PretrainRequest:
    return PretrainRequest((str(toy),), tmp_path / "run", "small", ("training.steps=4",))


def test_the_command_says_what_differs_and_no_more(request_: PretrainRequest, toy: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert request_.words() == ("cellvjepa", "pretrain", str(toy), "--out", run, "--config", "small", "--set", "training.steps=4")
    more = replace(request_, overrides=(), init_from="other", labels="labels.csv", cells="cells.csv")
    assert more.words()[5:] == ("--config", "small", "--init-from", "other", "--labels", "labels.csv", "--cells", "cells.csv")
    assert replace(more, resume=True).words()[5:] == ("--resume", "--labels", "labels.csv", "--cells", "cells.csv")


def test_what_would_fail_later_is_told_now(request_: PretrainRequest, toy: Path) -> None:
    check(request_)
    with pytest.raises(cellvjepa.UserError, match="Movies: there are no movies to train on"):
        check(replace(request_, movies=()))
    with pytest.raises(cellvjepa.UserError, match=r"/nothing: this is not there"):
        check(replace(request_, movies=(str(toy), "/nothing")))
    check(replace(request_, movies=("s3://bucket/plate.zarr", "/data/{channel}/T{t}.tif")))  # for the program to look at
    with pytest.raises(cellvjepa.UserError, match="labels and cells belong together"):
        check(replace(request_, labels="labels.csv"))
    with pytest.raises(cellvjepa.UserError, match="there is no run to go on with here"):
        check(replace(request_, resume=True))
    cellvjepa.save_config(cellvjepa.Config(), request_.run / "config.yaml")
    with pytest.raises(cellvjepa.UserError, match="this folder already holds a run"):
        check(request_)
    check(replace(request_, resume=True))
