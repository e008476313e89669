"""Labels and annotations: which keys they may have.

https://github.com/opencontainers/image-spec/blob/v1.1.0/annotations.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import InputError

_KEY = re.compile(r"[^\s\0-\x1f\x7f=]+")
_OCI = "org.opencontainers."
_OCI_IMAGE = f"{_OCI}image."
_OCI_KEYS = (
    *("authors", "base.digest", "base.name", "created", "description", "documentation"),
    *("licenses", "revision", "source", "title", "url", "vendor", "version"),
)
"""OCI's keys below `_OCI_IMAGE`, but for ``ref.name``, which archives set themselves."""


def check_labels(given: Mapping[str, str]) -> dict[str, str]:
    """Return the labels or annotations `given`; InputError for a key that is not allowed."""
    for key in given:
        if not _KEY.fullmatch(key):
            raise InputError(
                f"annotate image by {key!r}",
                "it is empty, or has a blank or a = in it",
                "write it like org.example.key",
            )
        if key == f"{_OCI_IMAGE}ref.name":
            raise InputError(f"annotate image by {key}", "that is its tag", "set IMAGE_TAG instead")
        if key.startswith(_OCI) and key.removeprefix(_OCI_IMAGE) not in _OCI_KEYS:
            raise InputError(
                f"annotate image by {key}",
                f"OCI reserves {_OCI} and has no such key",
                f"write {_OCI_IMAGE} and one of {', '.join(_OCI_KEYS)}, or a domain of your own",
            )
    return dict(given)
