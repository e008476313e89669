#!/usr/bin/env python3
"""Writes docs/reference.md to standard output, from what the package says of itself.

The variables that a builder reads come from its code: all that its plan looks up in `env`, itself
or by the functions that it calls.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "site_scons", "site_tools"))

from scratch_image import HealthCheck, Run, Staged, Suite  # noqa: E402
from scratch_image.scons import builders  # noqa: E402
from scratch_image.scons.image_tree import image_tree  # noqa: E402
from scratch_image.scons.scratch_image import scratch_image  # noqa: E402
from scratch_image.scons.steps import sysroot, table  # noqa: E402
from scratch_image.scons.variables import VARIABLES  # noqa: E402

METHODS = {
    "env.ScratchImage": scratch_image,
    "env.ImageTree": image_tree,
    "env.Sysroot": sysroot.sysroot_call,
    "Run": Run,
    "Suite": Suite,
    "HealthCheck": HealthCheck,
    "Staged": Staged,
}
"""Functions and methods that SConscripts call, besides builders."""

HEAD = """\
# Reference

All methods, builders and variables, as the docstrings of the code have them; `docs/reference.py` writes this page.
The [tutorial](tutorial.md) shows them at work. [Runs](runs.md) and [lists](lists.md) have pages of their own.

`STEM` is the path that you name: a builder adds its suffix. Variables are set in an environment, or given to a single call.
All builders read {common}.
"""  # noqa: E501


def reads(function: Callable[..., object]) -> set[str]:
    """Return the variables that `function` looks up, itself or by functions of the package."""
    found, seen, pending = set(), set(), [function]
    while pending:
        each: Any = pending.pop()
        if each in seen:
            continue
        seen.add(each)
        tree = ast.parse(inspect.getsource(each))
        found |= set(_looked_up(tree))
        used = (each.__globals__.get(node.id) for node in _nodes(tree, ast.Name))
        pending += (other for other in used if _is_ours(other))
    return found


def _is_ours(value: Any) -> bool:
    return inspect.isfunction(value) and value.__module__.startswith("scratch_image.scons")


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
    texts = [str(each.replace(annotation=each.empty)) for each in given]
    call = f"{name}({', '.join(texts)})"
    if len(call) > 80:
        call = "\n    ".join([f"{name}(", *(f"{each}," for each in texts)]) + "\n)"
    call = re.sub(r"<Signals\.(\w+): \d+>", r"signal.\1", call)
    return f"### {name}\n\n```text\n{call}\n```\n\n{_prose(method)}\n"


def _builder(name: str, common: set[str]) -> str:
    plan = table.find_kind(name).plan
    own = sorted(reads(plan) - common)
    line = f"Reads {_listed(own)}. " if own else ""
    return f"### {name}\n\n{_prose(plan)}\n\n{line}`{table.comstr(name)}` replaces its line.\n"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{each}`" for each in names)


def reference() -> str:
    """Return the page."""
    common = reads(builders._emit)
    rows = [f"| `{each.name}` | {each.default_text} | {each.meaning} |\n" for each in VARIABLES]
    names = [name for name in table.BUILDERS if name != "Sysroot"]
    return "\n".join(
        [
            HEAD.format(common=_listed(sorted(common))),
            "## Methods\n",
            *(_method(name, method) for name, method in METHODS.items()),
            "`Sysroot` reads `DOCKER_HOST` and `SOURCE_DATE_EPOCH`; "
            "`SYSROOTCOMSTR` replaces its line.\n",
            "## Builders\n",
            *(_builder(name, common) for name in names),
            "## Variables\n",
            "| variable | default | meaning |\n|---|---|---|\n" + "".join(rows),
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
