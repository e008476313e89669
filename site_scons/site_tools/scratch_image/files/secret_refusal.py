"""The refusal of secrets: in a file list, by path and content, and in settings.

Settings are variables, labels, annotations and commands. Every build checks those of its images.
Most hold nothing suspect, and then the search for secrets is not even imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import InputError, ListError
from ..fs.paths import is_under, show

if TYPE_CHECKING:
    from ..fs.overlay import Overlay
    from .entry import Entry

_MOST = 20
"""Secrets that one message names."""


def refuse_paths(
    view: Overlay, requesters: Mapping[bytes, Collection[str]], allow: Collection[bytes]
) -> None:
    """Raise ListError for the paths among `requesters` that no image gets.

    `requesters` has the reasons or lines that request each path; `allow` has the paths that may be
    listed, with all below them.
    """
    secrets = []
    for path in sorted(requesters):
        rule = _secret_rule(view, path)
        if rule and not is_under(path, *allow):
            who = ", ".join(sorted(requesters[path]))
            secrets.append(f"{show(path)} is a secret ({rule}), requested by {who}")
    _refuse(secrets)


def refuse_content(view: Overlay, entries: Iterable[Entry], allow: Collection[bytes]) -> None:
    """Raise ListError for the files among `entries` that hold secrets, but for those in `allow`.

    A file as its Debian package ships it is trusted.
    """
    from ..fs.root import Aspect
    from . import secret_search

    secrets = []
    for entry in entries:
        if entry.kind != "file" or entry.text or is_under(entry.path, *allow):
            continue
        place = view.source(entry.source) if entry.source else entry.path
        view.below.look(place, Aspect.SECRET)
        found = secret_search.in_file(view.below.files, place)
        if found:
            who = ", ".join(entry.reasons)
            secrets.append(f"{show(entry.path)} holds a secret ({found}), requested by {who}")
    _refuse(secrets)


def _refuse(secrets: Sequence[str]) -> None:
    more = len(secrets) - _MOST
    if secrets:
        raise ListError(
            "list secrets",
            ", ".join([*secrets[:_MOST], *([f"and {more} more"] if more > 0 else [])]),
            "leave them out, or add their paths to IMAGE_ALLOW if they belong into the image",
        )


def _secret_rule(view: Overlay, path: bytes) -> str:
    """Return the rule that keeps `path` out of images, by its own name or its source's."""
    from ..fs.lookup import FileKind
    from .secret_search import secret_rule

    status = view.files.status(path)
    if status is not None and status.kind is FileKind.DIR:
        return ""
    own = view.files.is_own(path)
    # A sysroot may be unpacked in a home directory.
    source = view.files.host_path(path).removeprefix(view.files.base.rstrip(b"/"))
    return secret_rule(path, own=own) or secret_rule(source, own=own)


_SUSPECT = r"(?i)pass|pwd|secret|token|key|auth|cred|psk|salt|://|[\w+=-]{16,}"
"""Every setting with a secret in it matches."""


def refuse_settings(
    allow: Collection[bytes], variables: Mapping[str, str], commands: Mapping[str, Sequence[str]]
) -> None:
    """Raise InputError for a secret in `variables`, or in `commands` by the setting's name.

    `allow` has the names of settings that may look like secrets, as IMAGE_ALLOW has them.
    """
    kinds = {name: in_variable(name, value) for name, value in variables.items()}
    kinds |= {name: in_words(words) for name, words in commands.items()}
    for name, kind in kinds.items():
        if kind and os.fsencode(name) not in allow:
            raise InputError(
                f"use {name}",
                f"it holds a secret ({kind})",
                f"take that out, or add {name} to IMAGE_ALLOW",
            )


def in_variable(name: str, value: str) -> str:
    """Return the kind of secret in the variable or label `name`; empty without one."""
    if not re.search(_SUSPECT, f"{name}={value}"):
        return ""
    from . import secret_kinds, secret_search

    text = os.fsencode(value)
    if re.fullmatch(secret_search.SETTING, os.fsencode(name)) and secret_kinds.is_password(text):
        return "password"
    login = re.search(rb"://[^\s:/@]*:([^\s/@]+)@", text)
    if login and secret_kinds.is_password(login[1]):
        return "password in a URL"
    found = secret_search.find(b"", text, is_first=False)
    return found.kind if found else ""


def in_words(words: Sequence[str]) -> str:
    """Return the kind of secret in the command `words`; empty without one."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        option = re.fullmatch(r"(?s)-{0,2}([\w.-]+)=(.*)", word)
        name, value = option.groups() if option else (word.lstrip("-"), following)
        is_named = option is not None or word[:1] == "-"
        kind = in_variable(name, value) if is_named else in_variable("", word)
        if kind:
            return kind
    return ""
