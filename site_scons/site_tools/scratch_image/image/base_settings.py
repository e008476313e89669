"""The settings of an image that another image is made of, and takes as its own.

https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import InputError
from ..fs.lookup import FileKind
from ..fs.paths import SEARCH_PATH, is_plain, show
from ..fs.root import Root
from .config import canonical
from .settings import HealthCheck, Settings

_SHELL = ("/bin/sh", "-c")
_SECOND = 10**9

_KEYS = {
    "cmd": "Cmd",
    "entrypoint": "Entrypoint",
    "env": "Env",
    "health_check": "Healthcheck",
    "labels": "Labels",
    "ports": "ExposedPorts",
    "stop_signal": "StopSignal",
    "user": "User",
    "volumes": "Volumes",
    "workdir": "WorkingDir",
}
"""The key of a config for each field of `Settings` that an image takes from its base."""


def parse(config: Any) -> Settings:
    """Return the settings in the object `config` (hostile) of an image's config.

    ValueError or InputError when it has a setting that no image of ours may have.
    """
    if not isinstance(config, Mapping):
        raise ValueError("they are no object")
    pairs = [text.partition("=") for text in _words(config, "Env")]
    settings = Settings(
        entrypoint=_words(config, "Entrypoint"),
        cmd=_words(config, "Cmd"),
        env={name: value for name, equals, value in pairs if equals},
        user=_text(config, "User"),
        workdir=_text(config, "WorkingDir"),
        labels={key: _texts("Labels", [key, each])[1] for key, each in _rows(config, "Labels")},
        ports=_texts("ExposedPorts", [port for port, _ in _rows(config, "ExposedPorts")]),
        volumes=_texts("Volumes", [path for path, _ in _rows(config, "Volumes")]),
        stop_signal=_text(config, "StopSignal"),
        health_check=_health_check(config),
    )
    settings.check()
    return settings


def _texts(key: str, values: Iterable[Any]) -> tuple[str, ...]:
    found = tuple(values)
    if not all(isinstance(each, str) and "\0" not in each for each in found):
        raise ValueError(f"{key} has a value that is no text")
    return found


def _words(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = config.get(key) or []
    if not isinstance(found, list):
        raise ValueError(f"{key} is no list")
    return _texts(key, found)


def _text(config: Mapping[str, Any], key: str) -> str:
    return _texts(key, [config.get(key) or ""])[0]


def _rows(config: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    found = config.get(key) or {}
    if not isinstance(found, Mapping):
        raise ValueError(f"{key} is no object")
    return sorted(found.items())


def _health_check(config: Mapping[str, Any]) -> HealthCheck | None:
    found = dict(_rows(config, "Healthcheck"))
    kind, *words = _words(found, "Test") or ("NONE",)
    if kind == "NONE":
        return None
    if kind == "CMD-SHELL":
        words = [*(_words(config, "Shell") or _SHELL), *words]
    interval, timeout, start_period = (
        _number(found, key) / _SECOND for key in ("Interval", "Timeout", "StartPeriod")
    )
    return HealthCheck(words, interval, timeout, start_period, _number(found, "Retries"))


def _number(config: Mapping[str, Any], key: str) -> int:
    found = config.get(key) or 0
    if not isinstance(found, int):
        raise ValueError(f"{key} is no number")
    return found


def texts(settings: Settings) -> dict[str, str]:
    """Return `settings` as texts by name, those of `inherit`; each variable is one more of them."""
    variables = {f"Env.{name}": value for name, value in settings.env.items()}
    rows = {**settings.document(), **variables}
    return {name: canonical(value).decode() for name, value in rows.items()}


def inherit(own: Settings, names: Collection[str], root: Root) -> Settings:
    """Return `own` with the settings `names` of the image that `root` was made of.

    They are fields of `Settings`. Variables and labels of `own` stay, and go before those of the
    same name. InputError when a private file has been changed to what no settings can be.
    """
    found = {_KEYS[name]: _setting(root, _KEYS[name]) for name in names}
    try:
        theirs = parse(found)
    except ValueError as error:
        raise _damage(str(error)) from error
    taken = {name: getattr(theirs, name) for name in names}
    if "env" in taken:
        default = {"PATH": SEARCH_PATH.decode()}
        taken["env"] = dict(sorted({**default, **taken["env"], **own.env}.items()))
    if "labels" in taken:
        taken["labels"] = dict(sorted({**taken["labels"], **own.labels}.items()))
    return replace(own, **taken)


def variables(own: Mapping[str, str], names: Iterable[str], root: Root) -> dict[str, str]:
    """Return the variables `names`, each as `own` has it, or the image that `root` was made of."""
    found = {"PATH": SEARCH_PATH.decode()}
    for name in names:
        value = own[name] if name in own else _setting(root, f"Env.{name}")
        if isinstance(value, str):
            found[name] = value
    return found


def _setting(root: Root, name: str) -> Any:
    text = root.setting(name)
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        raise _damage(f"{name} is no JSON") from error


def _damage(cause: str) -> InputError:
    return InputError("use the settings of the base image", cause, "build its sysroot again")


def command(settings: Settings) -> tuple[str, ...]:
    """Return the words that an engine starts in a container with `settings`.

    InputError when there are none.
    """
    words = (*settings.entrypoint, *settings.cmd)
    if not words:
        raise InputError(
            "find the program of the base image",
            "it has neither ENTRYPOINT nor CMD",
            "name a program",
        )
    return words


def program(settings: Settings, root: Root) -> bytes:
    """Return the path in `root` of the program that an engine starts with `settings`.

    InputError when there is none.
    """
    name = command(settings)[0]
    for path in settings.places(name):
        found = root.walk(path)
        status = found.status
        if status is not None and status.kind is FileKind.FILE and status.mode & 0o111:
            # A link keeps its name: some programs act by it.
            return path if is_plain(path) else found.real
    where = "" if "/" in name else " on its PATH"
    raise InputError(
        "find the program of the base image",
        f"it has no executable file {show(os.fsencode(name))}{where}",
        "name another program",
    )
