"""`ScratchImage`: the builders, chained from a program to an image in an engine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import SCons.Node.FS
import SCons.Script

from ..errors import InputError
from ..fs.paths import is_plain, is_under
from ..inspect import sbom
from ..sandbox import run
from . import commands
from .builders import require_known
from .checks import File, WrongPartError, checked, cut
from .plans import image_path, kind_of, platforms_of, references_of, step_of
from .project import WORDS, Image, Project, asked_words
from .sconscript import refuse
from .steps import ImageStep, IndexStep
from .substitution import literal, substituted
from .variables import read

FILE = File("one file", '"hello.conf"')
PROGRAM = File("one program, or a dictionary of files", '{"/usr/bin/hello": hello}')


@checked("ScratchImage")
def scratch_image(env: Any, target: str, program: Any, **variables: Any) -> list[Any]:
    """Declare all steps from `program` to an image in an engine; return their targets.

    `target` is the path stem of the step files. `program` is the program's path on the machine,
    or a dictionary of the project's own files by the paths that they will have in the image, the
    program first. `variables` are construction variables for this image.

    The alias ``test/STEM`` tests the image, where STEM is its stem from the top directory;
    ``report/STEM`` makes its report, ``sbom/STEM`` writes its bills of materials,
    ``seccomp/STEM`` its profile, and ``push/STEM`` pushes it. ``why/STEM`` tells why the path that
    ``WHY=PATH`` names is in the image, or is not; ``help/STEM`` tells of its variables.

    With `IMAGE_PLATFORMS`, a dictionary from platforms to what is their `ROOT`, there is an image
    for each and an index of them; a project's file may be a dictionary by platform.
    """
    explain(env)
    own = env.Override(variables)
    require_known(env, variables)
    target = _stem(own, target)
    image = _declared(env, target)
    bases = read(own, "IMAGE_PLATFORMS")
    if bases:
        image.nodes = _multi_platform(env, image, target, program, bases, variables)
    else:
        image.nodes = _one_platform(env, image, target, program, variables)
    # Of several platforms the index, which is declared last, takes the images along.
    archives = [node for node in image.nodes if isinstance(step_of(node), (ImageStep, IndexStep))]
    _on_request(own, image, "push", "RegistryPush", target, archives[-1])
    commands.offer(env, image.stem, [image], builds=False)
    return image.nodes


def _stem(env: Any, target: Any) -> str:
    """Return the path stem that `target` means, as builders take it: ``$$`` is a dollar in it."""
    if isinstance(target, SCons.Node.FS.Base):
        return str(literal(target.get_abspath()))
    if not isinstance(target, str) or not os.path.basename(target):
        raise InputError(f"name an image {target!r}", "it is no path", "name the stem of files")
    return str(literal(substituted(env, target, "stem")))


def _declared(env: Any, target: str) -> Image:
    """Note that the project has one more image, and return it."""
    project = Project.of(env)
    directory, name = os.path.split(target)
    place = env.Dir(directory or ".").get_internal_path()
    stem = os.path.normpath(os.path.join(place, name.replace("$$", "$"))).lstrip("/")
    words = asked_words(re.escape(stem)) if project.words is None else project.words
    image = Image(stem, words)
    project.images.append(image)
    return image


def _on_request(env: Any, image: Image, word: str, builder: str, target: str, source: Any) -> None:
    """Have `target` made by `builder` when it is asked for, and not by a plain `scons`."""
    if word in image.words:
        nodes = list(getattr(env, builder)(target, source))
        _set_apart(env, nodes)
        image.requested.setdefault(word, []).extend(nodes)


def _set_apart(env: Any, nodes: list[Any]) -> None:
    """Leave `nodes` out of a plain `scons`, but for one that cleans."""
    for node in () if SCons.Script.GetOption("clean") else nodes:
        env.Ignore(node.dir, node)


def explain(env: Any, directory: str = "", names: Sequence[str] = ()) -> None:
    """Add the images `names` in `directory`, and what `env` has set, to ``scons --help``."""
    if not SCons.Script.GetOption("help"):
        return
    from . import help_text

    targets = help_text.targets(directory, names) if directory else help_text.STEMS
    for text in (f"\n{targets}", f"\n{help_text.variables(env.get)}"):
        heading = text.strip().partition("\n")[0]
        if heading not in (SCons.Script.help_text or ""):
            env.Help(text.replace("$", "$$"), append=True)


def _multi_platform(
    env: Any,
    image: Image,
    target: str,
    program: Any,
    bases: Mapping[str, Any],
    variables: Mapping[str, Any],
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
        made = _one_platform(env, image, f"{target}.{architecture}", programs[name], own)
        archives += [node for node in made if isinstance(step_of(node), ImageStep)]
        nodes += made
    index = env.ImageIndex(target, archives, **{**variables, "IMAGE_PLATFORMS": bases})
    return [*nodes, *index]


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


def _one_platform(
    env: Any, image: Image, target: str, program: Any, variables: Mapping[str, Any]
) -> list[Any]:
    try:
        if "RUN" in variables:
            raise InputError("use RUN", "an image may have several", "write RUNS=[...]")
        staged, programs = _programs(env.Override(variables), program)
        given = {**variables, "IMAGE_STAGED": staged}
        if not any(name in env or name in given for name in ("IMAGE_CMD", "IMAGE_ENTRYPOINT")):
            given["IMAGE_ENTRYPOINT"] = literal([os.fsdecode(image_path(programs[0], given))])
        # One for all steps of the image: making one takes time.
        own = env.Override(given)
        runs, pack = _runs(own), _packer(own)
    except InputError as error:
        refuse(str(error))
    # By keywords: the image may be declared twice, and SCons compares environments one level deep.
    traces = [
        env.Strace(_trace_stem(target, each, runs), programs[0], RUN=literal(each), **given)
        for each in runs
    ]
    ldd = own.Ldd(target, programs)
    extra = literal(read(own, "EXTRA_FILES"))
    files = own.FileList(target, [*traces, ldd, *extra])
    tar = pack(target, files)
    archive = own.OciImage(target, [tar, ldd, *traces])
    load = _load(own, image, target, archive)
    nodes = env.Flatten([traces, ldd, files, tar, archive, load])
    _on_request(own, image, "report", "ImageReport", target, [files, tar])
    for suffix in sbom.FORMS:
        _on_request(own, image, "sbom", "Sbom", f"{target}{suffix}", [files, archive])
    if traces:
        _on_request(own, image, "test", "ImageTest", target, [tar, traces, extra, load])
        _on_request(own, image, "seccomp", "SeccompProfile", target, [tar, traces, ldd])
    return list(nodes)


def _load(env: Any, image: Image, target: str, archive: Any) -> list[Any]:
    """Have the image given to an engine; return the targets of that, if an engine answers."""
    if Project.of(env).answers(read(env, "DOCKER_HOST")):
        return list(env.DockerLoad(target, archive))
    image.unloaded += archive
    if image.words.issuperset(WORDS):
        # A plain `scons` builds all that can be built without an engine; asking for the .iid by
        # its name still says what is wrong.
        loaded = env.DockerLoad(target, archive)
        _set_apart(env, loaded)
    return []


def _packer(env: Any) -> Any:
    """Return the builder that packs files as IMAGE_LAYERS says."""
    packers = {"single": env.LayerTar, "packages": env.LayerStack}
    return packers[read(env, "IMAGE_LAYERS")]


def _programs(env: Any, program: Any) -> tuple[dict[bytes, Any], list[Any]]:
    """Return the staged files and the program nodes that `program` means."""
    if not isinstance(program, Mapping):
        named = PROGRAM.read("program", program, "ScratchImage")
        try:
            node = env.arg2nodes(named, env.File)[0]
        except TypeError:
            # So SCons tells of a directory where a file is meant.
            node = env.arg2nodes(named, env.Dir)[0]
        if kind := kind_of(node):
            raise InputError(f"make an image of {node}", f"it is {kind}", "name a program")
        return {}, [node]
    program = {substituted(env, path, "path"): given for path, given in program.items()}
    for path, node in program.items():
        if isinstance(node, Mapping):
            raise InputError(
                f"stage {path!r} by platform",
                "there is no IMAGE_PLATFORMS",
                "name one file, or set it",
            )
    nodes = {path: _staged(env, path, given) for path, given in program.items()}
    staged = {os.fsencode(path): node for path, node in nodes.items()}
    for path in staged:
        if path == b"/" or not is_plain(path):
            raise InputError(
                f"stage {os.fsdecode(path)!r}",
                "it is not a plain absolute path",
                "write the path that the file will have in the image",
            )
        if any(is_under(path, tree) for tree in (b"/dev", b"/proc", b"/sys")):
            raise InputError(
                f"stage {os.fsdecode(path)!r}",
                "an engine mounts its own there",
                "stage it elsewhere",
            )
    if not staged:
        raise InputError("make an image of nothing", "no file is staged", "stage the program")
    return staged, [next(iter(staged.values()))]


def _staged(env: Any, path: str, given: Any) -> Any:
    """Return the File node that is to lie at `path`."""
    if not path or not isinstance(path, str):
        raise InputError(
            f"stage {cut(given)} at {cut(path)}", "that is not a path", "write one in the image"
        )
    try:
        given = FILE(given)
    except WrongPartError as wrong:
        raise InputError(
            f"stage {cut(given)} at {cut(path)}", wrong.cause(given), "name one file"
        ) from wrong
    try:
        node = env.arg2nodes(given, env.File)[0]
    except TypeError:
        # So SCons tells of a directory where a file is meant.
        node = env.arg2nodes(given, env.Dir)[0]
    if kind := kind_of(node):
        raise InputError(f"stage {path!r}", f"{node} is {kind}", "stage files")
    return node


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
