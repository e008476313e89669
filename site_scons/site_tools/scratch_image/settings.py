"""What a user says of an image: its names, and how a container of it runs.

https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md and
https://github.com/distribution/reference
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import InputError

_MAX_NAME = 255
"""Characters of a repository name with its domain, as the reference grammar limits them."""

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp|sctp))?")
_SIGNAL = re.compile(r"SIG[A-Z0-9+-]+|[0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class Reference:
    """The name and tag of an image, complete: ``docker.io/library/hello:latest``.

    https://github.com/distribution/reference/blob/main/reference.go
    """

    domain: str
    """Host of the registry, with its port."""
    path: str
    """The repository on that host."""
    tag: str

    def __str__(self) -> str:
        return self.familiar

    @property
    def canonical(self) -> str:
        """The complete form, as containerd stores it."""
        return f"{self.domain}/{self.path}:{self.tag}"

    @property
    def familiar(self) -> str:
        """The short form, as Docker shows it."""
        if self.domain != "docker.io":
            return self.canonical
        return f"{self.path.removeprefix('library/')}:{self.tag}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that a user means by `text`; InputError when it is not one."""
        name, tag = text, "latest"
        if ":" in text.rpartition("/")[2]:
            name, _, tag = text.rpartition(":")
        domain, path = _domain(name)
        _check_reference(text, domain, path, tag)
        return cls(domain, path, tag)


def _domain(name: str) -> tuple[str, str]:
    """Return the registry and the repository of `name`, by Docker's rules."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name
    if first == "index.docker.io":
        first = "docker.io"
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _check_reference(text: str, domain: str, path: str, tag: str) -> None:
    if not text:
        raise _untaggable(text, "it is empty", "write NAME or NAME:TAG")
    if "@" in text:
        raise _untaggable(text, "it has a digest", "write NAME:TAG; the digest comes of itself")
    if re.fullmatch("[0-9a-f]{64}", text):
        raise _untaggable(text, "64 hex digits are an image ID", "choose another name")
    if len(tag) > 128:
        raise _untaggable(text, "the tag has more than 128 characters", "shorten it")
    if not _TAG.fullmatch(tag):
        raise _untaggable(
            text, f"the tag {tag!r} is not made of letters, digits, _ . and -", "rename it"
        )
    if len(domain) + 1 + len(path) > _MAX_NAME:
        raise _untaggable(text, f"the name has more than {_MAX_NAME} characters", "shorten it")
    if path != path.lower():
        raise _untaggable(text, "the name has upper case letters", f"write {path.lower()}")
    if not _PATH.fullmatch(path):
        raise _untaggable(
            text,
            "the name is not made of words of letters and digits, joined by one of / . _ __ -",
            "rename it",
        )
    if not _DOMAIN.fullmatch(domain):
        raise _untaggable(text, f"{domain!r} is not a host", "write HOST:PORT/NAME:TAG")


def _untaggable(text: str, cause: str, mend: str) -> InputError:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return InputError(f"cannot tag image {shown!r}: {cause}; {mend}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user sets of an image, all but its files."""

    architecture: str = ""
    """Docker's name of the machine that it is for."""
    created: int = 0
    """Seconds since 1970."""
    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    """``NAME``, ``UID``, or either with ``:GROUP``."""
    workdir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[str] = ()
    """``8080``, ``53/udp``."""
    volumes: Sequence[str] = ()
    """Absolute paths."""
    stop_signal: str = ""
    """``SIGTERM`` or a number."""

    def document(self) -> dict[str, Any]:
        """Return the object `config` of a config; InputError when a setting cannot be one."""
        values: dict[str, Any] = {
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "Env": [_env(name, value) for name, value in sorted(self.env.items())],
            "User": self.user,
            "WorkingDir": _absolute("working directory", self.workdir) if self.workdir else "",
            "Labels": dict(self.labels),
            "ExposedPorts": {_port(port): {} for port in self.ports},
            "Volumes": {_absolute("volume", path): {} for path in self.volumes},
            "StopSignal": _signal(self.stop_signal) if self.stop_signal else "",
        }
        return {key: value for key, value in values.items() if value}


def _env(name: str, value: str) -> str:
    if not name or "=" in name or "\0" in name + value:
        raise InputError(
            f"cannot set variable {name!r} of the image: the name is empty, or has a = or a NUL in "
            "it; rename it"
        )
    return f"{name}={value}"


def _absolute(what: str, path: str) -> str:
    if not path.startswith("/"):
        raise InputError(
            f"cannot set {what} {path!r} of the image: it is not absolute; begin it with /"
        )
    return path


def _port(text: str) -> str:
    found = _PORT.fullmatch(text)
    if not found or not 0 < int(found[1]) < 65536:
        raise InputError(
            f"cannot expose port {text!r} of the image: it is not a port; write 8080 or 53/udp"
        )
    return f"{int(found[1])}/{found[2] or 'tcp'}"


def _signal(text: str) -> str:
    if not _SIGNAL.fullmatch(text):
        raise InputError(
            f"cannot stop the image by {text!r}: it is not a signal; write SIGTERM or its number"
        )
    return text
