"""Lint: the findings about a file list, the likeliest failure first.

A run shows the files of one way through a program. The files of other ways can be guessed from the
functions that its own code calls, from the paths that this code names, and from directories of
which the run used a part. These are guesses: they are printed, and no list changes by them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from ..fs.paths import is_in_kernel_tree, join, show
from ..trace.record import Use
from . import imports, other_modes, system_data
from .account_files import lost_accounts
from .exclusions import is_of_interpreter
from .finding import Examined, Finding, Rank, some
from .own_code import OwnFile, own_code

_SET_ID = 0o6000
"""Bits of a mode: set-user-ID and set-group-ID."""

_ENOUGH = 0.9
"""The part of a listed directory that counts as all of it: a program skips notes and the like."""

_MODULE = re.compile(rb".*\.(py|pyc|pm|pl|[cm]?js)")
"""Modules of interpreters."""

_ACCOUNT_CALLS = (b"getpwnam", b"getpwnam_r", b"getgrnam", b"getgrnam_r", b"initgroups")
"""Functions that look an account up by name. The user of the process is looked up by number."""

_NUMBER_CALLS = (b"getpwuid", b"getpwuid_r", b"getgrgid", b"getgrgid_r")

_WORDS = (*system_data.WORDS, *other_modes.START_CALLS, *_ACCOUNT_CALLS, *_NUMBER_CALLS)


def find(
    image: Examined, more: Iterable[Finding] = (), skipped: Sequence[bytes] = ()
) -> tuple[Finding, ...]:
    """Return the findings about `image`, and `more`, each once, the likeliest failure first.

    `skipped` are the devices, FIFOs and sockets in directories that a list names.
    """
    code = [*own_code(image, _WORDS)]
    found = {*more, *system_data.find(image, code), *other_modes.find_programs(image, code)}
    found |= {*other_modes.find_wrappers(image, code)}
    found |= {*imports.find(image), *_directories(image), *_accounts(image, code)}
    found |= {*_no_image_has(skipped), *_set_ids(image), *_access_lists(image)}
    fixes = {each.fix for each in found}
    found |= {each for each in other_modes.find_directories(image, code) if each.fix not in fixes}
    return tuple(sorted(found))


def _accounts(image: Examined, code: Sequence[OwnFile]) -> Iterator[Finding]:
    """Yield the account files that the image lacks, or that it has with fewer accounts."""
    yield from _no_accounts(image, code)
    caller = next((file for file in code if file.calls(_ACCOUNT_CALLS)), None)
    if caller is None or "passwd" in image.presets:
        return
    for path, kept in lost_accounts(image.view, image.entries):
        yield Finding(
            Rank.LIKELY,
            "the name of another account",
            f"a run read {show(path)}, which the image has with {', '.join(kept)} only",
            f"map a file with all accounts that {show(caller.path)} looks up "
            f"({os.path.basename(path).decode()} -> {show(path)}), or name the preset passwd if "
            "these do",
        )


def _no_accounts(image: Examined, code: Sequence[OwnFile]) -> Iterator[Finding]:
    # Shells call getpwnam, too, for ~NAME.
    caller = next((file for file in code if file.calls(_NUMBER_CALLS)), None)
    if caller and b"/etc/passwd" not in image.paths:
        yield Finding(
            Rank.POSSIBLE,
            "the name of a user or group",
            f"{show(caller.path)} calls {caller.calls(_NUMBER_CALLS)}, and the image has no "
            "/etc/passwd",
            "add the preset passwd",
        )


def _directories(image: Examined) -> Iterator[Finding]:
    """Yield the directories that a run listed, and of which the image lacks files of its kind."""
    for path in sorted({use.path for use in image.uses if use.kind is Use.LIST}):
        if path not in image.paths or is_in_kernel_tree(path):
            continue
        names = image.names(path)
        listed = [name for name in names if join(path, name) in image.paths]
        kinds = {os.path.splitext(name)[1] for name in listed}
        alike = [name for name in names if not listed or os.path.splitext(name)[1] in kinds]
        if len(listed) < len(alike) * _ENOUGH and not _is_searched(image, path):
            yield Finding(
                Rank.POSSIBLE,
                f"a file of {show(path)} that no run opened",
                f"a run listed it, and the image has {len(listed)} of its {len(names)} entries",
                f"list {show(path)}/*, or name it in IMAGE_LISTED",
            )


def _is_searched(image: Examined, directory: bytes) -> bool:
    """Tell whether an interpreter searches `directory` for modules, and takes one by name."""
    return is_of_interpreter(directory) or any(
        os.path.dirname(path) == directory and _MODULE.fullmatch(path) for path in image.used
    )


def _no_image_has(paths: Sequence[bytes]) -> Iterator[Finding]:
    if paths:
        yield Finding(
            Rank.REMARK,
            "no image has devices, FIFOs and sockets",
            some(paths),
            f"leave them out of the list (!{show(paths[0])})",
        )


def _set_ids(image: Examined) -> Iterator[Finding]:
    """Yield the machine's set-id files, but for those of which a list names the mode."""
    found = [
        entry
        for entry in image.entries
        if entry.kind == "file"
        and entry.mode & _SET_ID
        and not image.view.files.has_chosen_mode(entry.path)
    ]
    if found:
        path, mode = show(found[0].path), found[0].mode
        yield Finding(
            Rank.REMARK,
            "set-id files come into the image",
            some(entry.path for entry in found),
            f"list {path} mode={mode & ~_SET_ID:04o}, or mode={mode:04o} to keep it, or leave it "
            f"out (!{path})",
        )


def _access_lists(image: Examined) -> Iterator[Finding]:
    """Yield the files with an access control list, but for those of which a list names the mode."""
    found = [
        entry.path
        for entry in image.entries
        if entry.kind in ("file", "dir")
        and not entry.text
        and not image.view.files.has_chosen_mode(entry.path)
        and image.view.has_access_list(entry.path)
    ]
    if found:
        yield Finding(
            Rank.REMARK,
            "access control lists stay out of the image",
            some(found),
            "give what they grant by mode= and owner= in an extra list",
        )
