"""One Builder for each step of the table.

Every builder has the same shape. Its emitter makes a plan of the call (see `steps.step`) and gives
the target its step and its footprint. The one action runs the step, and keeps the state of all that
the step looked at as the target's footprint.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import SCons.Action
import SCons.Builder
import SCons.Node.FS
import SCons.Script

from ..errors import InputError, ProcessError, ScratchImageError
from ..fs.digest import Digest
from ..fs.paths import is_under, show
from ..fs.target import leftovers, lock, lock_file, temporary
from . import tools
from .bases import base_of
from .checks import Files, WrongPartError
from .footprint_node import FootprintNode
from .nodes import (
    host_path,
    is_step_file,
    kind_of,
    repositories_of,
    staged_directory,
    staged_host_path,
    stem,
    step_of,
    top_of,
)
from .project import Project
from .sconscript import refuse
from .staged import StagedNode, StagedNodes
from .steps.step import Plan
from .steps.table import BUILDERS, comstr, find_kind
from .variables import defaults, read, require

if TYPE_CHECKING:
    from ..fs.root import Root
    from ..fs.staging import Staging
    from .shared_cache import SharedCache
    from .terminal import Terminal


def add_to(env: Any) -> None:
    """Add the builders and the defaults of all variables to `env`."""
    env["BUILDERS"].update({name: _builder(name) for name in BUILDERS if name != "Sysroot"})
    env.AddMethod(_call_sysroot, "Sysroot")
    env["_SCRATCH_IMAGE_STEP"] = signature
    env.SetDefault(**defaults())


def _is_interrupted() -> bool:
    """Tell whether the user has interrupted SCons, as its handler of signals knows."""
    known = getattr(signal.getsignal(signal.SIGINT), "__defaults__", None) or (None,)
    were_interrupted = getattr(known[0], "were_interrupted", bool)
    return bool(were_interrupted())


_DIRECTORY = re.compile("Tried to lookup Dir (.*) as a File", re.DOTALL)
"""The message of SCons about the name of a directory where a file is meant."""
_LONGEST_NAME = 200
"""Bytes of the name of a target: hidden files beside it have longer names, and 255 is the limit."""

FILES = Files("a file, or a list of files", '"build/hello"')


class _StepBuilder(SCons.Builder.BuilderBase):  # type: ignore[misc]  # SCons has no types
    """A builder whose targets are compared by content, whatever decider the project has set."""

    def __call__(self, env: Any, *arguments: Any, **keywords: Any) -> Any:
        try:
            self._require_files(env, arguments)
            # ScratchImage has checked the names of all variables, and a check takes time.
            if "IMAGE_STAGED" not in keywords and "IMAGE_STAGED" not in env:
                require_known(env, keywords)
            nodes = super().__call__(env, *arguments, **keywords)
        except InputError as error:
            refuse(str(error))
        except TypeError as error:
            found = _DIRECTORY.match(str(error))
            if not found:
                raise
            refuse(f"cannot use {found[1]}: it is a directory; name a file")
        for node in nodes:
            # After the call: SCons gives each target the project's decider at its end.
            node.Decider(_is_other)
        return nodes

    def _require_files(self, env: Any, arguments: Sequence[Any]) -> None:
        """Raise InputError when a target or a source is neither a name nor a node."""
        for name, given in zip(("target", "source"), arguments, strict=False):
            try:
                FILES(given or [])
            except WrongPartError:
                FILES.read(name, given, self.get_name(env))


def call_builder(name: str, env: Any, target: str, source: Any) -> list[Any]:
    """Call the builder `name` in `env`, which may be an override of the project's environment.

    The attribute of an override, as ``own.Ldd``, would bind the builder of the whole environment
    to that override, and a later call of the project would see the variables of another image.
    """
    return list(env["BUILDERS"][name](env, [target], source))


def require_known(env: Any, keywords: Mapping[str, Any]) -> None:
    """Raise InputError for a misspelt or mistaken variable in `keywords`, or in `env`."""
    require(env, keywords, map(comstr, BUILDERS))


@functools.cache
def _builder(name: str) -> _StepBuilder:
    """Return the builder `name` of the table, whose module is imported when it is called."""
    make_file = SCons.Node.FS.get_default_fs().File
    return _StepBuilder(
        action=_action(),
        emitter=functools.partial(_emit, name),
        suffix=functools.partial(_suffix, name),
        ensure_suffix=True,
        target_factory=make_file,
        source_factory=make_file,
    )


def _suffix(builder: str, env: Any, sources: list[Any]) -> str:  # noqa: ARG001
    return find_kind(builder).suffixes[0]


@functools.cache
def _action() -> Any:
    return SCons.Action.Action(_act, _announce, varlist=["_SCRATCH_IMAGE_STEP"])


# The action: alike for all builders


def _act(target: list[Any], source: list[Any], env: Any) -> str | None:
    """Run the target's step; return None, or the line about its failure."""
    from ..sandbox import process

    process.is_interrupted = _is_interrupted
    step = target[0].attributes.step
    # In the project, even if a repository has built them.
    files = [os.fsencode(each.get_abspath()) for each in target]
    terminal = Project.of(env).terminal
    is_silent, begun = SCons.Script.GetOption("silent"), time.monotonic()
    label = find_kind(target[0].attributes.builder).label
    title = f"{label:5}  {step.name}"
    shows = contextlib.nullcontext() if is_silent else terminal.showing(title, temporary(files[0]))
    try:
        with lock(lock_file(files[0]), functools.partial(_wait, terminal, title)), shows:
            lines = _run(target, files, source, env)
    except ScratchImageError as error:
        return str(error)
    except OSError as error:
        return _os_error_line(error, target, source)
    if not is_silent and not _users_line(target, source, env):
        terminal.report(label, step.name, lines, time.monotonic() - begun)
    return None


def _run(target: list[Any], files: list[bytes], source: list[Any], env: Any) -> str:
    """Have the step of `target` write `files` from `source`; return the lines about it."""
    step, footprint = target[0].attributes.step, target[0].attributes.footprint
    for path in leftovers([*files, os.fsencode(footprint.file)]):
        os.unlink(path)
    root = footprint.root()
    footprint.discard()
    root.files.require_staged()
    for node in source:
        # SCons would read it after the step, and note a content that may be newer.
        node.get_csig()
    cache = _cache(env)
    sharing = cache.sharing(target[0]) if cache else None
    if sharing and (restored := sharing.restore(root, files)):
        return restored
    root.watch()
    begun = time.monotonic()
    step = cache.join(step.inherit(root)) if cache else step.inherit(root)
    lines: str = step.run(root, files, [host_path(each) for each in source])
    moved = footprint.keep(root)
    if sharing:
        sharing.keep(root, files, lines, time.monotonic() - begun)
    return lines + _note(moved)


def _cache(env: Any) -> SharedCache | None:
    """Return the cache of results that the project has, if it has one."""
    # The environment's may have a password: so it is in no variable that others print.
    url = read(env, "IMAGE_CACHE") if "IMAGE_CACHE" in env else os.environ.get("IMAGE_CACHE")
    if not url or SCons.Script.GetOption("cache_disable"):
        return None
    from .shared_cache import SharedCache

    return SharedCache.of(env, url)


def _note(moved: Sequence[bytes]) -> str:
    """Return one more line about the paths that changed while the step ran, if there are any."""
    if not moved:
        return ""
    paths = show(moved[0]) + (f" and {len(moved) - 1} more" if moved[1:] else "")
    return f"\n{paths} changed while this step ran: the next build runs it again"


def _wait(terminal: Terminal, title: str, attempts: int) -> None:
    """Print once that another process makes the target; ProcessError when SCons has to end."""
    if _is_interrupted():
        raise ProcessError("wait for another scons", f"{title} was interrupted", "build again")
    if attempts == 1:
        terminal.say(f"{title} waits for another scons that makes it")


def _os_error_line(error: OSError, target: list[Any], source: list[Any]) -> str:
    """Return the line about a file that a step could not read or write."""
    name = os.fsencode(error.filename or b"")
    unread = [node for node in source if host_path(node) == name]
    if unread and error.errno == errno.EISDIR:
        return f"cannot read {unread[0]}: {error.strerror}; name a file"
    if unread:
        hint = "make it readable by the user who runs scons"
        return f"cannot read {unread[0]}: {error.strerror}; {hint}"
    if name and not is_under(name, *(os.path.dirname(host_path(each)) for each in target)):
        hint = "make it readable by the user who runs scons, or leave it out"
        return f"cannot read {show(name)}: {error.strerror}; {hint}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "free some space and build again"
    else:
        hint = "make its directory writable by the user who runs scons"
    return f"cannot write {target[0]}: {error.strerror}; {hint}"


def _announce(target: list[Any], source: list[Any], env: Any) -> str:
    """Return the user's line; else the step's title, for ``scons -n``."""
    attributes = target[0].attributes
    title = f"{find_kind(attributes.builder).label:5}  {attributes.step.name}"
    planned = title if SCons.Script.GetOption("no_exec") else ""
    return _users_line(target, source, env) or planned


def _users_line(target: list[Any], source: list[Any], env: Any) -> str:
    return str(env.subst(f"${comstr(target[0].attributes.builder)}", target=target, source=source))


def signature(target: list[Any], source: list[Any], env: Any, for_signature: bool) -> str:  # noqa: ARG001
    """Return the digest of all but sources and footprint that decides over a target's bytes."""
    step = target[0].attributes.step
    return Digest.of(f"{tools.plugin_code()} {step!r} {step.tools()}".encode()).hex


# The emitter: one shape, and a plan for each builder


def _emit(
    builder: str, target: list[Any], source: list[Any], env: Any
) -> tuple[list[Any], list[Any]]:
    """Plan the call; give its target the step and the footprint."""
    try:
        for node in (*target, *source):
            if kind := kind_of(node):
                raise InputError(
                    f"use {str(node)!r} for {target[0]}", f"it is {kind}", "name a file"
                )
        step_kind = find_kind(builder)
        plan = step_kind.plan(stem(target[0], step_kind.suffixes), target, source, env)
        for node in plan.targets:
            _require_name(node)
        base = base_of(env) if plan.has_root else None
        staged = read(env, "IMAGE_STAGED") if plan.has_root else StagedNodes()
        footprint = _footprint(plan, base, staged, read(env, "SOURCE_DATE_EPOCH"))
        footprint.mentions = functools.partial(_first, plan, base)
    except InputError as error:
        refuse(str(error))
    _clean(plan, footprint, env)
    before = env.Flatten([*plan.before, *filter(None, [base])])
    for node in plan.targets:
        # Depends, Requires, Precious and NoCache would look for nodes among these nodes.
        node.add_dependency([footprint])
        node.add_prerequisite(before)
        node.set_precious()
        node.set_nocache()
        node.attributes.step, node.attributes.builder = plan.step, builder
        node.attributes.footprint, node.attributes.targets = footprint, plan.targets
    return list(plan.targets), list(plan.sources)


def _require_name(node: Any) -> None:
    """Raise InputError when `node` cannot have its name, nor its hidden files theirs."""
    name = os.fsencode(node.name)
    if len(name) > _LONGEST_NAME or any(byte < 32 or byte == 127 for byte in name):
        raise InputError(
            f"make {show(name)}",
            f"its name has more than {_LONGEST_NAME} bytes, or a control character",
            "rename it",
        )


def _clean(plan: Plan, footprint: FootprintNode, env: Any) -> None:
    if not cleans():
        return
    files = [os.fsencode(node.get_abspath()) for node in plan.targets]
    # A killed build may have left files, too.
    left = [lock_file(files[0]), *leftovers([os.fsencode(footprint.file), *files])]
    env.Clean(plan.targets, [footprint.file, *map(os.fsdecode, [*left, *plan.beside])])


def cleans() -> bool:
    """Tell whether ``-c`` may remove files.

    Files to remove get nodes only then: nodes take time. And SCons removes the file of a node in a
    variant directory that nothing builds, when it looks for the source of that node.
    """
    return bool(SCons.Script.GetOption("clean") or SCons.Script.GetOption("interactive"))


def _first(plan: Plan, base: Any) -> Iterator[str]:
    """Yield the files that have to be there before the state for a footprint is taken."""
    yield from plan.mentions()
    if base is not None:
        yield base.get_abspath()


def _footprint(plan: Plan, base: Any, staged: StagedNodes, epoch: int) -> FootprintNode:
    owner = plan.targets[0]
    tree = step_of(base).tree if base else b"/"
    record, image = (_owners_file(base), _image_file(base)) if base else (b"", b"")

    def root(staged: StagedNodes, places: Staging | None = None) -> Root:
        from ..fs import unpacked_tree
        from ..fs.root import Root, WatchedFileSystem
        from ..fs.staging import Chosen

        files, chosen = {}, {}
        if places is None:
            files = {path: _place(each, owner) for path, each in staged.items()}
            chosen = {path: Chosen(each.mode, each.owner) for path, each in staged.chosen.items()}
        kept = unpacked_tree.read_owners(record) if record else unpacked_tree.Owners()
        made = functools.partial(is_step_file, owner.fs) if plan.has_suite else None
        own = top_of(owner), repositories_of(owner)
        settings = unpacked_tree.read_image(image) if image else None
        return Root(
            WatchedFileSystem(tree, files, epoch, kept, *own, chosen, made, settings, places)
        )

    # A target keeps its one footprint: two builder calls may name the same target.
    footprint = getattr(owner.attributes, "footprint", None) or FootprintNode(owner, root)
    footprint.make_root = root
    footprint.staged, footprint.is_shared = staged, base is None
    footprint.view = f"{tree!r} {staged.text} {epoch}"
    footprint.files = [footprint.file, *filter(None, map(os.fsdecode, [record, image]))]
    return footprint


def _place(staged: StagedNode, owner: Any) -> bytes:
    """Return the path of what is staged for a step that makes `owner`."""
    if not staged.is_directory:
        return staged_host_path(staged.node)
    directory = staged_directory(staged.node)
    if is_under(os.fsencode(owner.get_abspath()), directory):
        raise InputError(
            f"stage {staged.node}", f"the image's own files, as {owner}, lie in it", "stage another"
        )
    return directory


def _owners_file(base: Any) -> bytes:
    """Return the file of the owners in the tree of `base`; nothing for a directory."""
    from ..sysroot import sysroot

    step = step_of(base)
    return sysroot.owners_file(step.tree) if step.origin else b""


def _image_file(base: Any) -> bytes:
    """Return the file of the settings of the image that `base` is made of, if it is."""
    from ..sysroot import sysroot

    step = step_of(base)
    return sysroot.image_file(step.tree) if step.is_image else b""


def _is_other(node: Any, target: Any, prev_ni: Any, repo_node: Any = None) -> bool:
    """Tell whether our own file `node` has another content: a decider."""
    return bool(node.changed_content(target, prev_ni, repo_node))


def _call_sysroot(env: Any, *arguments: Any, **keywords: Any) -> list[Any]:
    """Declare a sysroot: the call has arguments of its own (see `steps.sysroot`)."""
    from .steps.sysroot import sysroot_call

    target, source, given = sysroot_call(env, *arguments, **keywords)
    return list(_builder("Sysroot")(env, target, source, _SCRATCH_IMAGE_SYSROOT=given))
