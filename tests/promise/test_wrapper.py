"""Tests of programs that a script starts, and of libraries that only its environment finds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons

HEAD = f"""\
env = Environment(tools=["scratch_image"], toolpath=["{PACKAGE.parent}"], ENV={{}}, DOCKER_HOST="{NO_ENGINE}")
env.ImageTree("images")
"""

REAL = (
    "int puts(const char *); const char *word(void);\nint main(void) { return puts(word()) < 0; }\n"
)
WORD = 'const char *word(void) { return "one"; }\n'
PRELOADED = 'const char *word(void) { return "two"; }\n'


def _compile(made: Path, code: str, *flags: str) -> None:
    made.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-x", "c", "-", "-x", "none", "-o", str(made), *flags]
    subprocess.run(command, input=code.encode(), check=True)


def _app(where: Path, *, setting: str = 'LD_LIBRARY_PATH="$here/../private"') -> Path:
    """Make a script, the program that it starts, and the program's library, where no loader looks."""
    _compile(where / "private/libword.so", WORD, "-shared", "-fPIC", "-Wl,-soname,libword.so")
    _compile(where / "private/libtwo.so", PRELOADED, "-shared", "-fPIC", "-Wl,-soname,libtwo.so")
    _compile(where / "bin/real", REAL, f"-L{where}/private", "-lword")
    wrapper = where / "bin/app"
    wrapper.write_text(f'#!/bin/sh\nhere=${{0%/*}}\nexport {setting}\nexec "$here/real"\n')
    wrapper.chmod(0o755)
    return where


def _staged(*names: str) -> str:
    return repr({f"/opt/app/{name}": f"#app/{name}" for name in names})


ALL = ("bin/app", "bin/real", "private/libword.so")


def _scons(project: Path, scons: Scons, program: str, *words: str, status: int = 0) -> str:
    (project / "SConstruct").write_text(HEAD)
    (project / "images/app").mkdir(parents=True, exist_ok=True)
    (project / "images/app/SConscript").write_text(
        f'Import("env")\nenv.ScratchImage("app", {program})\n'
    )
    ran = scons.run(project, "-Q", *(words or ("test/images/app",)))
    assert ran.returncode == status, ran.stdout
    return ran.stdout


@pytest.mark.parametrize("view", ["private", "plain"])
@pytest.mark.parametrize("staged", [True, False], ids=["staged", "machine"])
def test_library_that_only_a_wrapper_script_finds(
    tmp_path: Path, newest: Scons, view: str, staged: bool
) -> None:
    app = _app(tmp_path / "app")
    program = f"{_staged(*ALL) if staged else repr(str(app / 'bin/app'))}, TRACE_ROOT='{view}'"

    output = _scons(tmp_path, newest, program)

    assert "TEST   app" in output
    assert "lint: " not in output
    assert "is up to date" in _scons(tmp_path, newest, program)
    where = "/opt/app" if staged else str(app)
    listed = (tmp_path / "build/images/app/app.files").read_text()
    assert f" {where}/private/libword.so " in listed


def test_library_that_a_wrapper_script_preloads(tmp_path: Path, newest: Scons) -> None:
    setting = 'LD_LIBRARY_PATH="$here/../private" LD_PRELOAD=libtwo.so'
    _app(tmp_path / "app", setting=setting)
    program = _staged(*ALL, "private/libtwo.so")

    assert "TEST   app" in _scons(tmp_path, newest, program)

    assert (tmp_path / "build/images/app/app.stdout").read_text() == "two\n"


def test_wrapper_script_that_changes_is_seen(tmp_path: Path, newest: Scons) -> None:
    app = _app(tmp_path / "app")
    other = app / "other/libword.so"
    _compile(other, PRELOADED, "-shared", "-fPIC", "-Wl,-soname,libword.so")
    _scons(tmp_path, newest, repr(str(app / "bin/app")))
    wrapper = app / "bin/app"

    wrapper.write_text(wrapper.read_text().replace("private", "other"))
    output = _scons(tmp_path, newest, repr(str(app / "bin/app")))

    assert "TRACE  app" in output
    listed = (tmp_path / "build/images/app/app.files").read_text()
    assert ("other/libword.so" in listed, "private/libword.so" in listed) == (True, False)
    wrapper.write_text(wrapper.read_text().replace("LD_LIBRARY_PATH=", "UNUSED="))
    assert "libword.so" in _scons(tmp_path, newest, repr(str(app / "bin/app")), status=2)


def test_library_that_no_run_loads_is_missing(tmp_path: Path, newest: Scons) -> None:
    _app(tmp_path / "app")

    output = _scons(tmp_path, newest, f"{_staged(*ALL)}, RUNS=[]", "images/app", status=2)

    assert "cannot find libword.so: /opt/app/bin/real needs libword.so (searched: " in output


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        pytest.param({"LD_LIBRARY_PATH": "/opt/app/private"}, "one", id="path"),
        pytest.param(
            {"LD_LIBRARY_PATH": "/opt/app/private", "LD_PRELOAD": "libtwo.so"}, "two", id="preload"
        ),
    ],
)
def test_environment_of_the_image_finds_libraries(
    tmp_path: Path, newest: Scons, variables: dict[str, str], word: str
) -> None:
    _app(tmp_path / "app")
    staged = _staged("bin/real", "private/libword.so", "private/libtwo.so")
    program = f"{staged}, IMAGE_ENV={variables}"

    _scons(tmp_path, newest, program)

    assert (tmp_path / "build/images/app/app.stdout").read_text() == f"{word}\n"
    libraries = (tmp_path / "build/images/app/app.ldd").read_text()
    assert "libword.so => /opt/app/private/libword.so (" in libraries
    assert ("libtwo.so => " in libraries) == (word == "two")
    # Without a run the list is no other.
    assert "not found" not in _scons(tmp_path, newest, f"{program}, RUNS=[]", "images/app")


def test_program_that_env_starts_without_a_run(tmp_path: Path, newest: Scons) -> None:
    app = tmp_path / "app"
    _compile(
        app / "bin/real", 'int puts(const char *);\nint main(void) { return puts("x") < 0; }\n'
    )
    (app / "tool").write_text("#!/usr/bin/env real\n")
    (app / "tool").chmod(0o755)
    staged = repr({"/usr/bin/tool": "#app/tool", "/opt/app/bin/real": "#app/bin/real"})
    program = f"{staged}, RUNS=[], EXTRA_FILES=[]"

    output = _scons(tmp_path, newest, program, "images/app", status=2)
    assert "cannot find real: /usr/bin/tool needs real (searched: " in output
    listed = tmp_path / "build/images/app/app.files"
    variables = "IMAGE_ENV={'PATH': '/opt/app/bin:/usr/bin'}"
    _scons(tmp_path, newest, f"{program}, {variables}", "images/app")
    assert "/opt/app/bin/real program staged\n" in listed.read_text()


def test_entrypoint_that_becomes_its_arguments(tmp_path: Path, newest: Scons) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/start").write_text('#!/bin/sh\nset -e\nexec "$@"\n')
    (tmp_path / "app/start").chmod(0o755)
    (tmp_path / "app/data").write_text("data\n")
    staged, command = _staged("start", "data"), "['cat', '/opt/app/data']"
    run = f"RUNS='start cat /opt/app/data', IMAGE_CMD={command}"

    start = "IMAGE_ENTRYPOINT='/opt/app/start'"
    default = _scons(tmp_path, newest, f"{staged}, IMAGE_CMD={command}, {start}", "images/app")
    alone = _scons(tmp_path, newest, f"{staged}, IMAGE_CMD={command}", "images/app", status=2)
    traced = _scons(tmp_path, newest, f"{staged}, {run}, {start}")

    cause = "the image does not have it on its PATH; add it, or name another one\n"
    assert f"cannot start 'cat' of IMAGE_CMD: {cause}" in alone
    assert "lint: a command for /opt/app/start: it becomes the program " in default
    assert "TEST   app" in traced
    assert "lint: a command" not in traced
    assert (tmp_path / "build/images/app/app.stdout").read_text() == "data\n"
