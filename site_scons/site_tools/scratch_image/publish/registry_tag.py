"""A tag in a registry, with the way to reach it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ..image.reference import Reference


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """The place where an image has a name: ``https://ghcr.io/me/fortune:1.2``."""

    origin: str
    """``https://HOST``, or ``http://HOST`` without encryption; HOST is the reference's."""
    path: str
    """The repository on that host."""
    name: str
    """The tag alone."""

    def __str__(self) -> str:
        return f"{self.origin}/{self.path}:{self.name}"

    @property
    def host(self) -> str:
        """The registry, with its port."""
        return self.origin.partition("://")[2]

    @property
    def shown(self) -> str:
        """The tag as users write it."""
        return str(self).partition("://")[2]

    @classmethod
    def of(cls, reference: Reference, insecure: Collection[str]) -> Tag:
        """Return the tag that `reference` names; hosts in `insecure` are reached by plain HTTP."""
        host = re.sub(r":[0-9]+\Z", "", reference.domain)
        plain = host in insecure or reference.domain in insecure
        scheme = "http" if plain else "https"
        return cls(f"{scheme}://{reference.domain}", reference.path, reference.tag)

    @classmethod
    def parse(cls, text: str) -> Tag:
        """Return the tag whose text is `text`."""
        place, _, name = text.rpartition(":")
        scheme, _, rest = place.partition("://")
        host, _, path = rest.partition("/")
        return cls(f"{scheme}://{host}", path, name)
