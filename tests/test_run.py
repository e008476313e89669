from __future__ import annotations

import os

import pytest
from scratch_image.errors import InputError
from scratch_image.run import Run


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
        'use Run(...) with argv ["sh", "-c", ...] for what a shell has to do'
    )
