"""The commands about archives as a user meets them: what inspect prints, and what is said about files that do not say it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import tifffile

from cellvjepa.cli import run
from cellvjepa.config import Config, save_config


def inspected(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """Return what inspect --json prints."""
    capsys.readouterr()
    assert run(["inspect", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return the one line that a command refuses these arguments with."""
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cellvjepa: ")]
    assert len(lines) == 1, lines
    return lines[0]


def test_inspect_as_json(toy_archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspected(capsys, toy_archive)
    assert [movie["shape"] for movie in found["movies"]] == [{"T": 24, "C": 1, "Z": 1, "Y": 48, "X": 40}] * 2
    assert found["movies"][0]["interval_s"] == 60.0
    assert found["movies"][0]["predicted"]["stream_clips_per_s"] > 100
    assert found["skipped"] == []


def test_inspect_prints_a_table_that_fits_and_says_shared_problems_once(
    toy_archive: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    capsys.readouterr()
    assert run(["inspect", str(toy_archive)]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("x: "))]
    assert all(len(line) <= 100 for line in table)
    assert re.search(r"field1\.tif +T24 48x40 +uint16 +\? +60 +none +92\.2 kB", "\n".join(table))
    assert "2 movies, 184 kB of pixels, 0.767 hours recorded" in lines
    assert next(line for line in lines if line.startswith("- ")).startswith("- field1.tif and 1 more: the pixel size is unknown. ")


def test_many_movies_share_rows_unless_all_are_asked_for(toy_archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for copy in "abcdefghijklmnopqrstuvwxyzABCDEFGH":
        os.link(toy_archive / "field1.tif", tmp_path / f"field{copy}{'x' if copy.isupper() else ''}.tif")
    rows = {}
    for options in ((), ("--all",)):
        capsys.readouterr()
        assert run(["inspect", str(tmp_path), *options]) == 0
        rows[options] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("field")]
    assert len(rows[()]) == 1
    assert "+ 33 alike" in rows[()][0]
    assert len(rows["--all",]) == 34


def test_what_is_given_overrules_the_file(toy_archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (movie,) = inspected(capsys, toy_archive / "field1.tif", "--axes", "zyx")["movies"]
    assert (movie["shape"]["Z"], movie["shape"]["T"], movie["axes"]["Z"]) == (24, 1, "given")
    assert "'TTYX' are no axes" in refusal(capsys, "inspect", toy_archive, "--axes", "TTYX")
    assert "the axes given (TZYX) are 4" in refusal(capsys, "pretrain", toy_archive / "field1.tif", "--axes", "TZYX", "--out", toy_archive / "run")


def test_a_pattern_names_channels_and_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for channel in ("phase", "red"):
        for t in (1, 2, 10):
            (tmp_path / channel).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / channel / f"img-{t}-w1.tif", np.full((40, 40), t, np.uint16))
    (movie,) = inspected(capsys, tmp_path, "--pattern", "{channel}/img-{t}-w1.tif")["movies"]
    assert (movie["shape"]["T"], movie["channels"]) == (3, ["phase", "red"])
    (again,) = inspected(capsys, movie["uri"])["movies"]
    assert (again["shape"], again["channels"]) == (movie["shape"], movie["channels"])


def test_a_store_remembers_what_was_given(toy_archive: Path, tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_config(tiny_config, tmp_path / "config.yaml")
    movies = tmp_path / "movies"
    movies.mkdir()
    for number in (1, 2):
        pixels = tifffile.imread(toy_archive / f"field{number}.tif")
        tifffile.imwrite(movies / f"field{number}.tif", pixels, imagej=True, metadata={"axes": "ZYX"})
    given = ("--axes", "TYX")
    run_folder, store = tmp_path / "run", tmp_path / "store.zarr"
    short = ("--config", tmp_path / "config.yaml", "--set", "training.steps=1")
    assert run([str(a) for a in ("pretrain", movies, "--out", run_folder, *short, *given)]) == 0
    assert run([str(a) for a in ("embed", movies, "--model", run_folder, "--grid", "--out", store, *given)]) == 0
    found = anndata.read_zarr(store).uns["cellvjepa"]
    assert json.loads(str(found["given"])) == {"axes": "TYX", "pattern": None}
    assert list(found["archives"]) == [str(movies)]


def test_inspect_remembers_unless_told_not_to(
    toy_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "field1.tif").write_bytes((toy_archive / "field1.tif").read_bytes())
    os.utime(tmp_path / "field1.tif", (1e9, 1e9))
    monkeypatch.setenv("CELLVJEPA_CACHE", str(tmp_path / "cache"))
    first = inspected(capsys, tmp_path / "field1.tif", "--no-cache")
    assert not (tmp_path / "cache").exists()
    assert inspected(capsys, tmp_path / "field1.tif") == first
    assert (tmp_path / "cache" / "movies.sqlite").exists()
    assert inspected(capsys, tmp_path / "field1.tif") == first


def test_addresses_survive_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(path: str, *rest: Any, **named: Any) -> None:
        asked.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr("cellvjepa.movies.readers.open_archive", note)
    for address in ("s3://bucket/plate.zarr/B/3/0", "https://host.org/a//b.zarr"):
        assert run(["inspect", address]) == 130
    assert asked == ["s3://bucket/plate.zarr/B/3/0", "https://host.org/a//b.zarr"]


def test_names_that_are_no_utf_8_do_not_stop_printing(toy_archive: Path, tmp_path: Path) -> None:
    (tmp_path / "field1.tif").write_bytes((toy_archive / "field1.tif").read_bytes())
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.tif")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for option in ([], ["--json"]):
        command = [sys.executable, "-m", "cellvjepa", "inspect", str(tmp_path), *option]
        done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"}, check=False)
        assert done.returncode == 0, done.stderr
        assert b"its name is no UTF-8" in done.stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "pointer"),
        (b"II*\0\x08\0\0\0", "the file is truncated"),
    ],
)
def test_broken_tiffs_are_refused_alone_and_skipped_in_an_archive(
    content: bytes, sentence: str, toy_archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "field1.tif").write_bytes((toy_archive / "field1.tif").read_bytes())
    (tmp_path / "broken.tif").write_bytes(content)
    assert sentence in refusal(capsys, "inspect", tmp_path / "broken.tif")
    assert run(["inspect", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["movies"]) == len(found["skipped"]) == 1
