"""Fetches a checkpoint from the Hugging Face hub, and only that: one request for the list of files, one for each file.

Resumable (what is there of a file is not asked for again), checked (SHA-256 of large files, git's hash of small ones),
and honouring HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE. In reading order: names, the listing, a file, all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.paths import replacing, settle
from openbook.core.progress import Progress, silent
from openbook.lm.local import models_home
from openbook.lm.pace import LeastRate, Pace

_NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9A-Fa-f]{4,64}")
_READ_BYTES = 1 << 20
_PLAIN = re.compile(r"[^\x00-\x1f\x7f\\?#%:]{1,240}")
"""Names that are the same on a disk and in an address."""
_MAX_LISTING_BYTES = 32 << 20
_ATTEMPTS = 5
_KEPT = (".json", ".txt", ".model", ".jinja", ".safetensors")
_LEFT_OUT = ("onnx", "openvino", "coreml", "original", "gguf", "flax", "tf")
RECORD = "openbook.json"
"""What is written beside a checkpoint: where it came from, and the hash of every file."""


class Remote(NamedTuple):
    """A file of a repository. `digest` is "sha256:..." or "git:...": the hash that the hub says it has."""

    name: str
    size_bytes: int
    digest: str


class Listing(NamedTuple):
    repository: str
    commit: str
    files: list[Remote]


def pull(name: str, progress: Progress = silent, *, least_rate: LeastRate = LeastRate()) -> Path:  # noqa: B008 (frozen)
    """The directory of `OWNER/NAME[@REVISION]`, complete and checked. What was fetched before is not fetched again.

    Raises UsageError for a name or an HF_ENDPOINT that cannot be one, and ModelUnavailable when the hub cannot be reached, says
    no, sends less than `least_rate`, or something else than it announced.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"{name!r} is no name of a model", "write OWNER/NAME or OWNER/NAME@REVISION")
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise ModelUnavailable(
            "HF_HUB_OFFLINE is set, so nothing is fetched", f"unset it, or copy the files to {models_home()}"
        )
    repository, revision = match["repository"], match["revision"]
    pace = Pace(endpoint(), least_rate)
    target = models_home() / (repository if revision is None else f"{repository}@{revision.replace('/', '--')}")
    with httpx.Client(follow_redirects=True, timeout=httpx.Timeout(30.0), headers=_headers()) as session:
        listing = _list(session, repository, revision or "main", pace)
        wanted = list(_wanted(listing.files))
        if not wanted:
            raise ModelUnavailable(
                f"{repository} holds no checkpoint", "name a repository with config.json and safetensors"
            )
        target.mkdir(parents=True, exist_ok=True)
        _check_space(target, wanted)
        total, done = sum(file.size_bytes for file in wanted), 0
        for file in wanted:
            progress("fetch", done, total, file.name)
            try:
                if not _is_whole(target / file.name, file) and not _from_cache(listing, file, target):
                    _fetch(session, listing, file, target, pace, _reporting(progress, done, total, file.name))
            except OSError as error:
                raise ModelUnavailable(
                    f"{target / file.name} cannot be written ({error})", "make room, or set OPENBOOK_HOME"
                ) from None
            done += file.size_bytes
        progress("fetch", total, total, "")
    record = {"source": repository, "revision": revision or "main", "commit": listing.commit}
    with replacing(target / RECORD) as out:
        out.write(json.dumps(record | {"files": {file.name: file.digest for file in wanted}}, indent=1).encode())
    return target


def _reporting(progress: Progress, before: int, total: int, name: str) -> Callable[[int], None]:
    return lambda more: progress("fetch", before + more, total, name)


def endpoint() -> str:
    """HF_ENDPOINT, or the hub. UsageError for one that is no http(s) address, or that holds a password."""
    said = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    try:
        parts = urlsplit(said)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a broken IPv6 address, a port that is no number
        is_address = False
    if "@" in said:
        raise UsageError("HF_ENDPOINT holds a user or a password", "write the address alone, and the token to HF_TOKEN")
    if not is_address or parts.query or parts.fragment:
        raise UsageError(f"HF_ENDPOINT {said!r} is no address of a hub", "write https://HOST or http://HOST:PORT")
    return said


def _hub_home() -> Path:
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface").expanduser()


def _headers() -> dict[str, str]:
    path = _hub_home() / "token"
    token = (os.environ.get("HF_TOKEN") or (path.read_text("utf-8") if path.is_file() else "")).strip()
    if not (token.isascii() and token.isprintable()):
        raise UsageError("HF_TOKEN holds characters that no token has", "copy it again from the hub")
    return {"user-agent": "openbook"} | ({"authorization": f"Bearer {token}"} if token else {})


def _list(session: httpx.Client, repository: str, revision: str, pace: Pace) -> Listing:
    url = f"{endpoint()}/api/models/{repository}/revision/{revision.replace('/', '%2F')}"
    try:
        with session.stream("GET", url, params={"blobs": "true"}) as answer:
            if answer.status_code != 200:
                raise _refused(answer, repository, revision)
            content = bytearray()
            pace.begin()
            for block in answer.iter_bytes():
                content += block
                pace.count(len(block))
                if len(content) > _MAX_LISTING_BYTES:
                    raise ValueError(f"more than {_MAX_LISTING_BYTES:,} bytes")
        said = json.loads(content)
        commit = str(said["sha"])
        if not _COMMIT.fullmatch(commit):
            raise ValueError(f"a commit called {commit[:80]!r}")
        return Listing(repository, commit, [_remote(one) for one in said["siblings"]])
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(error) from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelUnavailable(
            f"{endpoint()} answered something that is no list of files ({error!r})", "check HF_ENDPOINT"
        ) from None


def _remote(said: Mapping[str, Any]) -> Remote:
    name, large = str(said["rfilename"]), said.get("lfs") or {}
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or name.startswith(".") or not _PLAIN.fullmatch(name):
        return Remote("", 0, "")
    digest = large.get("sha256") or str(large.get("oid", "")).removeprefix("sha256:")
    return Remote(
        name,
        int(said.get("size") or large.get("size") or 0),
        f"sha256:{digest}" if digest else f"git:{said.get('blobId', '')}",
    )


def _wanted(files: list[Remote]) -> Iterator[Remote]:
    """Settings, tokenizer and weights; pickled weights only where there are no others, since those have to be converted."""
    named = {file.name for file in files}
    has_safetensors = any(name.endswith(".safetensors") and "/" not in name for name in named)
    for file in files:
        path = PurePosixPath(file.name)
        if not file.name or path.parts[0].lower() in _LEFT_OUT:
            continue
        if path.name.startswith("consolidated") and named & {"model.safetensors", "model.safetensors.index.json"}:
            continue
        is_pickle = path.name.startswith("pytorch_model") and path.suffix in (".bin", ".json")
        if (is_pickle and not has_safetensors) or (path.suffix in _KEPT and not is_pickle):
            yield file


def _check_space(target: Path, wanted: list[Remote]) -> None:
    needed = sum(file.size_bytes for file in wanted if not (target / file.name).is_file())
    free = shutil.disk_usage(target).free
    if needed > free:
        raise ModelUnavailable(
            f"{needed:,} bytes are to be fetched, {free:,} are free in {target}", "make room, or set OPENBOOK_HOME"
        )


def _from_cache(listing: Listing, file: Remote, target: Path) -> bool:
    """Copies what the hub's own client has fetched already (`$HF_HOME/hub`), when it is whole."""
    snapshots = _hub_home() / "hub" / f"models--{listing.repository.replace('/', '--')}" / "snapshots"
    path = snapshots / listing.commit / file.name
    if not _is_whole(path, file):
        return False
    (target / file.name).parent.mkdir(parents=True, exist_ok=True)
    with replacing(target / file.name) as out, path.open("rb") as data:
        shutil.copyfileobj(data, out, _READ_BYTES)
    return True


def _fetch(
    session: httpx.Client, listing: Listing, file: Remote, target: Path, pace: Pace, more: Callable[[int], None]
) -> None:
    path, partial = target / file.name, target / f"{file.name}.partial"
    path.parent.mkdir(parents=True, exist_ok=True)
    url = f"{endpoint()}/{listing.repository}/resolve/{listing.commit}/{file.name}"
    last: httpx.HTTPError | None = None
    for _ in range(_ATTEMPTS):
        try:
            _continue(session, url, partial, file, listing, pace, more)
        except httpx.TransportError as error:
            last = error
            continue
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # a redirect to nowhere, an encoding that is none
            raise _unreachable(error) from None
        if _is_whole(partial, file):
            settle(partial, path)
            return
        partial.unlink(missing_ok=True)
        raise ModelUnavailable(
            f"{file.name} of {listing.repository} is not what the hub announced ({file.digest}, {file.size_bytes:,} bytes)",
            "pull again; if it stays so, do not use it",
        )
    assert last is not None
    raise _unreachable(last)


def _continue(
    session: httpx.Client,
    url: str,
    partial: Path,
    file: Remote,
    listing: Listing,
    pace: Pace,
    more: Callable[[int], None],
) -> None:
    """Asks for what is missing of the file and appends it."""
    have = partial.stat().st_size if partial.is_file() else 0
    if have >= file.size_bytes > 0:
        return
    headers = {"accept-encoding": "identity"} | ({"range": f"bytes={have}-"} if have else {})
    with session.stream("GET", url, headers=headers) as answer:
        if answer.status_code not in (200, 206):
            raise _refused(answer, listing.repository, listing.commit)
        appends = answer.status_code == 206
        have = have if appends else 0
        pace.begin()
        with partial.open("ab" if appends else "wb") as out:
            for block in answer.iter_bytes():
                have += len(block)
                if have > file.size_bytes:
                    return  # more than was announced: the hash will say so
                out.write(block)
                more(have)
                pace.count(len(block))


def _is_whole(path: Path, file: Remote) -> bool:
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    kind, _, wanted = file.digest.partition(":")
    digest = (
        hashlib.sha256()
        if kind == "sha256"
        else hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    )
    with path.open("rb") as data:
        while block := data.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest() == wanted


def _unreachable(error: httpx.HTTPError | httpx.InvalidURL) -> ModelUnavailable:
    return ModelUnavailable(
        f"{endpoint()} cannot be reached ({type(error).__name__})",
        f"check the network and HF_ENDPOINT; without one, copy a checkpoint's directory to {models_home()}/OWNER/NAME",
    )


def _refused(answer: httpx.Response, repository: str, revision: str) -> ModelUnavailable:
    status = answer.status_code
    if status in (401, 403):
        return ModelUnavailable(
            f"{endpoint()} does not give you {repository} ({status})", "accept its licence there, and set HF_TOKEN"
        )
    if status == 404:
        return ModelUnavailable(
            f"{repository} has no revision {revision!r}, or is not there", "check the name and the revision"
        )
    return ModelUnavailable(f"{endpoint()} answered {status} for {repository}", "try again later")
