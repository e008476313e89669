"""Requests to a server: the kinds of tests whether it is ready, and whether it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tcp:
    """A port on 127.0.0.1 that accepts connections."""

    port: int


@dataclass(frozen=True, slots=True)
class Unix:
    """A UNIX socket that accepts connections."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """A page that a server on 127.0.0.1 sends, by HTTP and with a status from 200 to 399."""

    port: int
    target: str
    """Path and query."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that ends with status 0."""

    argv: tuple[bytes, ...]
    stdin: bytes | None


ServerRequest = Tcp | Unix | Page | Command
"""A test of a server."""
