"""The table of steps: for each builder the module of this package that has its step.

A new step is a module with a `KIND`, and a line here. The module is imported when a project first
uses the builder.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .step import StepKind

MODULES = {
    "Strace": "trace",
    "HealthProgram": "health",
    "Ldd": "ldd",
    "FileList": "file_list",
    "LayerTar": "layer_tar",
    "LayerStack": "layer_stack",
    "OciImage": "image",
    "ImageIndex": "index",
    "DockerLoad": "load",
    "Sysroot": "sysroot",
}
"""Steps that a plain ``scons`` carries out."""

ON_REQUEST = {
    "ImageTest": "test",
    "RegistryPush": "push",
    "ImageReport": "report",
    "Sbom": "sbom",
    "SeccompProfile": "seccomp",
    "DebugTools": "debug",
}
"""Steps that ``scons MODULE/IMAGE`` carries out, as ``scons test/images/hello``."""

BUILDERS = (*MODULES, *ON_REQUEST)


@functools.cache
def find_kind(builder: str) -> StepKind:
    """Return the kind of step that `builder` makes."""
    module = {**MODULES, **ON_REQUEST}[builder]
    found: StepKind = importlib.import_module(f".{module}", __package__).KIND
    return found


def comstr(builder: str) -> str:
    """Return the name of the variable that replaces the line of the builder's step."""
    return f"{builder.upper()}COMSTR"
