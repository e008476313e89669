#!/usr/bin/env python3
"""Writes docs/reference.md to standard output, from what the package says of itself.

Which variables a builder reads is taken from its code: all that it looks up in `env`, and what the
functions look up that it calls.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "site_scons", "site_tools"))

from scratch_image import HealthCheck, Run  # noqa: E402
from scratch_image.scons import builders, chain, plans, tree  # noqa: E402
from scratch_image.scons.variables import VARIABLES  # noqa: E402

METHODS = {
    "env.ScratchImage": chain.scratch_image,
    "env.ImageTree": tree.image_tree,
    "env.Sysroot": builders.make_sysroot,
    "Run": Run,
    "HealthCheck": HealthCheck,
}
"""What SConscripts call that is no Builder."""

HEAD = """\
# Reference

All methods, builders and variables, as the docstrings of the code have them; `docs/reference.py` writes this page.
The [tutorial](tutorial.md) shows them at work. [Runs](runs.md) and [lists](lists.md) have pages of their own.

`STEM` is the path that you name: a builder adds its suffix. Variables are set in an environment, or given to a single call.
All builders read {common}.
"""  # noqa: E501


def reads() -> dict[str, set[str]]:
    """Return the variables that functions of plans and emitter look up, themselves or by others."""
    code = [*_body(builders), *_body(plans)]
    functions = {node.name: node for node in code if isinstance(node, ast.FunctionDef)}
    names = {key: {n.id for n in _nodes(each, ast.Name)} for key, each in functions.items()}
    found = {key: set(_looked_up(each)) for key, each in functions.items()}
    grown = True
    while grown:
        before = {key: len(each) for key, each in found.items()}
        for key in found:
            found[key] = found[key].union(*(found[name] for name in names[key] & found.keys()))
        grown = before != {key: len(each) for key, each in found.items()}
    return found


def _body(module: ModuleType) -> list[ast.stmt]:
    return ast.parse(inspect.getsource(module)).body


def _nodes(tree: ast.AST, kind: type[Any]) -> Iterator[Any]:
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def _looked_up(function: ast.AST) -> Iterator[str]:
    """Yield NAME of each ``read(env, "NAME")``."""
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Name("read"), args=[ast.Name("env"), ast.Constant(str(name))]):
                yield name


def _prose(documented: Callable[..., object]) -> str:
    """Return a docstring as Markdown."""
    return re.sub("``(.+?)``", r"`\1`", inspect.getdoc(documented) or "")


def _method(name: str, method: Callable[..., object]) -> str:
    given = list(inspect.signature(method).parameters.values())
    if name.startswith("env."):
        del given[0]
    shown = [str(each.replace(annotation=each.empty)) for each in given]
    call = f"{name}({', '.join(shown)})"
    if len(call) > 80:
        call = "\n    ".join([f"{name}(", *(f"{each}," for each in shown)]) + "\n)"
    call = re.sub(r"<Signals\.(\w+): \d+>", r"signal.\1", call)
    return f"### {name}\n\n```text\n{call}\n```\n\n{_prose(method)}\n"


def _builder(name: str, builder: Any, read: dict[str, set[str]]) -> str:
    plan, comstr = builder.emitter.args
    own = sorted(read[plan.__name__] - read["_emit"])
    told = f"Reads {_listed(own)}. " if own else ""
    return f"### {name}\n\n{_prose(plan)}\n\n{told}`{comstr}` replaces its line.\n"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{each}`" for each in names)


def reference() -> str:
    """Return the page."""
    read = reads()
    rows = [f"| `{each.name}` | {each.told} | {each.meaning} |\n" for each in VARIABLES]
    made = builders._builders().items()
    return "\n".join(
        [
            HEAD.format(common=_listed(sorted(read["_emit"]))),
            "## Methods\n",
            *(_method(name, method) for name, method in METHODS.items()),
            "`Sysroot` reads `DOCKER_HOST` and `SOURCE_DATE_EPOCH`; "
            "`SYSROOTCOMSTR` replaces its line.\n",
            "## Builders\n",
            *(_builder(name, builder, read) for name, builder in made),
            "## Variables\n",
            "| variable | default | meaning |\n|---|---|---|\n" + "".join(rows),
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
