"""All that the package says when something is wrong, as patterns: names and numbers are ``…``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from lab import PACKAGE

_SILENT = {"errors", "variables"}
"""Modules whose sentences are no messages."""

_MESSAGE = re.compile(r"cannot |trace: |lint: |no engine |.*\w.{8,}; \w.{5,}")
"""A line for the user, or a cause and a hint."""


def messages() -> set[str]:
    """Return the lines for the user, and the causes that are put into them."""
    return {each for tree in _trees() for each in (*_lines(tree), *_raised(tree))}


def literals() -> set[str]:
    """Return all that the package can say at all: its strings, but for docstrings."""
    return {line for tree in _trees() for text in _strings(tree) for line in text.split("\n")}


def _trees() -> Iterator[ast.Module]:
    for module in sorted(PACKAGE.rglob("*.py")):
        if module.stem not in _SILENT:
            yield ast.parse(module.read_text())


def _strings(tree: ast.AST) -> Iterator[str]:
    """Yield the strings of `tree` that are neither docstrings nor parts of others."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
        if id(node) not in skipped and (text := _text(node)):
            yield text


def _lines(tree: ast.AST) -> Iterator[str]:
    for text in _strings(tree):
        yield from (line for line in text.split("\n") if _MESSAGE.match(line))


def _raised(tree: ast.AST) -> Iterator[str]:
    """Yield what errors are made of: all of it, or what a helper puts together."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(name), args=[action, cause, hint]) if name.endswith(
                "Error"
            ):
                fields = [_text(each) or "…" for each in (action, cause, hint)]
                if {*fields} != {"…"}:
                    yield "cannot {}: {}; {}".format(*fields)
            case ast.Call(func=ast.Name("Finding"), args=[_, case, cause, fix]):
                yield "{}: {}; {}".format(*(_text(each) or "…" for each in (case, cause, fix)))
            case ast.Call(func=ast.Name("Failure"), args=[cause, hint]):
                yield from filter(_is_long, map(_text, (cause, hint)))
            case ast.Raise(exc=ast.Call(func=ast.Name(name), args=arguments)):
                texts = filter(None, map(_text, arguments))
                yield from (each for each in texts if name.endswith("Error") or _is_long(each))
            case ast.Call(func=ast.Attribute(attr="trust_error"), args=[cause]):
                yield _text(cause)
            case ast.Call(
                func=ast.Attribute(attr="refusal_error" | "check_retryable"), args=[action, _]
            ) if _text(action):
                yield f"cannot {_text(action)}: …; …"
            case ast.Call(func=ast.Name("engine_error" | "api_errors"), args=[action, _, *_]) if (
                _text(action)
            ):
                yield f"cannot {_text(action)}: engine at …: …; …"


def _is_long(text: str) -> bool:
    """Tell a cause or a hint from a word that names the refused thing."""
    return len(text.removesuffix(" …").split()) > 2


def _text(node: ast.AST) -> str:
    """Return a string, with ``…`` for what is put into it; nothing for any other node."""
    match node:
        case ast.Constant(str(text)):
            return re.sub(r"\{\w*\}", "…", text)  # for str.format
        case ast.JoinedStr(parts):
            return "".join(map(_text, parts))
        case ast.FormattedValue():
            return "…"
    return ""
