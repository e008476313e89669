from __future__ import annotations

from pathlib import Path

import pytest
from examined import examine, write_elf
from scratch_image.files import own_code
from scratch_image.files.own_code import OwnFile, glibc_version, needed_files
from scratch_image.trace.record import Use, Used

LIBC = "/usr/lib/x/libc.so.6 needed-by:/bin/prog"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in (
        "bin/prog", "usr/lib/x/libc.so.6", "usr/lib/x/libz.so.1.2", "usr/lib/x/libperl.so.5.36",
        "usr/lib/x/sub/libpart.so", "usr/lib/x/sub/plugin.so", "opt/libown.so",
    ):  # fmt: skip
        write_elf(tmp_path / name, "iconv_open", "/bin/sh -c", "/etc/conf", "no/path", "call")
    (tmp_path / "usr/lib/x/libz.so.1").symlink_to("libz.so.1.2")
    (tmp_path / "script").write_text(
        "#!/bin/sh\n# /bin/no\n/usr/bin/sort x; cat </bin/a/b $D/bin/c\n"
    )
    (tmp_path / "script").chmod(0o755)
    (tmp_path / "data").write_text("\0iconv_open\0")
    return tmp_path


def _own(base: Path, *listed: str, uses: tuple[Used, ...] = ()) -> list[OwnFile]:
    image = examine(base, LIBC, *listed, uses=uses)
    return [*own_code.own_code(image, (b"iconv_open", b"setlocale"))]


@pytest.mark.parametrize(
    ("listed", "is_own"),
    [
        pytest.param("/bin/prog", True, id="program"),
        pytest.param("/usr/lib/x/libz.so.1.2 needed-by:/bin/prog", False, id="library"),
        pytest.param("/usr/lib/x/libz.so.1.2", False, id="library that was loaded by dlopen"),
        pytest.param("/usr/lib/x/libperl.so.5.36 needed-by:/bin/prog", True, id="interpreter"),
        pytest.param("/usr/lib/x/sub/libpart.so needed-by:/bin/prog", False, id="private library"),
        pytest.param("/usr/lib/x/sub/plugin.so", True, id="plugin"),
        pytest.param("/opt/libown.so needed-by:/bin/prog", True, id="library of the project"),
        pytest.param("/data", False, id="data"),
    ],
)  # fmt: skip
def test_own_code_is_no_library_of_the_system(base: Path, listed: str, is_own: bool) -> None:
    assert [file.path.decode() for file in _own(base, listed)] == [listed.split()[0]] * is_own


def test_paths_of_a_search_path_count(base: Path) -> None:
    write_elf(base / "bin/prog", ".:/usr/share/awk:/opt/awk", "http://host/page")

    (found,) = _own(base, "/bin/prog")

    assert found.paths == (b"//host/page", b"/opt/awk", b"/usr/share/awk")


def test_words_and_paths_are_whole_strings(base: Path) -> None:
    (found,) = _own(base, "/bin/prog")

    assert found.words == {b"iconv_open"}
    assert found.paths == (b"/bin/sh", b"/etc/conf")
    assert found.calls([b"setlocale", b"iconv_open"]) == "iconv_open"
    assert found.calls([b"setlocale"]) == ""


def test_only_the_first_word_of_a_string_has_paths(base: Path) -> None:
    write_elf(base / "bin/prog", "PATH=/usr/x/bin:/x/bin /no/bin", "see http://no/path", "x:/no,t")

    (found,) = _own(base, "/bin/prog")

    assert found.paths == (b"/x/bin",)


@pytest.mark.parametrize(
    ("listed", "uses", "paths"),
    [
        pytest.param("/script", (Used(Use.EXEC, b"/script"),), [(b"/usr/bin/sort",)], id="run"),
        pytest.param("/script staged", (), [(b"/usr/bin/sort",)], id="staged"),
        pytest.param("/script", (Used(Use.READ, b"/script"),), [], id="only read"),
    ],
)  # fmt: skip
def test_scripts_name_programs(
    base: Path, listed: str, uses: tuple[Used, ...], paths: list[tuple[bytes, ...]]
) -> None:
    assert [file.paths for file in _own(base, listed, uses=uses)] == paths


def test_targets_of_needed_links_are_needed(base: Path) -> None:
    image = examine(
        base, "/usr/lib/x/libz.so.1 needed-by:/bin/prog",
        "/usr/lib/x/libz.so.1.2 run:1 target-of:/usr/lib/x/libz.so.1", "/bin/prog program",
    )  # fmt: skip

    assert needed_files(image.entries) == {b"/usr/lib/x/libz.so.1", b"/usr/lib/x/libz.so.1.2"}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        pytest.param("GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.", (2, 36),
                     id="Debian"),
        pytest.param("GNU C Library stable release version 2.4, by R", (2, 4), id="short"),
        pytest.param("musl", (0, 0), id="none"),
    ],
)  # fmt: skip
def test_release_of_glibc(base: Path, text: str, version: tuple[int, int]) -> None:
    (base / "usr/lib/x/libc.so.6").write_text(text)
    image = examine(base)

    assert glibc_version(image.view, b"/usr/lib/x/libc.so.6") == version
