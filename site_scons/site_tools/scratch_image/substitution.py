"""Construction variables in text that a project gives; ``$$`` is a dollar."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

import SCons.Errors

from .errors import InputError

_VARIABLE = re.compile(r"\$(?:\$|\{?([A-Za-z_]\w*))")


def substituted(env: Any, given: Any, where: str) -> Any:
    """Return `given` with the construction variables of `env` in all its text, as builders do it.

    Text lies in lists, tuples, the values of dictionaries, and the fields of dataclasses, too; what
    else there is, as nodes and numbers, stays. InputError, which says `where` the text stands, for
    a variable that `env` does not have: SCons would put nothing in its place.
    """
    match given:
        case str():
            return _text(env, given, where)
        case bytes():
            return os.fsencode(_text(env, os.fsdecode(given), where))
        case list() | tuple():
            return type(given)([substituted(env, each, where) for each in given])
        case Mapping():
            return {key: substituted(env, value, where) for key, value in given.items()}
        case _ if dataclasses.is_dataclass(given) and not isinstance(given, type):
            names = [each.name for each in dataclasses.fields(given)]
            values = {name: substituted(env, getattr(given, name), where) for name in names}
            return dataclasses.replace(given, **values)
    return given


def _text(env: Any, text: str, where: str) -> str:
    if "$" not in text:
        return text
    for found in _VARIABLE.finditer(text):
        if found[1] and found[1] not in env:
            raise InputError(
                f"cannot use {where} {text!r}: there is no construction variable {found[1]}; "
                "set it, or write $$ for a dollar"
            )
    try:
        return str(env.subst(text, raw=1))
    except SCons.Errors.UserError as error:
        raise InputError(
            f"cannot use {where} {text!r}: SCons cannot substitute it; put the variable's name in "
            "braces, or write $$ for a dollar"
        ) from error
