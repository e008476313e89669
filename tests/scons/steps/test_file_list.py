from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scratch_image.errors import InputError, ListError
from scratch_image.files import secret_search
from scratch_image.files.entry import read_entries
from scratch_image.files.list_options import ListOptions
from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.scons import footprint
from scratch_image.scons.steps.file_list import ListSource, ListStep
from scratch_image.scons.steps.layer_tar import LayerStep
from step_files import list_of_two_sources, make_project, path_in


def test_list_joins_all_forms(tmp_path: Path) -> None:
    (tmp_path / "a.strace").write_text(
        'open("/etc/debian_version", O_RDONLY) = 3\n+++ exited with 0 +++\n'
    )
    (tmp_path / "a.ldd").write_text("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x1)\n")
    (tmp_path / "a.extra").write_text("/etc/passwd\n")
    (tmp_path / "staged").write_text("x")
    forms = (ListSource("strace", "hand"), ListSource("ldd", "a"), ListSource("extra", "a.extra"))
    root = Root(WatchedFileSystem(staged={b"/srv/staged": path_in(tmp_path, "staged")}))

    options = ListOptions(staged=(b"/srv/staged",))
    line = ListStep("x", forms, os.fsencode(tmp_path), options).run(
        root,
        [path_in(tmp_path, "x.files")],
        [path_in(tmp_path, name) for name in ("a.strace", "a.ldd", "a.extra")],
    )

    lines = (tmp_path / "x.files").read_text().splitlines()
    assert line == f"{len(lines) - 1} paths"
    assert "file 0644 0:0 /etc/debian_version packages run:hand" in lines
    assert "file 0644 0:0 /etc/passwd extra:a.extra" in lines
    assert "file 0644 0:0 /srv/staged staged" in lines
    assert any(
        line.startswith("file 0755 0:0 /usr/lib/x86_64-linux-gnu/libc.so.6 ") for line in lines
    )


def test_state_of_a_list_and_its_layer_is_the_same_afresh(tmp_path: Path) -> None:
    top = make_project(tmp_path)
    step = ListStep("x", (ListSource("extra", "x.extra"),), top)
    for each, source in ((step, "x.extra"), (LayerStep("x", "none", top), "x.files")):
        root = Root(WatchedFileSystem(epoch=7))
        target = path_in(tmp_path, "x.files" if each is step else "x.tar")
        each.run(root, [target], [path_in(tmp_path, source)])
        taken = footprint.take(root)

        assert footprint.explain(taken, taken.again(Root(WatchedFileSystem(epoch=7)))) == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param(b"/srv/debian", ["/srv/debian is in the image",
                                      "extra list x.extra:2 asks for it"], id="listed"),
        pytest.param(b"/etc/nothing", ["/etc/nothing is not in the image",
                                       "run one looked for /etc/nothing and did not find it",
                                       "there is no /etc/nothing that could be packed; install or "
                                       "make it"], id="absent"),
        pytest.param(b"/etc/passwd", ["/etc/passwd is not in the image",
                                      "run one used /etc/passwd",
                                      "an extra list leaves it out; take that line away"],
                     id="left out"),
    ],
)  # fmt: skip
def test_list_says_why_a_path_is_there(tmp_path: Path, path: bytes, words: list[str]) -> None:
    step, sources = list_of_two_sources(tmp_path)
    step.run(Root(), [path_in(tmp_path, "x.files")], sources)

    lines = [*step.why(Root(), path_in(tmp_path, "x.files"), sources, path)]

    assert lines == [f"WHY    x                   {words[0]}", *(f"       {x}" for x in words[1:])]


def test_included_list_that_is_not_there(tmp_path: Path) -> None:
    top = make_project(tmp_path)
    (tmp_path / "more/m.extra").unlink()
    step = ListStep("x", (ListSource("extra", "x.extra"),), top)

    with pytest.raises(InputError) as error:
        step.run(Root(), [path_in(tmp_path, "x.files")], [path_in(tmp_path, "x.extra")])

    assert "x.extra:1: more/m.extra cannot be read (No such file or directory)" in str(error.value)


def test_list_reports_a_missing_library_of_a_listed_file(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/lost").write_text("#!/nonexistent/interpreter\n")
    (tmp_path / "scripts/lost").chmod(0o755)
    (tmp_path / "x.extra").write_text("scripts -> /opt\n")
    step = ListStep("x", (ListSource("extra", "x.extra"),), os.fsencode(tmp_path))

    line = step.run(Root(), [path_in(tmp_path, "x.files")], [path_in(tmp_path, "x.extra")])

    assert line == (
        "2 paths\nlint: the use of /opt/lost: its interpreter /nonexistent/interpreter "
        "does not exist; install it or fix the #! line"
    )


RECORD = """# scratch_image trace 1
absent /etc/localtime
read /etc/passwd
read /usr/bin/openssl
read /usr/lib/x86_64-linux-gnu/libssl.so.3
list {directory}/dir
"""


def _list_lines(directory: Path, **options: Any) -> list[str]:
    """Build the list of a run; return the lines about it."""
    for name in ("dir/a", "dir/b", "dir/sub/c"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("")
    lines = RECORD.format(directory=directory).splitlines(keepends=True)
    ordered = sorted(lines[1:], key=lambda line: line.split()[1])
    (directory / "x.trace").write_text("".join([lines[0], *ordered]))
    forms = (ListSource("record", "1"),)
    step = ListStep("x", forms, os.fsencode(directory), ListOptions(**options))
    line = step.run(Root(), [path_in(directory, "x.files")], [path_in(directory, "x.trace")])
    return line.splitlines()


def test_list_reports_additions_and_gaps(tmp_path: Path) -> None:
    found = _list_lines(tmp_path)

    listed = (tmp_path / "x.files").read_text()
    paths = f"{len(listed.splitlines()) - 1} paths"
    assert found[0] == f"{paths}, certificates for /usr/bin/openssl, accounts root, nobody"
    assert found[1].startswith("lint: TZ with a time zone: it means UTC, as the image has 0 of ")
    assert (
        f"lint: a file of {tmp_path}/dir that no run opened: a run listed it, and the image has 0 "
        f"of its 3 entries; list {tmp_path}/dir/*, or name it in IMAGE_LISTED"
    ) in found
    assert "/etc/ssl/certs/ca-certificates.crt preset:ca-certificates\n" in listed
    assert "/etc/passwd = root:x:0:0::/:/sbin/nologin\\012" in listed


def test_options_of_a_list(tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path)

    found = _list_lines(
        tmp_path,
        listed=(directory + b"/dir",),
        presets=("locale", "passwd", "tzdata"),
        user="daemon",
        locales=("C.UTF-8",),
    )

    listed = (tmp_path / "x.files").read_text()
    assert not any("time zone" in line or "/dir," in line for line in found)
    assert f"{tmp_path}/dir/sub listed-by:1\n" in listed
    assert f"{tmp_path}/dir/sub/c" not in listed
    assert "\\012daemon:x:1:1::/:/sbin/nologin\\012" in listed
    assert "/usr/lib/locale/C.utf8/LC_CTYPE preset:locale\n" in listed


def _list_of_a_token(tmp_path: Path, line: str) -> tuple[ListStep, list[bytes], list[bytes]]:
    """Return the step, targets and sources of a list with a file of the project with a token."""
    (tmp_path / "notes").write_text(
        "1\n2 gh" + "p_" + "R4nd0mXyZ9qWeRtYuI8oPaSdF7gHjKl6zXcV" + "\n"
    )
    (tmp_path / "x.extra").write_text(line)
    step = ListStep("x", (ListSource("extra", "x.extra"),), os.fsencode(tmp_path))
    return step, [path_in(tmp_path, "x.files")], [path_in(tmp_path, "x.extra")]


@pytest.mark.parametrize(
    ("line", "path"),
    [
        pytest.param("notes -> /srv/app/notes\n", "/srv/app/notes", id="mapped"),
        pytest.param("{}/notes\n", "{}/notes", id="of the machine"),
    ],
)
def test_secret_in_a_file_is_an_error_unless_it_is_allowed(
    tmp_path: Path, line: str, path: str
) -> None:
    path = path.format(tmp_path)
    step, targets, sources = _list_of_a_token(tmp_path, line.format(tmp_path))

    with pytest.raises(ListError) as error:
        step.run(Root(WatchedFileSystem(own=os.fsencode(tmp_path))), targets, sources)

    assert str(error.value) == (
        f"cannot list secrets: {path} holds a secret (GitHub token, line 2), requested by "
        "extra:x.extra; leave them out, or add their paths to IMAGE_ALLOW if they belong into the "
        "image"
    )
    assert not (tmp_path / "x.files").exists()
    allowed = replace(step, options=ListOptions(allow=(os.fsencode(path),)))
    allowed.run(Root(WatchedFileSystem(own=os.fsencode(tmp_path))), targets, sources)
    assert f" {path} " in (tmp_path / "x.files").read_text()


def test_list_depends_on_the_kind_of_secret_and_not_on_other_content(tmp_path: Path) -> None:
    step, targets, sources = _list_of_a_token(tmp_path, "notes -> /srv/app/notes\n")
    notes = tmp_path / "notes"
    with_token = notes.read_text()
    notes.write_text("none")
    root = Root(WatchedFileSystem(own=os.fsencode(tmp_path)))
    step.run(root, targets, sources)
    taken = footprint.take(root)

    notes.write_text("none of them")
    same = taken.again(Root(WatchedFileSystem(own=os.fsencode(tmp_path))))
    notes.write_text(with_token)
    other = taken.again(Root(WatchedFileSystem(own=os.fsencode(tmp_path))))

    assert same.signature() == taken.signature()
    assert footprint.explain(taken, other) == [f"{notes}: secret in it changed"]
    assert b"R4nd0m" not in other.text()


def test_secret_of_a_run_is_an_error_unless_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("secret")
    (tmp_path / "x.trace").write_text(f"# scratch_image trace 1\nread {tmp_path}/.netrc\n")
    forms = (ListSource("record", "default"),)
    step = ListStep("x", forms, b"/nonexistent")
    targets, sources = [path_in(tmp_path, "x.files")], [path_in(tmp_path, "x.trace")]

    with pytest.raises(ListError) as error:
        step.run(Root(), targets, sources)

    assert str(error.value) == (
        f"cannot list secrets: {tmp_path}/.netrc is a secret (login and password), requested by "
        "run:default; leave them out, or add their paths to IMAGE_ALLOW if they belong into the "
        "image"
    )
    replace(step, options=ListOptions(allow=(path_in(tmp_path, ".netrc"),))).run(
        Root(), targets, sources
    )
    assert "/.netrc run:default\n" in (tmp_path / "x.files").read_text()


PROGRAMS = [
    "awk",
    "bash",
    "cat",
    "chmod",
    "cp",
    "cut",
    "dash",
    "dd",
    "df",
    "diff",
    "du",
    "env",
    "find",
    "grep",
    "gzip",
    "head",
    "id",
    "ln",
    "ls",
    "md5sum",
    "mount",
    "openssl",
    "perl",
    "ps",
    "rm",
    "sed",
    "sort",
    "tail",
    "tar",
    "uname",
    "wc",
    "xz",
]


def test_no_program_of_debian_holds_a_secret(tmp_path: Path) -> None:
    paths = sorted({os.path.realpath(shutil.which(name) or name) for name in PROGRAMS})
    (tmp_path / "x.extra").write_text("".join(f"{path}\n" for path in paths))
    step = ListStep("x", (ListSource("extra", "x.extra"),), os.fsencode(tmp_path))

    step.run(Root(), [path_in(tmp_path, "x.files")], [path_in(tmp_path, "x.extra")])

    entries = read_entries((tmp_path / "x.files").read_bytes(), "x.files")
    files = [entry for entry in entries if entry.kind == "file" and not entry.text]
    assert len(files) > len(PROGRAMS)
    for entry in files:
        with open(entry.path, "rb") as stream:
            assert secret_search.find(os.path.basename(entry.path), stream.read()) is None, (
                entry.path
            )


def test_many_findings_name_the_page_that_has_all(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for number in range(12):
        (scripts / f"lost{number:02}").write_text("#!/none\n")
        (scripts / f"lost{number:02}").chmod(0o755)
    (tmp_path / "x.extra").write_text("scripts -> /opt\n")
    (tmp_path / "build").mkdir()
    step = ListStep("x", (ListSource("extra", "x.extra"),), os.fsencode(tmp_path))

    line = step.run(Root(), [path_in(tmp_path, "build/x.files")], [path_in(tmp_path, "x.extra")])

    assert line.splitlines()[-1] == "lint: and 2 findings more; scons report/build/x shows all"
    assert len(line.splitlines()) == 12
