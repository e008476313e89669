"""Errors that a user can correct, each one line: ``cannot VERB OBJECT: CAUSE; HINT``.

Any other exception is a fault of ours and may show a traceback.
"""

from __future__ import annotations


class ScratchImageError(Exception):
    """Base of all errors: three fields, and one line for the user."""

    def __init__(self, action: str, cause: str, hint: str) -> None:
        super().__init__(action, cause, hint)
        self.action = action
        """Verb and object, as ``read list hello.extra``."""
        self.cause = cause
        self.hint = hint
        """An imperative: the user does it, and the error is gone."""

    def __str__(self) -> str:
        return f"cannot {self.action}: {self.cause}; {self.hint}"


class InputError(ScratchImageError):
    """An input of the user (an SConscript value, an extra list, a tag) is wrong."""


class ProcessError(ScratchImageError):
    """A tool is missing, failed, or did not end in time."""


class TraceError(ScratchImageError):
    """A run could not be traced, or its trace cannot be trusted."""


class ElfError(ScratchImageError):
    """A file is not an ELF file that can be read, or a library it needs is missing."""


class ListError(ScratchImageError):
    """A path cannot be listed or packed."""


class EngineError(ScratchImageError):
    """The engine is down, refuses, or answers something that cannot be trusted."""


class RegistryError(ScratchImageError):
    """A registry is down, refuses, or answers something that cannot be trusted."""


class SandboxError(ScratchImageError):
    """A layer cannot be unpacked, or a process cannot get a root of its own."""


class SysrootError(ScratchImageError):
    """A sysroot cannot be made."""


class ImageError(ScratchImageError):
    """The finished image does not do what its program did on the machine."""


def one_line(text: object) -> str:
    """Return `text` from outside as a part of one line."""
    printable = "".join(char if char.isprintable() else " " for char in str(text or "")[:2000])
    return " ".join(printable.split())[:300].rstrip(" ;")


def innermost_cause(error: BaseException) -> str:
    """Return in one line what libraries wrap other errors around: it says more than these."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return getattr(error, "strerror", None) or one_line(error) or type(error).__name__
