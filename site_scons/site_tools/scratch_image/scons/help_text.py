"""What ``scons --help`` and ``scons help/...`` tell: targets, and variables with their values."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import checks
from .variables import VARIABLES

HEADING = "Variables of images, as they are set here; an image may have its own:\n"

_WIDTH = 100
_LONGEST = 300
"""Characters of a value that are shown."""


def targets(directory: str, names: Sequence[str]) -> str:
    """Return what to ask SCons for where `directory` has images of these `names`."""
    first = {directory: "all images", f"{directory}/NAME": "one of them"}
    rows = _rows({**first, **_further(f"{directory}[/NAME]", f"{directory}/NAME")})
    return f"Targets of images:\n{rows}{_filled('NAME is one of: ', ' '.join(names))}"


def targets_of(image: str, *, builds: bool = True) -> str:
    """Return what to ask SCons for about one `image`: its alias, which `builds` it, or its stem."""
    own = {image: "the image"} if builds else {}
    return f"Targets of {image}:\n{_rows({**own, **_further(image, image)})}"


def _further(place: str, image: str) -> dict[str, str]:
    """Return what else there is at `place`, and of an `image` alone."""
    return {
        f"test/{place}": "runs it with nothing but what it holds",
        f"push/{place}": "gives it to the registries that its tags name",
        f"report/{place}": "a page that shows what is in it, and why",
        f"sbom/{place}": "bills of materials, in SPDX and CycloneDX",
        f"seccomp/{place}": "a profile that forbids what it does not do",
        f"why/{image} WHY=/PATH": "why a path is in it, or is not",
        f"help/{place}": "targets, and variables with the values that they have there",
    }


def _rows(meanings: Mapping[str, str]) -> str:
    width = max(map(len, meanings)) + 2
    return "".join(f"  {target:{width}}{meaning}\n" for target, meaning in meanings.items())


def variables(value: Callable[[str], Any], heading: str = HEADING) -> str:
    """Return what the construction variables mean, with `value` of each, which may be None."""
    lines = [heading]
    for variable in VARIABLES:
        found = value(variable.name)
        told = f"; not set: {variable.told}" if found is None else ""
        lines.append(_filled(f"{variable.name:19}", f"{variable.meaning}{told}".replace("`", "")))
        if found is not None:
            text = found if isinstance(found, str) else checks.shown(found)
            shown = textwrap.shorten(f"= {text}", _LONGEST, placeholder=" ...")
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


STEMS = f"Targets of each image, by the path STEM of its files:\n{_rows(_further('STEM', 'STEM'))}"
"""Targets of images that are in no directory of images."""
