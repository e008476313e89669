"""Names of images: registry, repository and tag, complete or as users write them.

https://github.com/distribution/reference
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import InputError

_MAX_NAME = 255
"""Characters of a repository name with its domain, as the reference grammar limits them."""

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


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
    """Whether the user named the host: the image can be pushed there."""

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
        raise _error(text, "it is empty", "write NAME or NAME:TAG")
    if "@" in text:
        raise _error(text, "it has a digest", "write NAME:TAG; the digest follows from the image")
    if re.fullmatch("[0-9a-f]{64}", text):
        raise _error(text, "64 hex digits are an image ID", "choose another name")
    if len(tag) > 128:
        raise _error(text, "the tag has more than 128 characters", "shorten it")
    if not _TAG.fullmatch(tag):
        raise _error(
            text, f"the tag {tag!r} is not made of letters, digits, _ . and -", "rename it"
        )
    if len(domain) + 1 + len(path) > _MAX_NAME:
        raise _error(text, f"the name has more than {_MAX_NAME} characters", "shorten it")
    if path != path.lower():
        raise _error(text, "the name has upper case letters", f"write {path.lower()}")
    if not _PATH.fullmatch(path):
        raise _error(
            text,
            "the name is not made of words of letters and digits, joined by one of / . _ __ -",
            "rename it",
        )
    if not _DOMAIN.fullmatch(domain):
        raise _error(text, f"{domain!r} is not a host", "write HOST:PORT/NAME:TAG")


def _error(text: str, cause: str, hint: str) -> InputError:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return InputError(f"tag image {shown!r}", cause, hint)
