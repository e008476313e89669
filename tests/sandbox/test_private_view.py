"""Tests of private_view.py: what a run sees of the host, and where its writes go."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import (
    kind_by_path,
    limited,
    needs_root,
    run_python,
    settle_clock,
    traced,
    uses_below,
)
from scratch_image.errors import TraceError
from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.fs.staging import Chosen
from scratch_image.sandbox.run import Run
from scratch_image.scons import footprint
from scratch_image.trace import tracer
from scratch_image.trace.record import Use, Used


def test_missing_directory_is_made_as_the_message_says(tmp_path: Path) -> None:
    words = ("-c", "echo x > /opt/none/app/log || { cat /opt/none/app/log; exit 2; }")
    (tmp_path / "keep").touch()

    with pytest.raises(TraceError, match=r"stage what it lacks \(for a directory, a file in it\)"):
        traced(b"/bin/sh", *words, private=True, cwd=b"/")
    root = Root(WatchedFileSystem(staged={b"/opt/none/app/.keep": os.fsencode(tmp_path / "keep")}))
    traced(b"/bin/sh", *words, root=root, private=True, cwd=b"/")

    assert not os.path.exists("/opt/none")


def test_staged_file_is_found_in_a_private_root_as_the_message_says(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    settle_clock()
    staged = {b"/opt/none/data": os.fsencode(tmp_path / "data")}
    words = ("-c", "read -r x < /opt/none/data; exit $?")

    with pytest.raises(TraceError, match="set TRACE_ROOT=private if that is staged"):
        traced(b"/bin/sh", *words, root=Root(WatchedFileSystem(staged=staged)), cwd=b"/")
    # The shell's status tells that the file was read: it has no end of line.
    traced(
        b"/bin/sh",
        *words,
        root=Root(WatchedFileSystem(staged=staged)),
        private=True,
        cwd=b"/",
        status=1,
    )


def test_program_may_be_a_staged_link_to_a_file_that_is_not(tmp_path: Path) -> None:
    shutil.copy("/bin/true", tmp_path / "true-1")
    (tmp_path / "link").symlink_to(tmp_path / "true-1")
    settle_clock()
    root = Root(WatchedFileSystem(staged={b"/usr/bin/hello": os.fsencode(tmp_path / "link")}))

    found = traced(b"/usr/bin/hello", root=root, private=True, cwd=b"/")

    assert Used(Use.LINK, b"/usr/bin/hello") in found.record.uses
    assert Used(Use.EXEC, os.fsencode(tmp_path / "true-1")) in found.record.uses


def test_run_sees_staged_files_as_the_image_has_them(tmp_path: Path) -> None:
    (tmp_path / "tree/empty").mkdir(parents=True)
    for name, mode in {"tree/open": 0o666, "tree/tool": 0o700, "key": 0o644}.items():
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(mode)
    os.link(tmp_path / "tree/open", tmp_path / "tree/again")
    (tmp_path / "tree").chmod(0o777)
    settle_clock()
    staged = {b"/opt/none/tree": "tree", b"/opt/none/key": "key", b"/opt/none/same": "key"}
    chosen = dict.fromkeys((b"/opt/none/key", b"/opt/none/same"), Chosen(0o600, "7:8"))
    root = Root(
        WatchedFileSystem(
            staged={path: os.fsencode(tmp_path / name) for path, name in staged.items()},
            chosen=chosen,
        )
    )
    words = "cd /opt/none; echo x > tree/new; stat -c '%n %a %u:%g' tree tree/* key; cat key"
    words += "; test key -ef same; echo $?; test tree/open -ef tree/again; echo $?"

    found = traced(b"/bin/sh", "-c", words, root=root, private=True, cwd=b"/")

    owner = "7:8" if os.geteuid() == 0 else "0:0"
    assert found.stdout.decode().splitlines() == [
        "tree 755 0:0", "tree/again 644 0:0", "tree/empty 755 0:0", "tree/new 644 0:0",
        "tree/open 644 0:0", "tree/tool 755 0:0", f"key 600 {owner}", "key0", "0",
    ]  # fmt: skip
    assert not (tmp_path / "tree/new").exists()


def test_private_run_writes_where_its_user_may(tmp_path: Path) -> None:
    # For an ordinary user no overlay copies /var and /var/tmp, which are of root.
    for place, cwd in (("/var/tmp", b"/"), (str(tmp_path), b"/"), (".", os.fsencode(tmp_path))):
        traced(b"/bin/sh", "-c", f"echo x > {place}/scratch_image.test", private=True, cwd=cwd)

    assert not os.path.exists("/var/tmp/scratch_image.test")
    assert os.listdir(tmp_path) == []


def test_private_run_changes_nothing(programs: Path, site: Path) -> None:
    (site / "o").mkdir()
    for name in ("changed", "unchanged", "removed"):
        (site / "o" / name).write_text("old")
    settle_clock()

    record = traced(programs / "writes", private=True).record

    assert sorted(os.listdir(site / "o")) == ["changed", "removed", "unchanged"]
    assert {path.read_text() for path in (site / "o").iterdir()} == {"old"}
    # Of "changed" the program read what it changed.
    assert uses_below(record, site) == {
        "o": "stat", "o/changed": "read", "o/removed": "write", "o/unchanged": "read"
    }  # fmt: skip


SHOWN = "for path do if [ -e $path ]; then echo $path $(LC_ALL=C ls -A $path); fi; done; cat /proc/net/dev"


def test_private_run_has_no_homes_and_no_network(site: Path) -> None:
    homes = traced(
        b"/bin/sh", "-c", SHOWN, "sh", "/home", "/root", "/etc/ld.so.conf.d", private=True
    ).stdout

    shown, _, devices = homes.decode().partition("\nInter-|")
    names = sorted(os.listdir("/etc/ld.so.conf.d"))
    assert shown == f"/home\n/root\n/etc/ld.so.conf.d {' '.join(names)}"
    assert re.findall(r"(\w+):", devices) == ["lo"]


@needs_root
def test_private_run_depends_on_nothing_that_is_hidden() -> None:
    with (
        tempfile.TemporaryDirectory(dir="/root") as home,
        tempfile.NamedTemporaryFile(dir="/tmp") as other,
    ):
        (Path(home) / "secret").write_text("secret")
        settle_clock()
        # Our own temporary directories change /tmp while it runs.
        script = f"cat {home}/secret {other.name}; ls /tmp /root; [ -e {home} ]; [ -d /home/none ]"
        root = Root()
        found = traced(b"/bin/sh", "-c", script, root=root, private=True, cwd=b"/", status=1)
        taken = footprint.take(root)
        (Path(home) / "secret").write_text("changed")

    assert found.stdout == b"/root:\n\n/tmp:\n"
    assert {use.path: use.kind for use in found.record.uses if is_hidden(use.path)} == {
        b"/home/none": "absent", b"/root": "stat", b"/tmp": "stat",
        os.fsencode(home): "absent", os.fsencode(other.name): "absent",
    }  # fmt: skip
    assert taken.again(Root()).signature() == taken.signature()
    for path in (f"{home}/secret", "/tmp/staged"):
        staged = Root(WatchedFileSystem(staged={os.fsencode(path): b"/etc/passwd"}))
        assert taken.again(staged).signature() != taken.signature()


def is_hidden(path: bytes) -> bool:
    return path.startswith((b"/home", b"/root", b"/tmp"))


@pytest.mark.dangerous
def test_private_run_sees_staged_files_in_their_places(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("staged")
    (tmp_path / "hosts").write_text("other")
    time.sleep(0.02)
    staged = {b"/srv/new/data": tmp_path / "made", b"/etc/hosts": tmp_path / "hosts"}
    root = Root(
        WatchedFileSystem(staged={path: os.fsencode(machine) for path, machine in staged.items()})
    )
    script = b"cat /srv/new/data /etc/hosts; ls /srv/new; echo x >/etc/hosts 2>/dev/null || echo no"

    found = tracer.trace(Run("demo", (b"sh", b"-c", script)), b"/bin/sh", root, private=True)

    assert found.stdout == b"stagedotherdata\nno\n"
    uses = {use.path: use.kind for use in found.record.uses}
    assert uses[b"/srv/new/data"] == uses[b"/etc/hosts"] == "read"
    assert uses[b"/srv/new"] == "list"
    assert not [path for path in uses if path.startswith(os.fsencode(tmp_path))]


@pytest.mark.parametrize("directory", [b"/srv/new", b"/home/me"])
def test_staged_link_is_a_link_in_a_private_root(tmp_path: Path, directory: bytes) -> None:
    (tmp_path / "data").write_text("staged")
    (tmp_path / "link").symlink_to("data")
    settle_clock()
    staged = {directory + b"/" + os.fsencode(name): tmp_path / name for name in ("data", "link")}
    root = Root(
        WatchedFileSystem(staged={path: os.fsencode(machine) for path, machine in staged.items()})
    )
    script = b"cd %s; cat link; readlink link" % directory

    found = tracer.trace(Run("demo", (b"sh", b"-c", script)), b"/bin/sh", root, private=True)

    assert found.stdout == b"stageddata\n"
    uses = {use.path: use.kind for use in found.record.uses}
    assert uses[directory + b"/link"] == "link"
    assert uses[directory + b"/data"] == "read"


@needs_root
def test_private_run_of_a_program_in_a_home() -> None:
    with tempfile.TemporaryDirectory(dir="/root") as home:
        shutil.copy("/bin/true", f"{home}/mine")
        Path(home, "link").symlink_to("mine")
        settle_clock()
        root = Root()
        found = traced(os.fsencode(f"{home}/link"), root=root, private=True, cwd=b"/")
        taken = footprint.take(root)
        same = taken.again(Root()).signature()
        Path(home, "mine").write_text("")
        other = taken.again(Root()).signature()

    assert Used(Use.EXEC, os.fsencode(f"{home}/mine")) in found.record.uses
    assert Used(Use.LINK, os.fsencode(f"{home}/link")) in found.record.uses
    assert same == taken.signature() != other


def test_private_run_in_another_base(tmp_path: Path, programs: Path) -> None:
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    (base / "etc").mkdir()
    (base / "etc/os-release").write_text("other")
    shutil.copy("/bin/busybox", base / "bin/cat")
    time.sleep(0.02)
    root = Root(WatchedFileSystem(os.fsencode(base)))

    run = Run("demo", (b"cat", b"/etc/os-release"))
    found = tracer.trace(run, b"/bin/cat", root, private=True)

    assert found.stdout == b"other"
    uses = {use.path: use.kind.value for use in found.record.uses if use.path != b"/"}
    assert uses == {b"/bin/cat": "exec", b"/etc/os-release": "read"}


def test_private_run_starts_in_a_directory_of_its_own() -> None:
    found = traced(b"/bin/sh", "-c", "pwd; : > x; ls", private=True, cwd=b"/var/run/none/deep")

    assert found.stdout == b"/run/none/deep\nx\n"
    assert not os.path.exists("/run/none")


@pytest.mark.dangerous
@pytest.mark.parametrize("directory", ["/tmp", "/home", "/root", "/dev/shm", "/etc", "/var/lib"])
def test_run_that_writes_too_much(site: Path, directory: str) -> None:
    script = f"dd if=/dev/zero of={directory}/x bs=1M count=20"

    with pytest.raises(TraceError) as caught:
        traced(b"/bin/sh", "-c", script, **limited(space=16))

    message = str(caught.value)
    assert message.startswith(
        "cannot trace run demo: it ended with status 1, not with status 0, and said"
    )
    assert "No space left on device" in message
    assert message.endswith(
        ", when nothing was left of the 16 MB that it may write; "
        "let it write less, or raise TRACE_SPACE"
    )
    traced(b"/bin/sh", "-c", script, **limited(space=64))


def test_run_that_makes_too_many_files_in_silence(site: Path) -> None:
    script = "import sys\ntry:\n  for n in range(5000): open(f'/tmp/{n}', 'w')\nexcept OSError: sys.exit(1)"

    with pytest.raises(TraceError, match=r"nothing was left of the 16 MB.*raise TRACE_SPACE"):
        traced(b"/usr/bin/python3", "-c", script, **limited(space=16))


def test_root_that_does_not_fit(site: Path) -> None:
    staged = {b"/srv/%d" % number: os.fsencode(site / "d/b.txt") for number in range(300)}

    with pytest.raises(TraceError, match=r"nothing was left of the 1 MB.*raise TRACE_SPACE"):
        traced(b"/bin/true", root=Root(WatchedFileSystem(staged=staged)), **limited(space=1))


MAKES = """
import os, sys
for make in (
    lambda path: open(path, "w"),
    lambda path: open(path, "x"),
    lambda path: os.mkdir(path),
    lambda path: os.symlink("x", path),
    lambda path: os.rename(sys.argv[0], path),
):
    try:
        make(sys.argv[1])
    except OSError as error:
        print(error.strerror)
"""


@needs_root
@pytest.mark.parametrize("private", [True, False])
def test_run_may_fail_to_make_a_file(site: Path, private: bool) -> None:
    (site / "makes").write_text(MAKES)
    closed = site / "closed"
    closed.mkdir(mode=0o555)
    site.chmod(0o755)
    settle_clock()
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from scratch_image.fs import root; from scratch_image.sandbox import run; from scratch_image.trace import tracer\n"
        f"words = (b'python3', b'{site}/makes', b'{closed}/new')\n"
        f"trace = tracer.trace(run.Run('x', words), b'/usr/bin/python3', root.Root(), private={private})\n"
        "sys.stdout.buffer.write(trace.stdout)\n"
    )

    ran = subprocess.run(
        [sys.executable, "-B", "-c", code],
        user="nobody",
        group="nogroup",
        extra_groups=[],
        cwd="/",
        env={},
        capture_output=True,
        text=True,
    )

    assert ran.stdout == 5 * "Permission denied\n", ran.stderr


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Make a base with a shell, of which a link leads to a directory that only the machine has."""
    (tmp_path / "victim").mkdir(mode=0o700)
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", base / "bin/sh")
    (base / "srv").symlink_to(tmp_path / "victim")
    settle_clock()
    return base


def test_targets_of_hidden_links_are_hidden(linked: Path) -> None:
    (linked / "data/home/me").mkdir(parents=True)
    (linked / "home").symlink_to("/data/home")
    settle_clock()
    script = b"echo /home/* /data/*; [ -e /home/me ] || [ -d /data/home ]"
    root = Root(WatchedFileSystem(os.fsencode(linked)))

    found = tracer.trace(Run("demo", (b"sh", b"-c", script)), b"/bin/sh", root, private=True)

    assert found.stdout == b"/home/* /data/home\n"
    assert kind_by_path(found.record) == {
        b"/": "stat", b"/bin/sh": "exec", b"/data": "list", b"/data/home": "stat",
        b"/home": "stat", b"/home/me": "absent",
    }  # fmt: skip


@pytest.mark.parametrize("cwd", [b"/srv", b"/srv/new"])
def test_directory_where_a_run_starts_is_made_in_its_root(linked: Path, cwd: bytes) -> None:
    run = Run("demo", (b"sh", b"-c", b"pwd"), cwd=cwd)

    with contextlib.suppress(TraceError):
        tracer.trace(run, b"/bin/sh", Root(WatchedFileSystem(os.fsencode(linked))), private=True)

    victim = linked.parent / "victim"
    assert list(victim.iterdir()) == []
    assert stat.S_IMODE(victim.stat().st_mode) == 0o700


def test_socket_of_a_server_is_looked_for_in_its_root(linked: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(linked.parent / "victim/s"))
        server.listen()
        # From outside of the root it would lead to the machine's.
        way = b"../" * 20 + os.fsencode(linked.parent / "victim").lstrip(b"/")
        script = b"ln -s %b /run; sleep 9" % way
        run = Run("demo", (b"sh", b"-c", script), ready="unix:/run/s", timeout=1.0)
        with pytest.raises(TraceError, match="was not ready"):
            tracer.trace(
                run, b"/bin/sh", Root(WatchedFileSystem(os.fsencode(linked))), private=True
            )


KNOCKER = """
import socket, sys
for place in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as client:
        print(client.connect_ex(place))
"""


@pytest.fixture
def doors(site: Path) -> Iterator[list[str]]:
    """Give the places of a socket that listens on the machine; root mounts it elsewhere, too."""
    door, other = site / "door", site / "other"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(door))
        server.listen()
        if os.geteuid() != 0:
            yield [str(door)]
            return
        other.touch()
        subprocess.run(["mount", "--bind", door, other], check=True)
        yield [str(door), str(other)]
        subprocess.run(["umount", other], check=True)


def test_private_run_reaches_no_socket_of_the_machine(doors: list[str]) -> None:
    found = traced(b"/usr/bin/python3", "-c", KNOCKER, *doors, private=True)

    assert found.stdout.split() == [b"111"] * len(doors)


AUTOMOUNT = """
import ctypes, os
read, write = os.pipe()
os.setpgrp()
options = f"fd={write},pgrp={os.getpid()},minproto=5,maxproto=5,direct".encode()
assert ctypes.CDLL(None).mount(b"x", b"/media", b"autofs", 0, options) == 0
os.close(read)
from scratch_image.fs import root
from scratch_image.sandbox import run
from scratch_image.trace import tracer
words = (b"sh", b"-c", b"echo x > /media/y || echo x > /mnt/y && cat /mnt/y")
traced = tracer.trace(run.Run("x", words), b"/bin/sh", root.Root(), private=True)
print(traced.stdout)
"""


@pytest.mark.dangerous
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_file_system_that_takes_no_overlay_can_be_read(temporary: Path) -> None:
    ran = run_python(AUTOMOUNT, temporary, "unshare", "-m")

    assert ran.stdout == "b'x\\n'\n", ran.stderr
