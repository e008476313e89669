"""The user's SConscript, as the place of a mistake."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import SCons


def where() -> str:
    """Return ``FILE:LINE`` of the SConscript that is calling us."""
    ours = os.path.dirname(os.path.abspath(__file__))
    scons = os.path.dirname(os.path.abspath(SCons.__file__))
    frame = sys._getframe()
    while frame.f_back and os.path.dirname(os.path.abspath(frame.f_code.co_filename)).startswith(
        (ours, scons)
    ):
        frame = frame.f_back
    return f"{os.path.relpath(frame.f_code.co_filename)}:{frame.f_lineno}"


def refuse(text: str) -> NoReturn:
    """End SCons with status 2 and one line: `text`, and where the user's mistake is.

    A UserError would add a second line, which names a line of this file.
    """
    sys.stderr.write(f"scons: *** {where()}: {text}\n")
    sys.exit(2)
