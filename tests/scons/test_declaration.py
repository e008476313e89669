"""The declaration of an SConscript's images, as a seal has it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scratch_image.errors import InputError
from scratch_image.image.reference import Reference
from scratch_image.scons.declaration import Declaration, DeclaredCall

CALL = DeclaredCall(
    "12ab",
    ((Reference.parse("ghcr.io/me/a:1"), "build/a.oci.tar"),),
    (("unix:///socket", "build/a.oci.tar"),),
)
DECLARATION = Declaration(
    (CALL, DeclaredCall("34cd", (), ())),
    frozenset([b"/x/build/a.tar", b"/x/build/\xff"]),
    frozenset([b"/x/a"]),
    frozenset([b"/x/b"]),
    frozenset(["strace 6.1"]),
    (b"/second", b"/first"),
)


def test_values_are_read_back() -> None:
    assert Declaration.read(json.loads(json.dumps(DECLARATION.values()))) == DECLARATION


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("calls", [["12ab", [["A//", "x"]], []]], id="no tag"),
        pytest.param("calls", [["12ab", []]], id="part of a call"),
        pytest.param("calls", 1, id="number"),
        pytest.param("targets", ["\0"], id="no path"),
        pytest.param("inputs", [1], id="number for a path"),
    ],
)
def test_values_of_another_form_are_refused(name: str, value: Any) -> None:
    with pytest.raises((AttributeError, InputError, TypeError, ValueError)):
        Declaration.read({**DECLARATION.values(), name: value})
