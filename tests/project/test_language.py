"""The language rules of CONTRIBUTING.md, as far as a program can check them.

There is no other list of exceptions than names that SCons gives to methods.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import PACKAGE

TOP = PACKAGE.parents[2]
HERE = Path(__file__)

PAGES = [*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "images").rglob("*.md")]
MODULES = [*PACKAGE.rglob("*.py")]
SCRIPTS = [*(TOP / "docs").glob("*.py"), *(TOP / "bench").glob("*.py")]
TESTS = [each for each in (TOP / "tests").rglob("*.py") if each != HERE]

PLACES = [
    *(("sentences", where) for where in ("package", "pages", "tests")),
    *(("dialect", where) for where in ("package", "pages", "tests")),
    ("participles", "package"),
    ("classes", "package"),
]
"""Each rule, and the files that follow it."""

OF_OTHERS = {"visited", "Staged"}
"""Names of methods that SCons calls, and of values as SConscripts write them."""

OPENING = re.compile(r"(?:^|[.!?:] |[|*>-] |\()\W{0,3}(?:What|Who|That)\b(?!')")
"""A sentence that begins with a riddle: the subject comes after the verb."""

DIALECT = re.compile(
    r"\b(?:whom|vouch(?:es)?|mend(?:s|ed|ing)?|told|(?:is|are|was|were) (?:asked|said)|unasked|anew"
    r"|heed(?:s|ed)?|nobody|of no (?:image|use)|is none of)\b",
    re.IGNORECASE,
)
"""Words that a reader who learned English as a second language has to read twice."""

PARTICIPLE = re.compile(
    r"(?!(?:need|embed|feed|speed|seed|exceed|proceed|shed|red|bed)$)\w+ed"
    r"|told|shown|made|known|given|cut|kept|left|held|sent|said|found|built|done|taken|gone|seen"
    r"|drawn|written|brought|thrown|meant|bound|begun|lost|met|paid|laid|led|sought|taught"
    r"|thought|understood|chosen|hidden|spoken|broken|driven|frozen|grown"
)
SMALL = re.compile(
    r"again|at|away|back|by|down|for|from|in|into|of|off|on|out|to|up|with",
)
"""Words that leave a participle as bare as it was."""


# Where words stand


def _sentences(text: str) -> Iterator[str]:
    """Yield paragraphs as one line each; code in backticks and blocks left out."""
    text = re.sub(r"``.+?``|`[^`\n]*`", "x", text, flags=re.DOTALL)
    for paragraph in re.split(r"\n\s*\n", text):
        if line := " ".join(paragraph.split()):
            yield line


def _page(page: Path) -> Iterator[str]:
    """Yield the lines of a page that people read as prose; a question may begin with What."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for line in text.splitlines():
        if not line.startswith("    ") and not re.match("#.*[?]$", line):
            yield from _sentences(re.sub(r"\]\([^)]*\)", "]", line))


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(str()) as text):
                yield text


def _comments(source: str) -> Iterator[str]:
    """Yield blocks of comment lines, joined."""
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] > last + 1 and block:
                yield "\n".join(block)
                block = []
            block.append(token.string.lstrip("#! ").removeprefix("noqa"))
            last = token.start[0]
    yield "\n".join(block)


def _code(module: Path, *, strings: bool) -> Iterator[str]:
    """Yield docstrings and comments, and with `strings` the text of messages."""
    source = module.read_text()
    tree = ast.parse(source)
    docstrings = {id(node): str(node.value) for node in _docstrings(tree)}
    for each in (*docstrings.values(), *_comments(source)):
        yield from _sentences(each)
    if strings:
        for node in ast.walk(tree):
            match node:
                case ast.Constant(str(text)) if id(node) not in docstrings:
                    yield from _sentences(text)


@functools.cache
def _texts(where: str) -> list[tuple[str, str]]:
    """Return each text with the file that it stands in."""
    found = []
    for file in sorted({"package": [*MODULES, *SCRIPTS], "pages": PAGES, "tests": TESTS}[where]):
        texts = _page(file) if where == "pages" else _code(file, strings=where == "package")
        found += [(str(file.relative_to(TOP)), each) for each in texts]
    return found


# Rules


def _matching(pattern: re.Pattern[str], where: str) -> Iterator[str]:
    for file, text in _texts(where):
        for found in pattern.finditer(text):
            yield f"{file}: …{text[max(0, found.start() - 20) : found.end() + 40]}…"


def _is_participle(name: str) -> bool:
    """Tell whether a function's name is a participle alone, or one with small words."""
    first, *others = name.strip("_").split("_") or [""]
    if name in OF_OTHERS:
        return False
    return bool(PARTICIPLE.fullmatch(first)) and all(map(SMALL.fullmatch, others))


def _is_property(node: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(each) for each in node.decorator_list)


def _participles(where: str) -> Iterator[str]:
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.FunctionDef(name) if _is_participle(name) and not _is_property(node):
                    yield f"{module.relative_to(TOP)}: {name}"


def _classes(where: str) -> Iterator[str]:
    """Yield the names that two classes of the package have."""
    names = Counter(
        node.name
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    yield from (name for name, count in names.items() if count > 1)


RULES: dict[str, Callable[[str], Iterator[str]]] = {
    "sentences": lambda where: _matching(OPENING, where),
    "dialect": lambda where: _matching(DIALECT, where),
    "participles": _participles,
    "classes": _classes,
}


@pytest.mark.parametrize(("rule", "where"), PLACES)
def test_language(rule: str, where: str) -> None:
    found = sorted(RULES[rule](where))

    assert found == []


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("told", True),
        ("_mapped", True),
        ("looked_up", True),
        ("unpacked_layers", False),
        ("is_cached", False),
        ("need", False),
        ("map_path", False),
    ],
)
def test_functions_are_verbs_or_nouns(name: str, bad: bool) -> None:
    assert _is_participle(name) is bad


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("What a run reads is an input.", True),
        ("A run ends. That is an error.", True),
        ("Who builds needs a root.", True),
        ("A run reads what it opens.", False),
        ("That's", False),
    ],
)
def test_sentences_begin_with_their_subject(text: str, bad: bool) -> None:
    assert bool(OPENING.search(text)) is bad
