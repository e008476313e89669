"""The cache of a project in one build: options of SCons, the debug log, and the line at the end."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import SCons.Script

from ..cache.address import Address
from ..cache.cache_login import CredentialSources
from ..cache.share import Share
from ..cache.signature import Signatures
from ..cache.stores import open_store
from ..cache.tls import Tls
from ..errors import InputError, ScratchImageError
from . import tools
from .project import Project
from .sharing import Sharing
from .substitution import literal
from .variables import read

if TYPE_CHECKING:
    from .steps.step import Step
    from .terminal import Terminal


class SharedCache:
    """A cache that the steps of a project share."""

    def __init__(self, env: Any, url: str, terminal: Terminal) -> None:
        """Use the cache at `url` as `env` says; without it where that makes no sense."""
        self._terminal = terminal
        self._lock = threading.Lock()
        self._share: Share | None = None
        self._code = tools.plugin_code().hex
        try:
            self._share = self._open(env, url)
        except InputError as error:
            terminal.say(str(error))
        else:
            atexit.register(self._end, self._share)

    def _open(self, env: Any, url: str) -> Share:
        """Return the cache at `url`; InputError where that, or what comes with it, is a mistake."""
        is_directory = url[:1] == "/"
        name = url if is_directory else str(Address.parse(url))
        if not is_directory and Address.parse(url).user.username and url != _of_user("IMAGE_CACHE"):
            hint = "give it to IMAGE_CACHE in the environment, or name a token file"
            raise InputError(f"use cache {name}", "an SConscript has its password", hint)
        files = {key: _path(env, file) for key, file in read(env, "IMAGE_CACHE_TLS").items()}
        sources = CredentialSources(
            _of_user("SCRATCH_IMAGE_CACHE_TOKEN_FILE"), _of_user("SCRATCH_IMAGE_CACHE_HELPER")
        )
        key = _of_user("SCRATCH_IMAGE_CACHE_SIGN_KEY_FILE")
        signatures = Signatures(key, read(env, "IMAGE_CACHE_TRUST"))
        store = open_store(url, Tls(**files), sources)
        share = Share(name, store, signatures, self._terminal.say, self._debug)
        given = read(env, "IMAGE_CACHE_WRITE")
        writes = is_directory if given == "" else given in (True, "1")
        share.is_read_only = not writes or SCons.Script.GetOption("cache_readonly")
        return share

    @classmethod
    def of(cls, env: Any, url: str) -> SharedCache:
        """Return the cache at `url` of the project that `env` belongs to."""
        project = Project.of(env)
        with project.cache_lock:
            if url not in project.caches:
                project.caches[url] = cls(env, url, project.terminal)
            found: SharedCache = project.caches[url]
            return found

    def sharing(self, owner: Any) -> Sharing | None:
        """Return how the step that makes `owner` shares its result, if it does."""
        share = self._share
        if share is None or share.is_off or owner.attributes.step.shared_words() is None:
            return None
        try:
            return Sharing(share, self._code, owner)
        except (ScratchImageError, OSError):
            return None  # The step itself reports a source that cannot be read.

    def join(self, step: Step) -> Step:
        """Return `step` with what it takes from the cache while it runs."""
        return step.join(self._share, self._code) if self._share else step

    def _debug(self, line: str) -> None:
        """Write a line about a look-up to the file that ``--cache-debug`` names."""
        name = SCons.Script.GetOption("cache_debug")
        if not name:
            return
        with self._lock:
            if name == "-":
                self._terminal.say(f"cache: {line}")
            else:
                with open(name, "a") as file:
                    file.write(f"{line}\n")

    def _end(self, share: Share) -> None:
        """Print what the cache was good for, if a person looks on, and close it."""
        share.close()
        counts = share.counts
        if counts.steps and sys.stdout.isatty() and not SCons.Script.GetOption("silent"):
            self._terminal.say(
                f"cache: {counts.hits} of {counts.steps} steps, {counts.received / 1e6:.1f} MB in,"
                f" saved about {counts.seconds:.1f} s"
            )


def _of_user(name: str) -> str:
    """Return the variable `name` of the process's environment: secrets and their files."""
    return os.environ.get(name, "")


def _path(env: Any, name: str) -> str:
    return str(env.File(literal(name)).get_abspath())
