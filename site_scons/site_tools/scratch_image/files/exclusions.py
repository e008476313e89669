"""Paths that stay out of images: those that each container has of its own, and host noise."""

from __future__ import annotations

import re

from ..fs.paths import is_in_kernel_tree

RUNTIME_FILES = frozenset({b"/etc/hostname", b"/etc/hosts", b"/etc/resolv.conf", b"/etc/mtab"})
"""Files that the container's runtime creates for each container."""

NOISE = {
    "logs": rb"/var/log/.+",
    "process IDs": rb".+\.pid",
    "caches of name services": rb"(/var/cache|/run|/var/run)/nscd/.+|/var/lib/sss/.+",
    "identity of the machine": rb"/etc/machine-id|/var/lib/dbus/machine-id",
    "Python start files that are no package's": rb"/usr/local/lib/python3[^/]*/.*"
    rb"(\.pth|/(site|user)customize\.py|/__pycache__/(site|user)customize\..+\.pyc)",
}
"""Files that describe the host: they stay out where only a run used them.

Python starts without any ``.pth`` file. Those of a distribution's packages, in dist-packages below
/usr/lib, are the same on all machines and stay; those below /usr/local are local installations.
"""

_NOISE = re.compile(b"|".join(b"(?:%s)" % rule for rule in NOISE.values()), re.DOTALL)


_OF_INTERPRETERS = re.compile(
    rb"(.*/)?(python\d[\d.]*|dist-packages|site-packages|perl|perl5|perl-base|node_modules)(/.*)?"
    rb"|.*/(gems|rubygems-integration)/[\w.]+/specifications(/.*)?"
)
"""Directories of modules that files import by name: `python_imports` and its like find those.

Ruby lists the specifications of all gems at its start, and opens those that a program requires.
"""


def is_host_noise(path: bytes) -> bool:
    """Tell whether `path` stays out if only runs used it."""
    return is_made_by_runtime(path) or bool(_NOISE.fullmatch(path))


def is_made_by_runtime(path: bytes) -> bool:
    """Tell whether the kernel or the container's runtime creates `path` in each container."""
    if path == b"/":
        return True
    return path in RUNTIME_FILES or is_in_kernel_tree(path)


def is_of_interpreter(directory: bytes) -> bool:
    """Tell whether an interpreter searches `directory` for modules, and takes one by name."""
    return _OF_INTERPRETERS.fullmatch(directory) is not None
