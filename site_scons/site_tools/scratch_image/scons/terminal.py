"""Lines for a person: one for each finished step and, on a terminal, one for those that run.

Nothing but the finished lines goes into a pipe or a file. Colours are for terminals only, and not
where NO_COLOR is set (https://no-color.org) or TERM is dumb.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

from .. import progress
from ..progress import Progress

_PATIENCE = 1.0
"""Seconds that a step runs before it is shown."""
_PAUSE = 0.25
"""Seconds between two looks."""

_ERASE = "\r\x1b[K"
_LABEL, _LINT, _PLAIN = "\x1b[1m", "\x1b[33m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class _Running:
    """A step that runs."""

    title: str
    file: bytes
    """The file that it writes, whole or not."""
    begun: float
    """By the monotonic clock."""
    progress: Progress

    def text(self, now: float) -> str:
        """Return how far it is at the time `now`."""
        written = 0
        with suppress(OSError):  # It comes late, and goes when it is whole.
            written = os.stat(self.file).st_size
        size = f", {written / 1e6:.1f} MB" if written else ""
        percent = self.progress.percent
        part = "" if percent is None else f", {percent} %"
        return f"{self.title}  {now - self.begun:.0f} s{part}{size}"


class Terminal:
    """Where lines go, which need be no terminal."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        """Write to `stream`, as `environment` asks for."""
        self._stream = stream
        self._is_live = stream.isatty() and environment.get("TERM", "dumb") != "dumb"
        self._is_coloured = self._is_live and not environment.get("NO_COLOR")
        self._lock = threading.Lock()
        self._running: list[_Running] = []
        self._watch: threading.Thread | None = None
        self._is_drawn = False
        self._notes: set[str] = set()
        """Lines about the way runs are traced: each is printed once, for all runs."""

    def report(self, label: str, name: str, text: str, seconds: float) -> None:
        """Write the lines of `text` about a step that has ended; its title begins the first one."""
        first, *more = text.split("\n")
        lines = [f"{self._paint(_LABEL, f'{label:5}')}  {name:18}  {first}, {seconds:.2f} s"]
        with self._lock:
            new = filter(self._is_new, more)
            lines += [self._paint(_LINT, x) if x.startswith("lint:") else x for x in new]
        self.say("\n".join(lines))

    def say(self, text: str) -> None:
        """Write the lines of `text`."""
        with self._lock:
            self._erase()
            self._stream.write(self._writable(f"{text}\n"))
            self._stream.flush()

    def _is_new(self, line: str) -> bool:
        known = line in self._notes
        if line.startswith("trace: "):
            self._notes.add(line)
        return not known

    def _writable(self, text: str) -> str:
        """Return `text` as the stream can take it: some have ASCII only."""
        encoding = self._stream.encoding or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._is_coloured else text

    @contextmanager
    def showing(self, title: str, file: bytes) -> Iterator[None]:
        """While the block runs, show on a terminal how long, how far, and how large `file` is."""
        with progress.watch() as watched:
            running = _Running(title, file, time.monotonic(), watched)
            with self._lock:
                self._running.append(running)
                if self._is_live and self._watch is None:
                    self._watch = threading.Thread(target=self._watch_all, daemon=True)
                    self._watch.start()
            try:
                yield
            finally:
                with self._lock:
                    self._running.remove(running)
                    self._erase()

    def _watch_all(self) -> None:
        """Draw what runs until nothing does."""
        while True:
            time.sleep(_PAUSE)
            with self._lock:
                if not self._running:
                    self._watch = None
                    return
                self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        old = [each for each in self._running if now - each.begun >= _PATIENCE]
        if old:
            text = " | ".join(each.text(now) for each in old)
            width = os.get_terminal_size(self._stream.fileno()).columns or 80
            # The cursor goes back: whatever else is printed starts where this line does.
            self._stream.write(f"{_ERASE}{text[: width - 1]}\r")
            self._stream.flush()
            self._is_drawn = True

    def _erase(self) -> None:
        if self._is_drawn:
            self._stream.write(_ERASE)
            self._stream.flush()
            self._is_drawn = False
