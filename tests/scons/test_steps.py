from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import audit
import pytest
from archives import TAR, build
from scratch_image import progress
from scratch_image.errors import InputError, ListError
from scratch_image.files import file_list, secret
from scratch_image.fs.digest import Digest
from scratch_image.fs.root import Aspect, Root
from scratch_image.fs.target import write
from scratch_image.image import archive, stack
from scratch_image.image.settings import Reference, Settings
from scratch_image.publish.engine import Loaded
from scratch_image.publish.registry import Tag
from scratch_image.sandbox.run import Run
from scratch_image.scons import state, steps
from scratch_image.scons.steps import (
    ImageStep,
    IndexStep,
    LayerStep,
    LddStep,
    ListSource,
    ListStep,
    LoadStep,
    PushStep,
    ReportStep,
    SbomStep,
    StackStep,
    Step,
    SysrootStep,
    TraceStep,
)
from scratch_image.sysroot.sysroot import Archive
from tars import member, packed

NO_ENGINE = "unix:///nonexistent/docker.sock"


def _path(directory: Path, name: str) -> bytes:
    return os.fsencode(directory / name)


def test_trace_tells_of_a_name_that_is_another_programs(tmp_path: Path) -> None:
    targets = [os.fsencode(tmp_path / name) for name in ("x.strace", "x.trace", "x.stdout")]
    told = [
        TraceStep("x", b"/bin/echo", Run("default", words), b"strace", "auto").run(
            Root(), targets, []
        )
        for words in ((b"/usr/bin/echo", b"hi"), (b"sh", b"hi"))
    ]

    assert "\n" not in told[0]
    assert told[1].endswith("\ntrace: sh is only what /bin/echo was called")


def test_trace_writes_text_and_record(tmp_path: Path) -> None:
    root = Root()
    step = TraceStep("x", b"/bin/cat", Run("default", (b"cat",)), b"strace", "auto")
    (tmp_path / "input").write_text("input")
    targets = [_path(tmp_path, name) for name in ("x.strace", "x.trace", "x.stdout")]

    told = step.run(root, targets, [_path(tmp_path, "input")])

    assert " files, " in told
    assert b"execve(" in (tmp_path / "x.strace").read_bytes()
    assert (tmp_path / "x.stdout").read_text() == "input"
    assert b"/libc.so.6\n" in (tmp_path / "x.trace").read_bytes()
    assert any(aspect is Aspect.CONTENT for _, aspect in root.looked)


def test_ldd_of_staged_files_takes_elf_files_only(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data")
    root = Root(staged={b"/opt/cat": b"/bin/cat", b"/opt/data": _path(tmp_path, "data")})

    told = LddStep("x", (b"/opt/cat",), (b"/opt/data",)).run(root, [_path(tmp_path, "x.ldd")], [])

    assert told == "1 libraries of 1 files"
    assert (
        (tmp_path / "x.ldd")
        .read_text()
        .startswith("/opt/cat:\n\tmachine 62 (x86_64)\n\tlibc.so.6 => ")
    )


def test_sysroot_is_a_tree_and_a_text_that_vouches_for_it(tmp_path: Path) -> None:
    tree, root = _path(tmp_path, "x.root"), Root()
    source = packed(tmp_path, member("lib64/ld-linux-x86-64.so.2"), member("etc/x"))
    step = SysrootStep("x", Archive("rootfs.tar"), tree)

    told = step.run(root, [_path(tmp_path, "x.sysroot")], [source])

    assert told == "5 paths"
    head, name, content, end = (tmp_path / "x.sysroot").read_text().split("\n")
    assert (head, name, end) == ("# scratch_image sysroot 1", "archive rootfs.tar", "")
    assert content.startswith("content sha256:")
    assert os.listdir(tree + b"/etc") == [b"x"]
    assert root.looked == {(tree, Aspect.STAT), (tree + b".owners", Aspect.CONTENT)}
    assert os.fsdecode(tree) not in repr(step)


def test_sysroot_of_a_directory_copies_nothing(tmp_path: Path) -> None:
    root = Root()
    step = SysrootStep("x", None, b"/", "the machine")

    told = step.run(root, [_path(tmp_path, "x.sysroot")], [])

    assert told == "the machine"
    assert os.listdir(tmp_path) == ["x.sysroot"]
    assert (tmp_path / "x.sysroot").read_text().endswith("\ndirectory the machine\n")
    assert root.looked == {(b"/", Aspect.STAT)}


def test_bill_of_an_image(tmp_path: Path) -> None:
    (tmp_path / "x.extra").write_text("/etc/debian_version\nown -> /own\n")
    (tmp_path / "own").write_text("own")
    top, root = os.fsencode(tmp_path), Root()
    listed, tar, image = (_path(tmp_path, f"x.{name}") for name in ("files", "tar", "oci.tar"))
    list_step = ListStep("x", (ListSource("extra", "x.extra"),), (), top, packages=False)
    list_step.run(Root(), [listed], [_path(tmp_path, "x.extra")])
    LayerStep("x", "none", top).run(Root(), [tar], [listed])
    made = ImageStep("x", 1, Settings(), (Reference.parse("x"),), NO_ENGINE)
    made.run(Root(), [image], [tar])

    told = SbomStep("x", ".spdx.json", top).run(
        root, [_path(tmp_path, "x.spdx.json")], [listed, image]
    )

    assert told == "SPDX, 2 files of 1 packages"
    assert '"./own"' in (tmp_path / "x.spdx.json").read_text()
    assert {(b"/etc/debian_version", aspect) for aspect in (Aspect.CONTENT, Aspect.OWNER)} <= (
        root.looked
    )
    assert (_path(tmp_path, "own"), Aspect.CONTENT) in root.looked


def _image_for(directory: Path, machine: int) -> bytes:
    """Build an image whose program says that it is for `machine`."""
    text, target = _path(directory, f"{machine}.ldd"), _path(directory, f"{machine}.oci.tar")
    write(text, [b"/a:\n\tmachine %d (x)\n\tstatically linked\n" % machine])
    step = ImageStep("x", 1, Settings(), (Reference.parse("x"),), NO_ENGINE)
    step.run(Root(), [target], [_layer(directory), text])
    return target


def test_index_of_images_of_two_platforms(tmp_path: Path) -> None:
    images = [_image_for(tmp_path, machine) for machine in (183, 62)]
    step = IndexStep("x", ("arm64", "amd64"), (Reference.parse("x"),))

    told = step.run(Root(), [_path(tmp_path, "x.index.oci.tar")], images)

    assert re.fullmatch("sha256:[0-9a-f]{12}… for arm64, amd64", told)


def test_index_of_an_image_for_another_platform(tmp_path: Path) -> None:
    images = [_image_for(tmp_path, 62)]
    step = IndexStep("x", ("arm64",), (Reference.parse("x"),))

    with pytest.raises(InputError) as error:
        step.run(Root(), [_path(tmp_path, "x.index.oci.tar")], images)

    assert str(error.value) == (
        f"cannot index {tmp_path}/62.oci.tar for arm64: its program is for amd64; "
        "give the platform's own program and base"
    )
    assert "x.index.oci.tar" not in os.listdir(tmp_path)


def test_list_joins_all_forms(tmp_path: Path) -> None:
    (tmp_path / "a.strace").write_text(
        'open("/etc/debian_version", O_RDONLY) = 3\n+++ exited with 0 +++\n'
    )
    (tmp_path / "a.ldd").write_text("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x1)\n")
    (tmp_path / "a.extra").write_text("/etc/passwd\n")
    (tmp_path / "staged").write_text("x")
    forms = (ListSource("strace", "hand"), ListSource("ldd", "a"), ListSource("extra", "a.extra"))
    root = Root(staged={b"/srv/staged": _path(tmp_path, "staged")})

    told = ListStep("x", forms, (b"/srv/staged",), os.fsencode(tmp_path)).run(
        root,
        [_path(tmp_path, "x.files")],
        [_path(tmp_path, name) for name in ("a.strace", "a.ldd", "a.extra")],
    )

    lines = (tmp_path / "x.files").read_text().splitlines()
    assert told == f"{len(lines) - 1} paths"
    assert "file 0644 0:0 /etc/debian_version packages run:hand" in lines
    assert "file 0644 0:0 /etc/passwd extra:a.extra" in lines
    assert "file 0644 0:0 /srv/staged staged" in lines
    assert any(
        line.startswith("file 0755 0:0 /usr/lib/x86_64-linux-gnu/libc.so.6 ") for line in lines
    )


PROJECT = {
    "conf/app.conf": "conf",
    "x.extra": "include more/m.extra\nconf/app.conf -> /etc/app.conf\n!/etc/passwd\n/etc/passwd\n"
    "/etc/debian_version mode=0600\ndir /srv/none\nlink /srv/none/a -> b\n/etc/debian_*\n",
    "more/m.extra": "../plugin.so -> /opt/plugin.so\n",
}


def _project(directory: Path) -> bytes:
    for name, text in PROJECT.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    shutil.copy("/bin/true", directory / "plugin.so")
    return os.fsencode(directory)


def _listed(directory: Path) -> str:
    """Build the list and the layer of a project; return the list."""
    top, root = _project(directory), Root(epoch=7)
    step = ListStep("x", (ListSource("extra", "x.extra"),), (), top)
    assert directory.name not in repr(step)
    step.run(root, [_path(directory, "x.files")], [_path(directory, "x.extra")])
    assert (_path(directory, "more/m.extra"), Aspect.CONTENT) in root.looked
    layer = LayerStep("x", "none", top)
    assert directory.name not in repr(layer)
    root = Root(epoch=7)
    layer.run(root, [_path(directory, "x.tar")], [_path(directory, "x.files")])
    assert (_path(directory, "conf/app.conf"), Aspect.CONTENT) in root.looked
    return (directory / "x.files").read_text()


def test_two_checkouts_give_the_same_list_and_layer(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"

    listed = _listed(first)

    assert "file 0644 0:0 /etc/app.conf <- conf/app.conf extra:x.extra\n" in listed
    assert "file 0755 0:0 /opt/plugin.so <- plugin.so extra:more/m.extra\n" in listed
    assert "/libc.so.6 " in listed
    assert "/etc/passwd" not in listed
    umask = os.umask(0o077)
    try:
        assert _listed(second) == listed
    finally:
        os.umask(umask)
    assert (first / "x.tar").read_bytes() == (second / "x.tar").read_bytes()


def test_state_of_a_list_and_its_layer_is_the_same_afresh(tmp_path: Path) -> None:
    top = _project(tmp_path)
    step = ListStep("x", (ListSource("extra", "x.extra"),), (), top)
    for each, source in ((step, "x.extra"), (LayerStep("x", "none", top), "x.files")):
        root = Root(epoch=7)
        target = _path(tmp_path, "x.files" if each is step else "x.tar")
        each.run(root, [target], [_path(tmp_path, source)])
        taken = state.take(root)

        assert state.explain(taken, taken.again(Root(epoch=7))) == []


@pytest.mark.parametrize(
    ("path", "told"),
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
def test_list_tells_why_a_path_is_there(tmp_path: Path, path: bytes, told: list[str]) -> None:
    step, sources = _two_sources(tmp_path)
    step.run(Root(), [_path(tmp_path, "x.files")], sources)

    lines = [*step.why(Root(), _path(tmp_path, "x.files"), sources, path)]

    assert lines == [f"WHY    x                   {told[0]}", *(f"       {x}" for x in told[1:])]


def _two_sources(directory: Path) -> tuple[ListStep, list[bytes]]:
    """Return a list step and its sources: a record and an extra list."""
    (directory / "x.trace").write_text(
        "# scratch_image trace 1\nabsent /etc/nothing\nread /etc/passwd\nlist /usr/share\n"
    )
    (directory / "x.extra").write_text("!/etc/passwd\n/etc/debian_version -> /srv/debian\n")
    forms = (ListSource("record", "one"), ListSource("extra", "x.extra"))
    sources = [_path(directory, "x.trace"), _path(directory, "x.extra")]
    return ListStep("x", forms, (), os.fsencode(directory)), sources


def test_report_tells_of_list_layer_runs_and_lint(tmp_path: Path) -> None:
    step, sources = _two_sources(tmp_path)
    made = [_path(tmp_path, name) for name in ("x.files", "x.tar")]
    step.run(Root(), made[:1], sources)
    LayerStep("x", "none", step.top).run(Root(), made[1:], made[:1])
    page, root = _path(tmp_path, "x.report.html"), Root()

    told = [ReportStep("x", step, (("one", "hello"),)).run(root, [page], [*made, *sources])]
    first = (tmp_path / "x.report.html").read_text()
    told += [ReportStep("x", step, (("one", "hello"),)).run(Root(), [page], [*made, *sources])]

    count = first.count('"reasons"')
    assert told == [f"{count} paths, 1 findings"] * 2
    assert '"path":"/srv/debian","kind":"file"' in first
    assert '"name":"one","command":"hello","absent":1' in first
    assert '"lint":["a run listed /usr/share, 0 of whose' in first
    assert '"changes":null' in first
    assert (tmp_path / "x.report.html").read_text() == first
    assert (b"/usr/share", Aspect.LISTING) in root.looked


def test_included_list_that_is_not_there(tmp_path: Path) -> None:
    top = _project(tmp_path)
    (tmp_path / "more/m.extra").unlink()
    step = ListStep("x", (ListSource("extra", "x.extra"),), (), top)

    with pytest.raises(InputError) as error:
        step.run(Root(), [_path(tmp_path, "x.files")], [_path(tmp_path, "x.extra")])

    assert "x.extra:1: more/m.extra cannot be read (No such file or directory)" in str(error.value)


def test_missing_library_of_what_a_directory_brought_is_told(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/lost").write_text("#!/nonexistent/interpreter\n")
    (tmp_path / "scripts/lost").chmod(0o755)
    (tmp_path / "x.extra").write_text("scripts -> /opt\n")
    step = ListStep("x", (ListSource("extra", "x.extra"),), (), os.fsencode(tmp_path))

    told = step.run(Root(), [_path(tmp_path, "x.files")], [_path(tmp_path, "x.extra")])

    assert told == (
        "2 paths\nlint: /opt/lost: cannot run /opt/lost: its interpreter /nonexistent/interpreter "
        "does not exist; install it or mend the #! line"
    )


RECORD = """# scratch_image trace 1
absent /etc/localtime
read /etc/passwd
read /usr/bin/openssl
read /usr/lib/x86_64-linux-gnu/libssl.so.3
list {directory}/dir
"""


def _told(directory: Path, **options: Any) -> list[str]:
    """Build the list of a run; return what is told of it."""
    for name in ("dir/a", "dir/b", "dir/sub/c"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("")
    lines = RECORD.format(directory=directory).splitlines(keepends=True)
    ordered = sorted(lines[1:], key=lambda line: line.split()[1])
    (directory / "x.trace").write_text("".join([lines[0], *ordered]))
    step = ListStep("x", (ListSource("record", "1"),), (), os.fsencode(directory), **options)
    told = step.run(Root(), [_path(directory, "x.files")], [_path(directory, "x.trace")])
    return told.splitlines()


def test_list_tells_what_was_added_and_what_may_lack(tmp_path: Path) -> None:
    told = _told(tmp_path)

    listed = (tmp_path / "x.files").read_text()
    assert told[0] == f"{len(listed.splitlines()) - 1} paths, certificates for /usr/bin/openssl"
    assert "lint: a run looked for its time zone; add the preset tzdata" in told
    assert (
        f"lint: a run listed {tmp_path}/dir, 0 of whose 3 entries are in the image; "
        f"list {tmp_path}/dir/*, or name it in IMAGE_LISTED"
    ) in told
    assert "/etc/ssl/certs/ca-certificates.crt preset:ca-certificates\n" in listed
    assert "/etc/passwd = root:x:0:0::/:/sbin/nologin\\012" in listed


def test_options_of_a_list(tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path)

    told = _told(
        tmp_path,
        presets=("locale", "passwd", "tzdata"),
        listed=(directory + b"/dir",),
        user="daemon",
        locales=("C.UTF-8",),
    )

    listed = (tmp_path / "x.files").read_text()
    assert not any("time zone" in line or "/dir," in line for line in told)
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
    step = ListStep("x", (ListSource("extra", "x.extra"),), (), os.fsencode(tmp_path))
    return step, [_path(tmp_path, "x.files")], [_path(tmp_path, "x.extra")]


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
        step.run(Root(own=os.fsencode(tmp_path)), targets, sources)

    assert str(error.value) == (
        f"cannot list {path}: it holds a secret (GitHub token, line 2), wanted by extra:x.extra; "
        "add it to IMAGE_ALLOW if it belongs into the image"
    )
    assert not (tmp_path / "x.files").exists()
    allowed = replace(step, allow=(os.fsencode(path),))
    allowed.run(Root(own=os.fsencode(tmp_path)), targets, sources)
    assert f" {path} " in (tmp_path / "x.files").read_text()


def test_list_depends_on_the_kind_of_secret_and_not_on_other_content(tmp_path: Path) -> None:
    step, targets, sources = _list_of_a_token(tmp_path, "notes -> /srv/app/notes\n")
    notes = tmp_path / "notes"
    with_token = notes.read_text()
    notes.write_text("none")
    root = Root(own=os.fsencode(tmp_path))
    step.run(root, targets, sources)
    taken = state.take(root)

    notes.write_text("none of them")
    same = taken.again(Root(own=os.fsencode(tmp_path)))
    notes.write_text(with_token)
    other = taken.again(Root(own=os.fsencode(tmp_path)))

    assert same.signature() == taken.signature()
    assert state.explain(taken, other) == [f"{notes}: secret in it changed"]
    assert b"R4nd0m" not in other.text()


def test_secret_of_a_run_is_an_error_unless_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("secret")
    (tmp_path / "x.trace").write_text(f"# scratch_image trace 1\nread {tmp_path}/.netrc\n")
    forms = (ListSource("record", "default"),)
    step = ListStep("x", forms, (), b"/nonexistent")
    targets, sources = [_path(tmp_path, "x.files")], [_path(tmp_path, "x.trace")]

    with pytest.raises(ListError) as error:
        step.run(Root(), targets, sources)

    assert str(error.value) == (
        f"cannot list {tmp_path}/.netrc: it is a secret (login and password), wanted by "
        "run:default; add it to IMAGE_ALLOW if it belongs into the image"
    )
    replace(step, allow=(_path(tmp_path, ".netrc"),)).run(Root(), targets, sources)
    assert "/.netrc run:default\n" in (tmp_path / "x.files").read_text()


def _layer(directory: Path) -> bytes:
    (directory / "x.files").write_text(
        "# scratch_image file list 1\ndir 0755 0:0 /etc parent\nfile 0644 0:0 /etc/passwd run:1\n"
    )
    target = _path(directory, "x.tar")
    LayerStep("x", "none", b"/").run(Root(epoch=7), [target], [_path(directory, "x.files")])
    return target


def test_image_archive_keeps_its_promises_and_says_how_to_load_it(tmp_path: Path) -> None:
    layer = _layer(tmp_path)
    step = ImageStep("x", 1, Settings(created=7), (Reference.parse("x"),), NO_ENGINE)

    told = step.run(Root(), [_path(tmp_path, "x.oci.tar")], [layer])

    assert audit.validate(_path(tmp_path, "x.oci.tar")) == []
    shown = os.path.relpath(tmp_path / "x.oci.tar")
    assert told.splitlines()[1] == f"no engine answers at {NO_ENGINE}: docker load -i {shown}"


def test_list_that_is_no_list_packs_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.files").write_text("/etc/passwd\n")

    with pytest.raises(InputError):
        LayerStep("x", "none", b"/").run(
            Root(), [_path(tmp_path, "x.tar")], [_path(tmp_path, "x.files")]
        )

    assert os.listdir(tmp_path) == ["x.files"]


def test_file_that_is_gone_packs_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.files").write_text("# scratch_image file list 1\nfile 0644 0:0 /gone run:1\n")

    with pytest.raises(ListError):
        LayerStep("x", "none", b"/").run(
            Root(), [_path(tmp_path, "x.tar")], [_path(tmp_path, "x.files")]
        )

    assert os.listdir(tmp_path) == ["x.files"]


def _watched(step: Step, target: bytes, *sources: bytes) -> tuple[int, int]:
    """Return the bytes that the step did, and those that it expected."""
    with progress.watched() as watched:
        step.run(Root(epoch=7), [target], sources)
    return watched.done, watched.total


def test_long_steps_tell_how_far_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "_known", {})
    (tmp_path / "top").mkdir()
    _layer(tmp_path)
    listed, top = _path(tmp_path, "x.files"), os.fsencode(tmp_path)
    tar, zst, layers, again, image, index = (
        _path(tmp_path / "top", f"{name}")
        for name in ("x.tar", "x.tar.zst", "x.layers", "y.layers", "x.oci.tar", "x.index.oci.tar")
    )
    tags = (Reference.parse("x"),)
    seen = [
        _watched(LayerStep("x", "none", top), tar, listed),
        _watched(LayerStep("x", "none", top), zst, listed),
        _watched(StackStep("x", ".tar.gz", "none", top), layers, listed),
        _watched(StackStep("x", ".tar.gz", "none", top), again, listed),
        _watched(ImageStep("x", 1, Settings(), tags, NO_ENGINE), image, tar),
        _watched(ImageStep("x", 1, Settings(), tags, NO_ENGINE), image, again),
        _watched(IndexStep("x", (), tags), index, image),
    ]

    assert [done for done, _ in seen] == [total for _, total in seen]
    assert all(done for done, _ in seen)


def test_load_writes_the_id_and_looks_at_each_tag(tmp_path: Path, engine: str) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    references = (Reference.parse("steps:1"), Reference.parse("steps:2"))
    layer = _layer(tmp_path)
    image = _path(tmp_path, "x.oci.tar")
    ImageStep("x", 1, Settings(), references, engine).run(Root(), [image], [layer])
    root = Root()

    targets = [_path(tmp_path, "x.iid"), _path(tmp_path, "x.loaded")]

    with progress.watched() as watched:
        told = LoadStep("x", references, engine).run(root, targets, [image])

    assert watched.percent == 100
    image_id = (tmp_path / "x.iid").read_text().strip()
    assert told == f"steps:1, steps:2 {Digest(image_id).short}"
    loaded = Loaded.read((tmp_path / "x.loaded").read_bytes())
    assert loaded == Loaded(image_id, archive.read(image).layers, archive.read(image).diff_ids)
    assert root.looked == {
        (f"{engine} steps:1".encode(), Aspect.IMAGE),
        (f"{engine} steps:2".encode(), Aspect.IMAGE),
    }


def test_load_leaves_out_what_its_neighbours_brought(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    layer, omitted = _layer(tmp_path), []
    chunks = archive.Archive.chunks

    def spy(image: archive.Archive, omit: Collection[Digest] = ()) -> Iterator[bytes]:
        omitted.append(len(omit))
        return chunks(image, omit)

    monkeypatch.setattr(archive.Archive, "chunks", spy)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        image = _path(tmp_path, f"{name}/x.oci.tar")
        tags = (Reference.parse(f"neighbour-{name}"),)
        ImageStep("x", 1, Settings(labels={"name": name}), tags, engine).run(
            Root(), [image], [layer]
        )
        targets = [_path(tmp_path, f"{name}/x.iid"), _path(tmp_path, f"{name}/x.loaded")]

        LoadStep("x", tags, engine).run(Root(), targets, [image])

    assert omitted == [0, 1]


def test_push_tells_what_is_where_and_mounts_what_its_neighbours_brought(
    tmp_path: Path, hub: str
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        build(tmp_path / name / "x.oci.tar", [TAR])
        tag = Tag.parse(f"http://{hub}/steps/{name}:1")
        root = Root()

        told = PushStep("x", (tag,)).run(
            root, [_path(tmp_path, f"{name}/x.pushed")], [_path(tmp_path, f"{name}/x.oci.tar")]
        )

        digest = archive.read(_path(tmp_path, f"{name}/x.oci.tar")).manifest
        assert told.startswith(f"{hub}/steps/{name}:1 {digest.short}, sent 0.0 MB")
        assert (tmp_path / name / "x.pushed").read_text() == f"{hub}/steps/{name}:1@{digest}\n"
        assert root.looked == {(str(tag).encode(), Aspect.TAG)}
        assert state.take(root).states == {(str(tag).encode(), Aspect.TAG): str(digest).encode()}


def test_image_without_a_registry_is_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        PushStep("x", ()).run(Root(), [_path(tmp_path, "x.pushed")], [])

    assert str(raised.value) == (
        "cannot push x: none of its tags names a registry; write HOST/NAME:TAG"
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        pytest.param(["ghcr.io/me/hello:1.2"], "ghcr.io/me/hello:1.2", id="one"),
        pytest.param(["a", "b", "c"], "a, b, c", id="all fit"),
        pytest.param([f"example/hello:{n}" for n in range(9)],
                     "example/hello:0, example/hello:1 and 7 more", id="some fit"),
        pytest.param(["x" * 90, "y"], f"{'x' * 90} and 1 more", id="the first is shown always"),
    ],
)  # fmt: skip
def test_lines_have_as_many_names_as_fit(names: list[str], told: str) -> None:
    assert steps._few(names) == told


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
    step = ListStep("x", (ListSource("extra", "x.extra"),), (), os.fsencode(tmp_path))

    step.run(Root(), [_path(tmp_path, "x.files")], [_path(tmp_path, "x.extra")])

    entries = file_list.read((tmp_path / "x.files").read_bytes(), "x.files")
    files = [entry for entry in entries if entry.kind == "file" and not entry.text]
    assert len(files) > len(PROGRAMS)
    for entry in files:
        with open(entry.path, "rb") as stream:
            assert secret.find(os.path.basename(entry.path), stream.read()) is None, entry.path
