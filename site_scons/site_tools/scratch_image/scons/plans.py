"""What a builder call means: its arguments and construction variables, made into a step.

One planner for each builder, called while SConscripts are read. None asks a node for its state:
SCons would open its database too early.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import SCons.Node.FS

from ..errors import InputError
from ..image import compression, config, settings, stack
from ..image.settings import Reference, Settings, annotated
from ..inspect import sbom
from ..publish import registry
from ..sandbox import process, run
from ..sysroot import sysroot
from ..sysroot.sysroot import Origin
from .checks import (
    RUN_NAME,
    SECONDS,
    TEXT,
    VALUE,
    Dictionary,
    File,
    Number,
    OneOf,
    Several,
    Text,
    checked,
    cut,
)
from .project import Project
from .sconscript import where
from .steps import (
    Environment,
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
from .substitution import literal
from .variables import HEALTH, RUN, read

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What engines set where an image does not; images say it, so that a trace is told the same."""


@checked(
    "Run",
    command=RUN,
    name=RUN_NAME,
    env=Dictionary("a dictionary of variables", '{"LANG": "C.UTF-8"}', TEXT, VALUE),
    stdin=File("a file", '"input.txt"'),
    cwd=Text("an absolute path", '"/srv"', names=True),
    status=Number("a whole number from 0 to 255", "1", 0, 255),
    timeout=Number("a number of seconds", "300", 0.001, 1e9),
    stdout=Text("a regular expression", r'"[0-9]+\n"', names=True),
    ready=Text("text", '"tcp:8080"'),
    probes=Several("a probe, or a list of probes", '["http://127.0.0.1:8080/"]', TEXT),
    stop=Number("a signal", "signal.SIGQUIT", 1, 64),
    network=OneOf("'loopback' or 'host'", '"host"', ["loopback", "host"]),
    read_only=OneOf("True or False", "False"),
    cap_drop=OneOf("True or False", "False"),
)
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
    program runs alone. `name` becomes part of the target's name where there are several runs; it
    has up to 64 letters, digits and ``_ . + -``, and the default is 1, 2, ... `env` has variables
    besides those of the image. `stdin` is a file (name or node) instead of /dev/null. The run
    starts in `cwd`, or else in the image's working directory. `status` is the exit status that is
    expected. After `timeout` seconds the run has failed, and is ended. `stdout` is a regular
    expression that all of its output has to match; without one an image has to print what was
    printed when it was traced.

    A run with `ready` (``tcp:PORT``, ``unix:/PATH``, ``exec:COMMAND LINE``) is a server: when it
    can be asked, it is asked `probes` (command lines, ``http://127.0.0.1:PORT/...``), gets the
    signal `stop`, and has to end. Its `network` is a loopback device of its own, or the ``host``'s.
    `read_only` and `cap_drop` are false for a run that, in a
    container, has to write outside of volumes, or needs capabilities.

    What cannot be read, as a command line that needs a shell, ends SCons.
    """
    made: run.Run = RUN(command)
    return replace(
        made,
        name=name,
        environment={os.fsencode(key): os.fsencode(value) for key, value in (env or {}).items()},
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


@checked(
    "HealthCheck",
    interval=SECONDS,
    timeout=SECONDS,
    start_period=SECONDS,
    retries=Number("a whole number", "3", 0, 1 << 31),
)
def HealthCheck(  # noqa: N802  # as Run
    command: str | Sequence[str],
    interval: float = 0,
    timeout: float = 0,
    start_period: float = 0,
    retries: int = 0,
) -> settings.HealthCheck:
    """Return how an engine asks a container whether it is well, for `IMAGE_HEALTHCHECK`.

    `command` is a command line or a list of words, and ends with status 0 when all is well; there
    is no shell. `interval` has the seconds from one check to the next, `timeout` those after which
    a check has failed, `start_period` those at the start in which failures do not count. After
    `retries` failures in a row the container is unhealthy. 0 leaves a number to the engine.
    """
    words: settings.HealthCheck | None = HEALTH.read("command", command, "HealthCheck")
    if words is None:
        raise InputError(
            "check health by nothing", "it has no command", "name a program of the image"
        )
    check = replace(
        words, interval=interval, timeout=timeout, start_period=start_period, retries=retries
    )
    check.document()
    return check


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


def machine_path(node: Any) -> bytes:
    """Return where the File `node` lies: for a source that may be its source directory."""
    return os.fsencode(os.path.join(node.fs.Top.get_abspath(), str(node.rfile())))


def staged_path(node: Any) -> bytes:
    """Return where the File `node` lies that is to be staged.

    Where variant and source directory are on two file systems, or the project wants it so, SCons
    links to sources by symbolic links: what these say is of no image.
    """
    path, source = machine_path(node), node.srcnode()
    made_by_scons = source is not node and not node.is_derived() and os.path.islink(path)
    return machine_path(source) if made_by_scons else path


def kind_of(node: Any) -> str:
    """Return what `node` is that is no file, in words; nothing for a file."""
    if isinstance(node.disambiguate(), SCons.Node.FS.File):
        return ""
    kinds = {"Dir": "a directory", "Alias": "an alias", "ImageAlias": "an alias"}
    return kinds.get(type(node).__name__, "a value")


def base_tree(
    make: Callable[[list[Any]], Origin],
    directory: str,
    target: list[Any],
    source: list[Any],
    env: Any,
) -> Plan:
    """Make a base that is not the machine's root: ``STEM.sysroot``, which vouches for a tree."""
    name = _stem(target[0])
    if directory:
        node = _named(env.Dir, directory, "sysroot", "a directory, or the tar of one as source")
        tree = os.fsencode(node.srcnode().get_abspath())
        return Plan(SysrootStep(name, None, tree, directory), target, [])
    tree = os.fsencode(os.path.join(target[0].dir.get_abspath(), f"{name}.root"))
    step = SysrootStep(name, make(source), tree)
    beside = [tree, sysroot.owners_file(tree), sysroot.temporary(tree)]
    return Plan(step, target, source, beside=beside)


def origin(
    env: Any,
    packages: Sequence[str],
    suite: str,
    mirror: Sequence[str],
    architecture: str,
    lock: str,
    image: str,
    source: list[Any],
) -> Origin:
    """Return what a base is made of."""
    if source:
        compression.suffix_of(os.fsencode(str(source[0])))
        return sysroot.Archive(str(source[0]))
    if image:
        return sysroot.EngineImage(read(env, "DOCKER_HOST"), image)
    file = b""
    if lock:
        node = _named(env.File, lock, "lock", "a file")
        file = os.fsencode(node.srcnode().get_internal_path())
    top, epoch = top_of(env.Dir(".")), epoch_of(env)
    return sysroot.Packages(suite, tuple(packages), tuple(mirror), architecture, file, top, epoch)


def _named(make: Callable[[str], Any], name: str, what: str, wanted: str) -> Any:
    """Return the node that `make` gives for `name`; InputError where it is of another kind."""
    try:
        return make(name)
    except TypeError as error:
        raise InputError(f"use {what} {name}", "it is of another kind", f"name {wanted}") from error


def trace(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Trace one run of a program: strace's own text, the record of what it means, the output.

    The targets are ``STEM.strace``, ``STEM.trace`` and ``STEM.stdout``; the source is the program.
    """
    if len(source) != 1:
        raise InputError(f"trace {target[0]}", "it has not one program", "name just one")
    command = read(env, "RUN")
    variables = {os.fsencode(key): os.fsencode(value) for key, value in _image_env(env).items()}
    full = replace(
        command,
        name=command.name or "default",
        environment=dict(sorted({**variables, **command.environment}.items())),
        stdin=None,  # A node instead: the source.
        cwd=command.cwd or os.fsencode(read(env, "IMAGE_WORKDIR") or "/"),
        limits=run.Limits(read(env, "TRACE_PROCESSES"), read(env, "TRACE_SPACE")),
    )
    told = {os.fsdecode(key): os.fsdecode(value) for key, value in full.environment.items()}
    words = [*map(os.fsdecode, full.argv), *" ".join(full.probes).split()]
    _refuse_secrets(env, told, {"RUNS": words})
    name = f"{_stem(target[0])} ({full.name})"
    program, strace, view = image_path(source[0], env), _strace(env), read(env, "TRACE_ROOT")
    step = TraceStep(name, program, full, strace, view)
    record, stdout = (_beside(target[0], suffix) for suffix in (".trace", ".stdout"))
    stdin = [] if command.stdin is None else [env.File(literal(os.fsdecode(command.stdin)))]
    return Plan(step, [target[0], record, stdout], stdin, source)


def _require(verb: str, target: list[Any], source: list[Any], wanted: str, most: int = 1) -> None:
    """Raise InputError when a target has no source, or more than `most`."""
    if not 1 <= len(source) <= most:
        raise InputError(f"{verb} {target[0]}", f"it has {len(source)} sources", f"name {wanted}")


def _strace(env: Any) -> bytes:
    return os.fsencode(read(env, "STRACE"))


def _beside(node: Any, suffix: str) -> Any:
    """Return the file beside `node`, whose name has one suffix, that has `suffix` instead."""
    return node.dir.File(os.path.splitext(node.name)[0] + suffix)


def ldd(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Find the libraries of ELF files and scripts without running them: ``STEM.ldd``.

    The sources are programs, that of the image first. The target is text in ldd's form.
    """
    _require("find libraries for", target, source, "programs", sys.maxsize)
    programs = [image_path(node, env) for node in source]
    others = [path for path in read(env, "IMAGE_STAGED") if path not in programs]
    step = LddStep(_stem(target[0]), tuple(programs), tuple(sorted(others)), _search(env))
    return Plan(step, target, [], source)


def file_list(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Join what is wanted in the image: ``STEM.files``.

    The sources are traces, ldd texts and extra lists, in any order, also texts captured elsewhere
    by ``strace -f -y -o FILE.strace`` and ``ldd PROGRAM > FILE.ldd``. The target has a sorted line
    for each path, with the reasons why it is there.
    """
    # Of our own traces the record is taken: it holds no pids, no times and no output.
    _require("list", target, source, "traces, ldd texts or extra lists", sys.maxsize)
    sources = [node for node in source if not _is_traced(node) or _suffix(node) == ".trace"]
    forms = tuple(_form(node) for node in sources)
    wanted, packages = read(env, "IMAGE_PRESETS"), read(env, "IMAGE_PACKAGES")
    step = ListStep(
        _stem(target[0]),
        forms,
        tuple(sorted(read(env, "IMAGE_STAGED"))),
        top=top_of(target[0]),
        allow=tuple(path for path in _allowed(env) if path[:1] == b"/"),
        presets=wanted,
        listed=read(env, "IMAGE_LISTED"),
        user=_listed_user(read(env, "IMAGE_USER"), wanted),
        locales=tuple(sorted(_locales(_image_env(env)))) if "locale" in wanted else (),
        packages=packages is not False,
        copyright=packages == "copyright",
        environment=_search(env),
    )
    lists = [node for node in sources if _is_extra(node)]
    return Plan(step, target, sources, mentions=functools.partial(_mentioned, lists))


def _search(env: Any) -> Environment:
    """Return the variables of the image that decide which libraries and programs are found."""
    variables = {os.fsencode(key): os.fsencode(value) for key, value in _image_env(env).items()}
    names = (b"LD_LIBRARY_PATH", b"LD_PRELOAD", b"PATH")
    return tuple((name, variables[name]) for name in names if name in variables)


def _mentioned(lists: Sequence[Any]) -> Iterator[str]:
    """Yield the project's files that extra lists name, as far as the lists can be read now."""
    from ..files import extra_list

    for node in lists:
        top = node.fs.Top

        def read(name: str, top: Any = top) -> bytes:
            places = [os.path.join(each.get_abspath(), name) for each in top.get_all_rdirs()]
            with open(next(filter(os.path.exists, places), places[0]), "rb") as stream:
                return stream.read()

        with contextlib.suppress(OSError):
            name = _form(node).name
            named = extra_list.mentions(read(os.fsdecode(machine_path(node))), name, read)
            yield from (os.path.join(top.get_abspath(), path) for path in named)


def _listed_user(user: str, presets: Sequence[str]) -> str:
    """Return `user` where the file list depends on it: a number alone needs no account."""
    return user if "passwd" in presets or user.strip("0123456789:") else ""


def _allowed(env: Any) -> tuple[bytes, ...]:
    """Return the paths and names that may be there though they look like secrets."""
    allowed: tuple[bytes, ...] = read(env, "IMAGE_ALLOW")
    return allowed


def _refuse_secrets(
    env: Any, variables: Mapping[str, str], commands: Mapping[str, Sequence[str]]
) -> None:
    """Raise InputError for a secret in `variables`, or in `commands` by the name of what has it."""
    from ..files import secret

    kinds = {name: secret.in_variable(name, value) for name, value in variables.items()}
    kinds |= {name: secret.in_words(words) for name, words in commands.items()}
    for name, kind in kinds.items():
        if kind and os.fsencode(name) not in _allowed(env):
            raise InputError(
                f"use {name}",
                f"it holds a secret ({kind})",
                f"take that out, or add {name} to IMAGE_ALLOW",
            )


def _locales(variables: Mapping[str, str]) -> set[str]:
    return {value for key, value in variables.items() if key == "LANG" or key[:3] == "LC_"}


def _form(node: Any) -> ListSource:
    known = {".strace": "strace", ".ldd": "ldd", ".trace": "record"}
    form = known.get(_suffix(node), "extra")
    if form == "record" and _is_traced(node):
        return ListSource(form, step_of(node).command.name)
    file = node.srcnode().get_internal_path()
    if form in ("record", "strace") and not re.fullmatch(RUN_NAME.pattern, _stem(node)):
        raise InputError(
            f"list {cut(file)}",
            f"a trace is named as its run, which is not {RUN_NAME.noun}",
            "rename it",
        )
    return ListSource(form, file if form == "extra" else _stem(node), file)


def _is_extra(node: Any) -> bool:
    return _form(node).form == "extra"


def _is_traced(node: Any) -> bool:
    return isinstance(step_of(node), TraceStep)


def step_of(node: Any) -> Any:
    """Return the step that makes `node`; None when none of ours does."""
    return getattr(node.attributes, "step", None)


def layer_tar(target: list[Any], source: list[Any], env: Any) -> Plan:  # noqa: ARG001
    """Pack the files of a file list as one deterministic tar: ``STEM.tar``.

    The target may as well end in ``.tar.gz`` or ``.tar.zst``.
    """
    _require("pack", target, source, "one file list")
    suffix = compression.suffix_of(os.fsencode(str(target[0])))
    step = LayerStep(_stem(target[0]), compression.compressor(suffix), top_of(target[0]))
    return Plan(step, target, source)


def layer_stack(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Pack the files of a list, a layer for each Debian package: ``STEM.layers``.

    The target has a line for each layer; the blobs lie in ``STEM.blobs``. What another image of the
    tree has packed is not packed again.
    """
    _require("pack", target, source, "one file list")
    suffix = compression.suffix_of(os.fsencode(f"{target[0]}{read(env, 'LAYERTARSUFFIX')}"))
    step = StackStep(_stem(target[0]), suffix, compression.compressor(suffix), top_of(target[0]))
    blobs = stack.blobs(os.fsencode(target[0].get_abspath()))
    return Plan(step, target, source, beside=[blobs])


def top_of(node: Any) -> bytes:
    """Return the project's directory."""
    return os.fsencode(node.fs.Top.get_abspath())


def repositories_of(node: Any) -> tuple[bytes, ...]:
    """Return where else SCons looks for the project's files."""
    return tuple(os.fsencode(each.get_abspath()) for each in node.fs.Top.get_all_rdirs()[1:])


def oci_image(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Make an image of layers: ``STEM.oci.tar``.

    The sources are layers, the lowest first, and the program's ldd text, which tells the
    architecture; also what `Strace` made, where the image has a user who is not root: who has to be
    able to read what the runs have read. The target is an OCI layout, and what ``docker load``
    takes.
    """
    _require("make image", target, source, "layers, and the program's .ldd", sys.maxsize)
    references = references_of(target[0], env)
    for reference in references:
        _claim(env, reference, target[0])
    texts = [node for node in source if _suffix(node) == ".ldd"]
    layers = [node for node in source if node not in texts and not _is_traced(node)]
    settings = _settings(env)
    traced = [node for node in source if _is_traced(node) and _suffix(node) == ".trace"]
    records = [] if settings.is_roots else traced
    step = ImageStep(
        _stem(target[0]),
        len(layers),
        settings,
        references,
        read(env, "DOCKER_HOST"),
        tuple(step_of(node).command.name for node in records),
    )
    return Plan(step, target, [*layers, *texts, *records])


def image_index(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Join image archives, one for each platform: ``STEM.index.oci.tar``.

    The target is an OCI layout with an image index.
    """
    _require("index", target, source, "image archives", sys.maxsize)
    platforms = platforms_of(read(env, "IMAGE_PLATFORMS"))
    if platforms and len(platforms) != len(source):
        raise InputError(
            f"index {target[0]}",
            f"it has {len(source)} images for {len(platforms)} platforms",
            "give one for each, in their order",
        )
    references = references_of(target[0], env)
    for reference in references:
        _claim(env, reference, target[0])
    annotations = annotated(_sorted(read(env, "IMAGE_ANNOTATIONS")))
    _refuse_secrets(env, annotations, {})
    step = IndexStep(_stem(target[0]), tuple(platforms.values()), references, annotations)
    return Plan(step, target, source)


def platforms_of(names: Iterable[str]) -> dict[str, str]:
    """Return the architectures of the platforms `names`; InputError when one is there twice."""
    found = {name: config.architecture_of(name) for name in names}
    for name, architecture in found.items():
        if list(found.values()).count(architecture) > 1:
            raise InputError(
                f"build for platform {name!r}",
                f"another one is for {architecture}, too",
                "name each once",
            )
    return found


def docker_load(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Give an image archive to the engine: ``STEM.iid``.

    The target holds the image ID as the engine reports it.
    """
    _require("load", target, source, "one image archive")
    made = step_of(source[0])
    references = made.references if made else references_of(target[0], env)
    step = LoadStep(_stem(target[0]), references, read(env, "DOCKER_HOST"))
    return Plan(step, [target[0], _beside(target[0], ".loaded")], source)


def bill(target: list[Any], source: list[Any], env: Any) -> Plan:  # noqa: ARG001
    """Write a bill of materials: ``STEM.spdx.json`` in SPDX, ``STEM.cdx.json`` in CycloneDX.

    The sources are a file list and its image archive.
    """
    suffix = sbom.suffix(str(target[0]))
    if [_suffix(node) for node in source] != [".files", ".tar"]:
        raise InputError(
            f"make bill of materials {target[0]}",
            "it is made of a file list and an image archive",
            "name just these, in this order",
        )
    return Plan(SbomStep(_stem(target[0]), suffix, top_of(target[0])), target, source)


def registry_push(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Give an image archive, or an index, to the registries that its tags name: ``STEM.pushed``.

    The target has a line for each such tag: what the registry has there, by digest.
    """
    _require("push", target, source, "one image archive")
    made = step_of(source[0])
    references = made.references if made else references_of(target[0], env)
    insecure = read(env, "REGISTRY_INSECURE")
    tags = tuple(registry.Tag.of(each, insecure) for each in references if each.hosted)
    return Plan(PushStep(_stem(target[0]), tags), target, source[:1])


def image_test(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Repeat the runs with nothing but what the image holds: ``STEM.tested``.

    The sources are the layers, what `Strace` made, the extra lists, and the ``.iid`` if the test is
    to go through the engine as well. The target has a line for each run.
    """
    loads = [node for node in source if isinstance(step_of(node), LoadStep)]
    layers, records = _layers_and_records("test", target, source)
    others = [node for node in source if not _is_traced(node)]
    lists = [node for node in others if node not in (*layers, *loads)]
    step = TestStep(
        _stem(target[0]),
        len(layers),
        tuple(_traced(node) for node in records),
        _strace(env),
        tuple(_form(node).name for node in lists),
        step_of(loads[0]).address if loads else "",
        top=top_of(target[0]),
    )
    runs = [[node, _beside(node, ".stdout"), *node.sources] for node in records]
    return Plan(step, target, [*layers, *env.Flatten(runs), *lists, *loads[:1]])


def seccomp_profile(target: list[Any], source: list[Any], env: Any) -> Plan:
    """Collect the system calls that runs make in the image: ``STEM.seccomp.json``.

    The sources are the layers, what `Strace` made, and the ``.ldd``, which tells the architecture.
    The target is a profile in Docker's format, which forbids all other calls.
    """
    layers, records = _layers_and_records("profile", target, source)
    texts = [node for node in source if _suffix(node) == ".ldd"]
    runs = tuple(_traced(node) for node in records)
    step = SeccompStep(_stem(target[0]), len(layers), runs, _strace(env))
    return Plan(step, target, [*layers, *env.Flatten([node.sources for node in records]), *texts])


def _layers_and_records(
    verb: str, target: list[Any], source: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Return which of `source` are layers, and which the records of runs; there have to be both."""
    layers = [node for node in source if str(node).endswith((".layers", *compression.MEDIA_TYPES))]
    records = [node for node in source if _is_traced(node) and _suffix(node) == ".trace"]
    if not records or not layers:
        raise InputError(
            f"{verb} {target[0]}",
            "it has no layer or no trace",
            "name what LayerTar and Strace made",
        )
    return layers, records


def image_report(target: list[Any], source: list[Any], env: Any) -> Plan:  # noqa: ARG001
    """Tell of what is in the image, and why: ``STEM.report.html``.

    The sources are what `FileList` and `LayerTar` made. The target is one page, which needs no
    network.
    """
    listing = step_of(source[0]) if len(source) == 2 else None
    if not isinstance(listing, ListStep):
        raise InputError(
            f"report on {target[0]}",
            "it is made of a file list and its layer",
            "name what FileList and LayerTar made",
        )
    lists = source[0].sources
    commands = {
        step_of(node).command.name: process.command_line(step_of(node).command.argv)
        for node in lists
        if _is_traced(node)
    }
    step = ReportStep(_stem(target[0]), listing, tuple(sorted(commands.items())))
    mentions = functools.partial(_mentioned, [node for node in lists if _is_extra(node)])
    return Plan(step, target, [*source, *lists], mentions=mentions)


def _traced(record: Any) -> Traced:
    return Traced(step_of(record).program, step_of(record).command, bool(record.sources))


def references_of(target: Any, env: Any) -> tuple[Reference, ...]:
    """Return the tags of the image `target`; InputError when one is none."""
    return tuple(map(Reference.parse, read(env, "IMAGE_TAG") or [_stem(target)]))


def _claim(env: Any, reference: Reference, target: Any) -> None:
    """Note that `target` bears the tag `reference`; InputError when another image does."""
    claim = target.get_internal_path(), where()
    owner, place = Project.of(env).tags.setdefault(reference.canonical, claim)
    if owner != target.get_internal_path():
        raise InputError(
            f"tag image {reference.familiar}",
            f"{owner} ({place}) has that tag",
            "give each image its own",
        )


def _settings(env: Any) -> Settings:
    settings = Settings(
        created=epoch_of(env),
        entrypoint=read(env, "IMAGE_ENTRYPOINT"),
        cmd=read(env, "IMAGE_CMD"),
        env=_sorted(_image_env(env)),
        user=read(env, "IMAGE_USER"),
        workdir=read(env, "IMAGE_WORKDIR"),
        labels=_sorted(read(env, "IMAGE_LABELS")),
        ports=read(env, "IMAGE_PORTS"),
        volumes=read(env, "IMAGE_VOLUMES"),
        stop_signal=read(env, "IMAGE_STOP_SIGNAL"),
        health_check=read(env, "IMAGE_HEALTHCHECK"),
        annotations=_sorted(read(env, "IMAGE_ANNOTATIONS")),
    )
    settings.check()
    check = settings.health_check
    commands = {
        "IMAGE_ENTRYPOINT": settings.entrypoint,
        "IMAGE_CMD": settings.cmd,
        "IMAGE_HEALTHCHECK": check.command if check else (),
    }
    variables = {**settings.env, **settings.labels, **settings.annotations}
    _refuse_secrets(env, variables, commands)
    return settings


def _sorted(given: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(given.items()))


def _image_env(env: Any) -> dict[str, str]:
    return {"PATH": PATH, **read(env, "IMAGE_ENV")}


def epoch_of(env: Any) -> int:
    """Return SOURCE_DATE_EPOCH, in seconds since 1970."""
    epoch: int = read(env, "SOURCE_DATE_EPOCH")
    return epoch


def image_path(node: Any, env: Any) -> bytes:
    """Return where the program `node` lies in the image: where it is staged, or where it is."""
    for path, staged in read(env, "IMAGE_STAGED").items():
        if staged is node:
            return bytes(path)
    return machine_path(node)


def _suffix(node: Any) -> str:
    return str(node.get_suffix())


def _stem(node: Any) -> str:
    """Return the name of an image's file without the suffix of the step."""
    name = os.path.basename(str(node))
    return next((name.removesuffix(each) for each in _SUFFIXES if name.endswith(each)), name)
