"""Perl's modules: the statements that load them, and the files that these mean."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator

from ..fs.lookup import FileKind
from ..fs.paths import is_under, join
from .finding import Examined
from .own_code import read_code

_INTERPRETER = re.compile(rb"(perl[\d.]*|libperl\.so[\d.]*)")
_SCRIPT = re.compile(rb"#!.*\bperl\b")
_MODULE = re.compile(rb".*\.p[lmh]")

_POD = re.compile(rb"^=[a-zA-Z].*?(?:^=cut\b[^\n]*\n|\Z)", re.MULTILINE | re.DOTALL)
_END = re.compile(rb"^__(?:END|DATA)__.*", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(rb"(?:^|[ \t])#[^\n]*", re.MULTILINE)

_NAME = rb"[A-Za-z_]\w*(?:(?:::|')\w+)*"
_LOAD = re.compile(rb"(?:^|[;{}(&|,\s])(?:use|no|require)\s+(" + _NAME + rb")(?![\w:'])")
_FILE = re.compile(rb"""\b(?:require|do)\s+["']([\w./-]+\.p[lmh])["']""")
_PARENTS = re.compile(rb"\buse\s+(?:base|parent|fields|aliased)\s+([^;]{1,500});")


class PerlModules:
    """The modules of Perl that an image has, or may have."""

    def __init__(self, image: Examined) -> None:
        """Take the search path from the interpreter, which has it as text."""
        self._image = image
        self._path = _search_path(image)
        self._places = [image.view.walk(path).real for path in self._path]
        self._listed = functools.cache(lambda directory: frozenset(image.names(directory)))

    def programs(self) -> list[bytes]:
        """Return the scripts and modules that lie in no directory of the search path."""
        files = (each.path for each in self._image.entries if each.kind == "file" and not each.text)
        return [path for path in files if self._path and self._is_program(path)]

    def _is_program(self, path: bytes) -> bool:
        if is_under(path, *self._places):
            return False
        return bool(_MODULE.fullmatch(path)) or self._image.is_script(path, _SCRIPT)

    def is_standard(self, path: bytes) -> bool:
        """Tell whether `path` lies in the search path: Debian puts packages beside Perl's own."""
        return not self._is_program(self._image.view.walk(path).real)

    def imports(self, path: bytes, source: bytes) -> Iterator[bytes]:
        """Yield the files of the modules that the file `path` loads."""
        own = [] if self.is_standard(path) else _beside(path)
        text = _COMMENT.sub(b"", _END.sub(b"", _POD.sub(b"", source)))
        for name in _file_names(text):
            for directory in (*own, *self._path):
                if self._has(directory, name):
                    yield join(directory, name)
                    yield from self._loaded_code(directory, name)
                    break

    def _has(self, directory: bytes, name: bytes) -> bool:
        above, base = os.path.split(join(directory, name))
        return base in self._listed(above)

    def _loaded_code(self, directory: bytes, name: bytes) -> Iterator[bytes]:
        """Yield the code of the module file `name` that lies in ``auto``: compiled, or in parts."""
        auto = join(join(directory, b"auto"), os.path.splitext(name)[0])
        for each in sorted(self._listed(auto)):
            if each.endswith((b".so", b".al", b".ix")):
                yield join(auto, each)

    def companions(self, path: bytes) -> Iterator[bytes]:
        """Yield nothing: a module's code in ``auto`` is among the imports."""
        return iter(())

    def always(self) -> Iterator[bytes]:
        """Yield nothing: there are no such modules."""
        return iter(())


def _search_path(image: Examined) -> list[bytes]:
    """Return the directories in which modules lie, about in the order of ``@INC``."""
    named = {
        path
        for entry in image.entries
        if entry.kind == "file" and _INTERPRETER.fullmatch(os.path.basename(entry.path))
        for path in read_code(image, entry.path, ()).paths
        if b"perl" in path and image.kind(path) is FileKind.DIR
    }
    return sorted(named, key=lambda path: (_place(path), path))


def _place(path: bytes) -> int:
    """Return the place of a directory among those of ``@INC``, as Debian and Perl order them."""
    for place, mark in enumerate((b"/etc/", b"/site_perl", b"/local/", b"/perl5", b"perl-base")):
        if mark in path:
            return place
    return 5


def _beside(path: bytes) -> Iterable[bytes]:
    """Return where the modules of the program `path` may lie: beside it, and in ``lib``."""
    here = os.path.dirname(path)
    above = os.path.dirname(here)
    return [here, join(here, b"lib"), join(above, b"lib"), above]


def _file_names(text: bytes) -> Iterator[bytes]:
    """Yield the relative file names that the Perl `text` loads."""
    names = _LOAD.findall(text)
    for words in _PARENTS.findall(text):
        names += re.findall(_NAME, words)
    yield from (re.sub(rb"::|'", b"/", name) + b".pm" for name in dict.fromkeys(names))
    yield from (name for name in _FILE.findall(text) if name[:1] != b"/" and b".." not in name)
