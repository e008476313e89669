"""`FileList`: all that is wanted in an image, as one list."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...files.list_options import ListOptions
from ...fs.paths import show
from ...fs.target import write
from ...image.settings import Settings
from .. import tools
from ..bases import Inheritance, image_env, inherit_search_env, search_env
from ..checks import RUN_NAME, quote_value
from ..nodes import host_path, stem, step_of, suffix, top_of
from ..variables import read
from .step import Plan, Step, StepKind, content, require_sources, shorten
from .trace import is_traced

if TYPE_CHECKING:
    from ...files.list_sources import Sources
    from ...fs.overlay import Overlay
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
    top: bytes = field(repr=False)
    """The project's directory, absolute; not part of the signature: checkouts lie anywhere."""
    options: ListOptions = field(default_factory=ListOptions)
    own: Settings = field(default_factory=Settings)
    """The project's own settings that matter for the list, where `base` may have others."""
    base: Inheritance = field(default_factory=Inheritance)

    def inherit(self, root: Root) -> ListStep:
        """Return the step with the options that follow from the settings of the base's image."""
        if not self.base.is_image:
            return self
        options = _with_settings(self.options, self.base.settle(self.own, root))
        found = inherit_search_env(options.environment, root)
        return replace(self, options=replace(options, environment=found))

    def tools(self) -> tuple[str, ...]:
        """As for `LddStep`."""
        return tools.elf_reader(), tools.processor()

    def shared_words(self) -> tuple[str, ...]:
        """Return the step itself, and its tools."""
        return repr(self), *self.tools()

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the list of all that the `sources` request; return lines about what it may lack."""
        from ...files import file_list
        from ...files.entry import write_entries
        from ...files.finding import lines
        from ...fs.overlay import Overlay

        view = Overlay(root, self.top)
        made = file_list.build(view, self.read(view, sources), self.options)
        write(targets[0], [write_entries(made.entries)])
        line = f"{len(made.entries)} paths"
        line += f", certificates for {made.certificates_for}" if made.certificates_for else ""
        line += f", accounts {shorten(made.accounts)}" if made.accounts else ""
        left = file_list.describe_remainder(root.files, made.entries)
        image = show(os.path.relpath(targets[0], self.top).removesuffix(b".files"))
        findings = [f"lint: {each}" for each in lines(made.findings, image)]
        return "\n".join([line, *([left] if left else []), *findings])

    def why(
        self, root: Root, target: bytes, sources: Sequence[bytes], path: bytes
    ) -> Iterator[str]:
        """Yield lines that say why `path` is in the list `target` of `sources`, or is not."""
        from ...files import why
        from ...files.entry import read_entries
        from ...fs.overlay import Overlay

        view, entries = Overlay(root, self.top), read_entries(content(target), show(target))
        read = self.read(view, sources)
        first, *lines = why.explain(view, entries, read, self.options, path)
        yield f"WHY    {self.name:18}  {first}"
        yield from (f"       {line}" for line in lines)

    def read(self, view: Overlay, sources: Sequence[bytes]) -> Sources:
        """Return all that `sources` request; `view` gets the files that extra lists make."""
        from ...files.list_sources import Sources

        read = Sources(view, self.options)
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
    options, has_locales = _options(env), "locale" in read(env, "IMAGE_PRESETS")
    own = Settings(env=image_env(env) if has_locales else {}, user=read(env, "IMAGE_USER"))
    base = Inheritance.of(env, ("env", "user") if has_locales else ("user",))
    options = _with_settings(options, own)
    step = ListStep(
        name, forms, top_of(target[0]), options, own if base.is_image else Settings(), base
    )
    lists = [node for node in sources if is_extra_list(node)]
    return Plan(step, target, sources, mentions=functools.partial(find_mentions, lists))


def _options(env: Any) -> ListOptions:
    presets, packages = read(env, "IMAGE_PRESETS"), read(env, "IMAGE_PACKAGES")
    return ListOptions(
        staged=tuple(sorted(read(env, "IMAGE_STAGED"))),
        listed=read(env, "IMAGE_LISTED"),
        allow=tuple(path for path in read(env, "IMAGE_ALLOW") if path[:1] == b"/"),
        presets=presets,
        packages=packages is not False,
        copyright=packages == "copyright",
        environment=search_env(env),
        accounts=tuple(sorted({*_account_words(env)})),
    )


_ACCOUNT_OPTION = re.compile(r"-[ug]|--(?:user|group|uid|gid)(?:=(.+))?")


def _account_words(env: Any) -> Iterator[str]:
    """Yield the words of commands and variables that may name accounts: ``-u memcache``."""
    yield from (text for key, text in image_env(env).items() if re.search("USER|GROUP", key))
    commands = [tuple(map(os.fsdecode, run.argv)) for run in read(env, "RUNS")]
    for words in (*commands, read(env, "IMAGE_ENTRYPOINT"), read(env, "IMAGE_CMD")):
        for option, word in itertools.pairwise((*words, "")):
            if found := _ACCOUNT_OPTION.fullmatch(option):
                yield found[1] or word


def _with_settings(options: ListOptions, settings: Settings) -> ListOptions:
    """Return `options` with user and locales of `settings`."""
    user = settings.user
    if "passwd" not in options.presets and not user.strip("0123456789:"):
        user = ""  # A number alone needs no account.
    variables = settings.env.items()
    locales = {value for key, value in variables if key == "LANG" or key.startswith("LC_")}
    return replace(options, user=user, locales=tuple(sorted(locales)))


def find_mentions(lists: Sequence[Any]) -> Iterator[str]:
    """Yield the project's files that extra lists name, as far as the lists can be read now."""
    from ...files import extra_list

    for node in lists:
        top, name = node.fs.Top, source_form(node).name
        with contextlib.suppress(OSError):
            text = content(host_path(node))
            for path in extra_list.mentions(text, name, functools.partial(_project_file, top)):
                yield os.path.join(top.get_abspath(), path)


def _project_file(top: Any, name: str) -> bytes:
    """Return the text of the file `name` of the project `top`; OSError when there is none."""
    places = [os.path.join(each.get_abspath(), name) for each in top.get_all_rdirs()]
    return content(os.fsencode(next(filter(os.path.exists, places), places[0])))


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
    return ListSource(form, name, file)


def is_extra_list(node: Any) -> bool:
    """Tell whether the source `node` is an extra list."""
    return source_form(node).form == "extra"


KIND = StepKind("LIST", plan, (".files",))
