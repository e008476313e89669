from __future__ import annotations

import pytest
from scratch_image import errors


@pytest.mark.parametrize(
    "leaf",
    [
        errors.InputError,
        errors.ProcessError,
        errors.TraceError,
        errors.ElfError,
        errors.ListError,
        errors.EngineError,
        errors.RegistryError,
        errors.SandboxError,
        errors.ImageError,
    ],
)
def test_every_error_is_a_line_for_the_user(leaf: type[errors.ScratchImageError]) -> None:
    error = leaf("do x", "cause", "hint")

    assert isinstance(error, errors.ScratchImageError)
    assert (error.action, error.cause, error.hint) == ("do x", "cause", "hint")
    assert str(error) == "cannot do x: cause; hint"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ""),
        ("plain", "plain"),
        (" two\nlines\t\x1b[1m;", "two lines [1m"),
        ("x" * 5000, "x" * 300),
        (ValueError("a cause"), "a cause"),
    ],
)
def test_text_from_outside_is_part_of_one_line(text: object, shown: str) -> None:
    assert errors.one_line(text) == shown
