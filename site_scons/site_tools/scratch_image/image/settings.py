"""What a user says of an image: its names, and how a container of it runs.

https://github.com/opencontainers/image-spec/blob/v1.1.0/ (config.md, annotations.md),
https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md for the health check, and
https://github.com/distribution/reference
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..fs.owners import NONROOT

_MAX_NAME = 255
"""Characters of a repository name with its domain, as the reference grammar limits them."""

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp|sctp))?")
_SIGNAL = re.compile(
    rf"{'|'.join(sorted(signal.Signals.__members__))}|SIGRTMIN\+(?:[1-9]|1[0-5])|"
    r"SIGRTMAX-(?:[1-9]|1[0-4])|[1-9]|[1-5][0-9]|6[0-4]"
)
_ACCOUNT = r"[0-9]+|[A-Za-z_][A-Za-z0-9_.-]*\$?"
_USER = re.compile(rf"({_ACCOUNT})(?::({_ACCOUNT}))?")

_MAX_ID = (1 << 31) - 1
"""The greatest number of a user or group that container runtimes take."""

PRESETS = ("ca-certificates", "locale", "nss", "passwd", "tmp", "tzdata")
"""Names of the presets; `presets`, which brings their files, takes longer to import."""

_KEY = re.compile(r"[^\s\0-\x1f\x7f=]+")
_OCI = "org.opencontainers."
_OCI_IMAGE = f"{_OCI}image."
_OCI_KEYS = (
    "authors",
    "base.digest",
    "base.name",
    "created",
    "description",
    "documentation",
    "licenses",
    "revision",
    "source",
    "title",
    "url",
    "vendor",
    "version",
)
"""What OCI has below `_OCI_IMAGE`, but for ``ref.name``, which archives set themselves."""


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
    hosted: bool = field(default=False, compare=False, repr=False)
    """Whether the user named the host: that is where the image is pushed."""

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
        return cls(domain, path, tag, hosted=text.startswith(f"{domain}/"))


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
    return InputError(f"tag image {shown!r}", cause, mend)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How an engine asks a container whether it is well; 0 leaves a number to the engine."""

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
            raise _uncheckable(f"retries {self.retries}", "it is less than 0", "give a number")
        if not self.command:
            raise _uncheckable("by nothing", "it has no command", "name a program of the image")
        set_ones = {key: number for key, number in numbers.items() if number}
        return {"Test": ["CMD", *self.command], **set_ones}


def _nanoseconds(name: str, seconds: float) -> int:
    # Engines take less than a millisecond for a mistake.
    if seconds != 0 and not 0.001 <= seconds <= 1e9:
        raise _uncheckable(
            f"with {name} {seconds}", "it is not a time that engines take", "give seconds"
        )
    return round(seconds * 1e9)


def _uncheckable(what: str, cause: str, mend: str) -> InputError:
    return InputError(f"check health {what}", cause, mend)


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
        """Whether containers run as root, as far as that can be told without an account file."""
        name = self.user.partition(":")[0]
        return name == "root" or not name.strip("0")

    def check(self) -> None:
        """Raise InputError when a setting can be in no image."""
        self.document()
        annotated(self.annotations)

    def document(self) -> dict[str, Any]:
        """Return the object `config` of a config; InputError when a setting cannot be one."""
        values: dict[str, Any] = {
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "Env": [_env(name, value) for name, value in sorted(self.env.items())],
            "User": _user(self.user) if self.user else "",
            "WorkingDir": _absolute("working directory", self.workdir) if self.workdir else "",
            "Labels": annotated(self.labels),
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
    """Return `text` with the number of `NONROOT` for its name: that asks for no account file.

    Who has to prove that a container is not root, as Kubernetes, takes nothing but numbers.
    """
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


def annotated(given: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations or labels `given`; InputError for a key that there cannot be."""
    for key in given:
        if not _KEY.fullmatch(key):
            raise InputError(
                f"annotate image by {key!r}",
                "it is empty, or has a blank or a = in it",
                "write it like org.example.key",
            )
        if key == f"{_OCI_IMAGE}ref.name":
            raise InputError(f"annotate image by {key}", "that is its tag", "set IMAGE_TAG instead")
        if key.startswith(_OCI) and key.removeprefix(_OCI_IMAGE) not in _OCI_KEYS:
            raise InputError(
                f"annotate image by {key}",
                f"OCI reserves {_OCI} and has no such key",
                f"write {_OCI_IMAGE} and one of {', '.join(_OCI_KEYS)}, or a domain of your own",
            )
    return dict(given)


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
