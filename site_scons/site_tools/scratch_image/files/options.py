"""The settings of an image that its file list depends on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Values of the image's variables."""

    allow: tuple[bytes, ...] = ()
    """Paths that may be listed though they look like secrets, with all below them."""
    presets: tuple[str, ...] = ()
    user: str = ""
    """The image's user, where it matters for the list."""
    locales: tuple[str, ...] = ()
    """Values of LANG and LC variables in the image's environment."""
    packages: bool = True
    """Whether the image has the records of Debian's packages, for scanners."""
    copyright: bool = False
    """Whether it has the copyright files of these packages, too."""
    environment: tuple[tuple[bytes, bytes], ...] = ()
    """The image's variables that decide which libraries and programs are found."""
