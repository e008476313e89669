"""The program of a run: where it lies, its privileges, and the emulator that it needs."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from dataclasses import dataclass

from ..elf import machines, reader
from ..elf.shebang import interpreter_chain
from ..errors import ElfError, TraceError
from ..fs.file_system import FileSystem
from ..fs.lookup import FileKind, Status
from ..fs.paths import show
from ..fs.root import Root
from ..sandbox import process
from ..sandbox.namespaces import Emulator
from ..sandbox.run import Run


@dataclass(frozen=True, slots=True)
class Program:
    """The program of a run."""

    path: bytes
    """Its path where it runs."""
    image_path: bytes
    is_privileged: bool
    """Whether executing it gives privileges: set-user-ID, set-group-ID or file capabilities."""
    emulator: Emulator | None
    """None for a program that this processor runs by itself."""

    @classmethod
    def find(cls, run: Run, path: bytes, root: Root, *, private: bool) -> Program:
        """Return the program of `run` at the image path `path`; TraceError when it cannot run.

        `private` says whether the run has a private root.
        """
        files = root.files
        if files.base != b"/" and not private:
            raise TraceError(
                f"trace run {run.name}",
                f"its root is {show(files.base)}, and this run would see the machine's own",
                "allow private roots, or set RUNS=[] and list its files",
            )
        found = root.walk(path)
        if found.status is None:
            raise TraceError(
                f"trace run {run.name}", f"there is no {show(found.real)}", "build or install it"
            )
        if found.status.kind is not FileKind.FILE or not found.status.mode & 0o111:
            raise TraceError(
                f"trace run {run.name}",
                f"{show(path)} is no executable file",
                "name the program, and make it executable",
            )
        emulator = find_emulator(run, path, root, private=private)
        if missing := _missing_interpreter(path, root):
            raise TraceError(
                f"trace run {run.name}",
                f"{show(path)} needs {show(missing)}, and there is no such file",
                "install it, or build the program for the loader of its root",
            )
        host_path = files.host_path(found.real)
        # A link keeps its name: some programs act by their name.
        own_path = host_path if found.real in files.staging and not private else path
        return cls(own_path, path, _is_privileged(host_path, found.status), emulator)


def _missing_interpreter(path: bytes, root: Root) -> bytes | None:
    """Return the interpreter of the script, or the loader of the program, that is not there.

    A relative path is looked up where the run starts, so only absolute ones are known here.
    """
    last, head = list(itertools.islice(interpreter_chain(root, path), _MOST_SCRIPTS))[-1]
    if head is None:
        return last
    loader = None
    with contextlib.suppress(ElfError), root.open(root.walk(last).real) as stream:
        loader = reader.read(stream, last).interpreter if reader.is_elf(head) else None
    is_missing = loader and loader.startswith(b"/") and root.walk(loader).status is None
    return loader if is_missing else None


def _is_privileged(host_path: bytes, status: Status) -> bool:
    if status.mode & (stat.S_ISUID | stat.S_ISGID):
        return True
    try:
        return bool(os.getxattr(host_path, "security.capability"))
    except OSError:
        return False


def gives_privileges(files: FileSystem, path: bytes) -> bool:
    """Return whether executing `path` gives privileges that the user who runs scons has not."""
    status = files.status(path)
    if status is None or not _is_privileged(files.host_path(path), status):
        return False
    if not status.mode & (stat.S_ISUID | stat.S_ISGID):
        return os.geteuid() != 0
    other_user = bool(status.mode & stat.S_ISUID) and status.uid != os.geteuid()
    return other_user or (bool(status.mode & stat.S_ISGID) and status.gid != os.getegid())


def find_emulator(run: Run, path: bytes, root: Root, *, private: bool = True) -> Emulator | None:
    """Return the emulator for the program `path`, or a script's interpreter; None if it needs none.

    It is a static program, for a `private` root: elsewhere it would look for the program's files
    in the host's file system, too. TraceError when there is none.
    """
    head = _read_head(path, root)
    number = reader.machine_of(head)
    if number is None or machines.runs_here(number):
        return None
    machine, native = machines.machine(number), machines.machine(machines.native_machine())
    emulator = process.find(f"qemu-{machine.qemu}-static".encode()) if private else None
    if emulator is None:
        raise TraceError(
            f"trace run {run.name}",
            f"{show(path)} is a program for {machine.name} and this machine is {native.name}",
            "apt-get install qemu-user-static and allow private roots, or set RUNS=[] and list "
            "its files by extra lists",
        )
    return Emulator(emulator, head[: reader.HEAD])


_MOST_SCRIPTS = 6
"""Files that the kernel opens for one, if scripts interpret each other: fs/exec.c."""


def _read_head(path: bytes, root: Root) -> bytes:
    """Return the first bytes of the file that the kernel loads for `path`, a script or program."""
    *_, (_, head) = itertools.islice(interpreter_chain(root, path), _MOST_SCRIPTS)
    return head if head and reader.interpreter_of_script(head) is None else b""
