"""The steps of an image from its runs to its list: a cache has them as one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any


class ImageChain:
    """These steps, and their results in a build that shares these."""

    def __init__(self, owners: Sequence[Any]) -> None:
        """`owners` are the first targets of the steps, in their order."""
        self.owners = tuple(owners)
        self.lock = threading.Lock()
        self.offers: dict[Any, Any] | None = None
        """Results that a cache has for steps, by owner; None before it was looked for any."""
        self.parts: dict[Any, Any] = {}
        """The results of steps that this build has made, by owner."""

    def clear(self) -> None:
        """Forget what was found: ``--interactive`` builds again in the same process."""
        self.offers, self.parts = None, {}
