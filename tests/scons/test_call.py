"""A call of `ScratchImage` as a value: what its digest covers, and which calls have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import SCons.Environment
import scratch_image
from lab import NO_ENGINE
from scratch_image.scons.call import ImageCall
from scratch_image.scons.variables import read


@pytest.fixture
def env() -> Any:
    variables = {"DOCKER_HOST": NO_ENGINE, "WORD": "word"}
    return SCons.Environment.Environment(tools=[scratch_image.generate], **variables)


def _read(env: Any, program: Any = "/bin/true", **variables: Any) -> ImageCall | None:
    return ImageCall.read(env, "/x/hello", program, variables)


def _digest(env: Any, program: Any = "/bin/true", **variables: Any) -> str:
    call = _read(env, program, **variables)
    assert call is not None
    return call.digest


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"IMAGE_LABELS": {"a": "$WORD"}}, {"IMAGE_LABELS": {"a": "word"}}, id="text"),
        pytest.param({"IMAGE_PORTS": [80, 81]}, {"IMAGE_PORTS": ["81", "80"]}, id="order"),
        pytest.param({"RUNS": ["true < /x"]}, {"RUNS": ["true < //x"]}, id="path"),
        pytest.param({"IMAGE_CMD": "a b"}, {"IMAGE_CMD": ["a", "b"]}, id="words"),
    ],
)
def test_two_ways_to_say_the_same_have_one_digest(
    env: Any, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert _digest(env, **first) == _digest(env, **second) != _digest(env)


def test_text_of_one_value_is_that_of_no_other(env: Any) -> None:
    texts = [["a b"], ["a", "b"], ["a, b"], ["'a', 'b'"], ["a\0b"[:1], "b'"]]

    assert len({_digest(env, IMAGE_CMD=words) for words in texts}) == len(texts)


@pytest.mark.parametrize(
    ("change", "program", "variables"),
    [
        pytest.param(lambda env: env, "/bin/true", {"chdir": 1}, id="keyword of SCons"),
        pytest.param(lambda env: env, "/bin/true", {"IMAGE_LAYERS": "x"}, id="mistake"),
        pytest.param(lambda env: env, "/bin/true", {"ROOT": "base.sysroot"}, id="name of a base"),
        pytest.param(lambda env: env, "/usr", {}, id="directory"),
        pytest.param(lambda env: env, {"/x": {}}, {}, id="no file"),
        pytest.param(lambda env: env, ["/bin/true", "/bin/false"], {}, id="two programs"),
        pytest.param(lambda env: env.Override({"A": 1}), "/bin/true", {}, id="environment"),
    ],
)
def test_calls_that_are_not_fully_known(
    env: Any, change: Callable[[Any], Any], program: Any, variables: dict[str, Any]
) -> None:
    assert _read(change(env), program, **variables) is None


def test_environment_is_that_of_the_call(env: Any) -> None:
    call = _read(env, IMAGE_LABELS={"a": "$WORD $$"}, STRACE="own")
    assert call is not None
    env.Replace(IMAGE_USER="1000", WORD="new", TRACE_SPACE=7)

    own = call.environment()

    assert read(own, "IMAGE_LABELS") == {"a": "word $"}
    assert (own["STRACE"], own["TRACE_SPACE"]) == ("own", 1024)
    assert "IMAGE_USER" not in own
    assert env["IMAGE_USER"] == "1000"
