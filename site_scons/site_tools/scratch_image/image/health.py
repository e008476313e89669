"""The health check that asks for a page: where its program lies, and its command.

``health.c`` beside this module is the program. It needs neither a shell nor a C library.
"""

from __future__ import annotations

import os
import re

from ..elf.machines import machine
from ..errors import InputError

PROGRAM = "/usr/lib/scratch_image/health"
"""The path of the program in an image."""

SOURCE = os.fsencode(os.path.join(os.path.dirname(os.path.abspath(__file__)), "health.c"))

_PAGE = re.compile(r"http://127\.0\.0\.1:([1-9][0-9]{0,4})(/[!-~]*)?")


def command(page: str) -> tuple[str, str]:
    """Return the command that asks for `page`; InputError when it is no page of the container."""
    found = _PAGE.fullmatch(page)
    if not found or int(found[1]) >= 1 << 16:
        raise InputError(
            f"check health by {page!r}",
            "it is no page of 127.0.0.1",
            "write http://127.0.0.1:PORT/..., or name a program of the image",
        )
    return PROGRAM, page


def require_machine(number: int, wanted: int) -> None:
    """Raise InputError when the program is for the ELF machine `number`, its image for `wanted`."""
    if number != wanted:
        theirs, ours = machine(wanted).name, machine(number).name
        raise InputError(
            "check health in the image",
            f"its program is for {theirs}, and the compiler made one for {ours}",
            f"set CC to a C compiler for {theirs}",
        )


def is_page(words: tuple[str, ...]) -> bool:
    """Tell whether `words` are a page instead of a command."""
    return len(words) == 1 and re.match(r"https?:", words[0]) is not None
