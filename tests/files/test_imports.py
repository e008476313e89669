from __future__ import annotations

import subprocess
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

CODERS = "/usr/lib/x86_64-linux-gnu/magick/coders"


@pytest.fixture
def coders(tmp_path: Path) -> Path:
    for name in ("png.so", "jpeg.so", "gif.so"):
        write_elf(tmp_path / CODERS[1:] / name)
    (tmp_path / CODERS[1:] / "png.la").write_text("")
    (tmp_path / CODERS[1:] / "sub").mkdir()
    (tmp_path / CODERS[1:] / "alias.so").symlink_to("gif.so")
    (tmp_path / CODERS[1:] / "dangling.so").symlink_to("nowhere")
    return tmp_path


LISTED = [
    pytest.param(f"{CODERS}/png.so", True, id="module"),
    pytest.param(f"{CODERS}/png.so run:1 needed-by:/prog", False, id="library by name"),
    pytest.param(f"{CODERS}/png.so needed-by:/prog", False, id="library that no run loaded"),
    pytest.param(f"{CODERS}/png.la", False, id="no module"),
    pytest.param("/usr/lib/x86_64-linux-gnu/libnss_x.so.2", False, id="directory of libraries"),
    pytest.param("/usr/lib/python3/dist-packages/x/y.so", False, id="extension module"),
]


@pytest.mark.parametrize(("listed", "is_found"), LISTED)
def test_directory_of_modules(coders: Path, listed: str, is_found: bool) -> None:
    image = examine(coders, listed)

    assert imports.module_directories(image.view, image.entries) == [CODERS.encode()] * is_found
    assert [f"{each.rank} {each}" for each in imports.find_siblings(image)] == [
        f"2 an input for another module of {CODERS}: runs loaded 1 of its 4; add the preset siblings"
    ] * is_found  # fmt: skip


def test_preset_brings_all_files_of_the_directory(coders: Path) -> None:
    names = ("alias.so", "gif.so", "jpeg.so", "png.la", "png.so")
    image = examine(coders, f"{CODERS}/png.so")

    found = imports.sibling_paths(image.view, image.entries)

    assert found == [f"{CODERS}/{name}".encode() for name in names]
    assert [*imports.find_siblings(examine(coders, *(each.decode() for each in found)))] == []


def test_library_that_only_a_wrapper_finds_is_no_module(coders: Path) -> None:
    program = coders / "prog"
    _compile(coders / "private/libx.so", "-shared")
    _compile(program, "-shared", str(coders / "private/libx.so"))

    image = examine(coders, "/private/libx.so", "/prog")

    assert imports.module_directories(image.view, image.entries[:1]) == [b"/private"]
    assert imports.module_directories(image.view, image.entries) == []


def _compile(made: Path, *flags: str) -> None:
    made.parent.mkdir(exist_ok=True)
    words = ["-nostdlib", "-fPIC", f"-Wl,-soname,{made.name}", "-Wl,--no-as-needed"]
    source = ["-x", "c", "/dev/null", "-x", "none"]
    subprocess.run(["gcc", *source, *words, "-o", made, *flags], check=True)


@pytest.mark.parametrize(
    ("listed", "is_found"),
    [
        pytest.param("", True, id="none"),
        pytest.param(f"{CODERS}/png.so", False, id="one, whose siblings have a finding"),
    ],
)
def test_modules_of_a_listed_library(coders: Path, listed: str, is_found: bool) -> None:
    library, engine = "/usr/lib/x86_64-linux-gnu/libmagick.so.6", "/usr/lib/engines-3/a.so"
    write_elf(coders / library[1:])
    info = coders / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info.parent / "status").write_text(
        "Package: libmagick6\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n"
    )
    (info / "libmagick6.list").write_text(f"{library}\n{CODERS}/png.so\n{engine}\n")
    (info / "other.list").write_text("/usr/lib/other/a.so\n")
    image = examine(coders, f"{library} needed-by:/prog", *([listed] if listed else []))

    assert [f"{each.rank} {each}" for each in imports.find_unloaded(image)] == [
        f"3 an input for a module of a library: the image has none of {CODERS}; list {CODERS}"
    ] * is_found


def test_a_broken_database_has_no_modules(coders: Path) -> None:
    write_elf(coders / "usr/lib/liba.so")
    info = coders / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info.parent / "status").write_text("Package: liba\nStatus: install ok installed\n")
    (info / "liba.list").write_text("/usr/lib/liba.so\n/usr/lib/liba/b.so\n")

    assert [*imports.find_unloaded(examine(coders, "/usr/lib/liba.so needed-by:/prog"))] == []


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
