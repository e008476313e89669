"""The variables of an image's environment."""

from __future__ import annotations

import os
from typing import Any

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
