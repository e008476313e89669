from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from examined import examine, write_elf
from scratch_image.errors import ListError
from scratch_image.files import imports
from scratch_image.files.finding import Examined
from scratch_image.files.imports import follow
from scratch_image.image import settings
from scratch_image.trace.record import Use, Used


class Words:
    """A language of which each word is the path of a module."""

    def programs(self) -> list[bytes]:
        return [b"/program"]

    def imports(self, path: bytes, source: bytes) -> Iterator[bytes]:
        yield from source.split()

    def is_standard(self, path: bytes) -> bool:
        return path.startswith(b"/lib")

    def companions(self, path: bytes) -> Iterator[bytes]:
        return iter(())

    def always(self) -> Iterator[bytes]:
        return iter(())


@pytest.fixture
def words(tmp_path: Path) -> Path:
    (tmp_path / "program").write_text("/lib1 /own")
    (tmp_path / "lib1").write_text("/lib2 /program")
    (tmp_path / "lib2").write_text("/lib1")
    (tmp_path / "own").write_text("/large /gone")
    (tmp_path / "large").write_text("/never")
    return tmp_path


def test_imports_are_followed_once(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "LARGEST_SOURCE", 14)
    (words / "large").write_text("/never" * 9)

    found = follow(examine(words), Words())

    assert found.programs == (b"/program",)
    assert found.modules == (b"/gone", b"/large", b"/lib1", b"/lib2", b"/own", b"/program")
    assert found.direct == {b"/lib1", b"/own", b"/large", b"/gone"}
    assert found.unread == 2


def test_too_many_modules_are_an_error(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MOST_MODULES", 3)

    with pytest.raises(ListError) as error:
        follow(examine(words), Words())

    assert str(error.value) == (
        "cannot follow the imports of /program: it imports more than 3 modules; "
        "name their directories in an extra list, and take the preset away"
    )


LIB = "/usr/lib/python3.11"
USES = tuple(
    Used(kind, path.encode())
    for kind, path in (
        (Use.LIST, LIB),
        (Use.READ, f"{LIB}/encodings/__init__.py"),
        (Use.READ, "/srv/app.py"),
    )
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name, text in {
        "srv/app.py": "import deep\ndef f():\n    import late\n",
        f"{LIB[1:]}/encodings/__init__.py": "",
        f"{LIB[1:]}/deep.py": "def f():\n    import deeper\n",
        f"{LIB[1:]}/deeper.py": "",
        f"{LIB[1:]}/late.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("png.so", "gif.so"):
        write_elf(tmp_path / "usr/lib/coders" / name)
    return tmp_path


def _image(base: Path, *listed: str, presets: tuple[str, ...] = ()) -> Examined:
    return examine(base, "/srv/app.py", *listed, uses=USES, presets=presets)


def test_presets_are_those_of_the_settings() -> None:
    assert {*imports.PRESETS} <= {*settings.PRESETS}


def test_preset_brings_modules_and_codecs(base: Path) -> None:
    found = [*imports.requests(_image(base), ["python-imports", "tmp"])]

    assert {(each.reason, each.required) for each in found} == {("preset:python-imports", False)}
    assert [each.path.decode() for each in found] == [
        "/srv/app.py", f"{LIB}/deep.py", f"{LIB}/deeper.py", f"{LIB}/late.py",
        f"{LIB}/encodings/__init__.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "presets"),
    [
        pytest.param(f"{LIB}/late.py", ["python-imports"], id="module"),
        pytest.param("/usr/lib/coders/gif.so", ["siblings"], id="sibling"),
        pytest.param("/etc/none", [], id="none"),
    ],
)
def test_presets_that_would_bring_a_path(base: Path, path: str, presets: list[str]) -> None:
    image = _image(base, "/usr/lib/coders/png.so")

    assert [*imports.presets_with(image, path.encode())] == presets


def test_siblings_come_by_the_same_way(base: Path) -> None:
    image = _image(base, "/usr/lib/coders/png.so")

    assert [(each.path, each.reason) for each in imports.requests(image, ["siblings"])] == [
        (b"/usr/lib/coders/gif.so", "preset:siblings"),
        (b"/usr/lib/coders/png.so", "preset:siblings"),
    ]


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        pytest.param("perl-modules", "no file of the image is a program of this language; stage "
                     "the program, or take the preset away", id="language"),
        pytest.param("siblings", "no run loaded a module by dlopen out of a directory of its own; "
                     "add a run that loads one, or take the preset away", id="siblings"),
    ],
)  # fmt: skip
def test_preset_without_use_is_an_error(base: Path, name: str, cause: str) -> None:
    with pytest.raises(ListError) as error:
        list(imports.requests(_image(base), [name]))

    assert str(error.value) == f"cannot use preset {name}: {cause}"


FINDING = (
    "an argument for which /srv/app.py imports another module, such as {}: runs loaded {} of 3; "
    "add the preset python-imports"
)


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        pytest.param("deep", ["2 " + FINDING.format(f"{LIB}/late.py", 1)], id="of the program"),
        pytest.param("deep late", ["3 " + FINDING.format(f"{LIB}/deeper.py", 2)], id="of a library"),
        pytest.param("deep deeper late", [], id="none"),
    ],
)  # fmt: skip
def test_modules_that_no_run_loaded_are_a_finding(
    base: Path, listed: str, found: list[str]
) -> None:
    paths = [f"{LIB}/{name}.py" for name in listed.split()]

    assert [f"{each.rank} {each}" for each in imports.find(_image(base, *paths))] == found
    assert [*imports.find(_image(base, *paths, presets=("python-imports",)))] == []


def test_sources_that_are_not_searched_are_counted(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "LARGEST_SOURCE", 50)
    (base / LIB[1:] / "deep.py").write_text("#" * 99)

    (found,) = imports.find(_image(base))

    assert "runs loaded 0 of 2, and 1 could not be searched; " in str(found)


def test_too_many_modules_are_no_finding(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MOST_MODULES", 1)

    assert [*imports.find(_image(base))] == []
