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
        errors.SandboxError,
        errors.ImageError,
    ],
)
def test_every_error_is_a_line_for_the_user(leaf: type[errors.ScratchImageError]) -> None:
    error = leaf("cannot do x: cause; mend")

    assert isinstance(error, errors.ScratchImageError)
    assert str(error) == "cannot do x: cause; mend"
