"""A target: a file that is whole, or what it was before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO


def write(path: bytes, chunks: Iterable[bytes]) -> None:
    """Write the file `path` in one piece: it is whole, or as it was."""
    with replacing(path) as sink:
        sink.writelines(chunks)


@contextmanager
def replacing(path: bytes) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` when the block ends well."""
    made = temporary(path)
    try:
        with open(made, "wb") as sink:
            yield sink
        os.replace(made, path)
    except BaseException:
        if os.path.lexists(made):
            os.unlink(made)
        raise


def temporary(path: bytes) -> bytes:
    """Return the name under which `path` is written."""
    directory, name = os.path.split(path)
    return os.path.join(directory, b".%s.new" % name)
