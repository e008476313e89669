from __future__ import annotations

from collections import UserList

import pytest
from scratch_image.sandbox.run import Run
from scratch_image.scons import help_text


def test_targets_are_told_with_the_images() -> None:
    names = [f"image{number:02}" for number in range(20)]

    told = help_text.targets("images", names)

    assert told.startswith("Targets of images:\n  images                     all images\n")
    assert "  test/images[/NAME]         runs it with nothing but what it holds\n" in told
    assert "  why/images/NAME WHY=/PATH  why a path is in it, or is not\n" in told
    assert told.endswith(
        "  NAME is one of: image00 image01 image02 image03 image04 image05 image06 image07 image08 "
        "image09\n                  image10 image11 image12 image13 image14 image15 image16 image17 "
        "image18 image19\n"
    )


def test_targets_of_one_image_are_told() -> None:
    told = help_text.targets_of("images/x")

    assert told.startswith("Targets of images/x:\n  images/x                the image\n")
    assert "  why/images/x WHY=/PATH  why a path is in it, or is not\n" in told
    assert "NAME" not in told


class _Node:
    def __str__(self) -> str:
        return "build/x"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("a b", "a b", id="text"),
        pytest.param(False, "False", id="truth"),
        pytest.param(["a", b"b", 3], "['a', b'b', 3]", id="list"),
        pytest.param(_Node(), "build/x", id="node"),
        pytest.param(UserList([_Node()]), "[build/x]", id="nodes"),
        pytest.param({b"/bin/x": [_Node()]}, "{b'/bin/x': [build/x]}", id="dictionary"),
        pytest.param([Run("", (b"x", b"a b")), Run("1", ())], "[\"x 'a b'\", Run()]", id="runs"),
    ],
)
def test_values_are_told_as_they_are_written(value: object, shown: str) -> None:
    told = help_text.variables({"ROOT": value}.get, "Variables:\n")

    assert told.startswith("Variables:\n")
    assert f"\n                     = {shown}\n" in told


def test_variables_are_told_with_their_values() -> None:
    values = {"IMAGE_TAG": ["a", "b:1"], "STRACE": "x" * 10 + " y" * 200, "IMAGE_USER": ""}

    told = help_text.variables(values.get)

    assert told.startswith(help_text.HEADING)
    assert (
        "  IMAGE_TAG          tag, or list of tags; one with a host can be pushed\n"
        "                     = ['a', 'b:1']\n"
    ) in told
    assert (
        "  IMAGE_USER         as in a Dockerfile; nonroot is 65532, with its account\n                     =\n"
        in told
    )
    assert (
        "  IMAGE_CMD          as in a Dockerfile; alone, it is the whole command; not set: none\n"
        in told
    )
    assert "                     y y y y" in told
    assert " y ...\n" in told
    assert max(map(len, told.splitlines())) <= 100
