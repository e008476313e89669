"""The construction variables that a project sets, a row each: name, default, check, meaning.

Builders read a variable through its row, which checks and converts the value. The same rows give
the defaults of an environment, the text of ``scons --help``, the reference, and the messages.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..fs.lookup import LATEST
from ..image.settings import PRESETS
from .checks import (
    TEXT,
    VALUE,
    Check,
    Dictionary,
    Files,
    Health,
    Names,
    Number,
    OneOf,
    OneRun,
    Path,
    Several,
    StagedDictionary,
    Text,
    Words,
    misspelt,
    nearest,
)
from .staged import StagedNodes
from .substitution import substitute

EPOCH = 1793491200
"""Default of SOURCE_DATE_EPOCH: 2026-11-01, seconds since 1970; later file times become this.

It is the date of this release. Files that a distribution had shipped by then keep their time, so
that .pyc files, which name the time of their source, stay valid. Files of a build are newer: their
times say nothing, and two builds of the same files give the same bytes.
"""


@dataclass(frozen=True, slots=True)
class Variable:
    """A construction variable."""

    name: str
    default: Any
    """A value that `check` takes. It holds where the variable is not set."""
    check: Check
    meaning: str
    unset: str = ""
    """The default in words. A variable without these is set in each environment, to its default."""
    inherited: bool = False
    """Whether a variable of the same name in the process's environment is the default."""

    @property
    def default_text(self) -> str:
        """The default, for help and reference."""
        words = self.unset or (f"`{self.default}`" if self.default != "" else "none")
        return f"the environment's, or {words}" if self.inherited else words

    def initial(self) -> Any:
        """Return the value that an environment gets at first."""
        return (self.inherited and os.environ.get(self.name)) or self.default


RUN = OneRun("a command line, a list of words, or Run(...)", '["hello", "--version"]')
ROOTS = Files("a sysroot", 'env.Sysroot("base", directory="base")')

HEALTH = Health(
    "a command line, a list of words, or HealthCheck(...)", '["/usr/bin/hello", "--check"]'
)

VARIABLES = (
    Variable("RUNS", [()],
             Several("a list of runs", '["hello --version", Run("hello -x", status=1)]', RUN),
             "list of command lines, lists of words, `Run(...)` or `Suite(...)`; `[]` for no run",
             unset="one run of the program alone"),
    Variable("ROOT", "/",
             ROOTS,
             "base of programs and files: what `Sysroot` returned", unset="the machine's `/`"),
    Variable("EXTRA_FILES", (),
             Files("a file, or a list of files", '"hello.extra"'),
             "extra lists", unset="none"),
    Variable("IMAGE_PRESETS", (),
             Names("the name of a preset, or a list of names", '["ca-certificates"]',
                   OneOf(f"one of {', '.join(PRESETS)}", "", PRESETS)),
             "presets: files that traces do not show", unset="none"),
    Variable("IMAGE_LISTED", (),
             Several("an absolute path, *, or a list of these", '"/usr/share/hello"',
                     Path("an absolute path or *", "", r"/.*|\*"), sorted=True),
             "directories that come with all their entries where a run listed them; `*` for all "
             "such", unset="none"),
    Variable("IMAGE_ALLOW", (),
             Several("an absolute path, a name, or a list of these", '"/etc/hello/token"',
                     Path("an absolute path or a name", "", "/.*|[^/]+"), sorted=True),
             "paths that may be there though they look like secrets, with what lies below them; "
             "names of variables, labels and commands that may hold one", unset="none"),
    Variable("IMAGE_PACKAGES", True,
             OneOf("True, False or 'copyright'", "False", [True, False, "copyright"]),
             "whether the image has the records of Debian's packages, for scanners; `copyright` "
             "brings their copyright files, too"),
    Variable("IMAGE_PLATFORMS", {},
             Dictionary("a dictionary of platforms", '{"linux/amd64": "/", "linux/arm64": arm64}',
                        TEXT, ROOTS),
             "a dictionary from platforms to what is the `ROOT` of each (`/` is the machine's): "
             "an image for each, and an index of them", unset="the machine's"),
    Variable("IMAGE_TAG", (),
             Several("a tag, or a list of tags", '"example/hello:1.2"', Text("a tag", "")),
             "tag, or list of tags; one with a host can be pushed", unset="`NAME:latest`"),
    Variable("IMAGE_ENTRYPOINT", (),
             Words("a command line, or a list of words", '["/usr/bin/hello"]'),
             "as in a Dockerfile", unset="the program, unless `IMAGE_CMD` is set"),
    Variable("IMAGE_CMD", (),
             Words("a command line, or a list of words", '["/usr/bin/hello", "-v"]'),
             "as in a Dockerfile; alone, it is the whole command", unset="none"),
    Variable("IMAGE_ENV", {},
             Dictionary("a dictionary of variables", '{"LANG": "C.UTF-8", "PORT": 8080}', TEXT,
                        VALUE),
             "variables of the image: a dictionary; runs are traced with them",
             unset="`PATH` alone"),
    Variable("IMAGE_LABELS", {},
             Dictionary("a dictionary of labels", '{"org.example.team": "web"}', TEXT, VALUE),
             "labels: a dictionary", unset="none"),
    Variable("IMAGE_USER", "",
             Text("a user", '"nonroot"', numbers=True),
             "as in a Dockerfile; `nonroot` is 65532, with its account", unset="root"),
    Variable("IMAGE_WORKDIR", "",
             Text("an absolute path", '"/srv"', "(/[^\\0]*)?", names=True),
             "as in a Dockerfile; runs start there", unset="`/`"),
    Variable("IMAGE_PORTS", (),
             Several("a port, or a list of ports", '[8080, "53/udp"]', VALUE, sorted=True),
             "ports that it serves, one or a list: `8080`, `53/udp`", unset="none"),
    Variable("IMAGE_VOLUMES", (),
             Several("a directory, or a list of directories", '"/data"',
                     Text("a path", "", names=True), sorted=True),
             "directories whose content outlives a container", unset="none"),
    Variable("IMAGE_STOP_SIGNAL", "",
             Text("a signal", '"SIGTERM"', numbers=True),
             "signal that ends it: a name, or a number", unset="the engine's"),
    Variable("IMAGE_HEALTHCHECK", (),
             HEALTH,
             "command that tells if it is well: a command line, words, a page as "
             "`http://127.0.0.1:8080/`, or `HealthCheck(command, interval, timeout, start_period, "
             "retries)` from `scratch_image`; there is no shell",
             unset="none"),
    Variable("IMAGE_ANNOTATIONS", {},
             Dictionary("a dictionary of annotations",
                        '{"org.opencontainers.image.version": "1.2"}', TEXT, VALUE),
             "annotations of manifest and index: a dictionary", unset="none"),
    Variable("IMAGE_LAYERS", "single",
             OneOf("'single' or 'packages'", '"packages"', ["single", "packages"]),
             "`packages` makes a layer for each Debian package"),
    Variable("LAYERTARSUFFIX", ".tar",
             OneOf("'.tar', '.tar.gz' or '.tar.zst'", '".tar.zst"',
                   [".tar", ".tar.gz", ".tar.zst"]),
             "compression of the layer: `.tar`, `.tar.gz`, `.tar.zst`"),
    Variable("SOURCE_DATE_EPOCH", EPOCH,
             Number(f"a whole number from 0 to {LATEST}", "1793491200", 0, LATEST, texts=True),
             "seconds since 1970, by default 2026-11-01: no file is newer; the project's files and "
             "the image have that time", inherited=True),
    Variable("DOCKER_HOST", "unix:///var/run/docker.sock",
             Text("the address of an engine", '"unix:///var/run/docker.sock"', "[!-~]+"),
             "the engine's address", inherited=True),
    Variable("REGISTRY_INSECURE", ["localhost", "127.0.0.1", "[::1]"],
             Names("a host, or a list of hosts", '["registry.example:5000"]',
                   Text("a host", "", r"[\w.:\[\]-]+")),
             "hosts, or `HOST:PORT`, of registries that are spoken to by plain HTTP"),
    Variable("TRACE_ROOT", "auto",
             OneOf("'auto', 'private' or 'plain'", '"plain"', ["auto", "private", "plain"]),
             "where runs happen: `private`, `plain`, or `auto`"),
    Variable("TRACE_PROCESSES", 1000,
             Number("a whole number from 1 to 9999999", "5000", 1, 9999999, texts=True),
             "processes and threads that a run may have at once, at most"),
    Variable("TRACE_SPACE", 1024,
             Number("a whole number from 1 to 9999999", "4096", 1, 9999999, texts=True),
             "MB that a run may write into a root of its own, which is memory"),
    Variable("STRACE", "strace",
             Text("a program", '"/usr/bin/strace"', "[^\\0]+", names=True),
             "the strace program"),
    Variable("IMAGE_CACHE", "",
             Text("an absolute directory, or a URL", '"/srv/cache"', r"(/|[a-z]+://)[^\0]+|"),
             "a cache of results, which checkouts and machines share: an absolute directory, "
             "`https://HOST/PATH` by Bazel's HTTP protocol, or `grpcs://HOST/INSTANCE` by the "
             "Remote Execution API", unset="the environment's, or none"),
    Variable("IMAGE_CACHE_WRITE", "",
             OneOf("True, False, '1' or '0'", "False", [True, False, "1", "0", ""]),
             "whether this build puts results into the cache as well; if it is not set, into a "
             "directory alone", inherited=True),
    Variable("IMAGE_CACHE_TLS", {},
             Dictionary("a dictionary of PEM files", '{"ca": "ca.pem"}',
                        OneOf("ca, cert or key", "", ["ca", "cert", "key"]),
                        Text("a file", "", r"[^\0]+", names=True)),
             "PEM files for encrypted connections to the cache: `ca`, the authority of its "
             "certificate; `cert` and `key`, our own", unset="the system's authorities"),
    Variable("IMAGE_CACHE_TRUST", (),
             Names("a public key, or a list of public keys", '["MCowBQYDK2VwAyEA/dI6dDxFx2s="]',
                   Text("a public key", "", "[A-Za-z0-9+/=]{20,}")),
             "Ed25519 public keys, in base64: entries of the cache that none of them has signed "
             "are not used", unset="none, and no signature is needed"),
    Variable("RUN", (),
             RUN,
             "the one run of `Strace`; `ScratchImage` sets it", unset="the program alone"),
    Variable("IMAGE_STAGED", {},
             StagedDictionary("a dictionary of nodes", '{b"/usr/bin/hello": hello}'),
             "a dictionary from paths in the image, as `bytes`, to the project's files and "
             "directories; `ScratchImage` sets it", unset="none"),
)  # fmt: skip
"""All but those that replace the line of a step, which builders name."""

_ROWS = {row.name: row for row in VARIABLES}
_DEFAULTS = {row.name: row.check(row.default) for row in VARIABLES}
_UNSET = object()


def read(env: Any, name: str) -> Any:
    """Return the value of the variable `name` in `env`, check_arguments, and converted for steps.

    The construction variables in its text are substitute. InputError when it is set to a value
    that it cannot have.
    """
    given = env.get(name, _UNSET)
    if given is _UNSET or given is _ROWS[name].default:  # Most are, and each is read often.
        return _DEFAULTS[name]
    if given.__class__ is StagedNodes:  # Thousands of files are checked once.
        return given
    return _ROWS[name].check.read(name, substitute(env, given, name))


def require(env: Any, given: Mapping[str, Any], more: Iterable[str]) -> None:
    """Raise InputError when one of the variables `given` to a call is misspelt or mistaken.

    So is one of `env` whose name is nearly that of one of ours. `more` are names that there are
    besides these rows. Other names are the project's own, in capitals, or SCons's.
    """
    known = {*_ROWS, *more}
    own = env.Override(given) if given else env
    for name in given:
        if name in _ROWS:
            read(own, name)
        elif name not in known and not _is_foreign(name, env, known):
            raise misspelt(name, known)
    for name in env.keys():  # noqa: SIM118  # environments cannot be iterated
        if name.startswith("IMAGE_") and name not in known and nearest(name, known):
            raise misspelt(name, known)


_OF_SCONS = ("chdir", "parse_flags", "source_scanner", "srcdir", "target_scanner")
"""Keywords that any builder of SCons takes."""


def _is_foreign(name: str, env: Any, known: Collection[str]) -> bool:
    """Tell whether the keyword `name` of a call may be a variable that is not ours."""
    if name in env or name in _OF_SCONS:
        return True
    return name.isupper() and not name.startswith("IMAGE_") and not nearest(name, known)


def defaults() -> dict[str, Any]:
    """Return the variables that each environment has, with their values."""
    return {row.name: row.initial() for row in VARIABLES if not row.unset}
