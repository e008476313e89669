from __future__ import annotations

from pathlib import Path

import pytest
from examined import examine, write_elf
from scratch_image.files.imports import follow
from scratch_image.files.perl_modules import PerlModules

BASE, SHARE, ARCH = "/usr/lib/perl-base", "/usr/share/perl/5.36", "/usr/lib/perl/5.36"
FILES = {
    f"{BASE}/strict.pm": "",
    f"{SHARE}/strict.pm": "",
    f"{SHARE}/Lib/Part.pm": "package Lib::Part;\nuse parent -norequire, qw(Base Lib::Other);\n",
    f"{SHARE}/Base.pm": "",
    f"{SHARE}/Lib/Other.pm": "",
    f"{SHARE}/old.pl": "",
    f"{ARCH}/POSIX.pm": "require XSLoader;\n",
    f"{ARCH}/XSLoader.pm": "",
    "/srv/lib/Own.pm": "",
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name[1:]).write_text(text)
    write_elf(tmp_path / "usr/bin/perl", ARCH, SHARE, BASE, "/usr/share/perl5", "/usr/bin")
    write_elf(tmp_path / ARCH[1:] / "auto/POSIX/POSIX.so")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        pytest.param("use strict; use 5.010;", [f"{BASE}/strict.pm"], id="first of two"),
        pytest.param("use Lib::Part qw(a);",
                     [f"{SHARE}/Base.pm", f"{SHARE}/Lib/Other.pm", f"{SHARE}/Lib/Part.pm"],
                     id="parents"),
        pytest.param("sub f { require POSIX; }",
                     [f"{ARCH}/POSIX.pm", f"{ARCH}/XSLoader.pm", f"{ARCH}/auto/POSIX/POSIX.so"],
                     id="compiled code"),
        pytest.param("require 'old.pl';", [f"{SHARE}/old.pl"], id="file"),
        pytest.param("use Own;", ["/srv/lib/Own.pm"], id="lib beside the program"),
        pytest.param("# use strict;\n=pod\n\nuse strict;\n\n=cut\n__END__\nuse strict;\n", [],
                     id="no code"),
        pytest.param("use Absent::Module; require '../x.pl'; require $name;", [], id="absent"),
        pytest.param("use Lib'Other;", [f"{SHARE}/Lib/Other.pm"], id="old separator"),
    ],
)  # fmt: skip
def test_modules_that_a_program_loads(base: Path, source: str, modules: list[str]) -> None:
    (base / "srv/app").write_text(f"#!/usr/bin/perl -w\n{source}\n")
    image = examine(base, "/usr/bin/perl", "/srv/app", f"{BASE}/strict.pm")

    graph = follow(image, PerlModules(image))

    assert graph.programs == (b"/srv/app",)
    assert [path.decode() for path in graph.modules if path != b"/srv/app"] == modules


def test_search_path_may_have_links(base: Path) -> None:
    (base / SHARE[1:]).rename(base / "usr/share/perl/5.36.0")
    (base / SHARE[1:]).symlink_to("5.36.0")
    (base / "srv/app.pl").write_text("use Base;\n")
    image = examine(base, "/usr/bin/perl", "/srv/app.pl", "/usr/share/perl/5.36.0/Base.pm")

    graph = follow(image, PerlModules(image))

    assert graph.programs == (b"/srv/app.pl",)
    assert graph.modules == (b"/srv/app.pl", f"{SHARE}/Base.pm".encode())
    assert image.count(graph.modules) == (1, 2)
    assert all(image.has(path) for path in graph.modules)


def test_image_without_perl_has_no_programs(base: Path) -> None:
    (base / "srv/app.pl").write_text("use strict;\n")

    assert PerlModules(examine(base, "/srv/app.pl")).programs() == []
