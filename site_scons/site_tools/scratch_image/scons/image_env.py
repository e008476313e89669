"""The variables of an image's environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..fs.paths import SEARCH_PATH
from .bases import is_image
from .variables import read

if TYPE_CHECKING:
    from ..fs.root import Root

PATH = SEARCH_PATH.decode()
"""Engines set this value where an image sets none; images set it, so that a trace has it, too."""

Variables = tuple[tuple[bytes, bytes], ...]
"""Names with their values."""


def image_env(env: Any) -> dict[str, str]:
    """Return the variables of the image, with PATH; a base that is an image may add more."""
    own: dict[str, str] = read(env, "IMAGE_ENV")
    return own if is_image(env) else {"PATH": PATH, **own}


SEARCH_NAMES = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PATH")
"""The variables that decide which libraries and programs are found."""


def search_env(env: Any) -> Variables:
    """Return those `SEARCH_NAMES` that the image has."""
    return _search_variables(image_env(env))


def _search_variables(variables: Mapping[str, str]) -> Variables:
    names = [name for name in SEARCH_NAMES if name in variables]
    return tuple((os.fsencode(name), os.fsencode(variables[name])) for name in names)


def inherit_search_env(own: Variables, root: Root) -> Variables:
    """Return the variables `own` with those `SEARCH_NAMES` of the image that `root` was made of."""
    from ..image import base_settings

    texts = {os.fsdecode(name): os.fsdecode(value) for name, value in own}
    return _search_variables(base_settings.variables(texts, SEARCH_NAMES, root))
