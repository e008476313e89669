"""The construction variables that a project sets: what each means, told in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variable:
    """A construction variable."""

    name: str
    default: str
    """What holds where it is not set, in words or as in an SConscript."""
    meaning: str


VARIABLES = (
    Variable(
        "RUNS",
        "one run of the program alone",
        "list of command lines, lists of words, or `Run(...)`; `[]` for no run",
    ),
    Variable("ROOT", "the machine's `/`", "base of programs and files: what `Sysroot` returned"),
    Variable("EXTRA_FILES", "none", "extra lists"),
    Variable("IMAGE_PRESETS", "none", "presets: files that traces do not show"),
    Variable(
        "IMAGE_LISTED",
        "none",
        "directories that come with all their entries where a run listed them; `*` for all such",
    ),
    Variable(
        "IMAGE_ALLOW",
        "none",
        "paths that may be there though they look like secrets, with what lies below them; names "
        "of variables, labels and commands that may hold one",
    ),
    Variable(
        "IMAGE_PACKAGES",
        "`True`",
        "whether scanners are told of Debian's packages; `copyright` brings their copyright files",
    ),
    Variable(
        "IMAGE_PLATFORMS",
        "the machine's",
        "a dictionary from platforms to what is the `ROOT` of each (`/` is the machine's): "
        "an image for each, and an index of them",
    ),
    Variable("IMAGE_TAG", "`NAME:latest`", "tag, or list of tags; one with a host can be pushed"),
    Variable("IMAGE_ENTRYPOINT", "the program, unless `IMAGE_CMD` is set", "as in a Dockerfile"),
    Variable("IMAGE_CMD", "none", "as in a Dockerfile; alone, it is the whole command"),
    Variable("IMAGE_ENV", "`PATH` alone", "variables of the image; runs are traced with them"),
    Variable("IMAGE_LABELS", "none", "labels: a dictionary"),
    Variable("IMAGE_USER", "root", "as in a Dockerfile; `nonroot` is 65532, with its account"),
    Variable("IMAGE_WORKDIR", "`/`", "as in a Dockerfile; runs start there"),
    Variable("IMAGE_PORTS", "none", "ports that it serves, one or a list: `8080`, `53/udp`"),
    Variable("IMAGE_VOLUMES", "none", "directories whose content outlives a container"),
    Variable("IMAGE_STOP_SIGNAL", "the engine's", "signal that ends it: a name, or a number"),
    Variable(
        "IMAGE_HEALTHCHECK",
        "none",
        "command that tells if it is well: a command line, words, or `HealthCheck(command, "
        "interval, timeout, start_period, retries)` from `scratch_image`; there is no shell",
    ),
    Variable("IMAGE_ANNOTATIONS", "none", "annotations of manifest and index: a dictionary"),
    Variable("IMAGE_LAYERS", "`single`", "`packages` makes a layer for each Debian package"),
    Variable("LAYERTARSUFFIX", "`.tar`", "compression of the layer: `.tar`, `.tar.gz`, `.tar.zst`"),
    Variable(
        "SOURCE_DATE_EPOCH",
        "the environment's, or 2026-11-01",
        "seconds since 1970: no file is newer; the project's files and the image have that time",
    ),
    Variable(
        "DOCKER_HOST", "the environment's, or `unix:///var/run/docker.sock`", "the engine's address"
    ),
    Variable(
        "REGISTRY_INSECURE",
        "`localhost`, `127.0.0.1` and `[::1]`",
        "hosts, or `HOST:PORT`, of registries that are spoken to by plain HTTP",
    ),
    Variable("TRACE_ROOT", "`auto`", "where runs happen: `private`, `plain`, or `auto`"),
    Variable(
        "TRACE_PROCESSES", "`1000`", "processes and threads that a run may have at once, at most"
    ),
    Variable(
        "TRACE_SPACE", "`1024`", "MB that a run may write into a root of its own, which is memory"
    ),
    Variable("STRACE", "`strace`", "the strace program"),
    Variable("RUN", "the program alone", "the one run of `Strace`; `ScratchImage` sets it"),
    Variable(
        "IMAGE_STAGED",
        "none",
        "a dictionary from paths in the image, as `bytes`, to the project's files; "
        "`ScratchImage` sets it",
    ),
)
"""All but those that replace the line of a step, which builders name."""
