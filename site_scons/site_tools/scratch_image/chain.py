"""`ScratchImage`: the builders, chained from a program to an image in an engine."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import SCons.Node.FS
import SCons.Script

from . import engine, run, sbom
from .errors import InputError
from .paths import is_plain, is_under
from .plans import image_path, machine_path, platforms_of, references_of, run_of, step_of
from .sconscript import refuse
from .steps import ImageStep, IndexStep

declared: list[list[Any]] = []
"""What builds each image that `ScratchImage` has declared so far: a list of nodes an image."""


asked: dict[str, list[Any]] = {"test": [], "report": [], "sbom": [], "push": [], "seccomp": []}
"""What else these images have, made only when asked for, by the first word of its alias."""


unasked: set[str] = set()
"""Those of these words that the command line cannot mean: nodes that nobody needs take time."""


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
    archives = [node for node in nodes if isinstance(step_of(node), (ImageStep, IndexStep))]
    _on_request(env.Override(variables), "push", "RegistryPush", target, archives[-1])
    return nodes


def _on_request(env: Any, word: str, builder: str, target: str, source: Any) -> None:
    """Have `target` made by `builder` when it is asked for, and not by a plain `scons`."""
    nodes = [] if word in unasked else list(getattr(env, builder)(target, source))
    _set_apart(env, nodes)
    asked[word] += nodes


def _set_apart(env: Any, nodes: list[Any]) -> None:
    """Leave `nodes` out of a plain `scons`, but for one that cleans."""
    for node in () if SCons.Script.GetOption("clean") else nodes:
        env.Ignore(node.dir, node)


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
        platforms = platforms_of(bases)
        tags = references_of(target, env.Override(variables))
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
        archives += [node for node in made if isinstance(step_of(node), ImageStep)]
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
        if "RUN" in variables:
            raise InputError("cannot use RUN: an image may have several; write RUNS=[...]")
        staged, programs = _programs(env, program)
        given = {**variables, "IMAGE_STAGED": staged}
        if not any(name in env or name in given for name in ("IMAGE_CMD", "IMAGE_ENTRYPOINT")):
            given["IMAGE_ENTRYPOINT"] = [os.fsdecode(image_path(programs[0], given))]
        # One for all steps of the image: making one takes time.
        own = env.Override(given)
        runs, pack = _runs(own), _packer(own)
    except InputError as error:
        refuse(str(error))
    # By keywords: the image may be declared twice, and SCons compares environments one level deep.
    traces = [
        env.Strace(_trace_stem(target, each, runs), programs[0], RUN=each, **given) for each in runs
    ]
    ldd = own.Ldd(target, programs)
    extra = env.Flatten([variables.get("EXTRA_FILES", env.get("EXTRA_FILES", []))])
    files = own.FileList(target, [*traces, ldd, *extra])
    tar = pack(target, files)
    archive = own.OciImage(target, [tar, ldd, *traces])
    load = _load(own, target, archive)
    nodes = env.Flatten([traces, ldd, files, tar, archive, load])
    declared.append(nodes)
    _on_request(own, "report", "ImageReport", target, [files, tar])
    for suffix in sbom.FORMS:
        _on_request(own, "sbom", "Sbom", f"{target}{suffix}", [files, archive])
    if traces:
        _on_request(own, "test", "ImageTest", target, [tar, traces, extra, load])
        _on_request(own, "seccomp", "SeccompProfile", target, [tar, traces, ldd])
    return list(nodes)


def _load(env: Any, target: str, archive: Any) -> list[Any]:
    """Have the image given to an engine; return the targets of that, if an engine answers."""
    if _engine_answers(env["DOCKER_HOST"]):
        return list(env.DockerLoad(target, archive))
    if not unasked:
        # A plain `scons` builds all that can be built without an engine; asking for the .iid by
        # its name still says what is wrong.
        loaded = env.DockerLoad(target, archive)
        _set_apart(env, loaded)
    return []


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
        try:
            return {}, [env.arg2nodes(program, env.File)[0]]
        except TypeError as error:
            raise InputError(
                f"cannot make an image of {program}: it is a directory; name a program"
            ) from error
    for path, node in program.items():
        if isinstance(node, Mapping):
            raise InputError(
                f"cannot stage {path!r} by platform: there is no IMAGE_PLATFORMS; name one file, "
                "or set it"
            )
    nodes = {path: _staged(env, path, given) for path, given in program.items()}
    staged = {os.fsencode(path): node for path, node in nodes.items()}
    for path in staged:
        if path == b"/" or not is_plain(path):
            raise InputError(
                f"cannot stage {os.fsdecode(path)!r}: it is not a plain absolute path; "
                "write the path that the file will have in the image"
            )
        if any(is_under(path, tree) for tree in (b"/dev", b"/proc", b"/sys")):
            raise InputError(
                f"cannot stage {os.fsdecode(path)!r}: an engine mounts its own there; "
                "stage it elsewhere"
            )
    if not staged:
        raise InputError("cannot make an image of nothing: no file is staged; stage the program")
    return staged, [next(iter(staged.values()))]


def _staged(env: Any, path: str, given: Any) -> Any:
    """Return the File node that is to lie at `path`."""
    if not path or not isinstance(path, str) or not given:
        raise InputError(f"cannot stage {given!r} at {path!r}: that names nothing; name a file")
    try:
        node = env.arg2nodes(given, env.File)[0]
    except TypeError:
        # So SCons tells of a directory where a file is meant.
        node = env.arg2nodes(given, env.Dir)[0]
    if isinstance(node, SCons.Node.FS.Dir):
        raise InputError(f"cannot stage {path!r}: {node} is a directory; stage its files")
    return node


def _runs(env: Any) -> list[run.Run]:
    given = env.get("RUNS", [()])
    runs = [run_of(each) for each in (given if isinstance(given, (list, tuple)) else [given])]
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
    sources = [machine_path(each) for each in node.sources]
    return iter(step_of(node).why(root, machine_path(node), sources, path))
