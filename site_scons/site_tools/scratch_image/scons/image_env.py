"""The variables of an image's environment, and secrets in what a project sets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError
from ..files import secret_settings
from ..fs.paths import SEARCH_PATH
from .variables import read

PATH = SEARCH_PATH.decode()
"""Engines set this value where an image sets none; images set it, so that a trace has it, too."""

Variables = tuple[tuple[bytes, bytes], ...]
"""Names with their values."""


def image_env(env: Any) -> dict[str, str]:
    """Return the variables of the image, with PATH."""
    return {"PATH": PATH, **read(env, "IMAGE_ENV")}


def search_env(env: Any) -> Variables:
    """Return the variables of the image that decide which libraries and programs are found."""
    variables = {os.fsencode(key): os.fsencode(value) for key, value in image_env(env).items()}
    names = (b"LD_LIBRARY_PATH", b"LD_PRELOAD", b"PATH")
    return tuple((name, variables[name]) for name in names if name in variables)


def allowed_secrets(env: Any) -> tuple[bytes, ...]:
    """Return the paths, and the names of settings, that may look like secrets."""
    found: tuple[bytes, ...] = read(env, "IMAGE_ALLOW")
    return found


def refuse_secrets(
    env: Any, variables: Mapping[str, str], commands: Mapping[str, Sequence[str]]
) -> None:
    """Raise InputError for a secret in `variables`, or in `commands` by the setting's name."""
    kinds = {name: secret_settings.in_variable(name, value) for name, value in variables.items()}
    kinds |= {name: secret_settings.in_words(words) for name, words in commands.items()}
    for name, kind in kinds.items():
        if kind and os.fsencode(name) not in allowed_secrets(env):
            raise InputError(
                f"use {name}",
                f"it holds a secret ({kind})",
                f"take that out, or add {name} to IMAGE_ALLOW",
            )
