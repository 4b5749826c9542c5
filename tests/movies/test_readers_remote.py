"""OME-Zarr behind a web server, which lists no folders."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive, open_archives, open_movie
from cellvjepa.movies.readers.zarr import remote as zarr_remote
from cellvjepa.movies.readers.zarr.ome_zarr import label_uris

pytest.importorskip("obstore", reason="remote stores need the extra 'remote'")

Told = Callable[..., np.ndarray[Any, Any]]
WriteZarr = Callable[..., Path]


class WebServer(http.server.SimpleHTTPRequestHandler):
    """Gives files and parts of files; lists nothing. ``faults`` says what goes wrong for which ends of paths."""

    faults: dict[str, int | str]
    asked: list[str]
    closing: threading.Event

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        self.asked.append(self.path)
        fault = next((fault for end, fault in self.faults.items() if self.path.endswith(end)), None)
        if fault == "hang":
            self.closing.wait(60)
        elif isinstance(fault, int):
            self._answer(fault, b"<html>\nno\n</html>")
        elif not path.is_file():
            self._answer(404, b"")
        elif fault == "cut":
            self._answer(200, path.read_bytes()[:-1], length=path.stat().st_size)
        elif fault == "unsized":
            self._answer(200, path.read_bytes(), length=-1)
        elif fault == "round":
            self._answer(302, b"", {"Location": self.path})
        elif fault == "whole":
            self._answer(200, path.read_bytes())
        else:
            self._answer_part(path.read_bytes())

    def _answer_part(self, raw: bytes) -> None:
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._answer(200, raw)
            return
        start = int(wanted[1]) if wanted[1] else len(raw) - int(wanted[2])
        stop = min(int(wanted[2]) + 1, len(raw)) if wanted[1] and wanted[2] else len(raw)
        self._answer(206, raw[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(raw)}"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body) if length is None else length), **(headers or {})}.items():
            if value != "-1":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


class Web:
    """A web server that shows a folder."""

    def __init__(self, root: Path) -> None:
        self.faults: dict[str, int | str] = {}
        self.asked: list[str] = []
        self.closing = threading.Event()
        of_this = {"faults": self.faults, "asked": self.asked, "closing": self.closing}
        self.server = Server(("127.0.0.1", 0), functools.partial(type("Bound", (WebServer,), of_this), directory=str(root)))
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=10)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with contextlib.closing(Web(tmp_path)) as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test wait for less long than a user would."""
    for name, seconds in {"_CONNECT_S": 1.0, "_STALL_S": 0.5, "_REQUEST_S": 1.0, "_RETRY_FOR_S": 1.0}.items():
        monkeypatch.setattr(zarr_remote, name, seconds)
    monkeypatch.setattr(zarr_remote, "_RETRIES", 1)


def write_plate(write_zarr: WriteZarr, told: Told, version: str, store: str = "plate1.zarr") -> np.ndarray[Any, Any]:
    """Write a plate of three fields in two wells, with its metadata; field k is ``told + k``."""
    array = told(3, 8, 8)
    fields = {"B/3": ["0", "1"], "B/10": ["0"]}
    for number, (well, field) in enumerate((well, field) for well, names in fields.items() for field in names):
        place = write_zarr(array + number, "tyx", version, store=store, within=f"{well}/{field}")
        say(place.parent, {"well": {"images": [{"path": name} for name in fields[well]]}}, version)
    plate = place.parents[2]
    wells = [{"path": well, "rowIndex": 0, "columnIndex": index} for index, well in enumerate(fields)]
    say(plate, {"plate": {"wells": wells, "rows": [{"name": "B"}], "columns": [{"name": "3"}, {"name": "10"}]}}, version)
    return array


def say(group: Path, ome: dict[str, Any], version: str) -> None:
    path = group / (".zattrs" if version == "0.4" else "zarr.json")
    found = json.loads(path.read_text()) if path.exists() else {}
    if version == "0.4":
        path.write_text(json.dumps(found | ome))
    else:
        path.write_text(json.dumps(found | {"attributes": {"ome": {"version": version, **ome}}}))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_is_read_as_if_it_were_here(
    web: Web, write_zarr: WriteZarr, told: Told, through_pickle: Callable[[Movie], Movie], version: str
) -> None:
    array = told(3, 2, 4, 20, 24)
    write_zarr(
        array, version=version, scale=[5, 1, 2, 0.3, 0.3], units={"t": "minute", "y": "micrometer", "x": "micrometer"}, chunks=(1, 1, 2, 16, 16)
    )
    movie = open_movie(f"{web.address}/movie.zarr")
    assert (movie.uri, movie.name, movie.interval_s) == (f"{web.address}/movie.zarr", "movie.zarr", 300.0)
    np.testing.assert_array_equal(movie.pixels[:], array)
    np.testing.assert_array_equal(through_pickle(movie).pixels[1:3, 1, ::2, 3:19, 5], array[1:3, 1, ::2, 3:19, 5])


def test_a_sharded_image_is_read_by_parts_of_its_files(web: Web, write_zarr: WriteZarr, told: Told) -> None:
    array = told(4, 32, 32)
    write_zarr(array, "tyx", chunks=(1, 16, 16), shards=(4, 32, 32))
    np.testing.assert_array_equal(open_movie(f"{web.address}/movie.zarr").pixels[2, 0, 0], array[2])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_is_an_archive_known_by_its_metadata(web: Web, write_zarr: WriteZarr, told: Told, version: str) -> None:
    array = write_plate(write_zarr, told, version)
    archive = open_archive(f"{web.address}/plate1.zarr/")
    assert [movie.name for movie in archive.movies] == ["B/3/0", "B/3/1", "B/10/0"]
    assert archive.skipped == ()
    assert archive.movies[1].groups == {"plate": "plate1.zarr", "row": "B", "column": "3", "well": "B3", "field": "1"}
    np.testing.assert_array_equal(archive.movies[1].pixels[:, 0, 0], array + 1)
    again = open_movie(archive.movies[2].uri)
    assert (again.name, again.groups["well"]) == ("0", "B10")
    with pytest.raises(UserError, match=r"this group is no image, but has 3 inside \(B/3/0, B/3/1, B/10/0\)"):
        open_movie(f"{web.address}/plate1.zarr")


def test_a_well_or_field_that_is_listed_and_not_there_is_named(web: Web, write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    write_plate(write_zarr, told, "0.5")
    shutil.rmtree(tmp_path / "plate1.zarr/B/10")
    shutil.rmtree(tmp_path / "plate1.zarr/B/3/1")
    archive = open_archive(f"{web.address}/plate1.zarr")
    assert [movie.name for movie in archive.movies] == ["B/3/0"]
    assert [(s.path, s.what) for s in archive.skipped] == [
        (f"{web.address}/plate1.zarr", "the well B/10 that the metadata lists is not there"),
        (f"{web.address}/plate1.zarr/B/3/1", "there is no Zarr store here"),
    ]


def test_several_archives_may_be_here_and_there(web: Web, write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    write_plate(write_zarr, told, "0.5")
    names = [movie.name for movie in open_archives([f"{web.address}/plate1.zarr", tmp_path / "plate1.zarr/B/3"]).movies]
    assert sorted(names) == ["0", "1", "B/10/0", "B/3/0", "B/3/1"]


@pytest.mark.parametrize("is_listed", [True, False])
def test_the_series_of_bioformats2raw_are_found(web: Web, write_zarr: WriteZarr, told: Told, tmp_path: Path, is_listed: bool) -> None:
    for series in "01":
        write_zarr(told(3, 8, 8), "tyx", "0.4", store="set.zarr", within=series)
    say(tmp_path / "set.zarr", {"bioformats2raw.layout": 3}, "0.4")
    if is_listed:
        (tmp_path / "set.zarr/OME").mkdir()
        say(tmp_path / "set.zarr/OME", {"series": ["1", "0"]}, "0.4")
    assert [movie.name for movie in open_archive(f"{web.address}/set.zarr").movies] == ["0", "1"]


def test_labels_are_found_by_what_their_group_lists(web: Web, write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    image = write_zarr(told(3, 8, 8), "tyx")
    write_zarr(told(3, 8, 8), "tyx", within="labels/nuclei", ome={"image-label": {}})
    assert label_uris(str(image)) == [str(image / "labels/nuclei")]
    assert label_uris(f"{web.address}/movie.zarr") == []  # nothing lists them
    say(image / "labels", {"labels": ["nuclei", "gone"]}, "0.5")
    assert label_uris(f"{web.address}/movie.zarr") == [f"{web.address}/movie.zarr/labels/nuclei"]


def test_names_with_spaces_and_letters_of_any_alphabet(web: Web, write_zarr: WriteZarr, told: Told, through_pickle: Callable[[Movie], Movie]) -> None:
    name = "Zellen für 50% µM%20#1?.zarr"
    write_zarr(told(3, 8, 8), "tyx", store=name)
    for address in (quote(name), "Zellen für 50%25 µM%2520%231%3F.zarr"):
        movie = open_movie(f"{web.address}/{address}")
        assert movie.name == name
        assert through_pickle(movie).pixels[:].shape == open_movie(movie.uri).pixels.shape == (3, 1, 1, 8, 8)


def test_many_threads_may_read(web: Web, write_zarr: WriteZarr, told: Told) -> None:
    array = told(16, 20, 20)
    write_zarr(array, "tyx", chunks=(2, 8, 8))
    pixels = open_movie(f"{web.address}/movie.zarr").pixels
    with ThreadPoolExecutor(8) as pool:
        for t, frame in zip(range(16), pool.map(lambda t: pixels[t, 0, 0], range(16)), strict=True):
            np.testing.assert_array_equal(frame, array[t])


def test_a_missing_chunk_is_empty_and_a_damaged_one_is_named(web: Web, write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    write_zarr(told(3, 8, 8) + 1, "tyx", chunks=(1, 8, 8))
    pixels = open_movie(f"{web.address}/movie.zarr").pixels
    (tmp_path / "movie.zarr/0/c/0/0/0").unlink()
    assert not pixels[0].any()
    (tmp_path / "movie.zarr/0/c/1/0/0").write_bytes(b"garbage")
    with pytest.raises(UserError, match=r"movie\.zarr: the pixels from T=1, C=0, Z=0, Y=0, X=0 on cannot be read"):
        pixels[1]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (403, r"zarr\.json: the server refuses to give it \(403 Forbidden\)\. ask for the right to read it\.$"),
        (401, r"zarr\.json: the server refuses to give it \(401 Unauthorized\)\. ask for the right"),
        (500, r"zarr\.json: the server answers 500 Internal Server Error\. try again later"),
        (404, r"movie\.zarr: there is no Zarr store here\. check the address"),
        ("hang", r"zarr\.json: the server cannot be reached \(it takes too long to answer\)\. check the address, the network and the proxy"),
        ("cut", r"zarr\.json: the server cannot be reached \("),
        ("unsized", r"zarr\.json: the server cannot be used: it does not tell how large files are\. use another server, or copy the store"),
        ("round", r"zarr\.json: the server cannot be used: it sends us elsewhere and back"),
    ],
)
def test_a_server_that_fails_gives_one_line_soon(
    web: Web, impatient: None, write_zarr: WriteZarr, told: Told, fault: int | str, message: str
) -> None:
    write_zarr(told(3, 8, 8), "tyx")
    web.faults["/movie.zarr/zarr.json"] = fault
    start = time.monotonic()
    with pytest.raises(UserError, match=message) as caught:
        open_movie(f"{web.address}/movie.zarr")
    assert time.monotonic() - start < 10
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("fault", [403, 500, "hang"])
def test_a_server_that_fails_while_pixels_are_read_says_which(web: Web, impatient: None, write_zarr: WriteZarr, told: Told, fault: int | str) -> None:
    write_zarr(told(3, 8, 8), "tyx", chunks=(1, 8, 8))
    movie = open_movie(f"{web.address}/movie.zarr")
    web.faults["c/1/0/0"] = fault
    with pytest.raises(UserError, match=r"movie\.zarr: the pixels from T=1, C=0, Z=0, Y=0, X=0 on cannot be read: the server"):
        movie.pixels[1]
    web.faults.clear()
    assert movie.pixels[1].any()


def test_a_server_that_gives_no_parts_of_files_cannot_give_shards(web: Web, write_zarr: WriteZarr, told: Told) -> None:
    write_zarr(told(4, 32, 32), "tyx", chunks=(1, 16, 16), shards=(4, 32, 32))
    movie = open_movie(f"{web.address}/movie.zarr")
    web.faults["c/0/0/0"] = "whole"
    with pytest.raises(UserError, match="cannot be read: the server cannot be used: it cannot give parts of files"):
        movie.pixels[1]


@pytest.mark.parametrize(("fault", "is_away"), [(500, True), (503, True), (429, True), ("hang", True), (403, False), (410, False)])
def test_a_server_that_may_come_back_is_waited_for_by_those_who_can_wait(
    web: Web, impatient: None, write_zarr: WriteZarr, told: Told, fault: int | str, is_away: bool
) -> None:
    write_zarr(told(3, 8, 8), "tyx", chunks=(1, 8, 8))
    movie = open_movie(f"{web.address}/movie.zarr")
    web.faults["c/1/0/0"] = fault
    with pytest.raises(UserError) as caught:
        movie.pixels[1]
    assert isinstance(caught.value.__cause__, ConnectionError) == is_away


def test_a_server_that_is_not_there_gives_one_line(web: Web, impatient: None) -> None:
    web.close()
    with pytest.raises(UserError, match=r"the server cannot be reached \(the connection is refused\)\. check the address, the network and the proxy"):
        open_archive(f"{web.address}/movie.zarr")


def test_a_page_instead_of_metadata_is_no_store(web: Web, tmp_path: Path) -> None:
    (tmp_path / "movie.zarr").mkdir()
    (tmp_path / "movie.zarr/zarr.json").write_text("<!doctype html>")
    with pytest.raises(UserError, match=r"movie\.zarr/zarr\.json: the metadata cannot be read"):
        open_archive(f"{web.address}/movie.zarr")


def test_metadata_without_end_are_not_fetched(web: Web, tmp_path: Path) -> None:
    (tmp_path / "movie.zarr").mkdir()
    with (tmp_path / "movie.zarr/zarr.json").open("wb") as file:
        os.truncate(file.fileno(), 2**26 + 1)
    with pytest.raises(UserError, match=r"zarr\.json: the metadata is absurdly large"):
        open_movie(f"{web.address}/movie.zarr")


@pytest.mark.parametrize("path", ["../../secret", "/etc", "a/../../b", "0\\..\\.."])
def test_metadata_cannot_point_elsewhere_on_the_server(web: Web, write_zarr: WriteZarr, told: Told, path: str) -> None:
    image = write_zarr(told(3, 8, 8), "tyx")
    say(image, {"multiscales": [{"axes": [{"name": n} for n in "tyx"], "datasets": [{"path": path}]}]}, "0.5")
    web.asked.clear()
    with pytest.raises(UserError, match="the metadata points out of the image, to "):
        open_movie(f"{web.address}/movie.zarr")
    assert all(asked.startswith("/movie.zarr/") for asked in web.asked)


@pytest.mark.parametrize("address", ["https://", "s3:///x.zarr", "https://host/a/../b.zarr", "https://host/x.zarr?token=1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"this is no address of a Zarr store\. give it as https://host/path/movie\.zarr|points out of the image"):
        open_movie(address)


def test_nothing_there_or_a_group_of_nothing(web: Web, write_zarr: WriteZarr, told: Told) -> None:
    with pytest.raises(UserError, match=r"there is no Zarr store here, and the server does not list its folders\. give the address of an image"):
        open_archive(f"{web.address}/data")
    write_zarr(told(3, 8, 8), "tyx", store="set.zarr", within="a")
    with pytest.raises(UserError, match=r"this Zarr group lists no images\. give the address of an image or a plate"):
        open_archive(f"{web.address}/set.zarr")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    zarr_remote._store.cache_clear()
    with pytest.raises(UserError, match=r'https://host: this is a remote store\. .*pip install "cellvjepa\[remote\]"'):
        open_movie("https://host/movie.zarr")
