"""The report of an image: one page that shows how it is set, what is in it, why, and what changed.

The page is ``report.html`` with the data put in as JSON. It needs no network, and its policy allows
none. A report is also what the next one is compared with: the data of a page can be read again.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..files.entry import Entry
from ..files.why import Reasons
from ..fs.paths import show, unescape
from ..trace.record import Record
from .report_facts import ImageFacts, LayerFacts

_DATA = b'<script type="application/json" id="data">'

_GROUPS = {
    "program": ("program", "the program"),
    "staged": ("project", "the project"),
    "needed-by": ("library", "libraries"),
    "loader-of": ("library", "libraries"),
    "interpreter-of": ("library", "libraries"),
    "extra": ("extra", "extra list {}"),
    "preset": ("preset", "preset {}"),
    "run": ("run", "run {}"),
    "listed-by": ("listed", "directories listed by run {}"),
    "packages": ("packages", "package records"),
}
"""By reason: the cause and the group of files that are there for it; the first one decides."""

_REST = ("rest", "links and parent directories")

_STATE = ("path", "kind", "mode", "owner", "target", "size", "digest")
"""The columns of files that are compared with the earlier report."""

_SIZE = _STATE.index("size")

_COLUMNS = (*_STATE, "reasons", "cause", "group", "package")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A traced run."""

    name: str
    command: str
    """As one would type it."""
    record: Record


@dataclass(frozen=True, slots=True)
class Report:
    """The facts that a report shows."""

    name: str
    """The image's."""
    entries: Sequence[Entry]
    layers: Sequence[LayerFacts]
    """The lowest first."""
    runs: Sequence[RunSummary]
    findings: Sequence[str]
    """Of lint."""
    packages: Mapping[bytes, str]
    """Names of the packages that own files, by path, as far as they are known."""
    image: ImageFacts | None = None
    """None where only the files are known."""


def page(report: Report, earlier: bytes) -> bytes:
    """Return the page of `report`; `earlier` (hostile) is the one that was there, or nothing.

    It shows how the image differs from that of `earlier`. Where it does not differ, it shows the
    changes that `earlier` showed: a change stays visible until there is another one.
    """
    files = _files(report)
    data: dict[str, Any] = {
        "image": _image(report.image),
        "layers": list(_layers(report)),
        "files": files,
        "runs": _runs(report),
        "lint": list(report.findings),
    }
    data["changes"] = _changes(_data(earlier), data)
    with open(os.path.join(os.path.dirname(__file__), "report.html"), encoding="utf-8") as stream:
        template = stream.read()
    values = {"name": html.escape(report.name), "policy": _policy(template), "data": _embed(data)}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template).encode()


def _policy(template: str) -> str:
    """Return the content security policy: nothing but the page's own style and script.

    https://www.w3.org/TR/CSP3/#grammardef-hash-source
    """
    sources = ["default-src 'none'"]
    for element in ("style", "script"):
        text = template.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        sources.append(f"{element}-src 'sha256-{digest}'")
    return "; ".join(sources)


def _embed(data: Any) -> str:
    """Return `data` as JSON that cannot end the element it stands in, whatever names it has."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _image(image: ImageFacts | None) -> dict[str, Any] | None:
    if image is None:
        return None
    return {
        "id": str(image.id),
        "manifest": str(image.manifest),
        "settings": {name: list(values) for name, values in image.settings.items()},
    }


def _layers(report: Report) -> Iterator[dict[str, Any]]:
    digests = report.image.layers if report.image else [""] * len(report.layers)
    for each, digest in zip(report.layers, digests, strict=True):
        yield {
            "name": each.name,
            "digest": str(digest),
            "files": len(each.contents),
            "size": each.size,
            "compressed": each.compressed,
        }


def _files(report: Report) -> dict[str, list[Any]]:
    """Return a list for each of `_COLUMNS`, with an item for each path, in the order of the list.

    Many thousand objects would take several times as long to write and to read.
    """
    by_path = {entry.path: entry for entry in report.entries}
    contents = {path: found for each in report.layers for path, found in each.contents.items()}
    rows = [
        (
            show(entry.path),
            entry.kind,
            f"{entry.mode:04o} {entry.capabilities}".rstrip(),
            f"{entry.uid}:{entry.gid}",
            show(entry.target),
            content.size if content else 0,
            content.digest.hex if content else "",
            " ".join(entry.reasons),
            *_group(_reasons_with_links(entry, by_path)),
            report.packages.get(entry.path, ""),
        )
        for entry, content in ((each, contents.get(each.path)) for each in report.entries)
    ]
    return {name: [row[at] for row in rows] for at, name in enumerate(_COLUMNS)}


def _reasons_with_links(entry: Entry, by_path: Mapping[bytes, Entry]) -> Sequence[str]:
    """Return the reasons of `entry`, and those of the links that lead to it."""
    found = dict.fromkeys(entry.reasons)
    seen, todo = {entry.path}, list(entry.reasons)
    while todo:
        word, _, name = todo.pop().partition(":")
        path = unescape(name.encode()) if word == "target-of" else entry.path
        if path not in seen and path in by_path:
            seen.add(path)
            found.update(dict.fromkeys(by_path[path].reasons))
            todo += by_path[path].reasons
    return sorted(found)


def _group(reasons: Sequence[str]) -> tuple[str, str]:
    """Return the cause and the group of a path that is there for `reasons`."""
    names: dict[str, list[str]] = {}
    for reason in reasons:
        word, _, name = reason.partition(":")
        names.setdefault(word, []).append(name)
    word = next((word for word in _GROUPS if word in names), "")
    cause, group = _GROUPS.get(word, _REST)
    return cause, group.format(" and ".join(names.get(word, ())))


def _runs(report: Report) -> list[dict[str, Any]]:
    by_path = Reasons(report.entries).origins()
    origins = [by_path[entry.path] for entry in report.entries]
    return [_run(run, origins) for run in report.runs]


def _run(run: RunSummary, origins: Sequence[frozenset[str]]) -> dict[str, Any]:
    own = {f"{word}:{run.name}" for word in ("run", "listed-by", "output-dir")}
    used = [at for at, found in enumerate(origins) if not found.isdisjoint(own)]
    return {
        "name": run.name,
        "command": run.command,
        "absent": run.record.absent,
        "used": used,
        "only": [at for at in used if origins[at] <= own],
    }


# The earlier page


def _data(page: bytes) -> Any:
    """Return the data of the page `page` (hostile); None where it is no whole page of ours.

    It has whole numbers only: JSON has no form for some others that Python reads.
    """
    text = page.partition(_DATA)[2].partition(b"</script>")[0]
    try:
        return json.loads(text, parse_float=int, parse_constant=int)
    except (ValueError, RecursionError):
        return None


def _changes(earlier: Any, now: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how the data `now` differ from `earlier`; the changes in that where they do not.

    None where `earlier` is no data, or has no changes.
    """
    try:
        changes: dict[str, Any] = {
            "before": _totals(earlier),
            "after": _totals(now),
            "settings": _changed_settings(earlier.get("image"), now["image"]),
            "paths": _changed_paths(earlier["files"], now["files"]),
        }
        shown = earlier["changes"]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    before, after = changes["before"]["image"], changes["after"]["image"]
    is_new_image = bool(before and after and before != after)
    if is_new_image or changes["settings"] or changes["paths"]:
        return changes
    return shown if isinstance(shown, dict) and shown.keys() == changes.keys() else None


def _totals(data: Mapping[str, Any]) -> dict[str, Any]:
    image = data.get("image") or {"id": ""}
    return {
        "image": image["id"],
        "paths": len(data["files"]["path"]),
        "size": sum(data["files"]["size"]),
        "compressed": sum(each["compressed"] for each in data.get("layers", ())),
    }


def _changed_settings(
    earlier: Mapping[str, Any] | None, now: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return the settings that differ; none where one of both is not known."""
    if not earlier or not now:
        return []
    before, after = earlier["settings"], now["settings"]
    return [
        {"name": name, "before": before.get(name, []), "after": after.get(name, [])}
        for name in dict.fromkeys([*before, *after])
        if before.get(name, []) != after.get(name, [])
    ]


def _changed_paths(
    earlier: Mapping[str, Sequence[Any]], now: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    before, after = (
        {row[0]: row for row in zip(*(files[name] for name in _STATE), strict=True)}
        for files in (earlier, now)
    )
    return [
        _change(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


def _change(
    path: str, before: tuple[Any, ...] | None, after: tuple[Any, ...] | None
) -> dict[str, Any]:
    what = "added" if before is None else "removed" if after is None else "changed"
    sizes = [row[_SIZE] if row else 0 for row in (before, after)]
    return {"path": path, "what": what, "before": sizes[0], "after": sizes[1]}
