"""OME-Zarr in buckets: s3:// against a small server that speaks as much of S3 as reading needs, and gs:// against the same, as it lists alike."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import numpy as np
import pytest
import zarr

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive, open_movie
from cellvjepa.movies.readers.zarr import remote as zarr_remote

pytest.importorskip("obstore", reason="remote stores need the extra 'remote'")

Told = Callable[..., np.ndarray[Any, Any]]
WriteZarr = Callable[..., Path]

_PAGE = 3  # entries of a listing in one answer: the next has to be asked for


class Buckets(http.server.BaseHTTPRequestHandler):
    """Folders as buckets: GET and HEAD of objects and of their parts, ListObjectsV2 with delimiter and pages."""

    root: Path
    signed_only: set[str]
    unlisted: set[str]
    signed: list[bool]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.signed.append("Authorization" in self.headers)
        place = self.root / bucket / key
        if bucket in self.signed_only and not self.signed[-1]:
            self._error(403, "AccessDenied")
        elif not (self.root / bucket).is_dir():
            self._error(404, "NoSuchBucket")
        elif key == "" and bucket in self.unlisted:
            self._error(403, "AccessDenied")
        elif key == "":
            self._list(self.root / bucket, query)
        elif place.is_file():
            self._give(place.read_bytes())
        else:  # S3 does not tell who may not list whether something is there
            self._error(*((403, "AccessDenied") if bucket in self.unlisted else (404, "NoSuchKey")))

    def _list(self, bucket: Path, query: dict[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        entries: dict[str, int | None] = {}
        for file in bucket.rglob("*"):
            key = file.relative_to(bucket).as_posix()
            if file.is_file() and key.startswith(prefix):
                rest = key[len(prefix) :]
                folded = "/" in rest and query.get("delimiter") == "/"
                entries[prefix + rest.partition("/")[0] + "/" if folded else key] = None if folded else file.stat().st_size
        wanted = sorted(entry for entry in entries if entry > after)
        objects, prefixes = "", ""
        for entry in wanted[:_PAGE]:
            if entries[entry] is None:
                prefixes += f"<CommonPrefixes><Prefix>{escape(entry)}</Prefix></CommonPrefixes>"
            else:
                told = f"<Size>{entries[entry]}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                objects += f"<Contents><Key>{escape(entry)}</Key>{told}</Contents>"
        more = (
            f"<IsTruncated>true</IsTruncated><NextContinuationToken>{escape(wanted[_PAGE - 1])}</NextContinuationToken>"
            if len(wanted) > _PAGE
            else ""
        )
        self._answer(200, f"<?xml version='1.0'?><ListBucketResult>{objects}{prefixes}{more}</ListBucketResult>".encode())

    def _give(self, raw: bytes) -> None:
        asked = self.headers.get("Range")
        if asked is None:
            self._answer(200, raw)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = (int(first), min(int(last) + 1, len(raw)) if last else len(raw)) if first else (len(raw) - int(last), len(raw))
        self._answer(206, raw[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(raw)}"})

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<?xml version='1.0'?>\n<Error><Code>{code}</Code></Error>".encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        usual = {"Content-Length": str(len(body)), "ETag": '"0"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        for name, value in (usual | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


@pytest.fixture
def buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Buckets]]:
    """Serve ``tmp_path``: the bucket ``lab`` is its folder ``lab``."""
    handler = type("Bound", (Buckets,), {"root": tmp_path, "signed_only": set(), "unlisted": set(), "signed": []})
    server = Server(("127.0.0.1", 0), handler)
    for name in (*zarr_remote._AWS_KEYS, *zarr_remote._GOOGLE_KEYS, "AWS_SKIP_SIGNATURE", "GOOGLE_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("AWS_ENDPOINT_URL", "GOOGLE_BASE_URL"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    zarr_remote._store.cache_clear()
    yield handler
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)
    zarr_remote._store.cache_clear()


def sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "two")


@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_in_a_public_bucket_needs_no_keys(
    buckets: type[Buckets], write_zarr: WriteZarr, told: Told, through_pickle: Callable[[Movie], Movie], scheme: str, version: str
) -> None:
    array = told(3, 2, 4, 20, 24)
    write_zarr(array, version=version, store="lab/day1/movie.zarr", chunks=(1, 1, 2, 16, 16))
    movie = open_movie(f"{scheme}://lab/day1/movie.zarr")
    assert (movie.uri, movie.name) == (f"{scheme}://lab/day1/movie.zarr", "movie.zarr")
    np.testing.assert_array_equal(through_pickle(movie).pixels[:], array)
    assert not any(buckets.signed)


def test_a_sharded_image_is_read_by_parts_of_its_files(buckets: type[Buckets], write_zarr: WriteZarr, told: Told) -> None:
    array = told(4, 32, 32)
    write_zarr(array, "tyx", store="lab/movie.zarr", chunks=(1, 16, 16), shards=(4, 32, 32))
    np.testing.assert_array_equal(open_movie("s3://lab/movie.zarr").pixels[2, 0, 0], array[2])


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_folders_of_a_bucket_are_walked_where_metadata_do_not_say_what_is_there(
    buckets: type[Buckets], write_zarr: WriteZarr, told: Told, scheme: str
) -> None:
    places = ["plate1.zarr/B/3/0", "plate1.zarr/B/3/1", "plate1.zarr/B/10/0", "plate2.zarr/A/1/0", "plain.zarr"]
    for number, place in enumerate(places):
        store, _, within = place.partition("/")
        write_zarr(told(3, 8, 8) + number, "tyx", store=f"lab/screen/{store}", within=within)
    assert [movie.name for movie in open_archive(f"{scheme}://lab/screen/plate1.zarr").movies] == ["B/3/0", "B/3/1", "B/10/0"]
    archive = open_archive(f"{scheme}://lab/screen")
    assert sorted(movie.name for movie in archive.movies) == sorted(places)
    (third,) = (movie for movie in archive.movies if movie.name == "plate1.zarr/B/10/0")
    assert third.groups == {"plate": "plate1.zarr", "row": "B", "column": "10", "well": "B10", "field": "0"}
    np.testing.assert_array_equal(third.pixels[:, 0, 0], told(3, 8, 8) + 2)


def test_keys_of_the_environment_sign_requests(buckets: type[Buckets], write_zarr: WriteZarr, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    write_zarr(told(3, 8, 8), "tyx", store="lab/movie.zarr")
    buckets.signed_only.add("lab")
    with pytest.raises(
        UserError, match=r"s3://lab/movie\.zarr/zarr\.json: the server refuses to give it \(403 Forbidden\)\. set AWS_ACCESS_KEY_ID and"
    ):
        open_movie("s3://lab/movie.zarr")
    sign(monkeypatch)
    zarr_remote._store.cache_clear()
    np.testing.assert_array_equal(open_movie("s3://lab/movie.zarr").pixels[:, 0, 0], told(3, 8, 8))
    assert buckets.signed[-1]
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    zarr_remote._store.cache_clear()
    with pytest.raises(UserError, match="or AWS_SKIP_SIGNATURE=true if it is public"):
        open_movie("s3://lab/movie.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_bucket_that_one_may_not_list_is_read(buckets: type[Buckets], write_zarr: WriteZarr, told: Told, version: str) -> None:
    write_zarr(told(3, 8, 8), "tyx", version, store="lab/movie.zarr")
    buckets.unlisted.add("lab")
    np.testing.assert_array_equal(open_archive("s3://lab/movie.zarr").movies[0].pixels[:, 0, 0], told(3, 8, 8))
    with pytest.raises(UserError, match=r"the server refuses to give it \(403 Forbidden\)"):
        open_movie("s3://lab/other.zarr")


def test_what_is_not_in_a_bucket(buckets: type[Buckets], write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    with pytest.raises(UserError, match=r"s3://lab/movie\.zarr: there is no Zarr store here\. check the address"):
        open_movie("s3://lab/movie.zarr")
    with pytest.raises(UserError, match=r"s3://lab/movie\.zarr: there is no Zarr store here\. check the address"):
        open_archive("s3://lab/movie.zarr")
    with pytest.raises(UserError, match="no Zarr store here|NoSuchBucket|404"):
        open_archive("s3://nobody/movie.zarr")


def test_an_image_whose_chunks_are_all_missing_is_refused(buckets: type[Buckets], write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    image = write_zarr(told(3, 8, 8), "tyx", store="lab/movie.zarr", chunks=(1, 8, 8))
    shutil.rmtree(image / "0/c")
    with pytest.raises(UserError, match="the array claims 3 chunks, but 0 are there"):
        open_movie("s3://lab/movie.zarr")


def test_label_images_in_a_bucket_are_skipped(buckets: type[Buckets], write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    write_zarr(told(3, 8, 8), "tyx", store="lab/a.zarr")
    write_zarr(told(3, 8, 8), "tyx", store="lab/a.zarr", within="labels/nuclei", ome={"image-label": {}})
    zarr.open_group(str(tmp_path / "lab/empty.zarr"), mode="w")
    archive = open_archive("s3://lab")
    assert [movie.name for movie in archive.movies] == ["a.zarr"]
    assert [(s.path, s.what) for s in archive.skipped] == [("s3://lab/a.zarr/labels/nuclei", "looks like a label image")]
