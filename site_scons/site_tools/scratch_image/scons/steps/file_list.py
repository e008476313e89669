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
from ...files.options import Options
from ...fs.paths import show
from ...fs.status import FileKind
from ...fs.target import write
from .. import tools
from ..checks import RUN_NAME, quote_value
from ..image_env import image_env, search_env
from ..nodes import host_path, stem, step_of, suffix, top_of
from ..variables import read
from .step import Plan, Step, StepKind, content, require_sources
from .trace import is_traced

if TYPE_CHECKING:
    from ...files.entry import Entry
    from ...files.list_sources import Sources
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
    options: Options = field(default_factory=Options)
    listed: tuple[bytes, ...] = ()
    """Directories that come whole where a run listed them; ``*`` for all such."""

    def tools(self) -> tuple[str, ...]:
        """As for `LddStep`."""
        return tools.elf_reader(), tools.processor()

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the list of all that the `sources` request; return lines about what it may lack."""
        from ...files import file_list
        from ...files.entry import write_entries
        from ...fs.overlay import Overlay

        view = Overlay(root, self.top)
        read = self.read(view, sources)
        made = file_list.build(view, read, self.options)
        write(targets[0], [write_entries(made.entries)])
        line = f"{len(made.entries)} paths"
        line += f", certificates for {made.certificates_for}" if made.certificates_for else ""
        findings = self._lint(view.files, read, made.entries, made.findings)
        return "\n".join([line, *(f"lint: {finding}" for finding in findings)])

    def _lint(
        self,
        view: Overlay | OverlaidFiles,
        sources: Sources,
        listed: Sequence[Entry],
        more: Sequence[str],
    ) -> tuple[str, ...]:
        from ...files import lint

        skipped = sources.skipped_paths(view)
        return lint.find(view, listed, sources.records, more, skipped, self.options.presets)

    def findings(self, view: Overlay, sources: Sources, listed: Sequence[Entry]) -> tuple[str, ...]:
        """Return the findings of lint about `listed`, the list of `sources`."""
        from ...files.file_list import dependency_findings

        found = dependency_findings(view, sources, self.options)
        return self._lint(view, sources, listed, found)

    def why(
        self, root: Root, target: bytes, sources: Sequence[bytes], path: bytes
    ) -> Iterator[str]:
        """Yield lines that say why `path` is in the list `target` of `sources`, or is not."""
        from ...files import why
        from ...files.entry import read_entries
        from ...fs.overlay import Overlay

        view = Overlay(root, self.top)
        read = self.read(view, sources)
        reasons = why.Reasons(read_entries(content(target), show(target)))
        listed = reasons.place(path)
        if listed in reasons.entries:
            yield f"WHY    {self.name:18}  {show(listed)} is in the image"
            lines = why.presence(reasons, listed, read.lines(view))
        else:
            yield f"WHY    {self.name:18}  {show(path)} is not in the image"
            lines = why.absence(self._absent(view, reasons, read, path), read.runs())
        yield from (f"       {line}" for line in lines)

    def _absent(self, view: Overlay, reasons: Reasons, sources: Sources, path: bytes) -> Absent:
        from ...files.presets import ListedImage, presets_with
        from ...files.why import Absent

        found = view.walk(path, follow=False)
        exists = found.status is not None and found.status.kind is not FileKind.OTHER
        listed = tuple(reasons.entries.values())
        image = ListedImage(listed, self.options.user, self.options.locales)
        names = tuple(presets_with(view, image, found.real)) if exists else ()
        return Absent(found.real, exists, names, sources.left_out)

    def read(self, view: Overlay, sources: Sequence[bytes]) -> Sources:
        """Return all that `sources` request; `view` gets the files that extra lists make."""
        from ...files.list_sources import Sources
        from ...files.request import Request

        read = Sources([Request(path, "staged") for path in self.staged], self.listed)
        for form, path in zip(self.forms, sources, strict=True):
            read.add(view, form.form, form.name, form.file, content(path))
        return read


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
    presets, packages = read(env, "IMAGE_PRESETS"), read(env, "IMAGE_PACKAGES")
    step = ListStep(
        name,
        forms,
        tuple(sorted(read(env, "IMAGE_STAGED"))),
        top_of(target[0]),
        Options(
            allow=tuple(path for path in read(env, "IMAGE_ALLOW") if path[:1] == b"/"),
            presets=presets,
            user=_listed_user(read(env, "IMAGE_USER"), presets),
            locales=tuple(sorted(_locales(image_env(env)))) if "locale" in presets else (),
            packages=packages is not False,
            copyright=packages == "copyright",
            environment=search_env(env),
        ),
        read(env, "IMAGE_LISTED"),
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
