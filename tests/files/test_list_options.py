"""Tests of list_options.py: the options are in the signature of a step, by their repr."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from scratch_image.files.list_options import ListOptions

OTHER: dict[str, Any] = {
    "staged": (b"/x",),
    "listed": (b"*",),
    "allow": (b"/x",),
    "presets": ("tmp",),
    "user": "daemon",
    "locales": ("C",),
    "accounts": ("nginx",),
    "packages": False,
    "copyright": True,
    "environment": ((b"PATH", b"/x"),),
}


@pytest.mark.parametrize("name", [field.name for field in fields(ListOptions)])
def test_each_option_is_in_the_signature(name: str) -> None:
    changed = replace(ListOptions(), **{name: OTHER[name]})

    assert repr(changed) != repr(ListOptions())
