"""Secrets in settings: variables, labels, annotations and commands.

Every build checks the settings of its images. Most hold nothing suspect, and then the rules for
secrets are not even imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

_SUSPECT = r"(?i)pass|pwd|secret|token|key|auth|cred|psk|salt|://|[\w+=-]{16,}"
"""Every setting with a secret in it matches."""


def in_variable(name: str, value: str) -> str:
    """Return the kind of secret in the variable or label `name`; empty without one."""
    if not re.search(_SUSPECT, f"{name}={value}"):
        return ""
    from . import secret, secret_kinds

    text = os.fsencode(value)
    if re.fullmatch(secret.SETTING, os.fsencode(name)) and secret_kinds.is_password(text):
        return "password"
    login = re.search(rb"://[^\s:/@]*:([^\s/@]+)@", text)
    if login and secret_kinds.is_password(login[1]):
        return "password in a URL"
    found = secret.find(b"", text, is_first=False)
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
