"""`Sysroot`: a base that is not the machine's root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...errors import InputError, SysrootError
from ...fs.paths import show
from ...fs.target import write
from ...image import compression
from ...sysroot import sysroot
from ...sysroot.origin import DebianOrigin, EngineOrigin, Origin, TarOrigin
from ...sysroot.sysroot import UnpackedTree
from ..checks import TEXT, Names, OneFile, Several, check_arguments
from ..nodes import find_node, top_of
from ..substitution import substitute
from ..variables import read
from .step import Plan, Step, StepKind

if TYPE_CHECKING:
    from ...cache.share import Share
    from ...fs.root import Root


@dataclass(frozen=True)
class SysrootStep(Step):
    """Make a base that is not the machine's root; target: a text that describes its tree."""

    origin: Origin | None
    """Where its files come from; None for a directory, which is used where it is."""
    tree: bytes = field(repr=False)
    """Its directory, absolute; not part of the signature: a checkout may be anywhere."""
    directory: str = ""
    """The directory as the project names it, if the origin is None."""

    @property
    def is_image(self) -> bool:
        """Whether it is made of an image, which has settings."""
        return isinstance(self.origin, EngineOrigin)

    def join(self, share: Share, code: str) -> SysrootStep:
        """Return the step with an origin whose tar the cache may have."""
        from ...cache.shared_origin import SharedOrigin

        if not isinstance(self.origin, DebianOrigin):
            return self
        return replace(self, origin=SharedOrigin(self.origin, share, code))

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Make the tree of `sources`, or check the directory."""
        from ...fs.root import Aspect

        if self.origin is None:
            sysroot.check(self.tree, show(self.tree))
            line = self.directory
            write(targets[0], [_text(f"directory {self.directory}")])
        else:
            try:
                made = self._unpack(self.origin, root, sources)
            except SysrootError:
                if not self.origin.forget():
                    raise
                made = self._unpack(self.origin, root, sources)
            line = f"{made.paths} paths{self.origin.note()}"
            write(targets[0], [_text(f"{self.origin}\ncontent {made.content}")])
            root.look(sysroot.owners_file(self.tree), Aspect.CONTENT)
            if self.is_image:
                root.look(sysroot.image_file(self.tree), Aspect.CONTENT)
        # A tree that goes is made again.
        root.look(self.tree, Aspect.STAT)
        return line

    def _unpack(self, origin: Origin, root: Root, sources: Sequence[bytes]) -> UnpackedTree:
        with sysroot.unpacked_tree(origin, self.tree, root, sources) as made:
            for path, text in sorted(made.files.items()):
                write(path, [text])
            return made


def _text(text: str) -> bytes:
    return f"# scratch_image sysroot 1\n{text}\n".encode()


@dataclass(frozen=True)
class SysrootArguments:
    """Arguments of `Sysroot` besides target and source."""

    directory: str
    packages: tuple[str, ...]
    suite: str
    mirror: tuple[str, ...]
    architecture: str
    lock: str
    image: str


@check_arguments(
    "Sysroot",
    target=OneFile("a path", '"build/base"'),
    source=OneFile("a tar", '"base.tar"'),
    directory=OneFile("a directory", '"base"'),
    packages=Names("a name of a package, or a list of names", '["nginx-light"]', TEXT),
    suite=TEXT,
    mirror=Several("a mirror, or a list of mirrors", '"http://deb.debian.org/debian"', TEXT),
    architecture=TEXT,
    lock=OneFile("a file", '"base.lock"'),
    image=TEXT,
)
def sysroot_call(
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
) -> tuple[str, Any, SysrootArguments]:
    """Declare a base that is not the machine's root, to be given to images as `ROOT`.

    The target ``TARGET.sysroot`` describes the tree ``TARGET.root`` beside it. The tree is made of
    `source`, the tar of a root file system; or of Debian's `packages` of a `suite`, their exact
    versions in the file `lock`, which is written where it is missing; or of an `image` that the
    engine has. A `directory` is used where it is.

    Packages come from Debian's archive with its updates and security fixes, or from each `mirror`,
    a URL or a line of sources.list(5). They are for the machine, or for another `architecture` in
    dpkg's word.
    """
    given = substitute(env, [packages, suite, mirror, architecture], "argument of Sysroot")
    packages, suite, mirror, architecture = given
    if len([each for each in (source, directory, packages, image) if each]) != 1:
        raise InputError(
            f"make sysroot {target}",
            "it is to be made of one thing",
            "give a tar, directory=, packages= or image=",
        )
    arguments = SysrootArguments(
        directory, tuple(packages), suite, tuple(mirror), architecture, lock, image
    )
    return target, source or [], arguments


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Make a base that is not the machine's root: ``STEM.sysroot``, a text about its tree."""
    given: SysrootArguments = env["_SCRATCH_IMAGE_SYSROOT"]
    if given.directory:
        hint = "a directory, or the tar of one as source"
        node = find_node(env.Dir, given.directory, "sysroot", hint)
        tree = os.fsencode(node.srcnode().get_abspath())
        step = SysrootStep(name, None, tree, given.directory)
        return Plan(step, target, [], has_root=False)
    tree = os.fsencode(os.path.join(target[0].dir.get_abspath(), f"{name}.root"))
    step = SysrootStep(name, _origin(given, source, env), tree)
    private = [sysroot.owners_file(tree), sysroot.image_file(tree)]
    beside = [tree, *private, sysroot.temporary_tree(tree)]
    return Plan(step, target, source, beside=beside, has_root=False)


def _origin(given: SysrootArguments, source: list[Any], env: Any) -> Origin:
    """Return where the files of the base come from."""
    if source:
        compression.suffix_of(os.fsencode(str(source[0])))
        return TarOrigin(str(source[0]))
    if given.image:
        return EngineOrigin(read(env, "DOCKER_HOST"), given.image)
    file = b""
    if given.lock:
        node = find_node(env.File, given.lock, "lock", "a file")
        file = os.fsencode(node.srcnode().get_internal_path())
    top, epoch = top_of(env.Dir(".")), read(env, "SOURCE_DATE_EPOCH")
    return DebianOrigin(
        given.suite, given.packages, given.mirror, given.architecture, file, top, epoch
    )


KIND = StepKind("ROOT", plan, (".sysroot",))
