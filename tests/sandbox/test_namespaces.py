"""Tests of namespaces.py: hostile layers, and a process in a root of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import elftools
import pytest
from lab import PACKAGE, WITHOUT_NAMESPACES
from programs import (
    run_python,
    settle_clock,
    traced,
)
from scratch_image.errors import SandboxError, TraceError
from scratch_image.image import tar_header
from scratch_image.sandbox import namespaces, process
from scratch_image.sandbox.run import Run
from scratch_image.sysroot import image_root

WRITABLE = "find /proc -path '/proc/[0-9]*' -prune -o -type f -perm /222 -writable -print 2>&-; :"


def test_host_settings_in_proc_cannot_be_written(site: Path) -> None:
    assert traced(b"/bin/sh", "-c", WRITABLE, private=True).stdout == b""


DRESSED = """
for path in /dev/null /dev/tty /dev/urandom /proc/[!0-9]*; do
    [ -L $path ] || ! chmod $(stat -c %a $path) $path || echo $path
done 2>&-
echo x >/dev/null
"""


@pytest.mark.dangerous
def test_host_files_keep_mode_and_owner(site: Path) -> None:
    assert traced(b"/bin/sh", "-c", DRESSED, private=True).stdout == b""


def test_private_run_has_terminals_of_its_own(site: Path) -> None:
    script = "import os, pty; pty.spawn(['sh', '-c', 'tty; echo hello >/dev/tty'])"
    before = os.listdir("/dev/pts")

    found = traced(b"/usr/bin/python3", "-c", script, private=True)

    assert found.stdout.split() == [b"/dev/pts/0", b"hello"]
    assert os.listdir("/dev/pts") == before
    assert not [use for use in found.record.uses if use.path.startswith(b"/dev")]


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


# Processes in a root of their own.


def look(sandbox: namespaces.Sandbox, *paths: str, cwd: bytes = b"/") -> str:
    """Return what the program tells that looks around in `sandbox`."""
    enter = sandbox.enter_words({b"A": b"b c", b"Z": b""}, cwd)
    words = [b"/bin/program", *map(os.fsencode, paths)]
    ran = process.run([*sandbox.unshare_words(), *enter, *words], timeout=10)
    assert ran.status == 0, ran
    return ran.stdout.decode().strip()


def test_process_sees_its_own_root_and_what_a_runtime_adds(looker: bytes) -> None:
    assert namespaces.find_obstacle() is None
    with image_root.unpacked_layers([looker], Run("x", (), cwd=b"/srv/work")) as sandbox:
        output = look(
            sandbox,
            "/etc/hosts",
            "/dev/null",
            "/dev/zero",
            "/dev/fd/0",
            "/etc/passwd",
            cwd=b"/srv/work",
        )

    assert output == (
        "uid 0 pid 1 cwd /srv/work no_new_privs 1 A=b c Z= "
        "/etc/hosts:1:1 /dev/null:1:0 /dev/zero:1:1 /dev/fd/0:1:0 /etc/passwd:0:-1"
    )


def test_mounts_are_not_seen_outside(looker: bytes) -> None:
    with image_root.unpacked_layers([looker]) as sandbox:
        look(sandbox)
        assert os.listdir(sandbox.root + b"/proc") == []
        assert os.lstat(sandbox.root + b"/dev/zero").st_size == 0
        assert sandbox.root.decode() not in Path("/proc/self/mounts").read_text()


def test_child_processes_end_with_it(looker: bytes) -> None:
    with image_root.unpacked_layers([looker]) as sandbox:
        command = [
            *sandbox.unshare_words(),
            b"/bin/sh",
            b"-c",
            b"setsid sleep 4711 >/dev/null 2>&1 & exit 3",
        ]
        ran = process.run(command, timeout=10)

    assert ran.status == 3
    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "sleep 4711" not in commands.stdout.splitlines()


IN_A_SHELL = [b"/bin/sh", b"-c", b'"$@"; exit', b"sh"]
"""The first process of the namespaces is another one, as it is under strace."""


@pytest.mark.dangerous
def test_no_way_leads_out(leaver: bytes) -> None:
    with image_root.unpacked_layers([leaver]) as sandbox:
        command = [
            *sandbox.unshare_words(),
            *IN_A_SHELL,
            *sandbox.enter_words({}, b"/"),
            b"/bin/program",
        ]
        assert process.run(command, timeout=10).check().stdout == b"end\n"


@pytest.mark.dangerous
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize(
    ("name", "output"),
    [
        pytest.param("looker", "uid 0 pid 2 cwd / no_new_privs 1\n", id="is root inside"),
        pytest.param("leaver", "end\n", id="cannot leave"),
    ],
)
def test_ordinary_user(
    request: pytest.FixtureRequest, temporary: Path, name: str, output: str
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as copy:
        os.chmod(copy, 0o755)
        readable = Path(copy) / "layer.tar"
        readable.write_bytes(Path(os.fsdecode(request.getfixturevalue(name))).read_bytes())
        code = (
            "import sys; from scratch_image.sandbox import namespaces, process\n"
            "from scratch_image.sysroot import image_root\n"
            "assert namespaces.find_obstacle() is None\n"
            f"with image_root.unpacked_layers([{os.fsencode(readable)!r}]) as sandbox:\n"
            f"    words = [*{IN_A_SHELL!r}, *sandbox.enter_words({{}}, b'/'), '/bin/program']\n"
            "    ran = process.run([*sandbox.unshare_words(), *words], timeout=10)\n"
            "    sys.stdout.buffer.write(ran.check().stdout)\n"
        )
        ran = run_python(code, temporary, user="nobody")

    assert ran.stdout == output, ran.stderr


@pytest.mark.dangerous
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
def test_no_way_leads_out_for_a_user_who_cannot_drop_capabilities(
    leaver: bytes, temporary: Path
) -> None:
    code = (
        "import sys; from scratch_image.sandbox import process\n"
        "from scratch_image.sysroot import image_root\n"
        f"with image_root.unpacked_layers([{leaver!r}]) as sandbox:\n"
        f"    words = [*{IN_A_SHELL!r}, *sandbox.enter_words({{}}, b'/'), '/bin/program']\n"
        "    ran = process.run([*sandbox.unshare_words(), *words], timeout=10)\n"
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
            "from scratch_image.sysroot import image_root\n"
            f"with image_root.unpacked_layers([b'{copy}/layer.tar']) as sandbox:\n"
            "    words = [*sandbox.enter_words({}, b'/'), '/bin/program', '/proc/self/oom_score_adj']\n"
            "    ran = process.run([*sandbox.unshare_words(), *words], timeout=10)\n"
            "    sys.stdout.buffer.write(ran.check().stdout)\n"
        )
        as_in_a_container = (
            "mount -t tmpfs none /proc/irq; exec setpriv --reuid=65534 --clear-groups"
        )
        before = ("unshare", "-m", "sh", "-c", f'{as_in_a_container} "$@"', "sh")
        ran = run_python(code, temporary, *before)

    assert ran.stdout.endswith(" /proc/self/oom_score_adj:0:-1\n"), ran.stderr


NAMES = ("add_key", "request_key", "keyctl", "io_uring_setup", "seccomp", "prlimit64", "socket")


@pytest.mark.parametrize(("architecture", "bits"), [(0xC000003E, 64), (0x40000003, 32)])
def test_refused_calls_have_the_kernels_numbers(architecture: int, bits: int) -> None:
    header = Path(f"/usr/include/x86_64-linux-gnu/asm/unistd_{bits}.h").read_text()
    numbers = dict(re.findall(r"#define __NR_(\w+) (\d+)", header))

    assert [int(numbers[name]) for name in NAMES] == [*namespaces._CALLS[architecture][1:]]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
def test_obstacle_names_the_settings_to_allow(temporary: Path) -> None:
    code = "from scratch_image.sandbox import namespaces; print(namespaces.find_obstacle())"

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
        namespaces.find_obstacle()

    assert str(error.value) == (
        "cannot give a process a root of its own: there is no setpriv; apt-get install util-linux"
    )


# In a container of Docker's.

IN_A_CONTAINER = """
from scratch_image.fs import root
from scratch_image.sandbox import namespaces, run
from scratch_image.trace import tracer
output = str(namespaces.find_obstacle() or '')
if not output:
    words = (b"sh", b"-c", b"ls -d /home/* /etc/hostname /sys/kernel 2>&-; echo x > /etc/made && echo $?")
    traced = tracer.trace(run.Run("x", words), b"/bin/sh", root.Root(), private=True)
    output = traced.stdout.decode() + str(b"/etc/hostname" in {use.path for use in traced.record.uses})
print(output.partition("; ")[0])
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
    output = refusal if refused else "/etc/hostname\n/sys/kernel\n0\nTrue"
    assert ran.stdout == f"{output}\n", ran.stderr


CLIENT = "import socket; socket.create_connection(('127.0.0.1', {})); print('reached')"


def test_private_run_may_have_the_hosts_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = ("-c", CLIENT.format(server.getsockname()[1]))
        run = {"private": True, "cwd": b"/"}
        found = traced(b"/usr/bin/python3", *words, network="host", **run)  # type: ignore[arg-type]
        assert found.stdout == b"reached\n"
        with pytest.raises(TraceError, match="Connection refused"):
            traced(b"/usr/bin/python3", *words, **run)  # type: ignore[arg-type]


HOSTILE = """
exec 2>/dev/null
find / -xdev -type d ! -path '/proc/*' | while read -r where; do echo x >"$where/hostile-$1"; done
for file in /etc/passwd /bin/sh /usr/bin/env /etc/ld.so.cache "$0"; do echo x >>"$file"; rm -f "$file"; done
echo x >/proc/sys/kernel/domainname
echo h >/proc/sysrq-trigger
echo x >/sys/kernel/mm/ksm/run
echo x | tee /proc/1/oom_score_adj /proc/[0-9]*/mem
mount --bind / /mnt; umount -l /proc; chroot / true; mknod /dev/disk b 8 0; hostname "$1"
kill -9 -1 $PPID
ipcmk -M 4096; ipcmk -Q; ipcmk -S 1
/usr/bin/python3 - "$1" <<'END'
import os, socket, sys
mark = sys.argv[1]
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
held = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX), socket.socket()]
held[0].bind("\\0hostile-" + mark)
held[1].bind("/tmp/hostile-" + mark + ".socket")
held[2].bind(("0.0.0.0", 47113))
for each in held:
    each.listen()
os.execv("/bin/sleep", ["hostile-" + mark, "600"])
END
exit 0
"""


@pytest.mark.dangerous
def test_hostile_run_leaves_nothing(site: Path) -> None:
    script = site / "hostile"
    script.write_text(HOSTILE)
    mark = str(os.getpid())
    before = machine()

    with pytest.raises(TraceError, match=rf"still ran \(hostile-{mark}\\040600\)"):
        traced(b"/bin/sh", str(script), mark, private=True, timeout=10.0)

    assert machine() == before
    assert script.read_text() == HOSTILE
    search = ["find", "/", "-xdev", "-name", f"hostile-{mark}*"]
    assert subprocess.run(search, capture_output=True, text=True).stdout == ""
    for words in (["ps", "-eo", "args"], ["ss", "-xlnt"]):
        output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert f"hostile-{mark}" not in output
        assert ":47113" not in output


ORPHAN = """
import sys; sys.path[:0] = {path!r}
from scratch_image.fs import root
from scratch_image.sandbox import run
from scratch_image.trace import tracer
words = (b"sh", b"-c", b"setsid sleep {mark}")
tracer.trace(run.Run("x", words), b"/bin/sh", root.Root(), private=True)
"""


@pytest.mark.parametrize("user", [None, "nobody"])
def test_run_ends_with_scons(site: Path, user: str | None) -> None:
    if user and os.geteuid() != 0:
        pytest.skip("only root becomes somebody else")
    mark = f"{5000 + os.getpid() % 1000}"
    command = [sys.executable, "-B", "-c", ORPHAN.format(path=sys.path, mark=mark)]

    def runs() -> bool:
        commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        return f"sleep {mark}" in commands.stdout.splitlines()

    with subprocess.Popen(command, user=user, cwd="/") as builder:
        wait_for(runs)
        builder.kill()
    wait_for(lambda: not runs())


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def machine() -> list[object]:
    """Return some of what a hostile run may have changed."""
    names = ("/etc/passwd", "/bin/sh", "/usr/bin/env", "/etc/ld.so.cache")
    status = [os.stat(name) for name in names]
    ipcs = subprocess.run(["ipcs"], capture_output=True, text=True, check=True).stdout
    domain = Path("/proc/sys/kernel/domainname").read_text()
    return [[(each.st_ino, each.st_ctime_ns) for each in status], ipcs, domain, os.uname().nodename]


def test_private_run_ignores_no_signal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        found = traced(b"/bin/grep", "SigIgn", "/proc/self/status", private=True)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert found.stdout == b"SigIgn:\t0000000000000000\n"


CHANGING = """
import os
for change in (
    lambda: open("/proc/self/fd/0", "w").write("changed"),
    lambda: os.fchmod(0, 0o777),
    lambda: os.utime(0, (1, 1)),
):
    try:
        print(change())
    except OSError:
        pass
print(os.read(0, 9))
"""


@pytest.mark.dangerous
@pytest.mark.parametrize("given", [True, False])
def test_standard_input_can_only_be_read(site: Path, *, given: bool) -> None:
    (site / "input").write_text("text")
    settle_clock()
    stdin = os.fsencode(site / "input") if given else None
    before = os.stat(stdin or "/dev/null")

    words = (b"/usr/bin/python3", "-c", CHANGING)
    found = traced(*words, private=True, cwd=b"/", stdin=stdin)

    after = os.stat(stdin or "/dev/null")
    assert found.stdout == (b"b'text'\n" if given else b"7\nb''\n")
    assert (before.st_mode, before.st_ctime_ns) == (after.st_mode, after.st_ctime_ns)
    assert not [use for use in found.record.uses if b"input" in use.path or b"stdin" in use.path]


REFUSED = """
import ctypes, errno, resource, socket
libc = ctypes.CDLL(None, use_errno=True)
program = ctypes.create_string_buffer(16)
print(libc.syscall(317, 1, 8, program), errno.errorcode[ctypes.get_errno()])
print(libc.syscall(425, 8, program), errno.errorcode[ctypes.get_errno()])
for call in (
    lambda: resource.prlimit(1, resource.RLIMIT_FSIZE, (0, 0)),
    lambda: socket.socket(socket.AF_VSOCK),
    lambda: print(resource.prlimit(0, resource.RLIMIT_CORE) > (), socket.socket() and "socket"),
):
    try:
        call()
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


@pytest.mark.dangerous
def test_calls_that_would_hide_others_are_refused(site: Path) -> None:
    found = traced(b"/usr/bin/python3", "-c", REFUSED, private=True, cwd=b"/")

    output = "-1 EINVAL\n-1 ENOSYS\nEPERM\nEAFNOSUPPORT\nTrue socket\n"
    assert found.stdout.decode() == output


KEYS = """
import ctypes, sys
calls, session, user, get_keyring = {"add_key": 248, "keyctl": 250}, -3, -4, 0
libc = ctypes.CDLL(None, use_errno=True)
added = libc.syscall(calls["add_key"], b"user", sys.argv[1].encode(), b"x", 1, user)
print(added, libc.syscall(calls["keyctl"], get_keyring, session, 0), ctypes.get_errno())
"""


@pytest.mark.parametrize("private", [False, True])
def test_keys_of_the_kernel_are_out_of_reach(site: Path, *, private: bool) -> None:
    mark = f"hostile-{os.getpid()}"

    found = traced(b"/usr/bin/python3", "-c", KEYS, mark, private=private)

    assert found.stdout == b"-1 -1 1\n"
    assert mark not in Path("/proc/keys").read_text()
