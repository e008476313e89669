"""`ScratchImage`: the builders, chained from a program to an image in an engine."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import SCons.Node
import SCons.Node.FS
import SCons.Script

from ..errors import InputError
from ..fs.paths import is_in_kernel_tree, is_plain
from ..image import health
from ..sandbox import run
from . import command_line, request_aliases
from .bases import is_image
from .builders import call_builder, require_known
from .checks import OneFile, WrongPartError, check_arguments, quote_value
from .deferral import ImageCall
from .image_chain import ImageChain
from .nodes import LazyNodes, image_path, kind_of, stem
from .project import DeclaredImage, Project, tags_of
from .sconscript import refuse
from .staged import StagedNode, StagedNodes
from .steps.step import ImageParts
from .steps.table import ON_REQUEST, find_kind
from .substitution import literal, substitute
from .variables import read

FILE = OneFile("one file or directory", '"hello.conf"')
PROGRAM = OneFile("one program, or a dictionary of files", '{"/usr/bin/hello": hello}')


@check_arguments("ScratchImage")
def scratch_image(env: Any, target: str, program: Any = None, **variables: Any) -> LazyNodes:
    """Declare all steps from `program` to an image in an engine; return their targets.

    `target` is the path stem of the step files. `program` is the program's path on the machine,
    or a dictionary of the project's own files and directories by the paths that they will have in
    the image; the program is the first file. `Staged` chooses modes and owners. Without a program
    the image starts what the image in `ROOT` starts, by the same ENTRYPOINT and CMD. `variables`
    are construction variables for this image.

    The alias ``test/STEM`` tests the image, where STEM is its stem from the top directory;
    ``report/STEM`` makes its report, ``sbom/STEM`` writes its bills of materials,
    ``seccomp/STEM`` its profile, ``push/STEM`` pushes it, and ``debug/STEM`` builds an image beside
    it that has tools to debug it with. ``why/STEM`` tells why the path that
    ``WHY=PATH`` names is in the image, or is not; ``help/STEM`` tells of its variables.

    With `IMAGE_PLATFORMS`, a dictionary from platforms to what is their `ROOT`, there is an image
    for each and an index of them; a project's file may be a dictionary by platform.
    """
    add_help(env)
    target = _stem(env.Override(variables), target)
    directory, name = os.path.split(target)
    place = env.Dir(directory or ".")
    image = _declare(env, place.get_internal_path(), name)
    deferral = Project.of(env).deferral
    call = deferral and ImageCall.read(
        env, f"{literal(place.get_abspath())}/{name}", program, variables
    )
    if not deferral or not deferral.take(image, call, functools.partial(_declare_call, image)):
        _declare_image(env, image, target, program, variables)
    request_aliases.offer(env, image.stem, [image], builds=False)
    return LazyNodes(make=lambda: image.nodes)


def _declare_call(image: DeclaredImage, call: ImageCall) -> None:
    """Declare all steps of an image as its `call` meant them."""
    _declare_image(call.environment(), image, call.target, call.program, call.others)


def _declare_image(
    env: Any, image: DeclaredImage, target: str, program: Any, variables: Mapping[str, Any]
) -> None:
    """Declare all steps of an image."""
    require_known(env, variables)
    own = env.Override(variables)
    bases = read(own, "IMAGE_PLATFORMS")
    if bases:
        archive = _declare_platforms(env, image, target, program, bases, variables)
    else:
        archive = _declare_steps(env, image, target, program, variables)
    parts = ImageParts(target, archive)
    _declare_requests(env, variables, image, parts, is_per_platform=False)


def _stem(env: Any, target: Any) -> str:
    """Return the path stem that `target` means, as builders take it: ``$$`` is a dollar in it."""
    if isinstance(target, SCons.Node.FS.Base):
        return str(literal(target.get_abspath()))
    if not isinstance(target, str) or not os.path.basename(target):
        raise InputError(f"name an image {target!r}", "it is no path", "name the stem of files")
    return str(literal(substitute(env, target, "stem")))


def _declare(env: Any, place: str, name: str) -> DeclaredImage:
    """Note that the project has one more image, `name` in the directory `place`; return it."""
    project = Project.of(env)
    stem = os.path.normpath(os.path.join(place, name.replace("$$", "$"))).lstrip("/")
    words = command_line.requests(re.escape(stem)) if project.words is None else project.words
    image = DeclaredImage(stem, words)
    project.images.append(image)
    return image


def _declare_requests(
    env: Any,
    given: Mapping[str, Any],
    image: DeclaredImage,
    parts: ImageParts,
    *,
    is_per_platform: bool,
) -> None:
    """Declare the targets of requests for the image that has `parts`, if they may be needed."""
    for builder, word in ON_REQUEST.items():
        if word not in image.words or find_kind(builder).is_per_platform != is_per_platform:
            continue
        for target, source in find_kind(builder).request(parts):
            nodes = list(getattr(env, builder)(target, source, **given))
            nodes += find_kind(builder).follow(env, given, parts, nodes)
            _set_apart(env, nodes)
            image.requested.setdefault(word, []).extend(nodes)


def _set_apart(env: Any, nodes: list[Any]) -> None:
    """Leave `nodes` out of a plain `scons`, but for one that cleans."""
    for node in () if SCons.Script.GetOption("clean") else nodes:
        env.Ignore(node.dir, node)


def add_help(env: Any, directory: str = "", names: Sequence[str] = ()) -> None:
    """Add the images `names` in `directory`, and what `env` has set, to ``scons --help``."""
    if not SCons.Script.GetOption("help"):
        return
    from . import help_text

    targets = help_text.targets(directory, names) if directory else help_text.stem_targets()
    for text in (f"\n{targets}", f"\n{help_text.variables(env.get)}"):
        heading = text.strip().partition("\n")[0]
        if heading not in (SCons.Script.help_text or ""):
            env.Help(text.replace("$", "$$"), append=True)


def _declare_platforms(
    env: Any,
    image: DeclaredImage,
    target: str,
    program: Any,
    bases: Mapping[str, Any],
    variables: Mapping[str, Any],
) -> list[Any]:
    """Declare the steps for each platform, and the index; return the index."""
    from .steps.index import platforms_of

    try:
        platforms = platforms_of(bases)
        tags = tags_of(stem(target, ()), env.Override(variables))
        programs = {name: _of_platform(program, name) for name in platforms}
    except InputError as error:
        refuse(str(error))
    archives = []
    for name, architecture in platforms.items():
        own = {
            **variables,
            "ROOT": bases[name],
            "IMAGE_TAG": [f"{tag.familiar}-{architecture}" for tag in tags],
        }
        archives += _declare_steps(env, image, f"{target}.{architecture}", programs[name], own)
    index = list(env.ImageIndex(target, archives, **{**variables, "IMAGE_PLATFORMS": bases}))
    image.nodes.extend(index)
    image.archives.extend(index)
    return index


def _of_platform(program: Any, name: str) -> Any:
    """Return what `program` is on the platform `name`."""
    if not isinstance(program, Mapping):
        return program
    found = {}
    for path, node in program.items():
        if isinstance(node, Mapping) and name not in node:
            raise InputError(
                f"stage {path!r} for {name}", "there is none for that platform", "name one"
            )
        found[path] = node[name] if isinstance(node, Mapping) else node
    return found


def _declare_steps(
    env: Any, image: DeclaredImage, target: str, program: Any, variables: Mapping[str, Any]
) -> list[Any]:
    """Declare the steps from `program` to an engine, for one platform; return the archive."""
    try:
        if "RUN" in variables:
            raise InputError("use RUN", "an image may have several", "write RUNS=[...]")
        staged, programs = _programs(env.Override(variables), program)
        checks = _stage_check(env.Override(variables), target, staged)
        given = {**variables, "IMAGE_STAGED": staged}
        if programs and not _is_set("IMAGE_ENTRYPOINT", env, given):
            entrypoint = literal([os.fsdecode(image_path(programs[0], given))])
            given["IMAGE_ENTRYPOINT"] = [] if _is_set("IMAGE_CMD", env, given) else entrypoint
        # One environment for all steps of the image, because making one takes time.
        own = env.Override(given)
        runs = _runs(own)
    except InputError as error:
        refuse(str(error))
    # By keywords: the image may be declared twice, and SCons compares environments one level deep.
    traces = [
        env.Strace(_trace_stem(target, each, runs), programs[:1], RUN=literal(each), **given)
        for each in runs
    ]
    ldd = call_builder("Ldd", own, target, programs)
    extra = literal(read(own, "EXTRA_FILES"))
    files = call_builder("FileList", own, target, [*traces, ldd, *extra])
    _join([*(each[0] for each in traces), *ldd, *files])
    packer = "LayerTar" if read(own, "IMAGE_LAYERS") == "single" else "LayerStack"
    layers = call_builder(packer, own, target, files)
    archive = call_builder("OciImage", own, target, [layers, ldd, *traces])
    load = _load(own, image, target, archive)
    image.nodes.extend(env.Flatten([checks, traces, ldd, files, layers, archive, load]))
    image.archives.extend(archive)
    parts = ImageParts(
        target, archive, env.Flatten(traces), ldd, env.Flatten(extra), files, layers, load
    )
    _declare_requests(env, given, image, parts, is_per_platform=True)
    return archive


def _join(owners: list[Any]) -> None:
    """Let a cache have the steps that make `owners` as one."""
    chain = ImageChain(owners)
    for owner in owners:
        owner.attributes.chain = chain


def _stage_check(env: Any, target: str, staged: StagedNodes) -> list[Any]:
    """Stage the program of a health check that is a page; return the target that makes it."""
    check, path = read(env, "IMAGE_HEALTHCHECK"), os.fsencode(health.PROGRAM)
    if not check or check.command[0] != health.PROGRAM or path in staged:
        return []
    made = call_builder("HealthProgram", env, target, [])
    staged[path] = StagedNode(made[0])
    return made


def _is_set(name: str, env: Any, given: Mapping[str, Any]) -> bool:
    """Tell whether the project sets the variable `name`, in `env` or in a call's `given`."""
    return name in given or name in env


def _load(env: Any, image: DeclaredImage, target: str, archive: Any) -> list[Any]:
    """Have the image given to an engine; return the targets of that, if an engine answers."""
    if Project.of(env).answers(read(env, "DOCKER_HOST")):
        return call_builder("DockerLoad", env, target, archive)
    image.unloaded += archive
    if image.words.issuperset(command_line.REQUESTS):
        # A plain `scons` builds all that can be built without an engine; asking for the .iid by
        # its name still says what is wrong.
        _set_apart(env, call_builder("DockerLoad", env, target, archive))
    return []


def _programs(env: Any, program: Any) -> tuple[StagedNodes, list[Any]]:
    """Return the staged nodes and the program nodes that `program` means."""
    if program is None:
        if not is_image(env):
            raise InputError(
                "make an image without a program", "ROOT is no image that starts one", "name one"
            )
        return StagedNodes(), []
    if not isinstance(program, Mapping):
        named = PROGRAM.read("program", program, "ScratchImage")
        node = _node(env, named)
        if kind := kind_of(node):
            raise InputError(f"make an image of {node}", f"it is {kind}", "name a program")
        return StagedNodes(), [node]
    program = {substitute(env, path, "path"): given for path, given in program.items()}
    for path, node in program.items():
        if isinstance(node, Mapping):
            raise InputError(
                f"stage {path!r} by platform",
                "there is no IMAGE_PLATFORMS",
                "name one file, or set it",
            )
    nodes = {path: _staged_node(env, path, given) for path, given in program.items()}
    staged = StagedNodes({os.fsencode(path): node for path, node in nodes.items()})
    _check_places(staged)
    programs = [each.node for each in staged.values() if not each.is_directory]
    if not programs:
        raise InputError("make an image of nothing", "no file is staged", "stage the program")
    return staged, programs[:1]


def _check_places(staged: StagedNodes) -> None:
    """Raise InputError for a path at which no image can have a file of the project."""
    for path, node in staged.items():
        if not is_plain(path) or (path == b"/" and not node.is_directory):
            raise InputError(
                f"stage {os.fsdecode(path)!r}",
                "it is not a plain absolute path",
                "write the path that the file will have in the image",
            )
        if is_in_kernel_tree(path):
            raise InputError(
                f"stage {os.fsdecode(path)!r}",
                "an engine mounts its own there",
                "stage it elsewhere",
            )


def _staged_node(env: Any, path: str, given: Any) -> StagedNode:
    """Return the node of the file or directory that is to lie at `path`."""
    if not path or not isinstance(path, str):
        raise InputError(
            f"stage {quote_value(given)} at {quote_value(path)}",
            "that is not a path",
            "write one in the image",
        )
    staged = given if isinstance(given, StagedNode) else StagedNode(given)
    try:
        # Most are names, of which there may be thousands.
        is_name = staged.node.__class__ is str and staged.node.isprintable() and staged.node
        node = _node(env, staged.node if is_name else FILE(staged.node))
    except WrongPartError as wrong:
        raise InputError(
            f"stage {quote_value(given)} at {quote_value(path)}", wrong.cause(given), "name one"
        ) from wrong
    if (kind := kind_of(node)) not in ("", "a directory"):
        raise InputError(f"stage {path!r}", f"{node} is {kind}", "stage files and directories")
    return StagedNode(node, staged.mode, staged.owner)


def _node(env: Any, given: Any) -> Any:
    """Return the node of the file `given`; a Dir where the project has a directory there."""
    try:
        if isinstance(given, str) and "$" not in given:
            # As arg2nodes does, which takes four times as long to substitute nothing.
            found = (look_up(given) for look_up in SCons.Node.arg2nodes_lookups)
            return next(filter(None, found), None) or env.fs.File(given)
        return env.arg2nodes(given, env.File)[0]
    except TypeError:
        return env.arg2nodes(given, env.Dir)[0]


def _runs(env: Any) -> list[run.Run]:
    runs: list[run.Run] = [*read(env, "RUNS")]
    if len(runs) == 1:
        return runs
    named = [replace(each, name=each.name or str(at)) for at, each in enumerate(runs, start=1)]
    if len({each.name for each in named}) < len(named):
        raise InputError("tell runs apart", "two have one name", "name each by itself")
    return named


def _trace_stem(target: str, command: run.Run, runs: Sequence[run.Run]) -> str:
    return target if len(runs) == 1 else f"{target}.{command.name}"
