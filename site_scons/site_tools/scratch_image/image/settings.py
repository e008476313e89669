"""The settings of an image: how a container of it runs.

https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md, and for the health check
https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md
"""

from __future__ import annotations

import os
import posixpath
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .labels import check_labels

_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp|sctp))?")
_SIGNAL = re.compile(
    rf"{'|'.join(sorted(signal.Signals.__members__))}|SIGRTMIN\+(?:[1-9]|1[0-5])|"
    r"SIGRTMAX-(?:[1-9]|1[0-4])|[1-9]|[1-5][0-9]|6[0-4]"
)
_ACCOUNT = r"[0-9]+|[A-Za-z_][A-Za-z0-9_.-]*\$?"
_USER = re.compile(rf"({_ACCOUNT})(?::({_ACCOUNT}))?")

_MAX_ID = (1 << 31) - 1
"""The greatest number of a user or group that container runtimes take."""

PRESETS = (
    *("ca-certificates", "locale", "node-modules", "nss", "passwd", "perl-modules"),
    *("python-imports", "siblings", "tmp", "tzdata"),
)
"""Names of the presets; the module `presets` takes longer to import."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The command that checks a container's health; 0 leaves a number to the engine."""

    command: Sequence[str]
    """A program of the image and its arguments, which ends with status 0 when all is well."""
    interval: float = 0
    """Seconds from one check to the next."""
    timeout: float = 0
    """Seconds after which a check has failed."""
    start_period: float = 0
    """Seconds at the start in which failures do not count."""
    retries: int = 0
    """Failures in a row that make the container unhealthy."""

    def document(self) -> dict[str, Any]:
        """Return the object `Healthcheck` of a config; InputError when it cannot be one."""
        numbers = {
            "Interval": _nanoseconds("interval", self.interval),
            "Timeout": _nanoseconds("timeout", self.timeout),
            "StartPeriod": _nanoseconds("start_period", self.start_period),
            "Retries": self.retries,
        }
        if self.retries < 0:
            raise InputError(
                f"check health with retries {self.retries}", "it is less than 0", "give a number"
            )
        if not self.command:
            raise InputError(
                "check health by nothing", "it has no command", "name a program of the image"
            )
        set_ones = {key: number for key, number in numbers.items() if number}
        return {"Test": ["CMD", *self.command], **set_ones}


def _nanoseconds(name: str, seconds: float) -> int:
    # Engines refuse less than a millisecond.
    if seconds != 0 and not 0.001 <= seconds <= 1e9:
        raise InputError(
            f"check health with {name} {seconds}",
            "it is not a time that engines take",
            "give seconds",
        )
    return round(seconds * 1e9)


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a user sets of an image but its files."""

    architecture: str = ""
    """Docker's name of the machine that it is for."""
    created: int = 0
    """Seconds since 1970."""
    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    """``NAME``, ``UID``, or either with ``:GROUP``; ``nonroot`` stands for its number."""
    workdir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[str] = ()
    """``8080``, ``53/udp``."""
    volumes: Sequence[str] = ()
    """Absolute paths."""
    stop_signal: str = ""
    """``SIGTERM`` or a number."""
    health_check: HealthCheck | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of the manifest; not part of the config."""

    @property
    def programs(self) -> dict[str, str]:
        """The programs that an engine starts in a container, by the variable that names each."""
        check = self.health_check
        named = {
            "IMAGE_ENTRYPOINT": self.entrypoint,
            "IMAGE_CMD": () if self.entrypoint else self.cmd,
            "IMAGE_HEALTHCHECK": check.command if check else (),
        }
        return {variable: words[0] for variable, words in named.items() if words}

    @property
    def is_roots(self) -> bool:
        """Whether containers run as root, as far as the setting alone decides."""
        name = self.user.partition(":")[0]
        return name == "root" or not name.strip("0")

    def places(self, name: str) -> list[bytes]:
        """Return where an engine looks for the program `name`."""
        if "/" in name:
            return [os.fsencode(posixpath.join("/", self.workdir, name))]
        directories = self.env.get("PATH", "").split(":")
        return [os.fsencode(posixpath.join(each, name)) for each in directories if each]

    def check(self) -> None:
        """Raise InputError when a setting can be in no image."""
        self.document()
        check_labels(self.annotations)

    def document(self) -> dict[str, Any]:
        """Return the object `config` of a config; InputError when a setting cannot be one."""
        values: dict[str, Any] = {
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "Env": [_env(name, value) for name, value in sorted(self.env.items())],
            "User": _user(self.user) if self.user else "",
            "WorkingDir": _absolute("working directory", self.workdir) if self.workdir else "",
            "Labels": check_labels(self.labels),
            "ExposedPorts": {_port(port): {} for port in self.ports},
            "Volumes": {_volume(path): {} for path in self.volumes},
            "StopSignal": _signal(self.stop_signal) if self.stop_signal else "",
            "Healthcheck": self.health_check.document() if self.health_check else {},
        }
        return {key: value for key, value in values.items() if value}


def _env(name: str, value: str) -> str:
    if not name or "=" in name or "\0" in name + value:
        raise InputError(
            f"set variable {name!r} of the image",
            "the name is empty, or has a = or a NUL in it",
            "rename it",
        )
    return f"{name}={value}"


def _absolute(what: str, path: str) -> str:
    if not path.startswith("/"):
        raise InputError(
            f"set {what} {path!r} of the image", "it is not absolute", "begin it with /"
        )
    return path


def _volume(path: str) -> str:
    if not path.strip("/") and path:
        raise InputError(
            f"set volume {path!r} of the image", "it would hide all of it", "name a directory"
        )
    return _absolute("volume", path)


def _user(text: str) -> str:
    """Return `text` with the number of `NONROOT` for its name, which needs no account file.

    Kubernetes proves by a number alone that a container is not root.
    """
    from ..fs.accounts import NONROOT

    found = _USER.fullmatch(text)
    named = [each for each in found.groups() if each] if found else []
    if not named or any(each.isdigit() and int(each) > _MAX_ID for each in named):
        raise InputError(
            f"run the image as {text!r}",
            "it is not a user",
            f"write NAME, a number up to {_MAX_ID}, or either with :GROUP",
        )
    name, number = NONROOT
    return ":".join(str(number) if each == name else each for each in named)


def _port(text: str) -> str:
    found = _PORT.fullmatch(text)
    if not found or not 0 < int(found[1]) < 65536:
        raise InputError(
            f"expose port {text!r} of the image", "it is not a port", "write 8080 or 53/udp"
        )
    return f"{int(found[1])}/{found[2] or 'tcp'}"


def _signal(text: str) -> str:
    if not _SIGNAL.fullmatch(text):
        raise InputError(
            f"stop the image by {text!r}", "it is not a signal", "write SIGTERM or its number"
        )
    return text
