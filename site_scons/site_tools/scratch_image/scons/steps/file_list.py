"""`FileList`: all that is wanted in an image, as one list."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...fs.paths import show
from ...fs.status import FileKind
from ...fs.target import write
from .. import tools
from ..checks import RUN_NAME, quote_value
from ..image_env import Variables, allowed_secrets, image_env, search_env
from ..nodes import host_path, stem, step_of, suffix, top_of
from ..variables import read
from .step import Plan, Step, StepKind, content, require_sources
from .trace import is_traced

if TYPE_CHECKING:
    from ...files.dependencies import Needs
    from ...files.file_list import Entry
    from ...files.request import Request
    from ...files.why import Absent, Reasons
    from ...fs.overlay import OverlaidFiles, Overlay
    from ...fs.root import Root


@dataclass(frozen=True)
class ListSource:
    """The form of one source of a file list, and its name."""

    form: str
    """``record``, ``strace``, ``ldd`` or ``extra``."""
    name: str
    """Name of the run, or of the extra list, in reasons and messages."""
    file: str = ""
    """Path of the text in messages, as seen from the project's directory."""


@dataclass(frozen=True)
class ListStep(Step):
    """Join records, ldd texts and extra lists; target: the file list."""

    forms: tuple[ListSource, ...]
    """One for each source."""
    staged: tuple[bytes, ...]
    """Image paths of the project's files."""
    top: bytes = field(repr=False)
    """The project's directory, absolute; not part of the signature: checkouts lie anywhere."""
    allow: tuple[bytes, ...] = ()
    """Paths that may be listed though they look like secrets."""
    presets: tuple[str, ...] = ()
    listed: tuple[bytes, ...] = ()
    """Directories that come whole where a run listed them; ``*`` for all such."""
    user: str = ""
    """The image's user, where it matters for the list."""
    locales: tuple[str, ...] = ()
    """Values of LANG and LC variables in the image's environment."""
    packages: bool = True
    """Whether the image has the records of Debian's packages, for scanners."""
    copyright: bool = False
    """Whether it has the copyright files of these packages, too."""
    environment: Variables = ()
    """As in `LddStep`."""

    def tools(self) -> tuple[str, ...]:
        """As for `LddStep`."""
        return tools.elf_reader(), tools.processor()

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the list of all that the `sources` want; return lines about what it may lack."""
        from ...elf import closure
        from ...files import file_list, packages, presets
        from ...fs.overlay import Overlay

        view = Overlay(root, self.top)
        request = self.read(view, sources)
        closure.require(request.missing())
        entries = self._merge(view, request)
        found = self._needs(view, request, entries)
        request.wants += found.wants
        entries = self._merge(view, request)
        image = presets.Image(entries, self.user, self.locales)
        request.wants += presets.wants(view, image, self.presets)
        listed = self._merge(view, request)
        if self.packages:
            request.wants += packages.files(view, listed, with_copyright=self.copyright)
            request.wants += packages.status(view, self._merge(view, request))
            listed = self._merge(view, request)
        file_list.refuse_content(view, listed, self.allow)
        write(targets[0], [file_list.write(listed)])
        user = presets.lacks_certificates(view, entries)
        is_fixed = user and not presets.lacks_certificates(view.files, listed)
        line = f"{len(listed)} paths" + (f", certificates for {user}" if is_fixed else "")
        findings = self._lint(view.files, request, listed, found.findings)
        return "\n".join([line, *(f"lint: {finding}" for finding in findings)])

    def _lint(
        self,
        view: Overlay | OverlaidFiles,
        request: Request,
        listed: Sequence[Entry],
        more: Sequence[str],
    ) -> tuple[str, ...]:
        from ...files import lint

        skipped = request.skipped(view)
        return lint.find(view, listed, request.records, more, skipped, self.presets)

    def findings(self, view: Overlay, request: Request, listed: Sequence[Entry]) -> tuple[str, ...]:
        """Return the findings of lint about `listed`, the list of the `request`."""
        found = self._needs(view, request, self._merge(view, request))
        return self._lint(view, request, listed, found.findings)

    def _needs(self, view: Overlay, request: Request, entries: Sequence[Entry]) -> Needs:
        from ...files import dependencies

        covered, named = request.covered(view), request.named(view)
        return dependencies.find(view, entries, covered, named, dict(self.environment))

    def why(
        self, root: Root, target: bytes, sources: Sequence[bytes], path: bytes
    ) -> Iterator[str]:
        """Yield lines that say why `path` is in the list `target` of `sources`, or is not."""
        from ...files import file_list, why
        from ...fs.overlay import Overlay

        view = Overlay(root, self.top)
        request = self.read(view, sources)
        reasons = why.Reasons(file_list.read(content(target), show(target)))
        listed = reasons.place(path)
        if listed in reasons.entries:
            yield f"WHY    {self.name:18}  {show(listed)} is in the image"
            lines = why.presence(reasons, listed, request.lines(view))
        else:
            yield f"WHY    {self.name:18}  {show(path)} is not in the image"
            lines = why.absence(self._absent(view, reasons, request, path), request.runs())
        yield from (f"       {line}" for line in lines)

    def _absent(self, view: Overlay, reasons: Reasons, request: Request, path: bytes) -> Absent:
        from ...files.presets import Image, that_bring
        from ...files.why import Absent

        found = view.walk(path, follow=False)
        exists = found.status is not None and found.status.kind is not FileKind.OTHER
        image = Image(tuple(reasons.entries.values()), self.user, self.locales)
        names = tuple(that_bring(view, image, found.real)) if exists else ()
        return Absent(found.real, exists, names, request.left_out)

    def _merge(self, view: Overlay, request: Request) -> tuple[Entry, ...]:
        from ...files import file_list

        return file_list.merge(view, request.wants, self.allow, request.left_out)

    def read(self, view: Overlay, sources: Sequence[bytes]) -> Request:
        """Return all that `sources` want; `view` gets what extra lists make."""
        from ...files.file_list import Want
        from ...files.request import Request

        request = Request([Want(path, "staged") for path in self.staged], self.listed)
        for form, path in zip(self.forms, sources, strict=True):
            request.add(view, form.form, form.name, form.file, content(path))
        return request


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Join all that is wanted in the image: ``STEM.files``.

    The sources are traces, ldd texts and extra lists, in any order, also texts captured elsewhere
    by ``strace -f -y -o FILE.strace`` and ``ldd PROGRAM > FILE.ldd``. The target has a sorted line
    for each path, with the reasons why it is there.
    """
    # The record of a trace of ours holds no pids, no times and no output.
    require_sources("list", target, source, "traces, ldd texts or extra lists", sys.maxsize)
    sources = [node for node in source if not is_traced(node) or suffix(node) == ".trace"]
    forms = tuple(source_form(node) for node in sources)
    wanted, packages = read(env, "IMAGE_PRESETS"), read(env, "IMAGE_PACKAGES")
    step = ListStep(
        name,
        forms,
        tuple(sorted(read(env, "IMAGE_STAGED"))),
        top=top_of(target[0]),
        allow=tuple(path for path in allowed_secrets(env) if path[:1] == b"/"),
        presets=wanted,
        listed=read(env, "IMAGE_LISTED"),
        user=_listed_user(read(env, "IMAGE_USER"), wanted),
        locales=tuple(sorted(_locales(image_env(env)))) if "locale" in wanted else (),
        packages=packages is not False,
        copyright=packages == "copyright",
        environment=search_env(env),
    )
    lists = [node for node in sources if is_extra_list(node)]
    return Plan(step, target, sources, mentions=functools.partial(find_mentions, lists))


def find_mentions(lists: Sequence[Any]) -> Iterator[str]:
    """Yield the project's files that extra lists name, as far as the lists can be read now."""
    from ...files import extra_list

    for node in lists:
        top = node.fs.Top

        def read_list(name: str, top: Any = top) -> bytes:
            places = [os.path.join(each.get_abspath(), name) for each in top.get_all_rdirs()]
            with open(next(filter(os.path.exists, places), places[0]), "rb") as stream:
                return stream.read()

        with contextlib.suppress(OSError):
            name = source_form(node).name
            named = extra_list.mentions(read_list(os.fsdecode(host_path(node))), name, read_list)
            yield from (os.path.join(top.get_abspath(), path) for path in named)


def _listed_user(user: str, presets: Sequence[str]) -> str:
    """Return `user` where the file list depends on it: a number alone needs no account."""
    return user if "passwd" in presets or user.strip("0123456789:") else ""


def _locales(variables: Mapping[str, str]) -> set[str]:
    return {value for key, value in variables.items() if key == "LANG" or key[:3] == "LC_"}


def source_form(node: Any) -> ListSource:
    """Return the form of the source `node`, by its suffix; InputError for a badly named trace."""
    known = {".strace": "strace", ".ldd": "ldd", ".trace": "record"}
    form = known.get(suffix(node), "extra")
    if form == "record" and is_traced(node):
        return ListSource(form, step_of(node).command.name)
    file = node.srcnode().get_internal_path()
    name = file if form == "extra" else stem(node, (".strace", ".trace", ".ldd"))
    if form in ("record", "strace") and not re.fullmatch(RUN_NAME.pattern, name):
        raise InputError(
            f"list {quote_value(file)}",
            f"a trace is named as its run, which is not {RUN_NAME.noun}",
            "rename it",
        )
    return ListSource(form, file if form == "extra" else name, file)


def is_extra_list(node: Any) -> bool:
    """Tell whether the source `node` is an extra list."""
    return source_form(node).form == "extra"


KIND = StepKind("LIST", plan, (".files",))
