from __future__ import annotations

import os
from typing import Any

import pytest
from scratch_image.errors import InputError
from scratch_image.sandbox.run import Run, ServerRequest


@pytest.mark.parametrize(
    ("command", "argv", "stdin"),
    [
        pytest.param("true", ["true"], None, id="a word"),
        pytest.param(
            " a  'b c'\t\"d 'e'\" f\\ g ", ["a", "b c", "d 'e'", "f g"], None, id="quotes"
        ),
        pytest.param("sort -u < in.txt", ["sort", "-u"], "in.txt", id="input"),
        pytest.param("sort <'in file'", ["sort"], "in file", id="quoted input"),
        pytest.param("a '<|;' \"&>(\" '$x'", ["a", "<|;", "&>(", "$x"], None, id="quoted syntax"),
        pytest.param("a \\$ \\< \\~ '*'", ["a", "$", "<", "~", "*"], None, id="escaped syntax"),
        pytest.param("a b=c d~ e#f", ["a", "b=c", "d~", "e#f"], None, id="no syntax"),
        pytest.param("a ''", ["a", ""], None, id="an empty word"),
        pytest.param("café", ["café"], None, id="any letter"),
    ],
)
def test_command_lines(command: str, argv: list[str], stdin: str | None) -> None:
    run = Run.parse("demo", command)
    assert run == Run(
        "demo",
        tuple(os.fsencode(word) for word in argv),
        stdin=None if stdin is None else os.fsencode(stdin),
    )
    assert (run.environment, run.cwd, run.status, run.timeout) == ({}, b"/", 0, 60.0)


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        pytest.param("a | b", "| is for a shell", id="pipe"),
        pytest.param("a > b", "> is for a shell", id="output"),
        pytest.param("a; b", "; is for a shell", id="list"),
        pytest.param("a &", "& is for a shell", id="background"),
        pytest.param("a $b", "$ is for a shell", id="variable"),
        pytest.param('a "$b"', "$ is for a shell", id="quoted variable"),
        pytest.param('a "\\$b"', "$ is for a shell", id="escapes that only a shell takes away"),
        pytest.param('a "`b`"', "$ is for a shell", id="quoted command"),
        pytest.param("a `b`", "` is for a shell", id="command"),
        pytest.param("(a)", "( is for a shell", id="subshell"),
        pytest.param("a *.c", "* is for a shell", id="star"),
        pytest.param("a ?.c", "? is for a shell", id="question mark"),
        pytest.param("a [b]", "[ is for a shell", id="bracket"),
        pytest.param("a ~/b", "~/b is for a shell", id="home"),
        pytest.param("a # b", "# is for a shell", id="comment"),
        pytest.param("a\nb", "a second line is for a shell", id="lines"),
        pytest.param("a << b", "<< is for a shell", id="here document"),
        pytest.param("a < b < c", "one file name has to follow <, and nothing else", id="two"),
        pytest.param("a < b c", "one file name has to follow <, and nothing else", id="after"),
        pytest.param("a <", "one file name has to follow <, and nothing else", id="no file"),
        pytest.param("A=1 b", "it does not start with a program", id="assignment"),
        pytest.param("< a", "it does not start with a program", id="no program"),
        pytest.param("", "it does not start with a program", id="empty"),
        pytest.param("a 'b", "no closing quotation", id="open quote"),
        pytest.param("a \\", "no escaped character", id="open escape"),
    ],
)
def test_command_lines_for_a_shell(command: str, cause: str) -> None:
    with pytest.raises(InputError) as caught:
        Run.parse("demo", command)
    assert str(caught.value) == (
        f"cannot read the command {command!r} of run demo: {cause}; "
        "give a list of words; for a shell, make a script and trace that"
    )


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        pytest.param("", None, id="no server"),
        pytest.param("tcp:65535", ServerRequest("tcp", (b"65535",)), id="port"),
        pytest.param("unix:/run/a b", ServerRequest("unix", (b"/run/a b",)), id="socket"),
        pytest.param("exec:test -e 'a b' < in", ServerRequest("exec", (b"test", b"-e", b"a b"), b"in"), id="command"),
    ],
)  # fmt: skip
def test_readiness(ready: str, expected: object) -> None:
    assert Run("demo", (b"x",), ready=ready).readiness == expected


def test_requests() -> None:
    probes = ("http://127.0.0.1:80", "http://127.0.0.1:8080/a?b=c", "redis-cli 'a b' < in")
    assert Run("demo", (b"x",), ready="tcp:80", probes=probes).requests == (
        ServerRequest("page", (b"80", b"/")),
        ServerRequest("page", (b"8080", b"/a?b=c")),
        ServerRequest("exec", (b"redis-cli", b"a b"), b"in"),
    )


BAD_READY = (
    "it is no port from 1 to 65535, socket of up to 107 bytes, or command; "
    "use tcp:PORT, unix:/PATH or exec:COMMAND LINE"
)
BAD_PAGE = "it is no page of 127.0.0.1; use http://127.0.0.1:PORT/..., or a command"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(
            pytest.param({"ready": ready}, f"ready {ready!r} of run demo: {BAD_READY}", id=ready[:9])
            for ready in ("8080", "tcp:", "tcp:0", "tcp:65536", "tcp:+1", "unix:a", "unix:/" + 107 * "a")
        ),
        *(
            pytest.param(
                {"ready": "tcp:1", "probes": ("true", probe)},
                f"the probe {probe!r} of run demo: {BAD_PAGE}",
                id=probe,
            )
            for probe in ("http://localhost/", "https://127.0.0.1:1/", "http://127.0.0.1:0/", "http://127.0.0.1:80/ a")
        ),
        pytest.param(
            {"probes": ("true",)},
            "probes of run demo: nothing says when the server is ready; give ready, too",
            id="probes alone",
        ),
        pytest.param(
            {"ready": "exec:a | b"},
            "the command 'a | b' of run demo: | is for a shell; give a list of words; "
            "for a shell, make a script and trace that",
            id="shell",
        ),
        pytest.param(
            {"cwd": b"srv"},
            "cwd 'srv' of run demo: it is not absolute; start with /",
            id="working directory",
        ),
        pytest.param(
            {"stop": 0},
            "stop 0 of run demo: there is no such signal; use signal.SIGTERM",
            id="signal",
        ),
        pytest.param(
            {"stdout": b"("},
            "stdout b'(' of run demo: missing ), unterminated subpattern at position 0; "
            "correct the regular expression",
            id="pattern",
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_read(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Run("demo", (b"x",), **settings)
    assert str(caught.value) == f"cannot read {message}"
