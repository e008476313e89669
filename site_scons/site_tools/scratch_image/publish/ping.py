"""Whether an engine answers: every build has to know that, also one with nothing to do."""

from __future__ import annotations

import os

from ..errors import EngineError


def answers(address: str) -> bool:
    """Return whether an engine answers at `address`, as in DOCKER_HOST; never raises."""
    path = address.removeprefix("unix://")
    if path != address and not os.path.exists(path):
        return False
    # The modules for sockets take longer to import than the look at the path.
    from .engine_client import PING_SECONDS, get

    try:
        return get(address, "/_ping", PING_SECONDS).status == 200
    except EngineError:
        return False
