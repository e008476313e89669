"""Secrets in settings: variables, labels, annotations and commands; and their refusal.

Every build checks the settings of its images. Most hold nothing suspect, and then the rules for
secrets are not even imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence

from ..errors import InputError

_SUSPECT = r"(?i)pass|pwd|secret|token|key|auth|cred|psk|salt|://|[\w+=-]{16,}"
"""Every setting with a secret in it matches."""


def refuse_secrets(
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
