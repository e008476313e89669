"""A run that was traced, as a source of steps that repeat it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...image import compression
from ..nodes import step_of, suffix
from .trace import is_traced

if TYPE_CHECKING:
    from ...sandbox.run import Run


@dataclass(frozen=True)
class TracedRun:
    """A run that was traced."""

    program: bytes
    """Image path."""
    command: Run
    stdin: bool
    """Whether it has a standard input: a file that is a source."""


def traced_run(record: Any) -> TracedRun:
    """Return the run whose record is the node `record`."""
    return TracedRun(step_of(record).program, step_of(record).command, bool(record.sources))


def layers_and_records(
    verb: str, target: list[Any], source: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Return the layers and the records of runs in `source`; InputError when it lacks one kind."""
    layers = [node for node in source if str(node).endswith((".layers", *compression.MEDIA_TYPES))]
    records = [node for node in source if is_traced(node) and suffix(node) == ".trace"]
    if not records or not layers:
        raise InputError(
            f"{verb} {target[0]}",
            "it has no layer or no trace",
            "name what LayerTar and Strace made",
        )
    return layers, records
