"""The trees that the kernel makes: every container gets its own, and no file of them is packed."""

from __future__ import annotations

from .paths import is_under

KERNEL_TREES = {b"/dev": 0o755, b"/dev/shm": 0o1777, b"/proc": 0o555, b"/sys": 0o555}
"""The directories where they are mounted, with the modes of these."""


def is_in_kernel_tree(path: bytes) -> bool:
    """Tell whether `path` is a kernel tree, or lies in one."""
    return is_under(path, *KERNEL_TREES)
