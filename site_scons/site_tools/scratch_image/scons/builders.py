"""One Builder for each step.

Every builder has the same shape. Its emitter has a call planned (see `plans`) and gives the target
its step and its footprint; the one action lets the step run, and keeps what it looked at as the
target's footprint.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import SCons.Action
import SCons.Builder
import SCons.Node.FS
import SCons.Script

from ..errors import InputError, ProcessError, ScratchImageError
from ..fs import owners
from ..fs.digest import Digest
from ..fs.paths import is_under, show
from ..fs.root import Root
from ..fs.target import leftovers, lock_file, locked, temporary
from ..sandbox import process
from ..sysroot import sysroot
from . import plans
from .checks import TEXT, File, Files, Names, Several, WrongPartError, checked
from .footprint import Footprint
from .plans import (
    Plan,
    epoch_of,
    kind_of,
    machine_path,
    repositories_of,
    staged_path,
    step_of,
    top_of,
)
from .project import Project
from .sconscript import refuse
from .steps import Step, SysrootStep
from .substitution import substituted
from .terminal import Terminal
from .variables import defaults, read, require

Planner = Callable[[list[Any], list[Any], Any], Plan]


def add_to(env: Any) -> None:
    """Add the builders and the defaults of all variables to `env`."""
    process.is_interrupted = _is_interrupted
    env["BUILDERS"].update(_builders())
    env.AddMethod(make_sysroot, "Sysroot")
    env["_SCRATCH_IMAGE_STEP"] = signature
    env.SetDefault(**defaults())


def _is_interrupted() -> bool:
    """Tell whether SCons was told to stop, which only its handler of signals and the jobs know."""
    known = getattr(signal.getsignal(signal.SIGINT), "__defaults__", None) or (None,)
    were_interrupted = getattr(known[0], "were_interrupted", bool)
    return bool(were_interrupted())


@functools.cache
def _builders() -> dict[str, Any]:
    return {
        "Strace": _builder(plans.trace, "STRACECOMSTR", ".strace"),
        "Ldd": _builder(plans.ldd, "LDDCOMSTR", ".ldd"),
        "FileList": _builder(plans.file_list, "FILELISTCOMSTR", ".files"),
        "LayerTar": _builder(plans.layer_tar, "LAYERTARCOMSTR", "$LAYERTARSUFFIX"),
        "LayerStack": _builder(plans.layer_stack, "LAYERSTACKCOMSTR", ".layers"),
        "OciImage": _builder(plans.oci_image, "OCIIMAGECOMSTR", ".oci.tar"),
        "ImageIndex": _builder(plans.image_index, "IMAGEINDEXCOMSTR", ".index.oci.tar"),
        "DockerLoad": _builder(plans.docker_load, "DOCKERLOADCOMSTR", ".iid"),
        "RegistryPush": _builder(plans.registry_push, "REGISTRYPUSHCOMSTR", ".pushed"),
        "Sbom": _builder(plans.bill, "SBOMCOMSTR", ""),
        "ImageTest": _builder(plans.image_test, "IMAGETESTCOMSTR", ".tested"),
        "SeccompProfile": _builder(plans.seccomp_profile, "SECCOMPPROFILECOMSTR", ".seccomp.json"),
        "ImageReport": _builder(plans.image_report, "IMAGEREPORTCOMSTR", ".report.html"),
    }


_DIRECTORY = re.compile("Tried to lookup Dir (.*) as a File", re.DOTALL)
"""How SCons tells of the name of a directory where a file is meant."""
_LONGEST_NAME = 200
"""Bytes of the name of a target: what lies beside it has longer names, and 255 is the limit."""

FILES = Files("a file, or a list of files", '"build/hello"')


class _StepBuilder(SCons.Builder.BuilderBase):  # type: ignore[misc]  # SCons has no types
    """A builder whose targets are compared by content, whatever decider the project has set."""

    def __call__(self, env: Any, *arguments: Any, **keywords: Any) -> Any:
        try:
            self._require_files(env, arguments)
            # ScratchImage has looked at the names of all variables, and looking takes time.
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


def require_known(env: Any, keywords: Mapping[str, Any]) -> None:
    """Raise InputError for a misspelt or mistaken variable in `keywords`, or in `env`."""
    lines = [each.emitter.args[1] for each in _builders().values()]
    require(env, keywords, [*lines, "SYSROOTCOMSTR"])


def _builder(plan: Planner, comstr: str, suffix: str) -> _StepBuilder:
    """Return a builder; setting the variable `comstr` replaces its line on the terminal."""
    make_file = SCons.Node.FS.get_default_fs().File
    return _StepBuilder(
        action=SCons.Action.Action(_act, _announce, varlist=["_SCRATCH_IMAGE_STEP"]),
        emitter=functools.partial(_emit, plan, comstr),
        suffix=suffix,
        ensure_suffix=True,
        target_factory=make_file,
        source_factory=make_file,
    )


# The action: alike for all builders


def _act(target: list[Any], source: list[Any], env: Any) -> str | None:
    """Let the target's step run; return None, or the line that says what went wrong."""
    step, footprint = target[0].attributes.step, target[0].attributes.footprint
    # In the project, whatever a repository has built.
    files = [os.fsencode(each.get_abspath()) for each in target]
    terminal = Project.of(env).terminal
    is_silent, begun = SCons.Script.GetOption("silent"), time.monotonic()
    title = f"{step.label:5}  {step.name}"
    shows = contextlib.nullcontext() if is_silent else terminal.showing(title, temporary(files[0]))
    try:
        with locked(lock_file(files[0]), functools.partial(_wait, terminal, title)), shows:
            told = _run(step, footprint, files, source)
    except ScratchImageError as error:
        return str(error)
    except OSError as error:
        return _told(error, target, source)
    if not is_silent and not _users_line(target, source, env):
        terminal.tell(step.label, step.name, told, time.monotonic() - begun)
    return None


def _run(step: Step, footprint: Footprint, files: list[bytes], source: list[Any]) -> str:
    """Let `step` write `files` from `source`; return the lines about it."""
    for path in leftovers([*files, os.fsencode(footprint.file)]):
        os.unlink(path)
    root = footprint.root()
    footprint.discard()
    root.files.require_staged()
    for node in source:
        # SCons would read it when the step has ended, and note what it may have become by then.
        node.get_csig()
    root.watch()
    told = step.run(root, files, [machine_path(each) for each in source])
    return told + _note(footprint.keep(root))


def _note(moved: Sequence[bytes]) -> str:
    """Return one more line about the paths that changed while the step ran; nothing for none."""
    if not moved:
        return ""
    paths = show(moved[0]) + (f" and {len(moved) - 1} more" if moved[1:] else "")
    return f"\n{paths} changed while this step ran: the next build runs it again"


def _wait(terminal: Terminal, title: str, attempts: int) -> None:
    """Say, once, that another process makes the target; ProcessError when SCons has to end."""
    if process.is_interrupted():
        raise ProcessError("wait for another scons", f"{title} was interrupted", "build again")
    if attempts == 1:
        terminal.say(f"{title} waits for another scons that makes it")


def _told(error: OSError, target: list[Any], source: list[Any]) -> str:
    """Return the line about what a step could not read or write."""
    name = os.fsencode(error.filename or b"")
    unread = [node for node in source if machine_path(node) == name]
    if unread and error.errno == errno.EISDIR:
        return f"cannot read {unread[0]}: {error.strerror}; name a file"
    if unread:
        hint = "make it readable by the user who runs scons"
        return f"cannot read {unread[0]}: {error.strerror}; {hint}"
    if name and not any(is_under(name, os.path.dirname(machine_path(each))) for each in target):
        hint = "make it readable by the user who runs scons, or leave it out"
        return f"cannot read {show(name)}: {error.strerror}; {hint}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "free some space and build again"
    else:
        hint = "make its directory writable by the user who runs scons"
    return f"cannot write {target[0]}: {error.strerror}; {hint}"


def _announce(target: list[Any], source: list[Any], env: Any) -> str:
    """Return the user's line; else what would be done, where nothing is done."""
    step = target[0].attributes.step
    planned = f"{step.label:5}  {step.name}" if SCons.Script.GetOption("no_exec") else ""
    return _users_line(target, source, env) or planned


def _users_line(target: list[Any], source: list[Any], env: Any) -> str:
    return str(env.subst(f"${target[0].attributes.comstr}", target=target, source=source))


def signature(target: list[Any], source: list[Any], env: Any, for_signature: bool) -> str:  # noqa: ARG001
    """Return what, besides the sources and the footprint, decides over a target's bytes."""
    step = target[0].attributes.step
    return Digest.of(f"{_own_code()} {step!r} {step.tools()}".encode()).hex


@functools.cache
def _own_code() -> Digest:
    """Return the digest of the plugin's own modules: what they make may differ when they do."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    digests = []
    for directory in sorted(
        (package, *(each.path for each in os.scandir(package) if each.is_dir()))
    ):
        for name in sorted(os.listdir(directory)):
            if name.endswith((".py", ".html")):
                with open(os.path.join(directory, name), "rb") as stream:
                    digests.append(str(Digest.of_stream(stream)))
    return Digest.of(" ".join(digests).encode())


# The emitter: one shape, and a plan for each builder


def _emit(
    planner: Planner, comstr: str, target: list[Any], source: list[Any], env: Any
) -> tuple[list[Any], list[Any]]:
    """Plan the call; give its target the step and the footprint."""
    try:
        for node in (*target, *source):
            if kind := kind_of(node):
                raise InputError(
                    f"use {str(node)!r} for {target[0]}", f"it is {kind}", "name a file"
                )
        staged = read(env, "IMAGE_STAGED")
        plan = planner(target, source, env)
        for node in plan.targets:
            _require_name(node)
        base = None if isinstance(plan.step, SysrootStep) else _base(env)
        footprint = _footprint(plan.targets[0], base, staged, epoch_of(env))
        footprint.mentions = functools.partial(_first, plan, base)
    except InputError as error:
        refuse(str(error))
    _clean(plan, footprint, env)
    before = env.Flatten([*plan.before, *staged.values(), *filter(None, [base])])
    for node in plan.targets:
        # Depends, Requires, Precious and NoCache would look for nodes among these nodes.
        node.add_dependency([footprint])
        node.add_prerequisite(before)
        node.set_precious()
        node.set_nocache()
        node.attributes.step, node.attributes.comstr = plan.step, comstr
        node.attributes.footprint = footprint
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


def _clean(plan: Plan, footprint: Footprint, env: Any) -> None:
    if not cleans():
        return
    files = [os.fsencode(node.get_abspath()) for node in plan.targets]
    # Whatever a killed build has left, too.
    left = [lock_file(files[0]), *leftovers([os.fsencode(footprint.file), *files])]
    env.Clean(plan.targets, [footprint.file, *map(os.fsdecode, [*left, *plan.beside])])


def cleans() -> bool:
    """Tell whether ``-c`` may remove files.

    Only then are they named: nodes take time, and of a node in a variant directory that nothing
    builds SCons takes the file away when it looks for its source.
    """
    return bool(SCons.Script.GetOption("clean") or SCons.Script.GetOption("interactive"))


def _base(env: Any) -> Any:
    """Return the node of the sysroot that `env` names; None for the machine's root."""
    named = [each for each in read(env, "ROOT") if str(each) != "/"]
    if not named:
        return None
    nodes = env.arg2nodes(named, env.Entry)
    if len(nodes) > 1 or not all(isinstance(step_of(node), SysrootStep) for node in nodes):
        shown = " ".join(map(str, named))
        raise InputError(f"use ROOT {shown!r}", "it is no sysroot", "give what Sysroot returns")
    return nodes[0]


def _first(plan: Plan, base: Any) -> Iterator[str]:
    """Yield the files that have to be there before the state of what a step looks at is taken."""
    yield from plan.mentions()
    if base is not None:
        yield base.get_abspath()


def _footprint(owner: Any, base: Any, staged: Mapping[bytes, Any], epoch: int) -> Footprint:
    tree = step_of(base).tree if base else b"/"
    record = sysroot.owners_file(tree) if base and step_of(base).origin else b""

    def root() -> Root:
        files = {path: staged_path(node) for path, node in staged.items()}
        kept = owners.read(record) if record else owners.Owners()
        return Root(tree, files, epoch, kept, top_of(owner), repositories_of(owner))

    # One for each target for ever: two builder calls may name the same one.
    footprint = getattr(owner.attributes, "footprint", None) or Footprint(owner, root)
    footprint.root = root
    placed = sorted((path, str(node)) for path, node in staged.items())
    footprint.view = f"{tree!r} {placed} {epoch}"
    footprint.files = [footprint.file, *filter(None, [os.fsdecode(record)])]
    return footprint


def _is_other(node: Any, target: Any, prev_ni: Any, repo_node: Any = None) -> bool:
    """Tell whether our own file `node` has another content: a decider."""
    return bool(node.changed_content(target, prev_ni, repo_node))


@checked(
    "Sysroot",
    target=File("a path", '"build/base"'),
    source=File("a tar", '"base.tar"'),
    directory=File("a directory", '"base"'),
    packages=Names("a name of a package, or a list of names", '["nginx-light"]', TEXT),
    suite=TEXT,
    mirror=Several("a mirror, or a list of mirrors", '"http://deb.debian.org/debian"', TEXT),
    architecture=TEXT,
    lock=File("a file", '"base.lock"'),
    image=TEXT,
)
def make_sysroot(
    env: Any,
    target: str,
    source: Any = (),
    directory: str = "",
    packages: Sequence[str] = (),
    suite: str = "",
    mirror: str | Sequence[str] = (),
    architecture: str = "",
    lock: str = "",
    image: str = "",
) -> list[Any]:
    """Declare a base that is not the machine's root, to be given to images as `ROOT`.

    The target ``TARGET.sysroot`` vouches for the tree ``TARGET.root`` beside it. That is made of
    `source`, the tar of a root file system; or of Debian's `packages` of a `suite`, their exact
    versions in the file `lock`, which is written where it is not there; or of an `image` that the
    engine has. A `directory` is used where it lies.

    Packages come from Debian's archive with its updates and security fixes, or from each `mirror`,
    a URL or a line of sources.list(5). They are for the machine, or for another `architecture` by
    dpkg's word.
    """
    given = substituted(env, [packages, suite, mirror, architecture], "argument of Sysroot")
    packages, suite, mirror, architecture = given
    origin = functools.partial(
        plans.origin, env, packages, suite, mirror, architecture, lock, image
    )
    if len([each for each in (source, directory, packages, image) if each]) != 1:
        raise InputError(
            f"make sysroot {target}",
            "it is to be made of one thing",
            "give a tar, directory=, packages= or image=",
        )
    plan = functools.partial(plans.base_tree, origin, directory)
    return list(_builder(plan, "SYSROOTCOMSTR", ".sysroot")(env, target, source or []))
