"""The base of an image: its sysroot, and what an image takes from it, settings and variables."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files.secret_refusal import refuse_settings
from ..fs.paths import SEARCH_PATH
from .nodes import step_of
from .variables import read

if TYPE_CHECKING:
    from ..fs.root import Root
    from ..image.settings import Settings


_VARIABLES = {
    "cmd": "IMAGE_CMD",
    "entrypoint": "IMAGE_ENTRYPOINT",
    "env": "IMAGE_ENV",
    "health_check": "IMAGE_HEALTHCHECK",
    "labels": "IMAGE_LABELS",
    "ports": "IMAGE_PORTS",
    "stop_signal": "IMAGE_STOP_SIGNAL",
    "user": "IMAGE_USER",
    "volumes": "IMAGE_VOLUMES",
    "workdir": "IMAGE_WORKDIR",
}
"""The variable of each setting that an image may take from its base."""
SETTINGS = tuple(_VARIABLES)
"""All of them, as fields of `Settings`."""


def base_of(env: Any) -> Any:
    """Return the node of the sysroot that `env` names; None for the machine's root."""
    named = [each for each in read(env, "ROOT") if str(each) != "/"]
    if not named:
        return None
    nodes = env.arg2nodes(named, env.Entry)
    if len(nodes) > 1 or not all(_is_sysroot(node) for node in nodes):
        names = " ".join(map(str, named))
        raise InputError(f"use ROOT {names!r}", "it is no sysroot", "give what Sysroot returns")
    return nodes[0]


def _is_sysroot(node: Any) -> bool:
    return getattr(node.attributes, "builder", "") == "Sysroot"


def is_image(env: Any) -> bool:
    """Tell whether the sysroot that `env` names is made of an image, which has settings."""
    base = base_of(env)
    return base is not None and step_of(base).is_image


@dataclass(frozen=True)
class Inheritance:
    """The settings that an image takes from the image that its base was made of."""

    is_image: bool = False
    """Whether the base was made of an image."""
    names: tuple[str, ...] = ()
    """Fields of `Settings`: those that the project does not set, and variables and labels."""
    allow: tuple[bytes, ...] = ()
    """Names of settings that may look like secrets."""

    @classmethod
    def of(cls, env: Any, names: Collection[str]) -> Inheritance:
        """Return what the image of `env` takes of the settings `names`."""
        if not is_image(env):
            return cls()
        chosen = {name for name in names if _VARIABLES[name] in env}
        # As in a Dockerfile: another ENTRYPOINT makes the CMD of the base meaningless.
        if _VARIABLES["entrypoint"] in env:
            chosen.add("cmd")
        taken = {*names} - chosen | {*names} & {"env", "labels"}
        return cls(True, tuple(sorted(taken)), read(env, "IMAGE_ALLOW"))

    def settle(self, own: Settings, root: Root) -> Settings:
        """Return the project's `own` settings with those of the image that `root` was made of.

        InputError for a secret in them.
        """
        if not self.names:
            return own
        from ..image import base_settings

        found = base_settings.inherit(own, self.names, root)
        check = found.health_check
        commands = {
            _VARIABLES["entrypoint"]: found.entrypoint,
            _VARIABLES["cmd"]: found.cmd,
            _VARIABLES["health_check"]: check.command if check else (),
        }
        refuse_settings(self.allow, {**found.env, **found.labels}, commands)
        return found


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
