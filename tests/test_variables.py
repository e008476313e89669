from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from lab import PACKAGE
from scratch_image.variables import VARIABLES

_NAME = re.compile(r"[A-Z][A-Z_]+")


def _looked_up() -> Iterator[str]:
    """Yield the variables that the modules that know SCons look up or set."""
    for module in ("plans", "builders", "chain", "tree"):
        for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
            match node:
                case (
                    ast.Call(
                        func=ast.Attribute(value=ast.Name("env"), attr="get"),
                        args=[ast.Constant(str(name)), *_],
                    )
                    | ast.Subscript(value=ast.Name("env"), slice=ast.Constant(str(name)))
                ):
                    yield name
                case ast.Call(func=ast.Attribute(attr="SetDefault")):
                    yield from (str(each.arg) for each in node.keywords)


def test_every_variable_that_is_looked_up_is_told_of() -> None:
    read = {name for name in _looked_up() if _NAME.fullmatch(name)} - {"BUILDERS"}

    assert {each.name for each in VARIABLES} == read


def test_variables_are_told_in_one_line_of_a_table() -> None:
    names = [each.name for each in VARIABLES]

    assert len(names) == len(set(names))
    assert not [each for each in VARIABLES if "|" in each.meaning + each.default]
    assert not [each for each in VARIABLES if "\n" in each.meaning or not each.meaning]
