"""The system calls that an image needs, as a profile for ``docker run --security-opt seccomp=``.

The format is Docker's, https://docs.docker.com/engine/security/seccomp/: calls that the profile
does not name fail with EPERM.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..elf.machines import machine, runs_here
from ..errors import ImageError, InputError, TraceError
from ..fs.root import Root
from ..sandbox.run import Run
from ..sysroot.image_root import unpacked_layers
from ..trace.strace_tool import Strace
from ..trace.tracer import trace, trace_in_sandbox

RUNTIME = (
    *("capget", "capset", "chdir", "execve", "fchdir", "fchown", "getcwd", "getgid", "getpid"),
    *("getppid", "getuid", "prctl", "setgid", "setgroups", "setuid", "umask"),
    *("fstatfs", "statfs", "statx", "stat", "lstat", "fstat", "newfstatat", "readlinkat"),
    *("openat", "openat2", "open", "read", "write", "close", "close_range", "fcntl", "getdents64"),
)
"""Calls of runc between loading the profile and the program, those of newer releases included.

With ``no-new-privileges`` it loads the profile later, and needs less.
"""

GO = (
    *("clone", "clone3", "epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", "exit"),
    *("futex", "gettid", "madvise", "mincore", "mmap", "munmap", "nanosleep", "pipe2"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "sched_yield"),
    *("sigaltstack", "tgkill", "timer_create", "timer_delete", "timer_settime"),
)
"""Calls that the Go runtime of runc may make at any moment, also then."""

START = (
    *("access", "arch_prctl", "brk", "exit_group", "faccessat", "faccessat2", "getegid"),
    *("geteuid", "getrandom", "getrlimit", "ioctl", "lseek", "membarrier", "mprotect", "mremap"),
    *("pread64", "prlimit64", "readlink", "restart_syscall", "rseq", "set_robust_list"),
    *("set_tid_address", "ugetrlimit", "uname", "writev", "readv", "set_thread_area"),
    *("fstatat64", "fstat64", "stat64", "lstat64", "mmap2", "_llseek", "set_tls", "cacheflush"),
)
"""Calls of glibc and musl at start and end, which differ by kernel and processor."""

VDSO = ("clock_getres", "clock_gettime", "clock_gettime64", "getcpu", "gettimeofday", "time")
"""Calls that strace does not see where the kernel answers them inside of the process."""

BASELINE = frozenset({*RUNTIME, *GO, *START, *VDSO})
"""Calls that every image may make."""

_CALL = re.compile(rb"^(?:[0-9]+ +)?(?:<\.\.\. )?([a-z_][a-z0-9_]*)(?:\(| resumed>)", re.MULTILINE)
_STARTED = re.compile(rb"^(?:[0-9]+ +)?execve\(", re.MULTILINE)


def check(image: str, number: int) -> None:
    """Raise ImageError when calls of programs for machine `number` (EM_) are not seen here."""
    if not runs_here(number):
        raise ImageError(
            f"profile image {image}",
            f"it is for {machine(number).name}, and an emulator makes other calls",
            "profile it on such a machine",
        )


def calls(
    image: str,
    trials: Sequence[tuple[Run, bytes]],
    layers: Sequence[bytes],
    strace: bytes = b"strace",
) -> frozenset[str]:
    """Return the system calls that `trials` make in a root that holds the layer files `layers`.

    A trial is a run, and its program's image path. ImageError when a run of `image` does not end
    as expected; SandboxError when a layer cannot be unpacked; TraceError when `strace` is not
    strace, too old, or does not know a call.
    """
    found: set[str] = set()
    for run, program in trials:
        tool = replace(Strace.find(run, strace), has_all_calls=True)
        with unpacked_layers(layers, run) as sandbox:
            outcome, text = trace_in_sandbox(sandbox, run, program, tool)
        if failure := outcome.failure:
            hint = failure.hint if failure.is_limit else "test the image"
            cause = f"in run {run.name} {failure.cause}"
            raise ImageError(f"profile image {image}", cause, hint)
        found |= _names(run, text)
    return frozenset(found)


def _names(run: Run, text: bytes) -> set[str]:
    """Return the calls in strace's `text`, from where the program of the first process starts."""
    started = _STARTED.search(text)
    return _known_names(run, _CALL.findall(text, started.start()) if started else ())


def suite_calls(run: Run, program: bytes, root: Root, strace: bytes = b"strace") -> frozenset[str]:
    """Return the system calls that the programs of the suite `run` make, traced in `root`.

    No image has its harness. `root` notes the looks that the result depends on. TraceError as for
    a trace; SandboxError when a tool for the view is missing.
    """
    found = trace(run, program, root, strace, private=True, has_all_calls=True).calls
    return frozenset(_known_names(run, found))


def _known_names(run: Run, calls: Iterable[bytes]) -> set[str]:
    """Return the names of `calls`; TraceError for one that strace does not know."""
    names = {name.decode() for name in calls}
    unknown = sorted(name for name in names if name.startswith("syscall_"))
    if unknown:
        raise TraceError(
            f"profile run {run.name}",
            f"strace does not know {', '.join(unknown)}",
            "install a newer strace",
        )
    return names


def profile(names: Iterable[str], number: int) -> bytes:
    """Return the profile that allows `names` and `BASELINE` to programs for machine `number` (EM_).

    InputError when libseccomp does not know it.
    """
    if not machine(number).seccomp:
        raise InputError(
            f"profile programs for ELF machine {number}",
            "libseccomp does not know it",
            "run the image under the engine's own profile",
        )
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": [machine(number).seccomp],
        "syscalls": [
            _allow("runtimes and C libraries", BASELINE),
            _allow("runs", {*names} - BASELINE),
        ],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _allow(what: str, names: Iterable[str]) -> dict[str, object]:
    return {"names": sorted(names), "action": "SCMP_ACT_ALLOW", "comment": f"needed by {what}"}
