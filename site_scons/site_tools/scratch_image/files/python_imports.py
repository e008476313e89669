"""Python's modules: the statements that import them, and the files that these mean.

Statements are found by their form, once strings and comments are gone, and not by ``ast``: that
refuses the source of another release, takes ten times as long, and a hostile source can crash it.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator

from ..fs.lookup import FileKind
from ..fs.paths import is_under, join
from ..trace.record import Use
from .finding import Examined

_STANDARD = re.compile(rb"(.*/python\d[\d.]*)/encodings/(__pycache__/)?__init__\.[^/]+")
_PACKAGES = re.compile(rb"(.*/)?(dist|site)-packages")
_SOURCE = re.compile(rb".*\.py")
_COMPILED = re.compile(rb".*/__pycache__/[^/]+\.([\w-]+)\.pyc")
_CUSTOM = (b"sitecustomize.py", b"usercustomize.py")
"""Modules of the machine that ``site`` imports; a distribution has them below /etc."""

_INTERPRETER = re.compile(rb"#!.*\bpython[\d.]*\b")

_OF_DEVELOPERS = frozenset(
    (
        *(b"bdb", b"code", b"cProfile", b"distutils", b"doctest", b"lib2to3", b"pdb", b"profile"),
        *(b"pydoc", b"test", b"tkinter", b"trace", b"unittest", b"webbrowser"),
    )
)
"""Modules that the standard library imports to test or to debug itself: they bring half of it."""

_STRING = re.compile(
    rb'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*(?:"""|\\?\Z)|'
    rb"'[']'[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*(?:'[']'|\\?\Z)|"
    rb'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|'
    rb"'[^'\\\n]*(?:\\.[^'\\\n]*)*'?|#[^\n]*",
    re.DOTALL,
)
"""Strings and comments. An open string ends with its line, or the file: each byte is read once."""

_CONTINUED = re.compile(rb"\\\r?\n")
_NOT_IMPORTED = re.compile(
    rb"^if (?:__name__ *==|(?:typing\.)?TYPE_CHECKING)[^\n]*\n(?:[ \t]+[^\n]*\n|\r?\n)*",
    re.MULTILINE,
)
"""Blocks for a module that is started as a program, and for tools that check types."""

_IMPORT = re.compile(
    rb"(?:^|[;:])[ \t]*(?:from[ \t]+(\.{0,50}[ \t]{0,9}[\w.]{0,500})[ \t]*\bimport\b[ \t]*"
    rb"(\([^)]{0,5000}\)|[^\n;]*)"
    rb"|import[ \t]+([^\n;(]*))",
    re.MULTILINE,
)
_DYNAMIC = re.compile(rb"""\b(?:import_module|__import__)\(\s*["']([\w.]+)["']""")
_NAME = re.compile(rb"[\w.]+")


class PythonImports:
    """The modules of Python that an image has, or may have."""

    def __init__(self, image: Examined) -> None:
        """Take the search path from the directories that the runs listed to import modules."""
        self._image = image
        standard = {found[1] for path in image.used if (found := _STANDARD.fullmatch(path))}
        self._standard = sorted(standard)
        self._tags = {found[1] for path in image.used if (found := _COMPILED.fullmatch(path))}
        self._path = self._search_path()
        self._listed = functools.cache(lambda directory: frozenset(image.names(directory)))

    def _search_path(self) -> list[bytes]:
        """Return the directories in which modules lie, in the order of ``sys.path``."""
        own = {os.path.dirname(path) for path in self._image.used if _SOURCE.fullmatch(path)}
        uses = {use.path for use in self._image.uses if use.kind is Use.LIST}
        listed = sorted(uses, reverse=True)
        packages = [path for path in listed if _PACKAGES.fullmatch(path)]
        others = [path for path in listed if path in own and not self._is_library(path)]
        standard = [each for top in self._standard for each in (top, join(top, b"lib-dynload"))]
        return [*others, *standard, *packages]

    def is_standard(self, path: bytes) -> bool:
        """Tell whether `path` is, or is below, the standard library."""
        return is_under(path, *self._standard) and not _is_installed(path)

    def _is_library(self, path: bytes) -> bool:
        return _is_installed(path) or self.is_standard(path)

    def programs(self) -> list[bytes]:
        """Return the scripts and modules of no library, and the packages that a run started."""
        files = (each.path for each in self._image.entries if each.kind == "file" and not each.text)
        return [path for path in files if self._standard and self._is_program(path)]

    def _is_program(self, path: bytes) -> bool:
        name = os.path.basename(path)
        if name == b"__main__.py" and path in self._image.used:
            return True
        if name in _CUSTOM or self._is_library(path):
            return False
        return bool(_SOURCE.fullmatch(path)) or self._image.is_script(path, _INTERPRETER)

    def imports(self, path: bytes, source: bytes) -> Iterator[bytes]:
        """Yield the files of the modules that the file `path` imports."""
        is_program = self._is_program(path)
        is_standard = self.is_standard(path)
        for name in _names(source, is_program=is_program):
            if is_standard and name.split(b".")[0] in _OF_DEVELOPERS:
                continue
            dots = len(name) - len(name.lstrip(b"."))
            if dots:
                start = os.path.dirname(path)
                for _ in range(dots - 1):
                    start = os.path.dirname(start)
                yield from self._find([start], name.lstrip(b"."))
            else:
                yield from self._find([os.path.dirname(path)] * is_program + self._path, name)

    def _find(self, directories: list[bytes], name: bytes) -> Iterator[bytes]:
        """Yield the files of the module `name`, and of the packages that it lies in."""
        for part in name.split(b"."):
            files, directories = self._find_part(directories, part)
            yield from files
            if not directories:
                return

    def _find_part(self, directories: list[bytes], part: bytes) -> tuple[list[bytes], list[bytes]]:
        """Return the file of the module `part` in `directories`, and where its own modules lie."""
        namespaces = []
        for directory in directories:
            names = self._listed(directory)
            below = join(directory, part)
            if part in names and b"__init__.py" in self._listed(below):
                return [join(below, b"__init__.py")], [below]
            modules = sorted(name for name in names if _is_extension(name, part))
            if modules or part + b".py" in names:
                return [join(directory, name) for name in modules[:1] or [part + b".py"]], []
            if part in names and self._image.kind(below) is FileKind.DIR:
                namespaces.append(below)
        return [], namespaces

    def companions(self, path: bytes) -> Iterator[bytes]:
        """Yield the compiled file of the source `path`, for the releases that runs used."""
        directory, name = os.path.split(path)
        compiled = join(directory, b"__pycache__")
        for tag in sorted(self._tags):
            file = b"%b.%b.pyc" % (name.removesuffix(b".py"), tag)
            if file in self._listed(compiled):
                yield join(compiled, file)

    def always(self) -> Iterator[bytes]:
        """Yield the codecs, which Python imports by the name of a character set."""
        for top in self._standard:
            codecs = join(top, b"encodings")
            names = sorted(self._listed(codecs))
            yield from (join(codecs, name) for name in names if name.endswith(b".py"))


def _is_installed(path: bytes) -> bool:
    """Tell whether `path` is, or is below, a directory of installed packages."""
    return not {b"dist-packages", b"site-packages"}.isdisjoint(path.split(b"/"))


def _is_extension(name: bytes, part: bytes) -> bool:
    """Tell whether `name` is an extension module `part`, such as ``_ssl.cpython-311-….so``."""
    return name.startswith(part + b".") and name.endswith(b".so") and name.count(b".") <= 2


def _names(source: bytes, *, is_program: bool) -> Iterator[bytes]:
    """Yield the names that `source` imports, with leading dots for relative ones.

    For ``from a import b`` there are both a and a.b, of which the latter need not be a module.
    """
    yield from _DYNAMIC.findall(source)
    text = _CONTINUED.sub(b" ", _STRING.sub(b"", source))
    text = text if is_program else _NOT_IMPORTED.sub(b"", text)
    for origin, names, modules in _IMPORT.findall(text):
        for each in (names or modules).strip(b"() \t").split(b","):
            found = _NAME.match(each.strip())
            name = found[0] if found else b""
            if not origin and name:
                yield name
            elif origin:
                above = origin.replace(b" ", b"").replace(b"\t", b"")
                yield above + (b"" if above.endswith(b".") else b".") + name if name else above
