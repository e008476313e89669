"""The report of an image: one page that shows what is in it, why, and what changed.

The page is ``report.html`` with the data put in as JSON. It needs no network and asks for none. A
report is also what the next one is compared with: the data of a page can be read again.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..files.file_list import Entry
from ..files.why import Reasons
from ..fs.digest import CHUNK, Digest
from ..fs.paths import show, unescape
from ..image.compression import decompress, suffix_of
from ..image.streams import Tally
from ..image.tar_header import FILE
from ..image.tar_reader import StreamedTar, TarReader
from ..trace.strace import Use
from ..trace.tracer import Record

_DATA = re.compile(rb'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)

_GROUPS = {
    "program": "the program",
    "staged": "the project",
    "needed-by": "libraries",
    "loader-of": "libraries",
    "interpreter-of": "libraries",
    "extra": "extra list {}",
    "preset": "preset {}",
    "run": "run {}",
    "listed-by": "directories listed by run {}",
    "packages": "what tells of packages",
}
"""What groups of reasons are called; a file is in the first that it has a reason for."""

_STATE = ("kind", "mode", "owner", "target", "size", "digest")
"""What of a file is compared with the earlier report."""


@dataclass(frozen=True, slots=True)
class Content:
    """A regular file in a layer."""

    size: int
    """Bytes."""
    digest: Digest


@dataclass(frozen=True, slots=True)
class Run:
    """A traced run."""

    name: str
    command: str
    """As one would type it."""
    record: Record


@dataclass(frozen=True, slots=True)
class Report:
    """What a report tells."""

    name: str
    """The image's."""
    entries: Sequence[Entry]
    contents: Mapping[bytes, Content]
    """Of regular files, by path."""
    runs: Sequence[Run]
    findings: Sequence[str]
    """Of lint."""
    packages: Mapping[bytes, str]
    """Names of the packages that own files, by path, as far as they are known."""


def contents(layers: Iterable[bytes]) -> dict[bytes, Content]:
    """Return the regular files of the layers at these paths; InputError if one is no layer."""
    return {path: content for layer in layers for path, content in _contents(layer).items()}


def _contents(path: bytes) -> dict[bytes, Content]:
    found = {}
    try:
        with open(path, "rb") as stream:
            chunks = decompress(stream, suffix_of(path))
            for header in (tar := TarReader(StreamedTar(chunks))):
                if header.flag == FILE:
                    content = Tally(source=tar)
                    while content.read(CHUNK):
                        pass
                    found[b"/" + header.name] = Content(content.size, content.digest)
    except ValueError as error:
        raise InputError(f"report on layer {show(path)}", str(error), "build it again") from error
    return found


def page(report: Report, earlier: bytes) -> bytes:
    """Return the page of `report`; `earlier` (hostile) is the one that was there, or nothing.

    It tells how the files differ from those of `earlier`, or else, where they do not, what that one
    had to tell: what changed stays to be seen until something else does.
    """
    files = _files(report)
    data = {
        "files": files,
        "runs": _runs(report, Reasons(report.entries)),
        "lint": list(report.findings),
        "changes": _changes(files, _data(earlier)),
    }
    with open(os.path.join(os.path.dirname(__file__), "report.html"), encoding="utf-8") as stream:
        template = stream.read()
    values = {"name": html.escape(report.name), "data": _embedded(data)}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template).encode()


def _embedded(data: Any) -> str:
    """Return `data` as JSON that cannot end the element it stands in, whatever names it has."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _files(report: Report) -> list[dict[str, Any]]:
    by_path = {entry.path: entry for entry in report.entries}
    return [
        {
            "path": show(entry.path),
            "kind": entry.kind,
            "mode": f"{entry.mode:04o} {entry.capabilities}".rstrip(),
            "owner": f"{entry.uid}:{entry.gid}",
            "target": show(entry.target),
            "size": content.size if content else 0,
            "digest": content.digest.hex if content else "",
            "reasons": list(entry.reasons),
            "group": _group(_with_links(entry, by_path)),
            "package": report.packages.get(entry.path, ""),
        }
        for entry, content in ((each, report.contents.get(each.path)) for each in report.entries)
    ]


def _with_links(entry: Entry, by_path: Mapping[bytes, Entry]) -> list[str]:
    """Return the reasons of `entry`, and those of the links that lead to it."""
    found: set[str] = set()
    seen, todo = set(), [entry.path]
    while todo:
        path = todo.pop()
        if path in seen or path not in by_path:
            continue
        seen.add(path)
        reasons = by_path[path].reasons
        found.update(reasons)
        todo += [unescape(each[10:].encode()) for each in reasons if each[:10] == "target-of:"]
    return sorted(found)


def _group(reasons: Sequence[str]) -> str:
    """Return the group of a path that is there for `reasons`."""
    for word, name in _GROUPS.items():
        of_word = [each.partition(":")[2] for each in reasons if each.partition(":")[0] == word]
        if of_word:
            return name.format(" and ".join(of_word))
    return "links and directories on the way"


def _runs(report: Report, reasons: Reasons) -> list[dict[str, Any]]:
    origins = [reasons.origins()[entry.path] for entry in report.entries]
    return [
        {
            "name": run.name,
            "command": run.command,
            "absent": sum(use.kind is Use.ABSENT for use in run.record.uses),
            "used": [at for at, found in enumerate(origins) if found & _of_run(run.name)],
            "only": [
                at for at, found in enumerate(origins) if found and found <= _of_run(run.name)
            ],
        }
        for run in report.runs
    ]


def _of_run(name: str) -> set[str]:
    return {f"{word}:{name}" for word in ("run", "listed-by", "output-dir")}


def _data(page: bytes) -> Any:
    """Return the data of the page `page`; None where it is no whole page of ours."""
    found = _DATA.search(page)
    try:
        return json.loads(found[1]) if found else None
    except (ValueError, RecursionError):
        return None


def _changes(files: Iterable[Mapping[str, Any]], earlier: Any) -> list[dict[str, Any]] | None:
    """Return how `files` differ from those of the data `earlier`, or else what that has to tell.

    None where it is no data, or has nothing to tell.
    """
    try:
        before, told = {each["path"]: each for each in earlier["files"]}, earlier["changes"]
        now = {each["path"]: each for each in files}
        found = [_change(path, before.get(path), now.get(path)) for path in sorted({*before, *now})]
    except (KeyError, TypeError):
        return None
    changes = [change for change in found if change]
    return changes or told


def _change(
    path: str, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    states = [each and [each[key] for key in _STATE] for each in (before, now)]
    if states[0] == states[1]:
        return None
    what = "added" if before is None else "removed" if now is None else "changed"
    sizes = [each["size"] if each else 0 for each in (before, now)]
    return {"path": path, "what": what, "before": sizes[0], "after": sizes[1]}
