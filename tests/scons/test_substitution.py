"""Construction variables in what a project gives."""

from __future__ import annotations

from collections import UserList
from typing import Any

import pytest
import SCons.Environment
from scratch_image.errors import InputError
from scratch_image.image.settings import HealthCheck
from scratch_image.sandbox.run import Run
from scratch_image.scons.substitution import literal, substitute

NODE = object()


@pytest.fixture(scope="module")
def env() -> Any:
    """Give an environment with a few variables, and without tools."""
    return SCons.Environment.Base(tools=[], VERSION="1.2", NAME="hello-$VERSION", WORDS=["a", "b"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("plain  text ", "plain  text ", id="nothing to do"),
        pytest.param("me/$NAME", "me/hello-1.2", id="variable of a variable"),
        pytest.param("${VERSION}.tar", "1.2.tar", id="braces"),
        pytest.param("${VERSION.upper()}", "1.2", id="expression"),
        pytest.param("$WORDS", "a b", id="list"),
        pytest.param("a  $VERSION  b", "a  1.2  b", id="spaces stay"),
        pytest.param("echo $$HOME $5 ^x$", "echo $HOME $5 ^x$", id="dollars"),
        pytest.param(["$VERSION", ("$NAME",)], ["1.2", ("hello-1.2",)], id="lists"),
        pytest.param(
            {"$K": "$VERSION", "n": 3}, {"$K": "1.2", "n": 3}, id="values of a dictionary"
        ),
        pytest.param(UserList(["$VERSION"]), UserList(["1.2"]), id="list of SCons"),
        pytest.param({"$VERSION"}, {"1.2"}, id="set"),
        pytest.param(b"/srv/$VERSION\xff", b"/srv/1.2\xff", id="bytes"),
        pytest.param(NODE, NODE, id="node"),
        pytest.param(None, None, id="none"),
        pytest.param(8080, 8080, id="number"),
        pytest.param(
            Run("", (b"hello", b"$VERSION"), {b"V": b"$VERSION"}, stdin=b"$NAME"),
            Run("", (b"hello", b"1.2"), {b"V": b"1.2"}, stdin=b"hello-1.2"),
            id="run",
        ),
        pytest.param(
            HealthCheck(("check", "$VERSION")), HealthCheck(("check", "1.2")), id="health check"
        ),
    ],
)
def test_variables_are_substituted_wherever_text_is(env: Any, given: Any, expected: Any) -> None:
    assert substitute(env, given, "IMAGE_TAG") == expected


@pytest.mark.parametrize("text", ["a/$NONE:1", "${NONE}", "$NONE.x"])
def test_variable_that_is_not_set_is_an_error(env: Any, text: str) -> None:
    with pytest.raises(InputError) as caught:
        substitute(env, ["fine", text], "IMAGE_TAG")

    assert str(caught.value) == (
        f"cannot use IMAGE_TAG {text!r}: there is no construction variable NONE; set it, or write "
        "$$ for a dollar"
    )


def test_what_scons_cannot_substitute_is_an_error(env: Any) -> None:
    with pytest.raises(InputError) as caught:
        substitute(env, "hello-$VERSION.1", "the stem")

    assert str(caught.value) == (
        "cannot use the stem 'hello-$VERSION.1': SCons cannot substitute it; put the variable's name "
        "in braces, or write $$ for a dollar"
    )


@pytest.mark.parametrize("given", ["$VERSION $$ ^x$", ["$NONE"], Run("", (b"echo", b"$HOME"))])
def test_literal_text_is_substituted_by_itself(env: Any, given: Any) -> None:
    assert substitute(env, literal(given), "RUN") == given
