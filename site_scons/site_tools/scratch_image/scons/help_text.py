"""The text of ``scons --help`` and ``scons help/...``: targets, and variables with values."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import checks
from .steps.table import ON_REQUEST, find_kind
from .variables import VARIABLES

HEADING = "Variables of images, as they are set here; an image may have its own:\n"

_WIDTH = 100
_LONGEST = 300
"""Characters of a value that are shown."""


def targets(directory: str, names: Sequence[str]) -> str:
    """Return what to ask SCons for where `directory` has images of these `names`."""
    first = {directory: "all images", f"{directory}/NAME": "one of them"}
    rows = _rows({**first, **_further(f"{directory}[/NAME]", f"{directory}/NAME")})
    return f"Targets of images:\n{rows}{_wrap('NAME is one of: ', ' '.join(names))}"


def targets_of(image: str, *, builds: bool = True) -> str:
    """Return what to ask SCons for about one `image`: its alias, which `builds` it, or its stem."""
    own = {image: "the image"} if builds else {}
    return f"Targets of {image}:\n{_rows({**own, **_further(image, image)})}"


def _further(place: str, image: str) -> dict[str, str]:
    """Return the other targets at `place`, and those of an `image` alone."""
    return {
        **{f"{word}/{place}": find_kind(builder).help for builder, word in ON_REQUEST.items()},
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
        unset = f"; not set: {variable.default_text}" if found is None else ""
        lines.append(_wrap(f"{variable.name:19}", f"{variable.meaning}{unset}".replace("`", "")))
        if found is not None:
            text = found if isinstance(found, str) else checks.value_text(found)
            shown = textwrap.shorten(f"= {text}", _LONGEST, placeholder=" ...")
            lines.append(_wrap(" " * 19, shown))
    return "".join(lines)


def _wrap(start: str, text: str) -> str:
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


def stem_targets() -> str:
    """Return what to ask SCons for where images are in no directory of images."""
    return (
        f"Targets of each image, by the path STEM of its files:\n{_rows(_further('STEM', 'STEM'))}"
    )
