"""Makes a root, or goes into it, then becomes the command that is to run there.

It runs as a program of its own, ``python -I -S enter.py PLAN COMMAND...``, and imports nothing of
the package: a thread of SCons cannot do this between fork and exec, and it stands before every
run, where each millisecond counts. PLAN is a file that `marshal` wrote, a sequence of steps, each
the name of a function below and its arguments. Paths and other bytes are text as `os.fsdecode`
gives it.
"""

import ctypes
import marshal
import os
import sys

_FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "remount": 32, "bind": 4096, "rec": 16384}
"""Flags of mount(2), by the names that plans have for them."""

_CAPBSET_DROP, _SET_NO_NEW_PRIVS = 24, 38
"""Operations of prctl(2)."""

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, flags: str) -> None:
    """Bind `source` to `target`, or change how that is mounted; `flags` are words."""
    number = sum(_FLAGS[flag] for flag in flags.split())
    words = os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(number), None
    if _libc.mount(*words):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def root(path: str, cwd: str) -> None:
    """Take `path` for the root, and go to `cwd` there."""
    os.chroot(path)
    os.chdir(cwd)


def keep(*capabilities: int) -> None:
    """Give up all other capabilities, and any by what is executed: capabilities(7)."""
    number = 0
    while number in capabilities or not _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0):
        number += 1
    _libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def environment(*variables: str) -> None:
    """Have these variables, NAME=VALUE, and no others."""
    os.environ.clear()
    os.environ.update(dict(variable.split("=", 1) for variable in variables))


_STEPS = {step.__name__: step for step in (mount, root, keep, environment)}


def main(plan: str, *command: str) -> None:
    """Carry out the file `plan`, then become `command`; OSError when that cannot be."""
    with open(plan, "rb") as stream:
        steps = marshal.load(stream)  # noqa: S302  # the package wrote it
    for name, *arguments in steps:
        _STEPS[name](*arguments)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"enter: {error.filename or sys.argv[2]}: {error.strerror}")
