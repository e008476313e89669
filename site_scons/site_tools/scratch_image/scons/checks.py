"""Checks of values in SConscripts: kinds of values, and the line about a wrong one.

A check takes a value as a user wrote it, and returns it as steps want it: a command line as words,
one tag as a tuple of tags. Numbers are taken for text where they have one meaning (a port, the
value of a variable). Any other value is an InputError of one line.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
import shlex
from collections import UserString
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

import SCons.Node
import SCons.Node.FS

from ..errors import InputError, one_line
from ..image import health
from ..image.settings import HealthCheck
from ..sandbox import run
from .sconscript import refuse
from .staged import StagedNode, StagedNodes

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LONGEST = 80
"""Characters of a mistaken value that are shown."""


class WrongPartError(Exception):
    """A value, or a part of it, is not what it has to be; checks catch it."""

    def __init__(self, part: Any, noun: str) -> None:
        super().__init__(part, noun)
        self.part = part
        self.noun = noun

    def cause(self, given: Any) -> str:
        """Return what is wrong with `given`, which is the part or has it somewhere inside."""
        part = "it" if self.part is given else f"{quote_value(self.part)} in it"
        return f"{part} is not {self.noun}"


@dataclass(frozen=True, slots=True)
class Check:
    """A kind of value. Calling it returns a value of that kind as steps want it.

    InputError or WrongPartError when the value is of another kind.
    """

    noun: str
    """Such a value in words: the end of a sentence that begins "it is not"."""
    example: str
    """A value that is taken, as an SConscript has it."""

    def __call__(self, given: Any) -> Any:
        """Return `given` as steps want it."""
        return self._take(given)

    def _take(self, given: Any) -> Any:
        raise NotImplementedError

    def read(self, name: str, given: Any, function: str = "") -> Any:
        """Return what the variable `name`, or this argument of `function`, is set to."""
        try:
            return self(given)
        except WrongPartError as wrong:
            place, written = f"{name} {quote_value(given)}", f"{name}={self.example}"
            if function:
                place, written = f"{place} of {function}", f"{function}(..., {written})"
            raise InputError(
                f"use {place}", wrong.cause(given), f"write {written}, for example"
            ) from wrong


@dataclass(frozen=True, slots=True)
class Text(Check):
    """Text that matches `pattern`; with `numbers` also a number, with `names` also file names."""

    pattern: str = r"[^\0]*"
    numbers: bool = False
    names: bool = False
    """Whether bytes and path objects are taken as well: names of files may have any bytes."""

    def _take(self, given: Any) -> str:
        text = given
        if self.numbers and isinstance(given, (int, float)) and is_number(given):
            text = str(int(given) if isinstance(given, int) else given)
        elif isinstance(given, UserString):
            text = str(given)
        elif self.names and is_name(given):
            text = os.fsdecode(given)
        if not isinstance(text, str) or not re.fullmatch(self.pattern, text, re.DOTALL):
            raise WrongPartError(given, self.noun)
        return text


@dataclass(frozen=True, slots=True)
class Path(Check):
    """An absolute path, or another text of that `pattern`, as bytes."""

    pattern: str = "/.*"

    def _take(self, given: Any) -> bytes:
        return os.fsencode(Text(self.noun, "", rf"(?!.*\0)(?:{self.pattern})", names=True)(given))


@dataclass(frozen=True, slots=True)
class Number(Check):
    """A number from `low` to `high`, a whole one if `low` is; with `texts` also in digits."""

    low: float
    high: float
    texts: bool = False

    def _take(self, given: Any) -> Any:
        digits = self.texts and isinstance(given, (str, UserString))
        number = int(given) if digits and re.fullmatch("[0-9]{1,20}", str(given)) else given
        kinds = int if isinstance(self.low, int) else (int, float)
        is_one = is_number(number) and isinstance(number, kinds)
        if not is_one or not self.low <= number <= self.high:
            raise WrongPartError(given, self.noun)
        return number


@dataclass(frozen=True, slots=True)
class OneOf(Check):
    """One of `values`. For True and False there may be 1 and 0."""

    values: Sequence[Any] = (True, False)

    def _take(self, given: Any) -> Any:
        if isinstance(given, (str, UserString, int)):
            for value in self.values:
                if value == given:
                    return value
        raise WrongPartError(given, self.noun)


@dataclass(frozen=True, slots=True)
class Several(Check):
    """One value, or a list of them, as a tuple.

    Where order has no meaning it is `sorted`, and a set is taken as well.
    """

    each: Check
    sorted: bool = False

    def _take(self, given: Any) -> tuple[Any, ...]:
        is_many = is_list(given) or (self.sorted and isinstance(given, Set))
        try:
            found = tuple(map(self.each, given if is_many else [given]))
        except WrongPartError as wrong:
            noun = self.noun if wrong.part is given else wrong.noun
            raise WrongPartError(wrong.part, noun) from wrong
        return tuple(sorted(found)) if self.sorted else found


@dataclass(frozen=True, slots=True)
class Dictionary(Check):
    """A dictionary of checked `keys` and `values`, in the order in which it is given."""

    keys: Check
    values: Check

    def _take(self, given: Any) -> dict[Any, Any]:
        if not isinstance(given, Mapping):
            raise WrongPartError(given, self.noun)
        return {self.keys(key): self.values(value) for key, value in given.items()}


class Words(Check):
    """A command line, or a list of words, as a tuple of words. There is no shell."""

    __slots__ = ()

    def _take(self, given: Any) -> tuple[str, ...]:
        if is_list(given):
            return tuple(map(WORD, given))
        if not isinstance(given, (str, UserString)):
            raise WrongPartError(given, self.noun)
        line = TEXT(given)
        if syntax := run.shell_syntax(line, "<"):
            raise _for_a_shell(given, syntax)
        try:
            return tuple(shlex.split(line))
        except ValueError as error:
            raise InputError(
                f"read words {quote_value(given)}",
                str(error),
                "write them as a shell would take them, or as a list",
            ) from error


@dataclass(frozen=True, slots=True)
class Names(Check):
    """Names in one text, separated by blanks, or in a list; as a sorted tuple."""

    each: Check

    def _take(self, given: Any) -> tuple[str, ...]:
        if isinstance(given, (str, UserString)):
            given = given.split()
        names: tuple[str, ...] = Several(self.noun, self.example, self.each, sorted=True)(given)
        return names


class Health(Words):
    """A health check: words, a page, or what ``HealthCheck(...)`` returns. None without words.

    Words of lists are looked at as well: Dockerfiles and compose files have such lists, in which
    the first word may ask for a shell.
    """

    __slots__ = ()

    def _take(self, given: Any) -> Any:
        check = given if isinstance(given, HealthCheck) else HealthCheck(given)
        words = Words._take(self, check.command)
        if health.is_page(words):
            return replace(check, command=health.command(words[0]))
        if words[:1] in (("CMD",), ("CMD-SHELL",), ("NONE",)):
            raise InputError(
                f"check health by {quote_value(list(words))}",
                f"{words[0]} is a word of Dockerfiles, and no program",
                "begin with the program",
            )
        syntax = " " in "".join(words[:1]) and run.shell_syntax(words[0])
        for operator in [syntax or "", *filter(_OPERATOR.fullmatch, words)]:
            if operator:
                raise _for_a_shell(list(words), operator)
        return replace(check, command=words) if words else None


_OPERATOR = re.compile(r"\|\|?|&&|[0-9]?>>?(?:&[0-9]|/\S*)?")
"""A whole word that can only be meant for a shell."""


def _for_a_shell(given: Any, syntax: str) -> InputError:
    return InputError(
        f"read words {quote_value(given)}",
        f"{syntax} is for a shell, and an image has none",
        'write a list of words, or ["/bin/sh", "-c", "..."], and /bin/sh in an extra list',
    )


class OneRun(Check):
    """A run: a command line, a list of words, or what ``Run(...)`` returns."""

    __slots__ = ()

    def _take(self, given: Any) -> run.Run:
        if isinstance(given, run.Run):
            return given
        if isinstance(given, (str, UserString)):
            return replace(run.Run.parse("", TEXT(given)), cwd=b"")
        if not is_list(given):
            raise WrongPartError(given, self.noun)
        return run.Run("", tuple(os.fsencode(WORD(word)) for word in given), cwd=b"")


class Files(Check):
    """Files: nodes and names, one or lists of them, as one list."""

    __slots__ = ()

    def _take(self, given: Any) -> list[Any]:
        found = []
        for part in given if is_list(given) else [given]:
            if is_list(part):
                found += self(part)
            elif isinstance(part, SCons.Node.Node):
                found.append(part)
            else:
                path = os.fspath(part) if is_name(part) else part
                found.append(Text(self.noun, "", r"[^\0]+")(path))
        return found


_IMAGE_PATH = Path("an absolute path", "")


class OneFile(Check):
    """A file: a node or a name, also in a list, as builders return one."""

    __slots__ = ()

    def _take(self, given: Any) -> Any:
        found = Files(self.noun, "")(given)
        if len(found) != 1:
            raise WrongPartError(given, self.noun)
        return found[0]


class StagedDictionary(Check):
    """A dictionary of nodes, or of what `Staged` returns, by their paths in an image."""

    __slots__ = ()

    def _take(self, given: Any) -> StagedNodes:
        if not isinstance(given, Mapping):
            raise WrongPartError(given, self.noun)
        staged = {path: self._staged_node(each) for path, each in given.items()}
        return StagedNodes({_IMAGE_PATH(path): each for path, each in staged.items()})

    def _staged_node(self, given: Any) -> StagedNode:
        found = given if isinstance(given, StagedNode) else StagedNode(given)
        if not isinstance(found.node, SCons.Node.FS.Base):
            raise WrongPartError(given, self.noun)
        return found


RUN_NAME = Text(
    "a name of up to 64 letters, digits and _ . + -",
    '"first"',
    "([A-Za-z0-9_][A-Za-z0-9_.+-]{0,63})?",
    numbers=True,
)
"""It becomes a part of file names, and a word of file lists."""

SECONDS = Number("a number of seconds", "5", 0.0, 1e9)
TEXT = Text("text without NUL", '"text"')
VALUE = Text("text or a number", '"text"', numbers=True)
WORD = Text("a word", '"word"', numbers=True, names=True)


def is_number(given: Any) -> bool:
    """Tell whether `given` is a number that is neither a truth value nor infinite."""
    is_real = isinstance(given, (int, float)) and not isinstance(given, bool)
    return is_real and math.isfinite(given)


def is_name(given: Any) -> bool:
    """Tell whether `given` is a name of a file that is no text; a node of SCons is more."""
    return _is_name_type(given.__class__)


def is_list(given: Any) -> bool:
    """Tell whether `given` is a list, as SCons has several kinds of."""
    return _is_list_type(given.__class__)


# Once for each type: a check of an abstract class takes long, and a project has many values.


@functools.cache
def _is_name_type(kind: type) -> bool:
    return issubclass(kind, (bytes, os.PathLike)) and not issubclass(kind, SCons.Node.Node)


@functools.cache
def _is_list_type(kind: type) -> bool:
    return issubclass(kind, Sequence) and not issubclass(kind, (str, bytes, UserString))


def quote_value(given: Any) -> str:
    """Return `given` for a message: one line, of no more than `_LONGEST` characters."""
    text = one_line(value_text(given))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def value_text(value: Any) -> str:
    """Return `value` as an SConscript has it: paths of nodes, and command lines of runs."""
    if isinstance(value, run.Run):
        return repr(shlex.join(map(os.fsdecode, value.argv))) if value.argv else "Run()"
    if isinstance(value, UserString):
        return repr(str(value))
    if isinstance(value, Mapping):
        pairs = (f"{value_text(key)}: {value_text(each)}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    if is_list(value):
        return f"[{', '.join(map(value_text, value))}]"
    return repr(value) if isinstance(value, (str, bytes)) else str(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the one of the `known` names that `name` was likely meant to be, or nothing.

    Case and the prefix ``IMAGE_`` do not matter.
    """
    import difflib

    bare = {each.upper().removeprefix("IMAGE_"): each for each in known}
    wanted = name.upper().removeprefix("IMAGE_")
    return "".join(bare[each] for each in difflib.get_close_matches(wanted, bare, 1, 0.75))


def misspelt(name: str, known: Collection[str]) -> InputError:
    """Return the error about a variable `name` that is not one of the `known`."""
    right = nearest(name, known) or "one of those in docs/reference.md"
    return InputError(f"set {name}", "there is no such variable", f"write {right}")


def check_arguments(title: str, **checks: Check) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Decorate a function that SConscripts call as `title`.

    Mistaken arguments end SCons with a line: an unknown name, and a value that is not its default
    and that its one of the `checks` does not take. So does any InputError of the function.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*arguments: _P.args, **keywords: _P.kwargs) -> _T:
            try:
                bound = _bind(title, signature, arguments, keywords)
                for name, value in bound.arguments.items():
                    if name in checks and value is not signature.parameters[name].default:
                        bound.arguments[name] = checks[name].read(name, value, title)
                return function(*bound.args, **bound.kwargs)
            except InputError as error:
                refuse(str(error))

        return call

    return decorate


def _bind(
    title: str, signature: inspect.Signature, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> inspect.BoundArguments:
    try:
        return signature.bind(*arguments, **keywords)
    except TypeError as error:
        known = [name for name in signature.parameters if name != "env"]
        for name in [each for each in keywords if each not in known]:
            raise InputError(
                f"set {name} of {title}",
                "there is no such argument",
                f"write {nearest(name, known) or ' or '.join(known)}",
            ) from error
        raise InputError(
            f"call {title}", str(error), f"write {title}({', '.join(known)})"
        ) from error
