"""The program strace: its release, the command that traces another program, and its logs."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import TraceError
from ..fs.file_system import FileSystem
from ..fs.paths import join, show
from ..sandbox import process
from ..sandbox.run import Run
from .program import Program

OLDEST = (5, 10)
"""The oldest release that knows every call by which C libraries open and look at files.

openat2(2) came with 5.6 and faccessat2(2) with 5.8. ``--seccomp-bpf`` hides calls that strace does
not know.
"""

KEEPS_PRIVILEGES = (6, 2)
"""The first release whose ``--seccomp-bpf`` leaves set-id programs their privileges."""

_CALLS = (
    "%file,?getdents,?getdents64,?fchdir,?clone,?clone3,?fork,?vfork,?unshare,?setns,?connect,?bind,"
    "?sendto,?sendmsg,?sendmmsg,?recvmsg,?recvmmsg,?open_by_handle_at,?memfd_create,?pidfd_getfd,?io_uring_setup,?ptrace,"
    "?add_key,?keyctl,?request_key"
)

_SOME = ("-y", "-s", "4096", "-e", f"trace={_CALLS}", "-e", "inject=io_uring_setup:error=ENOSYS")
_ALL = ("-y", "-s", "4096", "-e", "trace=all", "-e", f"raw=!{_CALLS}")
_NO_KEYS = ("-e", "inject=add_key,keyctl,request_key:error=EPERM")

_MOST_LOG = 1 << 29
"""Bytes of log to read: many times the log of a compiler of a whole project."""

_CPUS = itertools.count()


@dataclass(frozen=True, slots=True)
class Strace:
    """A strace."""

    path: bytes
    version: tuple[int, int]
    has_all_calls: bool = False
    """Whether it logs all calls; those that name no file with numbers for arguments."""

    @classmethod
    def find(cls, run: Run, name: bytes) -> Strace:
        """Return the strace `name`, path or name, for `run`; TraceError when it is unfit."""
        path = process.find(name)
        if path is None:
            raise TraceError(
                f"trace run {run.name}",
                f"there is no {show(name)}",
                "apt-get install strace, or correct STRACE",
            )
        answer = process.run([path, b"--version"], timeout=run.timeout)
        found = re.match(rb"strace -- version (\d+)\.(\d+)", answer.stdout)
        if not found:
            raise TraceError(
                f"trace run {run.name}",
                f"{show(path)} does not print a version as strace does",
                "apt-get install strace, or correct STRACE",
            )
        version = int(found[1]), int(found[2])
        if version < OLDEST:
            raise TraceError(
                f"trace run {run.name}",
                f"{show(path)} is strace {version[0]}.{version[1]}, which does not know all calls",
                f"install {OLDEST[0]}.{OLDEST[1]} or newer",
            )
        return cls(path, version)

    def strips_privileges(self, program: Program) -> bool:
        """Return whether `program` executes files without the privileges that they give."""
        return os.geteuid() != 0 or (self.filters(program) and self.version < KEEPS_PRIVILEGES)

    def privilege_hint(self, program: Program, files: FileSystem, *, private: bool) -> str:
        """Return how the files of `files` that `program` executes keep their privileges."""
        if files.base != b"/":
            return "run it without that, and list its files"
        is_old = self.filters(program) and self.version < KEEPS_PRIVILEGES
        hints = {
            "build as root": os.geteuid() != 0,
            "set TRACE_ROOT=plain": private,
            "install strace 6.2 or newer": is_old,
        }
        return " and ".join(hint for hint, helps in hints.items() if helps)

    def filters(self, program: Program) -> bool:
        """Return whether a filter of calls may save stops: old releases lose privileges by it."""
        return self.version >= KEEPS_PRIVILEGES or not program.is_privileged

    def command(
        self, words: Sequence[bytes], directory: bytes, *, filters: bool = True
    ) -> list[bytes | str]:
        """Return the command that traces the command `words` and leaves logs in `directory`.

        One file for each process (-ff) needs no joining of halves; -A appends to it, because
        process numbers come again. io_uring opens files without calls: it is refused, and programs
        do without. So are the kernel's keys, as in engines: a user's keys outlive the run. No -z
        and no --quiet: they lose lines.
        """
        return [
            *_pin_words(),
            *(self.path, "-ff", "-A", "-e", "signal=none"),
            *(_ALL if self.has_all_calls else _SOME),
            *_NO_KEYS,
            *(["--seccomp-bpf"] if filters and not self.has_all_calls else []),
            *("-o", join(directory, b"log"), "--"),
            *words,
        ]


def _pin_words() -> list[bytes | str]:
    """Return words that keep tracer and tracee on one processor: that is several times as fast."""
    taskset = process.find(b"taskset")
    cpus = sorted(os.sched_getaffinity(0))
    return [taskset, "-c", str(cpus[next(_CPUS) % len(cpus)])] if taskset else []


def read_logs(run: Run, directory: bytes) -> dict[int, bytes]:
    """Return strace's logs in `directory`, by process number; TraceError when they are too long."""
    names = [name for name in os.listdir(directory) if name.startswith(b"log.")]
    size = sum(os.path.getsize(join(directory, name)) for name in names)
    if size > _MOST_LOG:
        raise TraceError(f"trace run {run.name}", f"its log has {size >> 20} MB", "let it do less")
    logs = {}
    for name in names:
        with open(join(directory, name), "rb") as stream:
            logs[int(name.partition(b".")[2])] = stream.read()
    return logs
