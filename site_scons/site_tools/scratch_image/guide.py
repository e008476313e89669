"""The text of ``scons --help`` and ``scons help/images``: targets, and variables with values."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from .variables import VARIABLES

HEADING = "Variables of images, as they are set here; an image may have its own:\n"

_WIDTH = 100
_LONGEST = 300
"""Characters of a value that are shown."""


def targets(directory: str, names: Sequence[str]) -> str:
    """Return what to ask SCons for where `directory` has images of these `names`."""
    rows = {
        directory: "all images",
        f"{directory}/NAME": "one of them",
        f"test/{directory}[/NAME]": "runs them with nothing but what they hold",
        f"push/{directory}[/NAME]": "gives them to the registries that their tags name",
        f"report/{directory}[/NAME]": "pages that show what is in them, and why",
        f"sbom/{directory}[/NAME]": "bills of materials, in SPDX and CycloneDX",
        f"seccomp/{directory}[/NAME]": "profiles that forbid what they do not do",
        f"why/{directory}/NAME WHY=/PATH": "why a path is in an image, or is not",
        f"help/{directory}": "this text",
    }
    width = max(map(len, rows)) + 2
    lines = [f"  {target:{width}}{meaning}\n" for target, meaning in rows.items()]
    return "".join(["Targets of images:\n", *lines, _filled("NAME is one of: ", " ".join(names))])


def variables(value: Callable[[str], Any]) -> str:
    """Return what the construction variables mean, with `value` of each, which may be None."""
    lines = [HEADING]
    for variable in VARIABLES:
        found = value(variable.name)
        told = f"; not set: {variable.default}" if found is None else ""
        lines.append(_filled(f"{variable.name:19}", f"{variable.meaning}{told}".replace("`", "")))
        if found is not None:
            shown = textwrap.shorten(f"= {found}", _LONGEST, placeholder=" ...")
            lines.append(_filled(" " * 19, shown))
    return "".join(lines)


def _filled(start: str, text: str) -> str:
    """Return lines of `text` after `start`, indented as `start` is long."""
    return (
        textwrap.fill(
            text,
            _WIDTH,
            initial_indent=f"  {start}",
            subsequent_indent=" " * (len(start) + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
    )
