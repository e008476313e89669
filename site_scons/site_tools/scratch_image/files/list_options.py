"""The options of a file list: all that it depends on besides its sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Values of the image's variables."""

    staged: tuple[bytes, ...] = ()
    """Image paths of the project's files."""
    listed: tuple[bytes, ...] = ()
    """Directories that come whole where a run listed them; ``*`` for all such."""
    allow: tuple[bytes, ...] = ()
    """Paths that may be listed though they look like secrets, with all below them."""
    presets: tuple[str, ...] = ()
    user: str = ""
    """The image's user, where it matters for the list."""
    locales: tuple[str, ...] = ()
    """Values of LANG and LC variables in the image's environment."""
    accounts: tuple[str, ...] = ()
    """Words of commands and variables that may name accounts."""
    packages: bool = True
    """Whether the image has the records of Debian's packages, for scanners."""
    copyright: bool = False
    """Whether it has the copyright files of these packages, too."""
    environment: tuple[tuple[bytes, bytes], ...] = ()
    """The image's variables that decide which libraries and programs are found."""
