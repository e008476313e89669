"""One Builder for each step, and `ScratchImage`, which chains them.

Every builder has the same shape. Its emitter turns arguments and construction variables into a
step while SConscripts are read; the one action lets the step run, and keeps what it looked at as
the target's footprint. Emitters ask no node for its state: SCons would open its database too early.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import SCons
import SCons.Action
import SCons.Builder
import SCons.Node.FS
import SCons.Script

from . import engine, image, layer, owners, process, registry, run, sbom, stack, sysroot
from .digest import Digest
from .errors import InputError, ScratchImageError
from .footprint import Footprint
from .root import LATEST, Root
from .settings import HealthCheck, Reference, Settings, annotated
from .steps import (
    ImageStep,
    IndexStep,
    LayerStep,
    LddStep,
    ListSource,
    ListStep,
    LoadStep,
    PushStep,
    ReportStep,
    SbomStep,
    SeccompStep,
    StackStep,
    Step,
    SysrootStep,
    TestStep,
    Traced,
    TraceStep,
)
from .sysroot import Origin
from .target import temporary
from .terminal import Terminal

EPOCH = 1793491200
"""Default of SOURCE_DATE_EPOCH: 2026-11-01, seconds since 1970; later file times become this.

It is the date of this release. What a distribution had shipped by then keeps its time, so that
.pyc files, which name the time of their source, stay valid. What a build makes is newer: its time
says nothing, and two builds of the same files give the same bytes.
"""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What engines set where an image does not; images say it, so that a trace is told the same."""


def Run(  # noqa: N802  # SCons names what SConscripts call like this: Builder(), Action()
    command: str | Sequence[str] = (),
    name: str = "",
    env: Mapping[str, str] | None = None,
    stdin: Any = None,
    cwd: str = "",
    status: int = 0,
    timeout: float = 60.0,
    stdout: str | bytes | None = None,
    ready: str = "",
    probes: Sequence[str] = (),
    stop: int = signal.SIGTERM,
    network: str = "loopback",
    read_only: bool = True,
    cap_drop: bool = True,
) -> run.Run:
    """Return one command under which the program is traced, for `RUN` and `RUNS`.

    `command` is a command line (words, quotes, one ``< FILE``) or a list of words; without one the
    program runs alone. `name` becomes part of the target's name where there are several runs; the
    default is 1, 2, ... `env` has variables besides those of the image. `stdin` is a file (name or
    node) instead of /dev/null. The run starts in `cwd`, or else in the image's working directory.
    `status` is the exit status that is expected. After `timeout` seconds the run has failed, and is
    ended. `stdout` is a regular expression that all of its output has to match; without one an
    image has to print what was printed when it was traced.

    A run with `ready` (``tcp:PORT``, ``unix:/PATH``, ``exec:COMMAND LINE``) is a server: when it
    can be asked, it is asked `probes` (command lines, ``http://127.0.0.1:PORT/...``), gets the
    signal `stop`, and has to end. Its `network` is a loopback device of its own, or the ``host``'s.
    `read_only` and `cap_drop` are false for a run that, in a
    container, has to write outside of volumes, or needs capabilities.

    What cannot be read, as a command line that needs a shell, ends SCons.
    """
    variables = {os.fsencode(key): os.fsencode(value) for key, value in (env or {}).items()}
    try:
        made = _command(command, name)
        return replace(
            made,
            environment=variables,
            stdin=made.stdin if stdin is None else os.fsencode(str(stdin)),
            cwd=os.fsencode(cwd),
            status=status,
            timeout=float(timeout),
            stdout=None if stdout is None else os.fsencode(stdout),
            ready=ready,
            probes=tuple(probes),
            stop=stop,
            network=network,
            read_only=read_only,
            cap_drop=cap_drop,
        )
    except InputError as error:
        refuse(str(error))


def _command(command: str | Sequence[str], name: str) -> run.Run:
    if isinstance(command, str):
        return run.Run.parse(name, command)
    return run.Run(name, tuple(os.fsencode(word) for word in command))


@dataclass(frozen=True)
class Plan:
    """What an emitter makes of a builder call."""

    step: Step
    targets: Sequence[Any]
    sources: Sequence[Any]
    before: Sequence[Any] = ()
    """Nodes that are to be built first, but whose content alone does not make the target old."""
    mentions: Callable[[], Iterable[str]] = tuple
    """Names more of these by absolute path, once the sources are there."""
    beside: Sequence[bytes] = ()
    """What else the step makes: absolute paths, removed with the targets."""


Planner = Callable[[list[Any], list[Any], Any], Plan]

declared: list[list[Any]] = []
"""What builds each image that `ScratchImage` has declared so far: a list of nodes an image."""

asked: dict[str, list[Any]] = {"test": [], "report": [], "sbom": [], "push": [], "seccomp": []}
"""What else these images have, made only when asked for, by the first word of its alias."""

unasked: set[str] = set()
"""Those of these words that the command line cannot mean: nodes that nobody needs take time."""

_SUFFIXES = (
    ".strace",
    ".trace",
    ".stdout",
    ".ldd",
    ".files",
    ".index.oci.tar",
    ".oci.tar",
    ".tar",
    ".tar.gz",
    ".tar.zst",
    ".layers",
    ".iid",
    ".tested",
    ".pushed",
    ".report.html",
    ".seccomp.json",
    ".sysroot",
    *sbom.FORMS,
)

_PLAIN = re.compile(rb"/[^/\0][^\0]*")

_tags: dict[str, tuple[str, str]] = {}
"""The target that gives each tag to its image, and the place that declares it."""


def add_to(env: Any) -> None:
    """Add the builders, `ScratchImage` and the defaults of all variables to `env`."""
    env["BUILDERS"].update(_builders())
    env.AddMethod(scratch_image, "ScratchImage")
    env.AddMethod(make_sysroot, "Sysroot")
    env["_SCRATCH_IMAGE_STEP"] = _signature
    env.SetDefault(
        STRACE="strace",
        TRACE_ROOT="auto",
        DOCKER_HOST=os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock",
        SOURCE_DATE_EPOCH=os.environ.get("SOURCE_DATE_EPOCH") or EPOCH,
        LAYERTARSUFFIX=".tar",
        IMAGE_LAYERS="single",
        REGISTRY_INSECURE=["localhost", "127.0.0.1", "[::1]"],
    )


@functools.cache
def _builders() -> dict[str, Any]:
    return {
        "Strace": _builder(_strace, "STRACECOMSTR", ".strace"),
        "Ldd": _builder(_ldd, "LDDCOMSTR", ".ldd"),
        "FileList": _builder(_file_list, "FILELISTCOMSTR", ".files"),
        "LayerTar": _builder(_layer_tar, "LAYERTARCOMSTR", "$LAYERTARSUFFIX"),
        "LayerStack": _builder(_layer_stack, "LAYERSTACKCOMSTR", ".layers"),
        "OciImage": _builder(_oci_image, "OCIIMAGECOMSTR", ".oci.tar"),
        "ImageIndex": _builder(_image_index, "IMAGEINDEXCOMSTR", ".index.oci.tar"),
        "DockerLoad": _builder(_docker_load, "DOCKERLOADCOMSTR", ".iid"),
        "RegistryPush": _builder(_registry_push, "REGISTRYPUSHCOMSTR", ".pushed"),
        "Sbom": _builder(_sbom, "SBOMCOMSTR", ""),
        "ImageTest": _builder(_image_test, "IMAGETESTCOMSTR", ".tested"),
        "SeccompProfile": _builder(_seccomp_profile, "SECCOMPPROFILECOMSTR", ".seccomp.json"),
        "ImageReport": _builder(_image_report, "IMAGEREPORTCOMSTR", ".report.html"),
    }


class _StepBuilder(SCons.Builder.BuilderBase):  # type: ignore[misc]  # SCons has no types
    """A builder whose targets are compared by content, whatever decider the project has set."""

    def __call__(self, env: Any, *arguments: Any, **keywords: Any) -> Any:
        nodes = super().__call__(env, *arguments, **keywords)
        for node in nodes:
            # After the call: SCons gives each target the project's decider at its end.
            node.Decider(_is_other)
        return nodes


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
    files = [_machine(each) for each in target]
    is_silent, begun = SCons.Script.GetOption("silent"), time.monotonic()
    title = f"{step.label:5}  {step.name}"
    try:
        root = footprint.root()
        footprint.discard()
        with (
            contextlib.nullcontext()
            if is_silent
            else _terminal().showing(title, temporary(files[0]))
        ):
            told = step.run(root, files, [_machine(each) for each in source])
            footprint.keep(root)
    except ScratchImageError as error:
        return str(error)
    except OSError as error:
        return _told(error, target, source)
    if not is_silent and not _users_line(target, source, env):
        _terminal().tell(step.label, step.name, told, time.monotonic() - begun)
    return None


@functools.cache
def _terminal() -> Terminal:
    return Terminal(sys.stdout, os.environ)


def _told(error: OSError, target: list[Any], source: list[Any]) -> str:
    """Return the line about what a step could not read or write."""
    name = os.fsencode(error.filename or b"")
    unread = [node for node in source if _machine(node) == name]
    if unread:
        return f"cannot read {unread[0]}: {error.strerror}; let the user who builds read it"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        mend = "free some space and build again"
    else:
        mend = "let the user who builds write there"
    return f"cannot write {target[0]}: {error.strerror}; {mend}"


def _announce(target: list[Any], source: list[Any], env: Any) -> str:
    """Return the user's line; else what would be done, where nothing is done."""
    step = target[0].attributes.step
    planned = f"{step.label:5}  {step.name}" if SCons.Script.GetOption("no_exec") else ""
    return _users_line(target, source, env) or planned


def _users_line(target: list[Any], source: list[Any], env: Any) -> str:
    return str(env.subst(f"${target[0].attributes.comstr}", target=target, source=source))


def _signature(target: list[Any], source: list[Any], env: Any, for_signature: bool) -> str:  # noqa: ARG001
    """Return what, besides the sources and the footprint, decides over a target's bytes."""
    return Digest.of(f"{_own_code()} {target[0].attributes.step!r}".encode()).hex


@functools.cache
def _own_code() -> Digest:
    """Return the digest of the plugin's own modules: what they make may differ when they do."""
    directory = os.path.dirname(os.path.abspath(__file__))
    digests = []
    for name in sorted(os.listdir(directory)):
        if name.endswith((".py", ".html")):
            with open(os.path.join(directory, name), "rb") as stream:
                digests.append(str(Digest.of_stream(stream)))
    return Digest.of(" ".join(digests).encode())


def _machine(node: Any) -> bytes:
    """Return where the File `node` lies: for a source that may be its source directory."""
    return os.fsencode(os.path.join(node.fs.Top.get_abspath(), str(node.rfile())))


# The emitters: one shape, and a plan for each builder


def _emit(
    planner: Planner, comstr: str, target: list[Any], source: list[Any], env: Any
) -> tuple[list[Any], list[Any]]:
    """Plan the call; give its target the step and the footprint."""
    staged = dict(env.get("IMAGE_STAGED", {}))
    try:
        plan = planner(target, source, env)
        base = None if isinstance(plan.step, SysrootStep) else _base(env)
        footprint = _footprint(plan.targets[0], base, staged, _epoch(env))
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


def _clean(plan: Plan, footprint: Footprint, env: Any) -> None:
    """Say what else ``-c`` removes.

    Only where something may be cleaned: nodes take time, and of a node in a variant directory that
    nothing builds SCons takes the file away when it looks for its source.
    """
    if not SCons.Script.GetOption("clean") and not SCons.Script.GetOption("interactive"):
        return
    files = [footprint.file, *(node.get_abspath() for node in plan.targets)]
    beside = map(os.fsdecode, plan.beside)
    env.Clean(plan.targets, [footprint.file, *map(_temporary, files), *beside])


def _base(env: Any) -> Any:
    """Return the node of the sysroot that `env` names; None for the machine's root."""
    if env.get("ROOT", "/") == "/":
        return None
    named = [each for each in env.Flatten([env.get("ROOT") or []]) if str(each) != "/"]
    nodes = env.arg2nodes(named, env.Entry)
    if len(nodes) > 1 or not all(isinstance(_step(node), SysrootStep) for node in nodes):
        shown = " ".join(map(str, named))
        raise InputError(f"cannot use ROOT {shown!r}: it is no sysroot; give what Sysroot returns")
    return nodes[0] if nodes else None


def _first(plan: Plan, base: Any) -> Iterator[str]:
    """Yield the files that have to be there before the state of what a step looks at is taken."""
    yield from plan.mentions()
    if base is not None:
        yield base.get_abspath()


def _footprint(owner: Any, base: Any, staged: Mapping[bytes, Any], epoch: int) -> Footprint:
    def root() -> Root:
        files = {path: _machine(node) for path, node in staged.items()}
        if base is None:
            return Root(b"/", files, epoch, own=_top(owner))
        tree = _step(base).tree
        kept = owners.read(sysroot.owners_file(tree)) if _step(base).origin else owners.Owners()
        return Root(tree, files, epoch, kept, _top(owner))

    # One for each target for ever: two builder calls may name the same one.
    footprint = getattr(owner.attributes, "footprint", None) or Footprint(owner, root)
    footprint.root = root
    return footprint


def _temporary(file: str) -> str:
    return os.fsdecode(temporary(os.fsencode(file)))


def _is_other(node: Any, target: Any, prev_ni: Any, repo_node: Any = None) -> bool:
    """Tell whether our own file `node` has another content: a decider."""
    return bool(node.changed_content(target, prev_ni, repo_node))


def make_sysroot(
    env: Any,
    target: str,
    source: Any = (),
    directory: str = "",
    packages: Sequence[str] = (),
    suite: str = "",
    mirror: str = sysroot.MIRROR,
    lock: str = "",
    image: str = "",
) -> list[Any]:
    """Declare a base that is not the machine's root, to be given to images as `ROOT`.

    The target ``TARGET.sysroot`` vouches for the tree ``TARGET.root`` beside it. That is made of
    `source`, the tar of a root file system; or of Debian's `packages` of a `suite`, their exact
    versions in the file `lock`, which is written where it is not there; or of an `image` that the
    engine has. A `directory` is used where it lies.
    """
    origin = functools.partial(_origin, env, packages, suite, mirror, lock, image)
    if len([each for each in (source, directory, packages, image) if each]) != 1:
        refuse(
            f"cannot make sysroot {target}: it is to be made of one thing; give a tar, directory=, "
            "packages= or image="
        )
    plan = functools.partial(_sysroot, origin, directory)
    return list(_builder(plan, "SYSROOTCOMSTR", ".sysroot")(env, target, source or []))


def _sysroot(
    make: Callable[[list[Any]], Origin],
    directory: str,
    target: list[Any],
    source: list[Any],
    env: Any,
) -> Plan:
    name = _stem(target[0])
    if directory:
        tree = os.fsencode(env.Dir(directory).srcnode().get_abspath())
        return Plan(SysrootStep(name, None, tree, directory), target, [])
    tree = os.fsencode(os.path.join(target[0].dir.get_abspath(), f"{name}.root"))
    step = SysrootStep(name, make(source), tree)
    beside = [tree, sysroot.owners_file(tree), sysroot.temporary(tree)]
    return Plan(step, target, source, beside=beside)


def _origin(
    env: Any,
    packages: Sequence[str],
    suite: str,
    mirror: str,
    lock: str,
    image: str,
    source: list[Any],
) -> Origin:
    if source:
        layer.suffix(os.fsencode(str(source[0])))
        return sysroot.Archive(str(source[0]))
    if image:
        return sysroot.EngineImage(env["DOCKER_HOST"], image)
    file = os.fsencode(env.File(lock).srcnode().get_internal_path()) if lock else b""
    names = tuple(sorted(_words(packages)))
    return sysroot.Packages(suite, names, mirror, file, _top(env.Dir(".")), _epoch(env))


def _strace(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Trace one run of a program: strace's own text, the record of what it means, the output.

    The targets are ``STEM.strace``, ``STEM.trace`` and ``STEM.stdout``; the source is the program.
    """
    if len(source) != 1:
        raise InputError(f"cannot trace {target[0]}: it has not one program; name just one")
    command = _run(env.get("RUN", ()))
    variables = {os.fsencode(key): os.fsencode(value) for key, value in _image_env(env).items()}
    full = replace(
        command,
        name=command.name or "default",
        environment=dict(sorted({**variables, **command.environment}.items())),
        stdin=None,  # A node instead: the source.
        cwd=command.cwd or os.fsencode(env.get("IMAGE_WORKDIR") or "/"),
    )
    name = f"{_stem(target[0])} ({full.name})"
    step = TraceStep(name, _image_path(source[0], env), full, env["STRACE"].encode(), _view(env))
    record, stdout = (_beside(target[0], suffix) for suffix in (".trace", ".stdout"))
    stdin = [] if command.stdin is None else [env.File(os.fsdecode(command.stdin))]
    return Plan(step, [target[0], record, stdout], stdin, source)


def _view(env: Any) -> str:
    view = str(env["TRACE_ROOT"])
    if view not in ("auto", "private", "plain"):
        raise InputError(
            f"cannot use TRACE_ROOT {view!r}: there is no such root; use auto, private or plain"
        )
    return view


def _beside(node: Any, suffix: str) -> Any:
    """Return the file beside `node`, whose name has one suffix, that has `suffix` instead."""
    return node.dir.File(os.path.splitext(node.name)[0] + suffix)


def _run(given: Any) -> run.Run:
    """Return what the user means by `given`: a run, a command line or a list of words."""
    return given if isinstance(given, run.Run) else Run(given)


def _ldd(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Find the libraries of ELF files and scripts without running them: ``STEM.ldd``.

    The sources are programs, that of the image first. The target is text in ldd's form.
    """
    programs = [_image_path(node, env) for node in source]
    others = [path for path in env.get("IMAGE_STAGED", {}) if path not in programs]
    step = LddStep(_stem(target[0]), tuple(programs), tuple(sorted(others)))
    return Plan(step, target, [], source)


def _file_list(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Join what is wanted in the image: ``STEM.files``.

    The sources are traces, ldd texts and extra lists, in any order, also texts captured elsewhere
    by ``strace -f -o FILE.strace`` and ``ldd PROGRAM > FILE.ldd``. The target has a sorted line for
    each path, with the reasons why it is there.
    """
    # Of our own traces the record is taken: it holds no pids, no times and no output.
    sources = [node for node in source if not _is_traced(node) or _suffix(node) == ".trace"]
    forms = tuple(_form(node) for node in sources)
    wanted = _words(env.get("IMAGE_PRESETS"))
    step = ListStep(
        _stem(target[0]),
        forms,
        tuple(sorted(env.get("IMAGE_STAGED", {}))),
        top=_top(target[0]),
        allow=_sorted_paths(env.get("IMAGE_ALLOW", ())),
        presets=tuple(sorted(wanted)),
        listed=_sorted_paths(env.get("IMAGE_LISTED", ())),
        user=_listed_user(str(env.get("IMAGE_USER", "")), wanted),
        locales=tuple(sorted(_locales(_image_env(env)))) if "locale" in wanted else (),
        packages=_told_packages(env) is not False,
        copyright=_told_packages(env) == "copyright",
    )
    lists = [node for node in sources if _is_extra(node)]
    return Plan(step, target, sources, mentions=functools.partial(_mentioned, lists))


def _told_packages(env: Any) -> bool | str:
    """Return what the image is to tell of Debian's packages."""
    given: bool | str = env.get("IMAGE_PACKAGES", True)
    if given not in (True, False, "copyright"):
        raise InputError(
            f"cannot use IMAGE_PACKAGES {given!r}: it is none of True, False and 'copyright'; "
            "write one of these"
        )
    return given


def _mentioned(lists: Sequence[Any]) -> Iterator[str]:
    """Yield the project's files that extra lists name, as far as the lists can be read now."""
    from . import extras

    for node in lists:
        top = node.fs.Top.get_abspath()

        def read(name: str, top: str = top) -> bytes:
            with open(os.path.join(top, name), "rb") as stream:
                return stream.read()

        with contextlib.suppress(OSError):
            name = _form(node).name
            named = extras.mentions(read(os.fsdecode(_machine(node))), name, read)
            yield from (os.path.join(top, path) for path in named)


def _listed_user(user: str, presets: Sequence[str]) -> str:
    """Return `user` where the file list depends on it: a number alone needs no account."""
    return user if "passwd" in presets or user.strip("0123456789:") else ""


def _sorted_paths(given: Any) -> tuple[bytes, ...]:
    paths = [given] if isinstance(given, str) else given
    return tuple(sorted(os.fsencode(path) for path in paths))


def _locales(variables: Mapping[str, str]) -> set[str]:
    return {value for key, value in variables.items() if key == "LANG" or key[:3] == "LC_"}


def _form(node: Any) -> ListSource:
    known = {".strace": "strace", ".ldd": "ldd", ".trace": "record"}
    form = known.get(_suffix(node), "extra")
    if form == "record" and _is_traced(node):
        return ListSource(form, _step(node).command.name)
    return ListSource(form, node.srcnode().get_internal_path() if form == "extra" else _stem(node))


def _is_extra(node: Any) -> bool:
    return _form(node).form == "extra"


def _is_traced(node: Any) -> bool:
    return isinstance(_step(node), TraceStep)


def _step(node: Any) -> Any:
    """Return the step that makes `node`; None when none of ours does."""
    return getattr(node.attributes, "step", None)


def _layer_tar(target: list[Any], source: list[Any], env: Any) -> Plan:  # noqa: ARG001
    """Pack the files of a file list as one deterministic tar: ``STEM.tar``.

    The target may as well end in ``.tar.gz`` or ``.tar.zst``.
    """
    suffix = layer.suffix(os.fsencode(str(target[0])))
    step = LayerStep(_stem(target[0]), layer.compressor(suffix), _top(target[0]))
    return Plan(step, target, source)


def _layer_stack(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Pack the files of a list, a layer for each Debian package: ``STEM.layers``.

    The target has a line for each layer; the blobs lie in ``STEM.blobs``. What another image of the
    tree has packed is not packed again.
    """
    suffix = layer.suffix(os.fsencode(f"{target[0]}{env['LAYERTARSUFFIX']}"))
    step = StackStep(_stem(target[0]), suffix, layer.compressor(suffix), _top(target[0]))
    blobs = stack.blobs(os.fsencode(target[0].get_abspath()))
    return Plan(step, target, source, beside=[blobs])


def _top(node: Any) -> bytes:
    """Return the project's directory."""
    return os.fsencode(node.fs.Top.get_abspath())


def _oci_image(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Make an image of layers: ``STEM.oci.tar``.

    The sources are layers, the lowest first, and the program's ldd text, which tells the
    architecture. The target is an OCI layout, and what ``docker load`` takes.
    """
    references = _references(target[0], env)
    for reference in references:
        _claim(reference, target[0])
    texts = [node for node in source if _suffix(node) == ".ldd"]
    layers = [node for node in source if node not in texts]
    step = ImageStep(_stem(target[0]), len(layers), _settings(env), references, env["DOCKER_HOST"])
    return Plan(step, target, [*layers, *texts])


def _image_index(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Join image archives, one for each platform: ``STEM.index.oci.tar``.

    The target is an OCI layout with an image index.
    """
    platforms = _platforms(env.get("IMAGE_PLATFORMS"))
    if platforms and len(platforms) != len(source):
        raise InputError(
            f"cannot index {target[0]}: it has {len(source)} images for {len(platforms)} "
            "platforms; give one for each, in their order"
        )
    references = _references(target[0], env)
    for reference in references:
        _claim(reference, target[0])
    annotations = annotated(_texts(env.get("IMAGE_ANNOTATIONS")))
    step = IndexStep(_stem(target[0]), tuple(platforms.values()), references, annotations)
    return Plan(step, target, source)


def _platforms(names: Iterable[str] | None) -> dict[str, str]:
    """Return the architectures of the platforms `names`; InputError when one is there twice."""
    found = {name: image.architecture_of(name) for name in names or ()}
    for name, architecture in found.items():
        if list(found.values()).count(architecture) > 1:
            raise InputError(
                f"cannot build for platform {name!r}: another one is for {architecture}, too; "
                "name each once"
            )
    return found


def _docker_load(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Give an image archive to the engine: ``STEM.iid``.

    The target holds the image ID as the engine reports it.
    """
    made = _step(source[0])
    references = made.references if made else _references(target[0], env)
    step = LoadStep(_stem(target[0]), references, env["DOCKER_HOST"])
    return Plan(step, [target[0], _beside(target[0], ".loaded")], source)


def _sbom(target: list[Any], source: list[Any], env: Any) -> Plan:  # noqa: ARG001
    """Write a bill of materials: ``STEM.spdx.json`` in SPDX, ``STEM.cdx.json`` in CycloneDX.

    The sources are a file list and its image archive.
    """
    suffix = sbom.suffix(str(target[0]))
    if [_suffix(node) for node in source] != [".files", ".tar"]:
        raise InputError(
            f"cannot make bill of materials {target[0]}: it is made of a file list and an image "
            "archive; name just these, in this order"
        )
    return Plan(SbomStep(_stem(target[0]), suffix, _top(target[0])), target, source)


def _registry_push(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Give an image archive, or an index, to the registries that its tags name: ``STEM.pushed``.

    The target has a line for each such tag: what the registry has there, by digest.
    """
    made = _step(source[0])
    references = made.references if made else _references(target[0], env)
    insecure = _words(env.get("REGISTRY_INSECURE"))
    tags = tuple(registry.Tag.of(each, insecure) for each in references if each.hosted)
    return Plan(PushStep(_stem(target[0]), tags), target, source[:1])


def _image_test(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Repeat the runs with nothing but what the image holds: ``STEM.tested``.

    The sources are the layers, what `Strace` made, the extra lists, and the ``.iid`` if the test is
    to go through the engine as well. The target has a line for each run.
    """
    loads = [node for node in source if isinstance(_step(node), LoadStep)]
    layers, records = _layers_and_records("test", target, source)
    others = [node for node in source if not _is_traced(node)]
    lists = [node for node in others if node not in (*layers, *loads)]
    step = TestStep(
        _stem(target[0]),
        len(layers),
        tuple(_traced(node) for node in records),
        env["STRACE"].encode(),
        tuple(_form(node).name for node in lists),
        _step(loads[0]).address if loads else "",
        top=_top(target[0]),
    )
    runs = [[node, _beside(node, ".stdout"), *node.sources] for node in records]
    return Plan(step, target, [*layers, *env.Flatten(runs), *lists, *loads[:1]])


def _seccomp_profile(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Collect the system calls that runs make in the image: ``STEM.seccomp.json``.

    The sources are the layers, what `Strace` made, and the ``.ldd``, which tells the architecture.
    The target is a profile in Docker's format, which forbids all other calls.
    """
    layers, records = _layers_and_records("profile", target, source)
    texts = [node for node in source if _suffix(node) == ".ldd"]
    runs = tuple(_traced(node) for node in records)
    step = SeccompStep(_stem(target[0]), len(layers), runs, env["STRACE"].encode())
    return Plan(step, target, [*layers, *env.Flatten([node.sources for node in records]), *texts])


def _layers_and_records(
    verb: str, target: list[Any], source: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Return which of `source` are layers, and which the records of runs; there have to be both."""
    layers = [node for node in source if str(node).endswith((".layers", *layer.MEDIA_TYPES))]
    records = [node for node in source if _is_traced(node) and _suffix(node) == ".trace"]
    if not records or not layers:
        raise InputError(
            f"cannot {verb} {target[0]}: it has no layer or no trace; name what LayerTar and "
            "Strace made"
        )
    return layers, records


def _image_report(target: list[Any], source: list[Any], env: Any) -> Plan:  # noqa: ARG001
    """Tell of what is in the image, and why: ``STEM.report.html``.

    The sources are what `FileList` and `LayerTar` made. The target is one page, which needs no
    network.
    """
    listing = _step(source[0])
    if len(source) != 2 or not isinstance(listing, ListStep):
        raise InputError(
            f"cannot report on {target[0]}: it is made of a file list and its layer; name what "
            "FileList and LayerTar made"
        )
    lists = source[0].sources
    commands = {
        _step(node).command.name: process.command_line(_step(node).command.argv)
        for node in lists
        if _is_traced(node)
    }
    step = ReportStep(_stem(target[0]), listing, tuple(sorted(commands.items())))
    mentions = functools.partial(_mentioned, [node for node in lists if _is_extra(node)])
    return Plan(step, target, [*source, *lists], mentions=mentions)


def _traced(record: Any) -> Traced:
    return Traced(_step(record).program, _step(record).command, bool(record.sources))


def _references(target: Any, env: Any) -> tuple[Reference, ...]:
    given = env.get("IMAGE_TAG") or _stem(target)
    return tuple(Reference.parse(tag) for tag in ([given] if isinstance(given, str) else given))


def _claim(reference: Reference, target: Any) -> None:
    """Note that `target` bears the tag `reference`; InputError when another image does."""
    owner, place = _tags.setdefault(reference.canonical, (target.get_internal_path(), where()))
    if owner != target.get_internal_path():
        raise InputError(
            f"cannot tag image {reference.familiar}: {owner} ({place}) has that tag; "
            "give each image its own"
        )


def _settings(env: Any) -> Settings:
    settings = Settings(
        created=_epoch(env),
        entrypoint=_words(env.get("IMAGE_ENTRYPOINT")),
        cmd=_words(env.get("IMAGE_CMD")),
        env=dict(sorted(_image_env(env).items())),
        user=str(env.get("IMAGE_USER", "")),
        workdir=env.get("IMAGE_WORKDIR", ""),
        labels=_texts(env.get("IMAGE_LABELS")),
        ports=_sorted_texts(env.get("IMAGE_PORTS")),
        volumes=_sorted_texts(env.get("IMAGE_VOLUMES")),
        stop_signal=str(env.get("IMAGE_STOP_SIGNAL", "")),
        health_check=_health_check(env.get("IMAGE_HEALTHCHECK")),
        annotations=_texts(env.get("IMAGE_ANNOTATIONS")),
    )
    settings.check()
    return settings


def _texts(given: Mapping[str, Any] | None) -> dict[str, str]:
    return {str(key): str(value) for key, value in sorted((given or {}).items())}


def _sorted_texts(given: Any) -> tuple[str, ...]:
    values = [given] if isinstance(given, (str, int)) else given or ()
    return tuple(sorted(map(str, values)))


def _health_check(given: Any) -> HealthCheck | None:
    check = given if isinstance(given, HealthCheck) else HealthCheck(given)
    return replace(check, command=_words(check.command)) if given else None


def _words(given: Any) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(given) if isinstance(given, str) else given or ())
    except ValueError as error:
        raise InputError(
            f"cannot read words {given!r}: {error}; write them as a shell would take them, or as a "
            "list"
        ) from error


def _image_env(env: Any) -> dict[str, str]:
    return {"PATH": PATH, **env.get("IMAGE_ENV", {})}


def _epoch(env: Any) -> int:
    given = env["SOURCE_DATE_EPOCH"]
    if not re.fullmatch("[0-9]+", str(given)) or int(given) > LATEST:
        raise InputError(
            f"cannot use SOURCE_DATE_EPOCH {given!r}: it is not a whole number from 0 to {LATEST}; "
            "give seconds since 1970"
        )
    return int(given)


def _image_path(node: Any, env: Any) -> bytes:
    """Return where the program `node` lies in the image: where it is staged, or where it is."""
    for path, staged in env.get("IMAGE_STAGED", {}).items():
        if staged is node:
            return bytes(path)
    return _machine(node)


def _suffix(node: Any) -> str:
    return str(node.get_suffix())


def _stem(node: Any) -> str:
    """Return the name of an image's file without the suffix of the step."""
    name = os.path.basename(str(node))
    return next((name.removesuffix(each) for each in _SUFFIXES if name.endswith(each)), name)


# The chain


def scratch_image(env: Any, target: str, program: Any, **variables: Any) -> list[Any]:
    """Declare all steps from `program` to an image in an engine; return their targets.

    `target` is the path stem of the step files. `program` is the program's path on the machine,
    or a dictionary of the project's own files by the paths that they will have in the image, the
    program first. `variables` are construction variables for this image.

    With `IMAGE_PLATFORMS`, a dictionary from platforms to what is their `ROOT`, there is an image
    for each and an index of them; a project's file may be a dictionary by platform.
    """
    explain(env)
    bases = variables.get("IMAGE_PLATFORMS", env.get("IMAGE_PLATFORMS"))
    if bases:
        nodes = _multi_platform(env, target, program, bases, variables)
    else:
        nodes = _one_platform(env, target, program, variables)
    # Of several platforms the index, which is declared last, takes the images along.
    archives = [node for node in nodes if isinstance(_step(node), (ImageStep, IndexStep))]
    push = functools.partial(env.RegistryPush, target, archives[-1], **variables)
    _on_request(env, "push", push)
    return nodes


def _on_request(env: Any, word: str, declare: Callable[[], Sequence[Any]]) -> None:
    """Have what `declare` returns made when it is asked for, and not by a plain `scons`."""
    for node in () if word in unasked else declare():
        env.Ignore(node.dir, node)
        asked[word].append(node)


def explain(env: Any, directory: str = "", names: Sequence[str] = ()) -> None:
    """Add the images `names` in `directory`, and what `env` has set, to ``scons --help``."""
    if not SCons.Script.GetOption("help"):
        return
    from . import guide

    if guide.HEADING not in (SCons.Script.help_text or ""):
        targets = guide.targets(directory, names) if directory else ""
        text = f"\n{targets}\n{guide.variables(env.get)}"
        env.Help(text.replace("$", "$$"), append=True)


def _multi_platform(
    env: Any, target: str, program: Any, bases: Mapping[str, Any], variables: Mapping[str, Any]
) -> list[Any]:
    try:
        platforms = _platforms(bases)
        tags = _references(target, env.Override(variables))
        programs = {name: _of_platform(program, name) for name in platforms}
    except InputError as error:
        refuse(str(error))
    nodes, archives = [], []
    for name, architecture in platforms.items():
        own = {
            **variables,
            "ROOT": bases[name],
            "IMAGE_TAG": [f"{tag.familiar}-{architecture}" for tag in tags],
        }
        made = _one_platform(env, f"{target}.{architecture}", programs[name], own)
        archives += [node for node in made if isinstance(_step(node), ImageStep)]
        nodes += made
    index = env.ImageIndex(target, archives, **{**variables, "IMAGE_PLATFORMS": bases})
    declared.append(index)
    return [*nodes, *index]


def _of_platform(program: Any, name: str) -> Any:
    """Return what `program` is on the platform `name`."""
    if not isinstance(program, Mapping):
        return program
    found = {}
    for path, node in program.items():
        if isinstance(node, Mapping) and name not in node:
            raise InputError(
                f"cannot stage {path!r} for {name}: there is none for that platform; name one"
            )
        found[path] = node[name] if isinstance(node, Mapping) else node
    return found


def _one_platform(env: Any, target: str, program: Any, variables: Mapping[str, Any]) -> list[Any]:
    try:
        staged, programs = _programs(env, program)
        runs = _runs(env.Override(variables))
        pack = _packer(env.Override(variables))
    except InputError as error:
        refuse(str(error))
    given = {**variables, "IMAGE_STAGED": staged}
    if not ({"IMAGE_CMD", "IMAGE_ENTRYPOINT"} & {*env.Dictionary(), *variables}):
        given["IMAGE_ENTRYPOINT"] = [os.fsdecode(_image_path(programs[0], given))]
    traces = [
        env.Strace(_trace_stem(target, each, runs), programs[0], RUN=each, **given) for each in runs
    ]
    ldd = env.Ldd(target, programs, **given)
    extra = env.Flatten([variables.get("EXTRA_FILES", env.get("EXTRA_FILES", []))])
    files = env.FileList(target, [*traces, ldd, *extra], **given)
    tar = pack(target, files, **given)
    archive = env.OciImage(target, [tar, ldd], **given)
    load = env.DockerLoad(target, archive, **given)
    nodes = env.Flatten([traces, ldd, files, tar, archive])
    if _engine_answers(load[0].attributes.step.address):
        nodes += load
    else:
        # Without an engine a plain `scons` builds all that can be built; asking for the .iid by
        # its name still says what is wrong.
        env.Ignore(load[0].dir, load)
    declared.append(nodes)
    report = functools.partial(env.ImageReport, target, [files, tar], **given)
    _on_request(env, "report", report)
    for suffix in sbom.FORMS:
        bill = functools.partial(env.Sbom, f"{target}{suffix}", [files, archive], **given)
        _on_request(env, "sbom", bill)
    if traces:
        tested = [tar, traces, extra, load if load[0] in nodes else []]
        _on_request(env, "test", functools.partial(env.ImageTest, target, tested, **given))
        profiled = functools.partial(env.SeccompProfile, target, [tar, traces, ldd], **given)
        _on_request(env, "seccomp", profiled)
    return list(nodes)


def _packer(env: Any) -> Any:
    """Return the builder that packs files as IMAGE_LAYERS says."""
    packers = {"single": env.LayerTar, "packages": env.LayerStack}
    wanted = str(env["IMAGE_LAYERS"])
    if wanted not in packers:
        raise InputError(
            f"cannot use IMAGE_LAYERS {wanted!r}: it is none of {' and '.join(packers)}; "
            "write one of these"
        )
    return packers[wanted]


_engine_answers = functools.cache(engine.answers)
"""Asked once for each engine and run of SCons."""


def _programs(env: Any, program: Any) -> tuple[dict[bytes, Any], list[Any]]:
    """Return the staged files and the program nodes that `program` means."""
    if not isinstance(program, Mapping):
        return {}, [env.arg2nodes(program, env.File)[0]]
    for path, node in program.items():
        if isinstance(node, Mapping):
            raise InputError(
                f"cannot stage {path!r} by platform: there is no IMAGE_PLATFORMS; name one file, "
                "or set it"
            )
    staged = {os.fsencode(path): env.arg2nodes(node, env.File)[0] for path, node in program.items()}
    for path, node in staged.items():
        if not _PLAIN.fullmatch(path) or os.path.normpath(path) != path:
            raise InputError(
                f"cannot stage {os.fsdecode(path)!r}: it is not a plain absolute path; "
                "write the path that the file will have in the image"
            )
        if isinstance(node, SCons.Node.FS.Dir):
            raise InputError(
                f"cannot stage {os.fsdecode(path)!r}: {node} is a directory; stage its files"
            )
    if not staged:
        raise InputError("cannot make an image of nothing: no file is staged; stage the program")
    return staged, [next(iter(staged.values()))]


def _runs(env: Any) -> list[run.Run]:
    given = env.get("RUNS", [()])
    runs = [_run(each) for each in (given if isinstance(given, (list, tuple)) else [given])]
    if len(runs) == 1:
        return runs
    named = [replace(each, name=each.name or str(at)) for at, each in enumerate(runs, start=1)]
    if len({each.name for each in named}) < len(named):
        raise InputError("cannot tell runs apart: two have one name; name each by itself")
    return named


def _trace_stem(target: str, command: run.Run, runs: Sequence[run.Run]) -> str:
    return target if len(runs) == 1 else f"{target}.{command.name}"


def why(node: Any, path: bytes) -> Iterator[str]:
    """Yield lines that tell why `path` is in the file list `node`, or is not."""
    root = node.attributes.footprint.root()
    sources = [_machine(each) for each in node.sources]
    return iter(_step(node).why(root, _machine(node), sources, path))


# Mistakes in SConscripts


def where() -> str:
    """Return ``FILE:LINE`` of the SConscript that is calling us."""
    ours = os.path.dirname(os.path.abspath(__file__))
    scons = os.path.dirname(os.path.abspath(SCons.__file__))
    frame = sys._getframe()
    while frame.f_back and os.path.dirname(os.path.abspath(frame.f_code.co_filename)).startswith(
        (ours, scons)
    ):
        frame = frame.f_back
    return f"{os.path.relpath(frame.f_code.co_filename)}:{frame.f_lineno}"


def refuse(text: str) -> NoReturn:
    """End SCons with status 2 and one line: `text`, and where the user's mistake is.

    A UserError would add a second line, which names a line of this file.
    """
    sys.stderr.write(f"scons: *** {where()}: {text}\n")
    sys.exit(2)
