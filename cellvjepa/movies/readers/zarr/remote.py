"""Folders of Zarr stores behind addresses (https, http, s3, gs), read through obstore. No request waits for ever."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.zarr.folder import AccessDeniedError, LocalFolder, ZarrFolder, parts_within, refuse_large

_SCHEMES = ("https", "http", "s3", "gs")
_ADDRESS = re.compile(rf"(?P<root>(?:{'|'.join(_SCHEMES)})://[^/?#]+)(?:/(?P<prefix>[^?#]*))?", re.IGNORECASE)
_INSTALL = 'install what reads remote stores: pip install "cellvjepa[remote]"'

_CONNECT_S, _STALL_S, _REQUEST_S = 5.0, 20.0, 120.0  # to connect, between two pieces of an answer, for all of it
_RETRIES, _RETRY_FOR_S = 3, 60.0
_MOST_LISTED = 1000  # one page of a listing

# As the libraries of the providers name them; without any of these a bucket is taken as public.
_AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_GOOGLE_KEYS = (
    "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN",
)  # fmt: skip
_ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"), "gs": ("GOOGLE_BASE_URL",)}


_STATUS = re.compile(r"status code: (\d{3})(?: [A-Z][A-Za-z ]*)?")
_UNREACHED = {
    "TimedOut": "it takes too long to answer",
    "operation timed out": "it takes too long to answer",
    "dns error": "there is no such host",
    "ConnectionRefused": "the connection is refused",
    "ertificate": "its certificate is not trusted",
}
_UNFIT = {
    "RangeNotSupported": "it cannot give parts of files",
    "Content-Length": "it does not tell how large files are",
    "following redirect": "it sends us elsewhere and back",
}


@dataclass(frozen=True)
class RemoteFolder:
    """A folder behind an address, as :class:`~cellvjepa.movies.readers.zarr.folder.ZarrFolder`.

    Parameters
    ----------
    root
        The server or the bucket: ``"https://host"``, ``"s3://bucket"``.
    prefix
        The path below it, as it is stored (not percent-encoded).
    """

    root: str
    prefix: str

    @property
    def address(self) -> str:
        """Return its address; on the web with as much percent-encoding as it takes to be read back."""
        prefix = self.prefix
        if self.root.startswith("http"):
            prefix = prefix.replace("%", "%25").replace("?", "%3F").replace("#", "%23")
        return f"{self.root}/{prefix}".rstrip("/")

    @property
    def name(self) -> str:
        """Return the last part of its address."""
        return (self.prefix or self.root).rpartition("/")[2]

    def read(self, name: str) -> bytes | None:
        """Return the content of a file in it, or None where there is none."""
        where = f"{self.address}/{name}"
        obstore, store = _store(self.root, _endpoint(self.root))
        try:
            found = obstore.get(store, self._key(name))
            refuse_large(int(found.meta["size"]), where)
            return bytes(found.bytes())
        except FileNotFoundError:
            return None
        except (obstore.exceptions.BaseError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise failure(error, where) from away(error)

    def child(self, inner: str) -> RemoteFolder:
        """Return a folder below it."""
        return RemoteFolder(self.root, "/".join(filter(None, (self.prefix, *parts_within(inner, self.address)))))

    def parent(self) -> RemoteFolder | None:
        """Return the folder it lies in; None for a whole bucket or server."""
        return RemoteFolder(self.root, self.prefix.rpartition("/")[0]) if self.prefix else None

    def children(self) -> list[str] | None:
        """Return the names of the folders in it; None over HTTP, and where one may not look."""
        if self.root.startswith("http"):
            return None
        obstore, store = _store(self.root, _endpoint(self.root))
        try:
            found = obstore.list_with_delimiter(store, self.prefix or None)
        except obstore.exceptions.PermissionDeniedError:
            return None
        except (obstore.exceptions.BaseError, FileNotFoundError, ValueError) as error:
            raise failure(error, self.address) from away(error)
        return [prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"]]

    def count_files(self, most: int) -> int | None:
        """Count the files below it on the first page of a listing; None where they cannot be listed or there are more."""
        if self.root.startswith("http"):
            return None
        obstore, store = _store(self.root, _endpoint(self.root))
        try:
            page = next(iter(obstore.list(store, self.prefix or None, chunk_size=_MOST_LISTED)), ())
        except (obstore.exceptions.BaseError, FileNotFoundError, ValueError):
            return None
        return None if len(page) == _MOST_LISTED else sum(not entry["path"].endswith(("/zarr.json", "/.zarray", "/.zattrs")) for entry in page)

    def store(self) -> tuple[Any, str]:
        """Return what zarr opens."""
        from zarr.storage import ObjectStore

        return ObjectStore(_store(self.root, _endpoint(self.root))[1], read_only=True), self.prefix

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name


def is_address(place: str | os.PathLike[str]) -> bool:
    """Whether this is a remote address and no path."""
    scheme, colon, _ = os.fspath(place).partition("://")
    return bool(colon) and scheme.lower() in _SCHEMES


def remote_folder(address: str) -> RemoteFolder:
    """Return the folder behind an address.

    Raises
    ------
    UserError
        If it is no address of a folder.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UserError("this is no address of a Zarr store", "give it as https://host/path/movie.zarr, s3://bucket/movie.zarr or gs://...", address)
    root = re.sub(r"^\w+", lambda scheme: scheme[0].lower(), found["root"])
    prefix = (found["prefix"] or "").strip("/")
    prefix = unquote(prefix) if root.startswith("http") else prefix
    return RemoteFolder(root, "/".join(parts_within(prefix, address)) if prefix else "")


def folder_at(uri: str) -> ZarrFolder:
    """Return the folder of a local path or behind an address.

    Raises
    ------
    UserError
        If it is an address of no folder.
    """
    return remote_folder(uri) if is_address(uri) else LocalFolder(Path(uri))


def failure(error: Exception, where: str) -> UserError:
    """Say what a request that failed means, on one line."""
    text = str(error)
    status = _STATUS.search(text)
    said = "access denied" if status is None else status[0].removeprefix("status code: ")
    if _refuses(error, None if status is None else status[1]):
        remedy = "ask for the right to read it"
        if where.startswith("s3:"):
            remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that may read it, or AWS_SKIP_SIGNATURE=true if it is public"
        if where.startswith("gs:"):
            remedy = "set GOOGLE_APPLICATION_CREDENTIALS to keys that may read it, or GOOGLE_SKIP_SIGNATURE=true if it is public"
        return AccessDeniedError(f"the server refuses to give it ({said})", remedy, where)
    if status is not None:
        return UserError(f"the server answers {said}", "try again later, or ask whoever runs the server", where)
    unfit = next((words for sign, words in _UNFIT.items() if sign in text), None)
    if unfit is not None:
        return UserError(f"the server cannot be used: {unfit}", "use another server, or copy the store to a disk", where)
    return UserError(f"the server cannot be reached ({_cause(text)})", "check the address, the network and the proxy, and try again", where)


def away(error: Exception) -> Exception:
    """Return a ConnectionError for a request that may succeed later, as it is said of shares that go away; else the error itself."""
    text = str(error)
    status = _STATUS.search(text)
    if _refuses(error, None) or any(sign in text for sign in _UNFIT) or not type(error).__module__.startswith("obstore"):
        return error
    return ConnectionError(_cause(text)) if status is None or status[1] in ("408", "429") or status[1][0] == "5" else error


def _refuses(error: Exception, status: str | None) -> bool:
    return type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or status in ("401", "403")


def _cause(text: str) -> str:
    """Return the innermost words of a chain of errors."""
    known = next((words for sign, words in _UNREACHED.items() if sign in text), None)
    return known or " ".join(text.partition("Debug source")[0].split())[:200]


def _endpoint(root: str) -> str | None:
    return next((os.environ[name] for name in _ENDPOINTS.get(root[:2], ()) if os.environ.get(name)), None)


@lru_cache(maxsize=64)  # so that the movies of a server share its connections; the environment is read once per server
def _store(root: str, endpoint: str | None) -> tuple[Any, Any]:
    try:
        import obstore
        from obstore.store import GCSStore, HTTPStore, S3Store
    except ImportError as error:
        raise UserError("this is a remote store", _INSTALL, root) from error
    is_plain = root.startswith("http:") or (endpoint or "").startswith("http:")
    settings: dict[str, Any] = {
        "client_options": {
            "connect_timeout": timedelta(seconds=_CONNECT_S),
            "read_timeout": timedelta(seconds=_STALL_S),
            "timeout": timedelta(seconds=_REQUEST_S),
            "allow_http": is_plain,
        },
        "retry_config": {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_FOR_S)},
    }
    try:
        if root.startswith("http"):
            return obstore, HTTPStore.from_url(root + "/", **settings)
        if root.startswith("s3"):
            place: dict[str, Any] = {} if endpoint is None else {"endpoint": endpoint}
            anonymous: dict[str, Any] = {} if _is_set("AWS_SKIP_SIGNATURE", *_AWS_KEYS) else {"skip_signature": True}
            return obstore, S3Store.from_url(root, config=place | anonymous, **settings)  # type: ignore[arg-type]
        well_known = Path.home() / ".config" / "gcloud" / "application_default_credentials.json"
        anonymous = {} if _is_set("GOOGLE_SKIP_SIGNATURE", *_GOOGLE_KEYS) or well_known.is_file() else {"skip_signature": True}
        return obstore, GCSStore.from_url(root, config=anonymous, **settings)  # type: ignore[arg-type]
    except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
        what = f"the address or the settings cannot be used ({_cause(str(error))})"
        raise UserError(what, "check the address and the environment", root) from error


def _is_set(*names: str) -> bool:
    return any(os.environ.get(name) for name in names)
