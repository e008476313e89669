"""The libraries that a program needs, found as its loader finds them; nothing is executed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..errors import ElfError
from ..fs.paths import join, show
from ..fs.root import Root
from .load import Library, Load, Missing
from .loader import Loaders, loader_path
from .lookup import ElfFile, ElfFiles
from .reader import SCRIPT_HEAD, Elf, is_elf
from .search_path import LoadedFile
from .shebang import EnvCommand, command_of_env, interpreter_chain

MAX_INTERPRETERS = 5
"""``#!`` lines that the kernel follows for one program (fs/exec.c)."""

_SET_ID = 0o6000

_NO_ENVIRONMENT: Mapping[bytes, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Closure:
    """All files that are opened before the first instruction of a program runs."""

    path: bytes
    interpreters: tuple[bytes, ...]
    """Interpreters that the ``#!`` lines name, in order; the last one is an ELF file."""
    machine: int
    """EM_ number of the ELF file that runs."""
    loader: bytes | None
    """PT_INTERP of that file."""
    static: bool
    """Whether it runs without loader and libraries."""
    libraries: tuple[Library, ...]
    """In the loader's order, breadth first; then the variants with their libraries."""
    missing: tuple[Missing, ...]

    @property
    def program(self) -> bytes:
        """Path of the ELF file that runs: the last interpreter, or `path` itself."""
        return (self.path, *self.interpreters)[-1]


class Closures:
    """The closures of the programs of an image, and of the libraries that they load while they run.

    A library that a program loads by dlopen(3) finds others where the program does: among those
    that are loaded already, and by the program's DT_RPATH. The DT_RPATH of another file that calls
    dlopen(3) counts for the name in that call, and not for what the library needs.
    """

    def __init__(self, root: Root, environment: Mapping[bytes, bytes] = _NO_ENVIRONMENT) -> None:
        """Of `environment` LD_LIBRARY_PATH and LD_PRELOAD count, and PATH for ``env``."""
        self._root = root
        self._environment = environment
        self._files = ElfFiles(root)
        self._loaders = Loaders(root)
        self._loads: list[Load] = []

    def order(self, paths: Iterable[bytes]) -> list[bytes]:
        """Return `paths` in the order for `find`: first the programs, then their plugins.

        Libraries that others of `paths` need come last: those others are how they are loaded.
        """
        chosen = list(paths)
        libraries = {path: elf for path in chosen if (elf := self._library(path)) is not None}
        needed = {name for elf in libraries.values() for name in elf.needed}

        def rank(path: bytes) -> int:
            if path not in libraries:
                return 0
            return 2 if {os.path.basename(path), libraries[path].soname} & needed else 1

        return sorted(chosen, key=rank)

    def find(self, path: bytes) -> list[Closure]:
        """Return the closure of `path`, and those of the programs that ``env`` starts for it.

        A program that ``env`` does not find is missing from the closure of its script. ElfError
        when `path` cannot run, or a file on the way is no ELF file.
        """
        environment = self._environment
        found: list[Closure] = []
        while path not in {each.path for each in found}:
            each = self._closure(path, environment)
            scripts = (path, *each.interpreters)[:-1]
            command = self._env_command(scripts[-1], environment) if scripts else None
            program = command and command.find(self._root)
            if command and not program:
                places = tuple(environment.get(b"PATH", b"").split(b":"))
                absent = Missing(command.name, scripts[-1], places)
                each = replace(each, missing=(*each.missing, absent))
            found.append(each)
            if not command or not program:
                break
            path, environment = program, command.environment
        return found

    def _env_command(self, script: bytes, environment: Mapping[bytes, bytes]) -> EnvCommand | None:
        """Return the program that ``env`` starts for `script`; None where its line has no env."""
        with self._root.open(self._root.walk(script).real) as stream:
            return command_of_env(stream.read(SCRIPT_HEAD), environment)

    def _library(self, path: bytes) -> Elf | None:
        """Return the library `path`; None for a program, a script, and a file that is broken."""
        try:
            found = self._files.find(path)
        except ElfError:
            return None
        return found.elf if found is not None and _is_library(found.elf) else None

    def _closure(self, path: bytes, environment: Mapping[bytes, bytes]) -> Closure:
        chain = _interpreters(self._root, path)
        file = self._files.find(chain[-1])
        assert file is not None, "it has just been read"
        elf = file.elf
        static = elf.interpreter is None and not elf.needed
        load = None if static else self._load(chain[-1], file, environment)
        return Closure(
            path=path,
            interpreters=tuple(chain[1:]),
            machine=elf.machine,
            loader=None if elf.interpreter is None else join(b"/", elf.interpreter),
            static=static,
            libraries=tuple(load.libraries) if load else (),
            missing=tuple(load.missing.values()) if load else (),
        )

    def _load(self, path: bytes, file: ElfFile, environment: Mapping[bytes, bytes]) -> Load:
        """Load `file`: if it is a library, in the first process where it misses nothing."""
        # The kernel resolves links and starts the program; dlopen(3) takes the path as it is.
        opened = path if _is_library(file.elf) else file.real
        tried: list[Load] = []
        for process, caller in self._scopes(file, tried):
            start = LoadedFile(path, os.path.dirname(opened), file.elf, caller)
            loader = self._loaders.get(loader_path(file.elf), file.elf.bits)
            secure = bool(file.mode & _SET_ID)
            load = Load(self._files, loader, start, environment, secure=secure, process=process)
            load.run()
            tried.append(load)
            if not load.missing:
                break
        best = tried[0] if tried[-1].missing else tried[-1]
        self._loads.append(best)
        return best

    def _scopes(
        self, file: ElfFile, tried: Sequence[Load]
    ) -> Iterator[tuple[Load | None, LoadedFile | None]]:
        """Yield the processes that may load `file`, each with the file in it that does.

        Likely ones come first; `tried` has the loads in those before.
        """
        loads = self._loads if _is_library(file.elf) else ()
        same = [load for load in loads if load.start.elf.abi == file.elf.abi]
        for load in same:
            if file.inode in load.files:
                yield load, load.files[file.inode].by
        for load in same:
            if not _is_library(load.start.elf) and (not tried or load.may_find(tried[0].missing)):
                yield load, load.start
        yield None, None


def _is_library(elf: Elf) -> bool:
    """Tell whether a program loads it: libc and the loader start as programs, too."""
    return elf.interpreter is None or elf.soname is not None


def require(missing: Collection[Missing]) -> None:
    """Raise ElfError when there is a library, or the loader of a program, in `missing`."""
    for each in missing:
        if each.is_loader:
            raise ElfError(
                f"run {show(each.needed_by)}",
                f"its loader {show(each.name)} does not exist",
                "install it, or build the program for the loader of its root",
            )
    if missing:
        causes = (
            f"{show(each.needed_by)} needs {show(each.name)} "
            f"(searched: {', '.join(map(show, each.searched)) or 'nowhere'})"
            for each in missing
        )
        raise ElfError(
            f"find {', '.join(show(each.name) for each in missing)}",
            ", ".join(causes),
            "install its package, stage it, add its directory to the runpath, or add a run that "
            "loads it",
        )


def _interpreters(root: Root, path: bytes) -> list[bytes]:
    """Return `path` and the interpreters that its ``#!`` line and theirs name, an ELF file last."""
    chain: list[bytes] = []
    for each, head in interpreter_chain(root, path):
        if len(chain) > MAX_INTERPRETERS:
            raise ElfError(
                f"run {show(path)}",
                f"more than {MAX_INTERPRETERS} interpreters follow from its #! line",
                "name one that is a program",
            )
        if head is None and not chain:
            raise ElfError(f"run {show(path)}", "it does not exist", "build or install it")
        if head is None:
            raise ElfError(
                f"run {show(chain[-1])}",
                f"its interpreter {show(each)} does not exist",
                "install it or fix the #! line",
            )
        chain.append(each)
    if head is None or not is_elf(head):
        raise ElfError(
            f"run {show(chain[-1])}",
            "it is neither an ELF file nor a script with #!",
            "name a program, or give the script its #! line",
        )
    return chain
