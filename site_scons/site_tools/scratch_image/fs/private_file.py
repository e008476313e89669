"""Private files: JSON that only this package reads, with its format's name and version.

Such a file lies beside a target. Anybody may have written it, so it is hostile until it is read;
one that is damaged, or of another version, is as good as none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import InputError

_T = TypeVar("_T")

_MALFORMED = (
    AttributeError, InputError, KeyError, OverflowError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""Exceptions of code that takes JSON of another form for its own."""


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of private file."""

    name: str
    version: int

    @property
    def _header(self) -> str:
        return f"scratch_image {self.name} {self.version}"

    def write(self, values: Mapping[str, Any]) -> bytes:
        """Return the text of a file that holds `values`; equal values give equal texts."""
        document = {"format": self._header, "values": values}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    def read(self, text: bytes, build: Callable[[dict[str, Any]], _T]) -> _T | None:
        """Return what `build` makes of the values in `text`; None where that is not such a file.

        `build` may take the values for those that `write` was given: where they are of another
        form, its exceptions are caught. For values that mean nothing it raises ValueError or
        InputError.
        """
        try:
            document = json.loads(text)
            return build(document["values"]) if document["format"] == self._header else None
        except _MALFORMED:
            return None


def to_text(name: bytes) -> str:
    """Return `name`, a path or any other bytes, as JSON can hold it."""
    return name.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """Return the bytes that `text`, made by `to_text`, stands for; ValueError for a NUL."""
    if "\0" in text:
        raise ValueError
    return text.encode("utf-8", "surrogateescape")
