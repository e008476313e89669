"""Construction variables in text that a project gives; ``$$`` is a dollar."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections import UserList
from collections.abc import Callable, Mapping
from typing import Any

import SCons.Errors

from ..errors import InputError

_VARIABLE = re.compile(r"\$(?:\$|\{?([A-Za-z_]\w*))")


def substitute(env: Any, given: Any, where: str) -> Any:
    """Return `given` with the construction variables of `env` in all its text, as builders do it.

    Text lies in lists, tuples, sets, the values of dictionaries, and the fields of dataclasses,
    too; what else there is, as nodes and numbers, stays. InputError, which says `where` the text
    stands, for a variable that `env` does not have: SCons would put nothing in its place.
    """
    if isinstance(given, str) and "$" not in given:  # Most values, of which each image has many.
        return given
    return _map_text(given, functools.partial(_text, env, where))


def literal(given: Any) -> Any:
    """Return what becomes `given` when its construction variables are substituted."""
    return _map_text(given, lambda text: text.replace("$", "$$"))


def _map_text(given: Any, change: Callable[[str], str]) -> Any:
    match _form_of(given.__class__):
        case "text":
            return change(given)
        case "bytes":
            return os.fsencode(change(os.fsdecode(given)))
        case "list":
            return type(given)([_map_text(each, change) for each in given])
        case "dictionary":
            return {key: _map_text(value, change) for key, value in given.items()}
        case "fields":
            names = [each.name for each in dataclasses.fields(given)]
            values = {name: _map_text(getattr(given, name), change) for name in names}
            return dataclasses.replace(given, **values)
    return given


@functools.cache
def _form_of(kind: type) -> str:
    """Return how values of this `kind` hold text: each value would have to be tried otherwise."""
    forms: list[tuple[str, tuple[type, ...]]] = [
        ("text", (str,)),
        ("bytes", (bytes,)),
        ("list", (list, tuple, UserList, set, frozenset)),
        ("dictionary", (Mapping,)),
    ]
    for form, kinds in forms:
        if issubclass(kind, kinds):
            return form
    return "fields" if dataclasses.is_dataclass(kind) else ""


def _text(env: Any, where: str, text: str) -> str:
    if "$" not in text:
        return text
    for found in _VARIABLE.finditer(text):
        if found[1] and found[1] not in env:
            raise InputError(
                f"use {where} {text!r}",
                f"there is no construction variable {found[1]}",
                "set it, or write $$ for a dollar",
            )
    try:
        return str(env.subst(text, raw=1))
    except SCons.Errors.UserError as error:
        raise InputError(
            f"use {where} {text!r}",
            "SCons cannot substitute it",
            "put the variable's name in braces, or write $$ for a dollar",
        ) from error
