"""The user's SConscript, as the place of a mistake."""

from __future__ import annotations

import functools
import os
import sys
from typing import NoReturn

import SCons


def user_place() -> str:
    """Return ``FILE:LINE`` of the SConscript that is calling us."""
    frame = sys._getframe()
    while frame.f_back and not _is_user_file(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{os.path.relpath(frame.f_code.co_filename)}:{frame.f_lineno}"


@functools.cache
def _is_user_file(file: str) -> bool:
    """Tell whether a user wrote `file`: it is neither ours nor SCons's."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    places = (ours, os.path.dirname(os.path.abspath(SCons.__file__)))
    return not os.path.dirname(os.path.abspath(file)).startswith(places)


def refuse(text: str) -> NoReturn:
    """End SCons with status 2 and one line: `text`, and where the user's mistake is.

    A UserError would add a second line, which names a line of this file.
    """
    sys.stderr.write(f"scons: *** {user_place()}: {text}\n")
    sys.exit(2)
