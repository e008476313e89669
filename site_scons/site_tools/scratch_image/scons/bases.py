"""The base of an image: its sysroot, and the settings that the image takes from it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files.secret_refusal import refuse_settings
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
