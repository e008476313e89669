"""Tests of sandbox.py: hostile layers, and what a process sees in a root of its own."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import elftools
import pytest
from lab import PACKAGE, WITHOUT_NAMESPACES
from scratch_image.errors import SandboxError
from scratch_image.image import compression, tar_header
from scratch_image.sandbox import namespaces, process
from scratch_image.sandbox.run import Run
from scratch_image.sysroot import unpack
from tars import member, packed

pytestmark = pytest.mark.usefixtures("temporary")

LOOKER = r"""
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
    char here[4096];
    printf("uid %d pid %d cwd %s", geteuid(), getpid(), getcwd(here, sizeof here));
    printf(" no_new_privs %d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    for (char **each = environ; *each; each++) printf(" %s", *each);
    for (int at = 1; at < argc; at++) {
        char byte = 'x';
        int file = open(argv[at], O_RDWR);
        printf(" %s:%d:%zd", argv[at], file >= 0, file < 0 ? -1 : read(file, &byte, 1));
    }
    puts("");
    return access("/proc/self/exe", F_OK);
}
"""


LEAVER = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
static void try(const char *what, int done) { if (done != -1) puts(what); }
int main(void) {
    mkdir("/in", 0700);
    try("chroot", chroot("/in"));
    try("device", mknod("/disk", S_IFBLK | 0600, makedev(8, 0)));
    try("mount", mount("/", "/in", "", MS_BIND, ""));
    try("remount", mount("", "/proc/sys", "", MS_REMOUNT | MS_BIND, ""));
    try("unmount", umount2("/proc", MNT_DETACH));
    try("user namespace", unshare(CLONE_NEWUSER));
    try("mount namespace", unshare(CLONE_NEWNS));
    try("root of another process", open("/proc/1/root/etc/passwd", O_RDONLY));
    try("ptrace", ptrace(PTRACE_SEIZE, 1, 0, 0));
    try("sysctl", open("/proc/sys/kernel/core_pattern", O_WRONLY));
    try("host name", sethostname("x", 1));
    puts("end");
    return 0;
}
"""


LONG = "p" * 120 + "/" + "q" * 120


@pytest.fixture(scope="session")
def looker(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a layer with one static program, which tells where it is."""
    return with_program(tmp_path_factory.mktemp("looker"), LOOKER)


@pytest.fixture(scope="session")
def leaver(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a layer with one static program, which tells which ways lead out of its root."""
    return with_program(tmp_path_factory.mktemp("leaver"), LEAVER)


def with_program(directory: Path, source: str) -> bytes:
    (directory / "source.c").write_text(source)
    program = directory / "program"
    subprocess.run(["gcc", "-static", "-o", program, directory / "source.c"], check=True)
    with tarfile.open(directory / "layer.tar", "w") as tar:
        tar.add(program, "bin/program")
    (directory / "layer.tar").chmod(0o644)
    directory.chmod(0o755)
    return os.fsencode(directory / "layer.tar")


# Unpacking


@pytest.mark.parametrize("suffix", list(compression.MEDIA_TYPES))
def test_members_have_their_kind_content_mode_and_time(tmp_path: Path, suffix: str) -> None:
    path = packed(
        tmp_path,
        member("./", tarfile.DIRTYPE, mode=0o750),
        member("d", tarfile.DIRTYPE, mode=0o500),
        member("d/f", mode=0o4711, mtime=1234),
        member("d/hard", tarfile.LNKTYPE, "d/f"),
        member("d/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("odd \udcff\n", mode=0),
        member(LONG),
        suffix=suffix,
    )

    with unpack.unpacked([path]) as box:
        names = ("", "d", "d/f", "d/hard", "odd \udcff\n")
        found = {name: os.lstat(join(box, name)) for name in names}
        text = Path(os.fsdecode(join(box, LONG))).read_text()
        target = os.readlink(join(box, "d/link"))

    modes = [stat.S_IMODE(found[name].st_mode) for name in names]
    assert modes == [0o750, 0o500, 0o4711, 0o4711, 0]
    assert (found["d/f"].st_mtime, found["d/f"].st_size) == (1234, 3)
    assert found["d/hard"].st_ino == found["d/f"].st_ino
    assert (text, target) == (LONG, b"/etc/passwd")


def join(box: namespaces.Sandbox, name: str) -> bytes:
    return box.root + b"/" + os.fsencode(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners_are_kept_for_root(tmp_path: Path) -> None:
    path = packed(tmp_path, member("f", uid=33, gid=44), member("l", tarfile.SYMTYPE, "f", uid=5))

    with unpack.unpacked([path]) as box:
        file, link = os.lstat(join(box, "f")), os.lstat(join(box, "l"))

    assert (file.st_uid, file.st_gid, link.st_uid) == (33, 44, 5)


def test_later_members_and_layers_take_the_place_of_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    one = packed(
        tmp_path, member("d/f", tarfile.SYMTYPE, "/etc/passwd"), member("d/f"), member("g")
    )
    two = packed(
        tmp_path / "two",
        member("d", tarfile.DIRTYPE, mode=0o700),
        member("g", tarfile.SYMTYPE, "f"),
    )

    with unpack.unpacked([one, two]) as box:
        kept = Path(os.fsdecode(join(box, "d/f"))).read_text()
        mode = stat.S_IMODE(os.lstat(join(box, "d")).st_mode)
        link = os.readlink(join(box, "g"))

    assert (kept, mode, link) == ("d/f", 0o700, b"f")


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        pytest.param([member("/etc/x")], "/etc/x leads out of the root", id="absolute"),
        pytest.param([member("a/../../x")], "a/../../x leads out of the root", id="dots"),
        pytest.param([member("x", tarfile.LNKTYPE, "../../etc/passwd")],
                     "../../etc/passwd leads out of the root", id="hard link out"),
        pytest.param([member("x", tarfile.LNKTYPE, "etc/passwd")],
                     "/x is another name of /etc/passwd, which is no file", id="hard link to nothing"),
        pytest.param([member("x"), member("x", tarfile.LNKTYPE, "x")],
                     "/x is another name of /x, which is no file", id="hard link to itself"),
        pytest.param([member("l", tarfile.SYMTYPE, "/etc"), member("h", tarfile.LNKTYPE, "l")],
                     "/h is another name of /l, which is no file", id="hard link to a link"),
        pytest.param([member("l", tarfile.SYMTYPE, "../../outside"), member("l/x")],
                     "/l/x lies below /l, which is no directory", id="through a link"),
        pytest.param([member("a/b", tarfile.SYMTYPE, "../../outside"), member("a/b/c/d", tarfile.DIRTYPE)],
                     "/a/b/c/d lies below /a/b, which is no directory", id="directory through a link"),
        pytest.param([member("l", tarfile.SYMTYPE, "../../outside"), member("l/h", tarfile.LNKTYPE, "l")],
                     "/l/h lies below /l, which is no directory", id="hard link through a link"),
        pytest.param([member("d", tarfile.DIRTYPE), member("d")],
                     "/d takes the place of a directory", id="file for a directory"),
        pytest.param([member("n", tarfile.CHRTYPE, devmajor=1, devminor=3)],
                     "/n is a device, a FIFO or a sparse file", id="character device"),
        pytest.param([member("n", tarfile.BLKTYPE)],
                     "/n is a device, a FIFO or a sparse file", id="block device"),
        pytest.param([member("n", tarfile.FIFOTYPE)],
                     "/n is a device, a FIFO or a sparse file", id="FIFO"),
        pytest.param([member("a/" * 3000)], "it has a name that no file can have", id="long name"),
        pytest.param([member("a/" * 500)], "it has a name that no file can have", id="deep name"),
        pytest.param([member("x", size=5000)], "it is not a whole tar (unexpected end of data)", id="cut off"),
        pytest.param([b"x" * 600], "", id="no tar"),
    ],
)  # fmt: skip
def test_hostile_layer_is_refused_and_writes_nothing_outside(
    tmp_path: Path, temporary: Path, members: list[bytes], cause: str
) -> None:
    (temporary / "outside").mkdir()
    path = packed(tmp_path, *members)

    with pytest.raises(SandboxError) as error, unpack.unpacked([path]):
        pass

    assert str(error.value).startswith(f"cannot unpack layer {os.fsdecode(path)}: {cause}")
    assert str(error.value).endswith("; build it anew, of files, links and directories only")
    (temporary / "outside").rmdir()


def test_image_whose_dev_is_a_link_is_refused(tmp_path: Path, temporary: Path) -> None:
    (temporary / "outside").mkdir()
    path = packed(tmp_path, member("dev", tarfile.SYMTYPE, "../../outside"))

    with pytest.raises(SandboxError) as error, unpack.unpacked([path]):
        pass

    assert str(error.value) == (
        "cannot unpack image: /dev is no directory; "
        "build it anew, of files, links and directories only"
    )
    (temporary / "outside").rmdir()


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        pytest.param("proc", "/usr", "/proc is no directory", id="proc"),
        pytest.param("dev/pts", "/usr", "/dev/pts is no directory", id="terminals"),
        pytest.param("dev/null", "/bin/sh", "/dev/null is no file", id="device"),
    ],
)
def test_links_where_the_kernels_trees_are_mounted_are_refused(
    tmp_path: Path, temporary: Path, path: str, text: str, what: str
) -> None:
    layer = packed(tmp_path, member(path, tarfile.SYMTYPE, text))

    with (
        pytest.raises(SandboxError, match=f"cannot unpack image: {what}; "),
        unpack.unpacked([layer]),
    ):
        pass


def test_extended_headers_without_end_are_refused(tmp_path: Path, temporary: Path) -> None:
    header = member("pax_global_header", tarfile.XGLTYPE, size=0)
    layer = packed(tmp_path, *[header] * 3000)

    with pytest.raises(SandboxError, match="cannot unpack layer "), unpack.unpacked([layer]):
        pass


def test_directory_is_removed_however_deep(temporary: Path) -> None:
    top = temporary / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("directory", dir_fd=here)
        below = os.open("directory", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    unpack.remove(os.fsencode(top))

    assert not top.exists()


def test_closed_directories_are_removed_as_well(tmp_path: Path, temporary: Path) -> None:
    path = packed(tmp_path, member("a", tarfile.DIRTYPE, mode=0), member("a/b/c"))

    with pytest.raises(ZeroDivisionError), unpack.unpacked([path]):
        assert os.listdir(temporary) != []
        raise ZeroDivisionError

    assert os.listdir(temporary) == []


# Running


def look(box: namespaces.Sandbox, *paths: str, cwd: bytes = b"/") -> str:
    """Return what the program tells that looks around in `box`."""
    inside = box.inside({b"A": b"b c", b"Z": b""}, cwd)
    words = [b"/bin/program", *map(os.fsencode, paths)]
    ran = process.run([*box.outside(), *inside, *words], timeout=10)
    assert ran.status == 0, ran.failure
    return ran.stdout.decode().strip()


def test_process_sees_its_own_root_and_what_a_runtime_adds(looker: bytes) -> None:
    assert namespaces.refusal() == ""
    with unpack.unpacked([looker], Run("x", (), cwd=b"/srv/work")) as box:
        told = look(
            box,
            "/etc/hosts",
            "/dev/null",
            "/dev/zero",
            "/dev/fd/0",
            "/etc/passwd",
            cwd=b"/srv/work",
        )

    assert told == (
        "uid 0 pid 1 cwd /srv/work no_new_privs 1 A=b c Z= "
        "/etc/hosts:1:1 /dev/null:1:0 /dev/zero:1:1 /dev/fd/0:1:0 /etc/passwd:0:-1"
    )


def test_mounts_are_not_seen_outside(looker: bytes) -> None:
    with unpack.unpacked([looker]) as box:
        look(box)
        assert os.listdir(box.root + b"/proc") == []
        assert os.lstat(box.root + b"/dev/zero").st_size == 0
        assert box.root.decode() not in Path("/proc/self/mounts").read_text()


def test_what_it_starts_ends_with_it(looker: bytes) -> None:
    with unpack.unpacked([looker]) as box:
        command = [*box.outside(), b"/bin/sh", b"-c", b"setsid sleep 4711 >/dev/null 2>&1 & exit 3"]
        ran = process.run(command, timeout=10)

    assert ran.status == 3
    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "sleep 4711" not in commands.stdout.splitlines()


IN_A_SHELL = [b"/bin/sh", b"-c", b'"$@"; exit', b"sh"]
"""The first process of the namespaces is another one, as it is under strace."""


@pytest.mark.dangerous
def test_no_way_leads_out(leaver: bytes) -> None:
    with unpack.unpacked([leaver]) as box:
        command = [*box.outside(), *IN_A_SHELL, *box.inside({}, b"/"), b"/bin/program"]
        assert process.run(command, timeout=10).check().stdout == b"end\n"


@pytest.mark.dangerous
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param("looker", "uid 0 pid 2 cwd / no_new_privs 1\n", id="is root inside"),
        pytest.param("leaver", "end\n", id="cannot leave"),
    ],
)
def test_ordinary_user(
    request: pytest.FixtureRequest, temporary: Path, name: str, told: str
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as copy:
        os.chmod(copy, 0o755)
        readable = Path(copy) / "layer.tar"
        readable.write_bytes(Path(os.fsdecode(request.getfixturevalue(name))).read_bytes())
        code = (
            "import sys; from scratch_image.sandbox import namespaces, process\n"
            "from scratch_image.sysroot import unpack\n"
            "assert namespaces.refusal() == ''\n"
            f"with unpack.unpacked([{os.fsencode(readable)!r}]) as box:\n"
            f"    words = [*{IN_A_SHELL!r}, *box.inside({{}}, b'/'), '/bin/program']\n"
            "    ran = process.run([*box.outside(), *words], timeout=10)\n"
            "    sys.stdout.buffer.write(ran.check().stdout)\n"
        )
        ran = run_python(code, temporary, user="nobody")

    assert ran.stdout == told, ran.stderr


def run_python(
    code: str, temporary: Path, *before: str, user: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `code` in another Python, maybe as another user."""
    return subprocess.run(
        [*before, sys.executable, "-B", "-c", code],
        env={"PYTHONPATH": str(PACKAGE.parent), "TMPDIR": str(temporary)},
        cwd="/",
        user=user,
        group=user and "nogroup",
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.dangerous
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
def test_no_way_leads_out_for_who_cannot_give_capabilities_up(
    leaver: bytes, temporary: Path
) -> None:
    code = (
        "import sys; from scratch_image.sandbox import process\n"
        "from scratch_image.sysroot import unpack\n"
        f"with unpack.unpacked([{leaver!r}]) as box:\n"
        f"    words = [*{IN_A_SHELL!r}, *box.inside({{}}, b'/'), '/bin/program']\n"
        "    ran = process.run([*box.outside(), *words], timeout=10)\n"
        "    sys.stdout.buffer.write(ran.check().stdout)\n"
    )

    ran = run_python(code, temporary, "setpriv", "--bounding-set=-setpcap")

    assert ran.stdout == "end\n", ran.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts over /proc")
def test_processes_of_others_cannot_be_changed_where_they_are_seen(
    looker: bytes, temporary: Path
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as copy:
        os.chmod(copy, 0o755)
        shutil.copy(os.fsdecode(looker), f"{copy}/layer.tar")
        code = (
            "import sys; from scratch_image.sandbox import process\n"
            "from scratch_image.sysroot import unpack\n"
            f"with unpack.unpacked([b'{copy}/layer.tar']) as box:\n"
            "    words = [*box.inside({}, b'/'), '/bin/program', '/proc/self/oom_score_adj']\n"
            "    ran = process.run([*box.outside(), *words], timeout=10)\n"
            "    sys.stdout.buffer.write(ran.check().stdout)\n"
        )
        as_in_a_container = (
            "mount -t tmpfs none /proc/irq; exec setpriv --reuid=65534 --clear-groups"
        )
        before = ("unshare", "-m", "sh", "-c", f'{as_in_a_container} "$@"', "sh")
        ran = run_python(code, temporary, *before)

    assert ran.stdout.endswith(" /proc/self/oom_score_adj:0:-1\n"), ran.stderr


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
def test_what_takes_no_overlay_can_be_read(temporary: Path) -> None:
    ran = run_python(AUTOMOUNT, temporary, "unshare", "-m")

    assert ran.stdout == "b'x\\n'\n", ran.stderr


NAMES = ("add_key", "request_key", "keyctl", "io_uring_setup", "seccomp", "prlimit64", "socket")


@pytest.mark.parametrize(("architecture", "bits"), [(0xC000003E, 64), (0x40000003, 32)])
def test_refused_calls_have_the_kernels_numbers(architecture: int, bits: int) -> None:
    header = Path(f"/usr/include/x86_64-linux-gnu/asm/unistd_{bits}.h").read_text()
    numbers = dict(re.findall(r"#define __NR_(\w+) (\d+)", header))

    assert [int(numbers[name]) for name in NAMES] == [*namespaces._CALLS[architecture][1:]]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
def test_refused_namespaces_are_told_with_what_to_allow(temporary: Path) -> None:
    code = "from scratch_image.sandbox import namespaces; print(namespaces.refusal())"

    ran = run_python(code, temporary, *WITHOUT_NAMESPACES)

    assert ran.stdout == (
        "cannot give a process a root of its own: unshare: unshare failed: No space left on device; "
        "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, on Ubuntu "
        "kernel.apparmor_restrict_unprivileged_userns=0; in Docker give --privileged or "
        "--security-opt seccomp=unconfined), on Linux 5.12 or newer\n"
    )


def test_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "SEARCH_PATH", os.fsencode(tmp_path))

    with pytest.raises(SandboxError) as error:
        namespaces.refusal()

    assert str(error.value) == (
        "cannot give a process a root of its own: there is no setpriv; apt-get install util-linux"
    )


# In a container of Docker's.

IN_A_CONTAINER = """
from scratch_image.fs import root
from scratch_image.sandbox import namespaces, run
from scratch_image.trace import tracer
told = namespaces.refusal()
if not told:
    words = (b"sh", b"-c", b"ls -d /home/* /etc/hostname /sys/kernel 2>&-; echo x > /etc/made && echo $?")
    traced = tracer.trace(run.Run("x", words), b"/bin/sh", root.Root(), private=True)
    told = traced.stdout.decode() + str(b"/etc/hostname" in {use.path for use in traced.record.uses})
print(told.partition("; ")[0])
"""


@pytest.fixture(scope="session")
def nothing(engine: str) -> str:
    """Return the name of an image without any file."""
    command = ["docker", "-H", engine, "import", "-", "nothing"]
    subprocess.run(command, input=tar_header.END, stdout=subprocess.DEVNULL, check=True)
    return "nothing"


@pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="dockerd needs root")
@pytest.mark.parametrize(
    ("options", "refused"),
    [
        pytest.param((), True, id="as it is"),
        pytest.param(("--security-opt=seccomp=unconfined",), False, id="seccomp"),
        pytest.param(("--security-opt=seccomp=unconfined", "--user=1000"), False, id="user"),
        pytest.param(("--security-opt=seccomp=unconfined", "--cap-add=SYS_ADMIN"), False,
                     id="one capability"),
        pytest.param(("--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN"), False, id="capabilities"),
    ],
)  # fmt: skip
def test_container_gives_private_roots_where_seccomp_allows(
    engine: str, nothing: str, options: tuple[str, ...], refused: bool
) -> None:
    paths = [path for path in ("/usr", "/lib", "/lib64", "/bin", "/etc") if os.path.exists(path)]
    volumes = [f"--volume={path}:{path}:ro" for path in paths]
    modules = f"{PACKAGE.parent}:/ours:ro", f"{Path(elftools.__file__).parents[1]}:/others:ro"
    command = [
        *("docker", "-H", engine, "run", "--rm", "--network=none", "--tmpfs=/tmp"),
        *("--tmpfs=/home/x", "--env=PYTHONPATH=/ours:/others", *options),
        *(*volumes, *(f"--volume={each}" for each in modules)),
        *(nothing, "/usr/bin/python3", "-B", "-c", IN_A_CONTAINER),
    ]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
    )

    refusal = (
        "cannot give a process a root of its own: unshare: unshare failed: Operation not permitted"
    )
    told = refusal if refused else "/etc/hostname\n/sys/kernel\n0\nTrue"
    assert ran.stdout == f"{told}\n", ran.stderr
