"""Lint: what a file list probably lacks, or has too much, each with a fix.

A run shows the files of one way through a program. The files of other ways can be guessed
from the functions that it calls, and from directories that it listed. These are guesses: they
are printed, and no list changes by them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..elf.machines import MACHINES
from ..fs.kernel_trees import is_in_kernel_tree
from ..fs.overlay import OverlaidFiles, Overlay
from ..fs.paths import is_under, join, show, show_some
from ..trace.record import Record
from .entry import Entry
from .presets import lacks_certificates, lost_accounts

_MOST = 10
"""The most findings that are printed."""

_NAMED = 3
"""Paths that one finding names."""

_SET_ID = 0o6000
"""Bits of a mode: set-user-ID and set-group-ID."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A file that some function of glibc needs at run time."""

    functions: tuple[bytes, ...]
    needs: bytes
    """Base name of a listed path, any of which will do."""
    fix: str
    """With ``{}`` for the directory of libc."""


_RULES = (
    _Rule((b"pthread_exit", b"pthread_cancel", b"backtrace"), b"libgcc_s.so.1",
          "list {}/libgcc_s.so.1"),
    _Rule((b"getaddrinfo", b"gethostbyname", b"gethostbyname_r"), b"nsswitch.conf",
          "add the preset nss"),
    _Rule((b"iconv_open",), b"gconv", "list {}/gconv"),
)  # fmt: skip

_LIBC = {os.path.basename(row.loader) for row in MACHINES.values() if row.loader} | {b"libc.so.6"}
"""glibc's own files define these functions."""


def find(
    view: Overlay | OverlaidFiles,
    entries: Iterable[Entry],
    records: Iterable[Record],
    more: Iterable[str] = (),
    skipped: Sequence[bytes] = (),
    presets: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the findings for the list `entries` of the runs `records`, and `more`, sorted.

    `skipped` are the devices, FIFOs and sockets in directories that a list names, `presets` the
    presets that the image names. Nothing that is looked at here decides over
    the list: where the findings are no part of a target, give the `files` of a view.
    """
    listed, runs = tuple(entries), tuple(records)
    found = {*more, *_functions(view, listed), *_certificates(view, listed)}
    found |= {*_zones(listed, runs), *_directories(view, listed, runs)}
    found |= {*_skip_lines(skipped), *_set_ids(view, listed), *_access_lists(view, listed)}
    if "passwd" not in presets:
        found |= {*_accounts(view, listed)}
    findings = sorted(found)
    rest = len(findings) - _MOST
    return (*findings[:_MOST], *([f"and {rest} findings more"] if rest > 0 else ()))


def _functions(view: Overlay | OverlaidFiles, entries: Sequence[Entry]) -> Iterator[str]:
    names = {os.path.basename(entry.path) for entry in entries}
    libc = next((entry.path for entry in entries if entry.path.endswith(b"/libc.so.6")), None)
    rules = [rule for rule in _RULES if rule.needs not in names]
    if libc is None or not rules:
        return
    for entry in entries:
        if not rules or not _may_call(view, entry):
            continue
        with view.open(entry.path) as stream:
            content = stream.read()
        for rule, function in [*_find_calls(rules, content)]:
            rules.remove(rule)
            fix = rule.fix.format(show(os.path.dirname(libc)))
            yield f"{show(entry.path)} calls {function}, which needs {show(rule.needs)}; {fix}"


def _may_call(view: Overlay | OverlaidFiles, entry: Entry) -> bool:
    is_file = entry.kind == "file" and not entry.text
    return is_file and os.path.basename(entry.path) not in _LIBC and view.magic(entry.path) == "elf"


def _find_calls(rules: Iterable[_Rule], content: bytes) -> Iterator[tuple[_Rule, str]]:
    """Yield the rules that hold for a file of that `content`, each with a function it calls."""
    for rule in rules:
        for function in rule.functions:
            if b"\0%s\0" % function in content:
                yield rule, function.decode()
                break


def _certificates(view: Overlay | OverlaidFiles, entries: Sequence[Entry]) -> Iterator[str]:
    user = lacks_certificates(view, entries)
    if user:
        yield f"{user} finds no certificates; add the preset ca-certificates"


def _zones(entries: Sequence[Entry], records: Sequence[Record]) -> Iterator[str]:
    if any(is_under(entry.path, b"/usr/share/zoneinfo") for entry in entries):
        return
    for record in records:
        for use in record.uses:
            if use.path == b"/etc/localtime" or is_under(use.path, b"/usr/share/zoneinfo"):
                yield "a run looked for its time zone; add the preset tzdata"
                return


def _accounts(view: Overlay | OverlaidFiles, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the account files that a run read, and that the image has with fewer accounts."""
    for path, kept in lost_accounts(view, entries):
        yield (
            f"a run read {show(path)}, which the image has with {', '.join(kept)} only; "
            f"map a file with all accounts that it looks up ({os.path.basename(path).decode()} -> "
            f"{show(path)}), or name the preset passwd if these do"
        )


def _skip_lines(paths: Sequence[bytes]) -> Iterator[str]:
    if paths:
        yield (
            f"no image has devices, FIFOs and sockets: {show_some(paths, _NAMED)}; "
            f"leave them out of the list (!{show(paths[0])})"
        )


def _set_ids(view: Overlay | OverlaidFiles, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the machine's set-id files, but for those of which a list names the mode."""
    found = [
        entry
        for entry in entries
        if entry.kind == "file"
        and entry.mode & _SET_ID
        and not view.files.has_chosen_mode(entry.path)
    ]
    if found:
        path, mode = show(found[0].path), found[0].mode
        named = show_some([entry.path for entry in found], _NAMED)
        yield (
            f"set-id files come into the image: {named}; list {path} mode={mode & ~_SET_ID:04o}, "
            f"or mode={mode:04o} to keep it, or leave it out (!{path})"
        )


def _access_lists(view: Overlay | OverlaidFiles, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the files with an access control list, but for those of which a list names the mode."""
    found = [
        entry.path
        for entry in entries
        if entry.kind in ("file", "dir")
        and not entry.text
        and not view.files.has_chosen_mode(entry.path)
        and view.has_access_list(entry.path)
    ]
    if found:
        yield (
            f"access control lists stay out of the image: {show_some(found, _NAMED)}; "
            "give what they grant by mode= and owner= in an extra list"
        )


def _directories(
    view: Overlay | OverlaidFiles, entries: Sequence[Entry], records: Sequence[Record]
) -> Iterator[str]:
    """Yield the directories that a run listed, and of which not all is in the list."""
    listed = {entry.path for entry in entries}
    for path in sorted({use.path for each in records for use in each.uses if use.kind == "list"}):
        if path not in listed or is_in_kernel_tree(path):
            continue
        names = view.listing(path)
        there = sum(join(path, name) in listed for name in names)
        if there < len(names):
            yield (
                f"a run listed {show(path)}, {there} of whose {len(names)} entries are in the "
                f"image; list {show(path)}/*, or name it in IMAGE_LISTED"
            )
