"""Tests of strace.py: the golden files are strace's own words, captured by strace/capture.py."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_image.trace import strace
from scratch_image.trace.strace import Access, Log, Problem, Use, join, parse

GOLDEN = os.path.join(os.path.dirname(__file__), "strace")

ODD_NAME = b'q"uo\\te <1> \xff\xc3\xa9\n\x012'

DEMO = b"/srv/demo"

ALONE = {
    Access(DEMO + b"/demo", Use.EXEC),
    Access(b"/proc/self/exe", Use.STAT, follow=False),
    Access(DEMO, Use.STAT),
    Access(DEMO + b"/missing/x", Use.ABSENT),
    Access(DEMO + b"/nowhere", Use.ABSENT),
    Access(DEMO + b"/nobody", Use.ABSENT),
    Access(DEMO + b"/link", Use.STAT, follow=False),
    Access(DEMO + b"/link", Use.STAT, real=DEMO + b"/real"),
    Access(DEMO + b"/real/a.txt", Use.STAT),
    Access(DEMO + b"/real/../sub/chain", Use.READ, real=DEMO + b"/real/a.txt"),
    Access(DEMO + b"/sub", Use.STAT, real=DEMO + b"/sub"),
    Access(DEMO + b"/sub", Use.STAT),
    Access(DEMO + b"/sub", Use.LIST, follow=False),
    Access(DEMO + b"/" + ODD_NAME, Use.READ, real=DEMO + b"/" + ODD_NAME),
    Access(DEMO + b"/both", Use.READ, real=DEMO + b"/both"),
    Access(DEMO + b"/both", Use.WRITE, real=DEMO + b"/both"),
    Access(DEMO + b"/new", Use.CREATE, follow=False),
    Access(DEMO + b"/new", Use.WRITE, follow=False),
    Access(DEMO + b"/new/out", Use.CREATE, real=DEMO + b"/new/out"),
    Access(DEMO + b"/new/out", Use.READ, follow=False),
    Access(DEMO + b"/new/out", Use.WRITE, follow=False),
    Access(DEMO + b"/new/out2", Use.CREATE, follow=False),
    Access(DEMO + b"/new/out2", Use.WRITE, follow=False),
}
"""What the first thread of demo.c does."""

ALL = ALONE | {
    Access(DEMO + b"/real", Use.STAT),
    Access(DEMO + b"/real/../sub", Use.STAT),
    Access(DEMO + b"/real/a.txt", Use.READ, real=DEMO + b"/real/a.txt"),
}
"""What all of demo.c does."""


def golden(name: str) -> bytes:
    with open(os.path.join(GOLDEN, f"{name}.strace"), "rb") as stream:
        return stream.read()


@pytest.mark.parametrize(
    ("name", "accesses"),
    [
        pytest.param("alone", ALONE, id="one process"),
        pytest.param("alone-r", ALONE, id="one process, relative times"),
        pytest.param("f-y-o", ALL, id="process numbers in a column"),
        pytest.param("f-stderr", ALL, id="process numbers in brackets"),
        pytest.param("f-r-stderr", ALL, id="process numbers in brackets, relative times"),
        pytest.param("f-tt-T", ALL, id="times of day and durations"),
        pytest.param("f-ttt", ALL, id="seconds since 1970"),
        pytest.param("f-t-r", ALL, id="times of day and relative times"),
        pytest.param("f-yy", ALL, id="all about descriptors"),
        pytest.param("f-xx", ALL, id="strings in hex"),
        pytest.param("f-bpf", ALL, id="seccomp-bpf"),
    ],
)
def test_every_form_of_output_means_the_same(name: str, accesses: set[Access]) -> None:
    log = parse(golden(name), b"/srv")
    assert Log(tuple(sorted(accesses, key=order))) == log


def order(access: Access) -> tuple[object, ...]:
    return access.path, access.kind, access.follow, access.real or b"", access.sure


def test_without_descriptor_paths_what_is_named_by_descriptor_is_a_problem() -> None:
    log = parse(golden("f-o"), b"/srv")
    by_descriptor = {
        Access(DEMO + b"/real/../sub/chain", Use.READ, real=DEMO + b"/real/a.txt"),
        Access(DEMO + b"/sub", Use.LIST, follow=False),
    }
    names = {(access.path, access.kind) for access in ALL - by_descriptor}
    assert names == {(access.path, access.kind) for access in log.accesses}
    assert [problem.call for problem in log.problems] == [b"faccessat2", b"getdents64", b"openat"]
    assert all(problem.cause.endswith("for want of strace -y") for problem in log.problems)


def accesses(*lines: bytes, cwd: bytes = b"/w") -> list[Access]:
    log = parse(b"\n".join(lines) + b"\n", cwd)
    assert log.problems == ()
    assert log.unparsed == ()
    return list(log.accesses)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b'open("a", O_RDONLY) = 3', [Access(b"/w/a", Use.READ)], id="open"),
        pytest.param(
            b'open("a", O_RDONLY|O_NOFOLLOW) = 3',
            [Access(b"/w/a", Use.READ, False)],
            id="O_NOFOLLOW",
        ),
        pytest.param(
            b'open("a", O_RDONLY|O_NOFOLLOW) = -1 ELOOP (Too many levels of symbolic links)',
            [Access(b"/w/a", Use.STAT, False)],
            id="ELOOP",
        ),
        pytest.param(
            b'open("a", O_RDWR) = 3',
            [Access(b"/w/a", Use.READ), Access(b"/w/a", Use.WRITE)],
            id="O_RDWR",
        ),
        pytest.param(b'open("a", O_RDWR|O_TRUNC) = 3', [Access(b"/w/a", Use.WRITE)], id="O_TRUNC"),
        pytest.param(b'open("a", O_RDONLY|O_EXCL) = 3', [Access(b"/w/a", Use.READ)], id="O_EXCL"),
        pytest.param(
            b'open("a", O_RDONLY|O_CREAT, 0644) = 3',
            [Access(b"/w/a", Use.CREATE), Access(b"/w/a", Use.READ)],
            id="O_CREAT",
        ),
        pytest.param(
            b'open("a", O_RDWR|O_CREAT|O_EXCL, 0644) = 3',
            [Access(b"/w/a", Use.CREATE, False)],
            id="O_EXCL",
        ),
        pytest.param(
            b'open("a", O_RDWR|O_TMPFILE, 0600) = 3', [Access(b"/w/a", Use.STAT)], id="O_TMPFILE"
        ),
        pytest.param(b'open("a", O_RDONLY|O_PATH) = 3', [Access(b"/w/a", Use.STAT)], id="O_PATH"),
        pytest.param(
            b'openat2(4</d>, "b", {flags=O_RDONLY, resolve=RESOLVE_BENEATH}, 24) = 5</d/b>',
            [Access(b"/d/b", Use.READ, real=b"/d/b")],
            id="openat2",
        ),
        pytest.param(b'creat("a", 0600) = 3', [Access(b"/w/a", Use.CREATE)], id="creat"),
        pytest.param(
            b'open("a", O_RDONLY) = -1 EACCES (Permission denied)',
            [Access(b"/w/a", Use.STAT)],
            id="EACCES",
        ),
        pytest.param(
            b'open("a/b", O_RDONLY) = -1 ENOTDIR (Not a directory)',
            [Access(b"/w/a/b", Use.ABSENT)],
            id="ENOTDIR",
        ),
        pytest.param(b"open(NULL, O_RDONLY) = -1 EFAULT (Bad address)", [], id="NULL"),
        pytest.param(b'open("", O_RDONLY) = -1 ENOENT (No such file or directory)', [], id="empty"),
        pytest.param(
            b'access("a", F_OK) = -1 ENAMETOOLONG (File name too long)', [], id="ENAMETOOLONG"
        ),
        pytest.param(
            b'lstat("a/", {st_mode=S_IFDIR|0755, ...}) = 0',
            [Access(b"/w/a/", Use.STAT)],
            id="a slash follows",
        ),
        pytest.param(
            b'readlink("a", "b) = 5", 9) = 6', [Access(b"/w/a", Use.STAT, False)], id="readlink"
        ),
        pytest.param(
            b'execve("a", ["AT_SYMLINK_NOFOLLOW"], 0x7ffe /* 2 vars */) = 0',
            [Access(b"/w/a", Use.EXEC)],
            id="words in strings",
        ),
        pytest.param(
            b'execve("a", ["a"], 0x7ffe /* 2 vars */) = -1 ENOEXEC (Exec format error)',
            [Access(b"/w/a", Use.READ)],
            id="ENOEXEC",
        ),
        pytest.param(
            b'execve("a", ["a"], 0x7ffe /* 2 vars */ <pid changed to 7 ...>',
            [Access(b"/w/a", Use.EXEC)],
            id="exec by a thread",
        ),
        pytest.param(
            b'execveat(3</memfd:x>(deleted), "", ["t"], 0x7ffe /* 0 vars */, AT_EMPTY_PATH) = 0',
            [],
            id="execveat of a memfd",
        ),
        pytest.param(
            b'execveat(3</d/x>, "", ["t"], 0x7ffe /* 0 vars */, AT_EMPTY_PATH) = 0',
            [Access(b"/d/x", Use.EXEC)],
            id="execveat of a descriptor",
        ),
        pytest.param(
            b'newfstatat(3</d>(deleted), "", {st_mode=S_IFREG|0644, ...}, AT_EMPTY_PATH) = 0',
            [],
            id="a deleted file",
        ),
        pytest.param(
            b'newfstatat(3</d (deleted)>, "", {st_mode=S_IFREG|0644, ...}, AT_EMPTY_PATH) = 0',
            [],
            id="a deleted file, before strace 5.19",
        ),
        pytest.param(
            b'newfstatat(1<pipe:[7]>, "", {st_mode=S_IFIFO|0600, ...}, AT_EMPTY_PATH) = 0',
            [],
            id="a pipe",
        ),
        pytest.param(
            b'newfstatat(1<pipe:[7]>, "a", 0x7ffe, 0) = -1 ENOTDIR (Not a directory)',
            [],
            id="below a pipe",
        ),
        pytest.param(
            b'statx(AT_FDCWD</c>, "a", AT_SYMLINK_NOFOLLOW, STATX_ALL, {stx_size=2, ...}) = 0',
            [Access(b"/c/a", Use.STAT, False)],
            id="statx",
        ),
        pytest.param(
            b'name_to_handle_at(AT_FDCWD</c>, "a", {handle_bytes=8}, [27], AT_SYMLINK_FOLLOW) = 0',
            [Access(b"/c/a", Use.STAT)],
            id="AT_SYMLINK_FOLLOW",
        ),
        pytest.param(
            b'rename("a", "b") = 0',
            [
                Access(b"/w/a", Use.READ, False),
                Access(b"/w/a", Use.WRITE, False),
                Access(b"/w/b", Use.CREATE, False),
            ],
            id="rename",
        ),
        pytest.param(
            b'renameat2(AT_FDCWD</c>, "a", 4</d) = 3>, "b", RENAME_NOREPLACE) = -1 EEXIST (Exists)',
            [Access(b"/c/a", Use.STAT, False), Access(b"/d) = 3/b", Use.STAT, False)],
            id="renameat2",
        ),
        pytest.param(
            b'linkat(AT_FDCWD</c>, "/proc/self/fd/7", AT_FDCWD</c>, "t", AT_SYMLINK_FOLLOW) = 0',
            [
                Access(b"/c/t", Use.CREATE),
                Access(b"/proc/self/fd/7", Use.READ),
                Access(b"/proc/self/fd/7", Use.WRITE),
            ],
            id="linkat",
        ),
        pytest.param(
            b'symlinkat("/target", AT_FDCWD</c>, "l") = 0',
            [Access(b"/c/l", Use.CREATE, False)],
            id="symlinkat",
        ),
        pytest.param(
            b'symlink("/target", "l") = 0', [Access(b"/w/l", Use.CREATE, False)], id="symlink"
        ),
        pytest.param(
            b'getxattr("a", "user.x", NULL, 0) = -1 ENODATA (No data available)',
            [Access(b"/w/a", Use.STAT)],
            id="getxattr",
        ),
        pytest.param(
            b"utimensat(4</d/f>, NULL, [{tv_sec=1}], 0) = 0", [], id="utimensat of a descriptor"
        ),
        pytest.param(
            b'fanotify_mark(3<anon_inode:x>, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD</c>, "a") = 0',
            [Access(b"/c/a", Use.STAT)],
            id="fanotify_mark",
        ),
        pytest.param(
            b'inotify_add_watch(5<anon_inode:inotify>, "a", IN_MODIFY) = 1',
            [Access(b"/w/a", Use.STAT)],
            id="inotify_add_watch",
        ),
        pytest.param(
            b'bind(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="s"}, 110) = 0',
            [Access(b"/w/s", Use.CREATE)],
            id="bind",
        ),
        pytest.param(
            b'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path=@"s"}, 110) = 0',
            [],
            id="abstract socket",
        ),
        pytest.param(
            b'sendto(3<socket:[1]>, "x, sun_path=", 2, 0, {sa_family=AF_UNIX, sun_path="s"}, 4) = 2',
            [Access(b"/w/s", Use.STAT)],
            id="sendto",
        ),
        pytest.param(
            b'sendto(3<socket:[1]>, "x", 1, 0, NULL, 0) = 1', [], id="sendto of a connected socket"
        ),
        pytest.param(
            b'sendmsg(3<socket:[1]>, {msg_name={sa_family=AF_UNIX, sun_path="s"}, msg_namelen=7,'
            b' msg_iov=[{iov_base="x", iov_len=1}], msg_iovlen=1, msg_flags=0}, 0)'
            b" = -1 ENOENT (No such file or directory)",
            [Access(b"/w/s", Use.ABSENT)],
            id="sendmsg",
        ),
        pytest.param(
            b'sendmmsg(3<socket:[1]>, [{msg_hdr={msg_name={sa_family=AF_UNIX, sun_path="s"}},'
            b' msg_len=1}, {msg_hdr={msg_name={sa_family=AF_UNIX, sun_path="t"}}}], 2, 0) = 1',
            [Access(b"/w/s", Use.STAT), Access(b"/w/t", Use.STAT)],
            id="sendmmsg",
        ),
        pytest.param(
            b'openat(AT_FDCWD</w>, "/proc/self/cwd/a", O_RDONLY) = 4</w/a>',
            [Access(b"/proc/self/cwd/a", Use.READ, real=b"/w/a")],
            id="opened behind a link of /proc",
        ),
        pytest.param(
            b'readlink("/proc/self/fd/4", "/w/a", 64) = 4',
            [Access(b"/proc/self/fd/4", Use.STAT, False)],
            id="a link of /proc",
        ),
        pytest.param(
            b"recvmsg(9<socket:[1]>, {msg_name=NULL, msg_control=[{cmsg_len=24,"
            b" cmsg_type=SCM_RIGHTS, cmsg_data=[4</d/a>, 5</d/b>]}], msg_flags=0}, 0) = 1",
            [Access(b"/d/a", Use.READ, False), Access(b"/d/b", Use.READ, False)],
            id="descriptors received",
        ),
        pytest.param(
            b"pidfd_getfd(3<anon_inode:[pidfd]>, 4, 0) = 5</d/a>",
            [Access(b"/d/a", Use.READ, False)],
            id="pidfd_getfd",
        ),
        pytest.param(
            b'open_by_handle_at(5</d>, {handle_bytes=8, f_handle="\\x32"}, O_RDONLY) = 6</d/a>',
            [Access(b"/d/a", Use.READ, False)],
            id="open_by_handle_at, named",
        ),
        pytest.param(
            b'open("x\\303\\251\\"\\\\\\n\\1\\0022\\x41\\t", O_RDONLY) = 3</w/y\\74\\76(deleted)>',
            [Access(b'/w/x\xc3\xa9"\\\n\x01\x022A\t', Use.READ, real=b"/w/y<>(deleted)")],
            id="escapes",
        ),
        pytest.param(
            b'openat(AT_FDCWD, "a", O_RDONLY) = 3</w/a>(deleted)',
            [Access(b"/w/a", Use.READ)],
            id="opened and deleted",
        ),
        pytest.param(
            b'openat(AT_FDCWD, "a", O_RDONLY) = ?',
            [Access(b"/w/a", Use.READ)],
            id="ended in a call",
        ),
        pytest.param(
            b'openat(AT_FDCWD, "a", O_RDONLY) = ? ERESTARTSYS (To be restarted)',
            [Access(b"/w/a", Use.READ)],
            id="interrupted",
        ),
        pytest.param(
            b'openat(AT_FDCWD, "a", O_RDONLY <unfinished ...>',
            [Access(b"/w/a", Use.READ)],
            id="never finished",
        ),
        pytest.param(b"futex(0x7ffe, FUTEX_WAIT, 1, NULL <detached ...>", [], id="detached"),
        pytest.param(
            b"--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---",
            [],
            id="signal",
        ),
        pytest.param(b"+++ killed by SIGSEGV (core dumped) +++", [], id="killed"),
        pytest.param(b"[ Process PID=7 runs in 32 bit mode. ]", [], id="32 bit"),
        pytest.param(b"???( <unfinished ...>", [], id="a call that could not be fetched"),
        pytest.param(b"strace: Process 7 detached", [], id="Process detached"),
        pytest.param(b'read(3</etc/passwd>, "a = b", 9) = 5', [], id="no file call"),
        pytest.param(
            b"io_uring_setup(4, {flags=0}) = -1 ENOSYS (Function not implemented) (INJECTED)",
            [],
            id="io_uring refused",
        ),
        pytest.param(
            b"ptrace(PTRACE_TRACEME) = -1 EPERM (Operation not permitted)", [], id="ptrace refused"
        ),
        pytest.param(b'memfd_create("x", 0) = 3</memfd:x>(deleted)', [], id="memfd_create"),
        pytest.param(
            b"syscall_0x1ff(0, 0, 0) = -1 ENOSYS (Function not implemented)",
            [],
            id="a call that no kernel knows",
        ),
    ],
)
def test_line(line: bytes, expected: list[Access]) -> None:
    assert sorted(expected, key=order) == accesses(line)


@pytest.mark.parametrize(
    ("line", "call", "cause"),
    [
        pytest.param(b'chroot("d") = 0', b"chroot", "another view", id="chroot"),
        pytest.param(
            b'openat2(4</d>, "/b", {flags=O_RDONLY, resolve=RESOLVE_IN_ROOT}, 24) = -1 ENOENT',
            b"openat2",
            "another view",
            id="RESOLVE_IN_ROOT",
        ),
        pytest.param(
            b'mount("a", "/b", NULL, MS_BIND, NULL) = 0', b"mount", "another view", id="mount"
        ),
        pytest.param(b'umount2("/b", 0) = 0', b"umount2", "another view", id="umount2"),
        pytest.param(b'pivot_root("a", "b") = 0', b"pivot_root", "another view", id="pivot_root"),
        pytest.param(b"unshare(CLONE_NEWNS) = 0", b"unshare", "another view", id="unshare"),
        pytest.param(
            b"setns(3</proc/7/ns/mnt>, CLONE_NEWNS) = 0", b"setns", "another view", id="setns"
        ),
        pytest.param(
            b"clone(child_stack=NULL, flags=CLONE_NEWNS|SIGCHLD) = 7",
            b"clone",
            "another view",
            id="CLONE_NEWNS",
        ),
        pytest.param(
            b"clone(child_stack=NULL, flags=CLONE_UNTRACED|SIGCHLD) = 7",
            b"clone",
            "strace may not follow",
            id="CLONE_UNTRACED",
        ),
        pytest.param(
            b'open_tree(AT_FDCWD</w>, "a", OPEN_TREE_CLONE) = 3</w/a>',
            b"open_tree",
            "another view",
            id="OPEN_TREE_CLONE",
        ),
        pytest.param(
            b"ptrace(PTRACE_SEIZE, 7, NULL, 0) = 0",
            b"ptrace",
            "traced a process itself",
            id="ptrace",
        ),
        pytest.param(
            b"io_uring_setup(4, {flags=0}) = 3<anon_inode:[io_uring]>",
            b"io_uring_setup",
            "does not see",
            id="io_uring",
        ),
        pytest.param(
            b'open_by_handle_at(5</d>, {handle_bytes=8, f_handle="\\x32"}, O_RDONLY) = 6',
            b"open_by_handle_at",
            "without naming it",
            id="open_by_handle_at",
        ),
        pytest.param(
            b"syscall_0x1c4(0xffffff9c, 0x5581, 0x1a4, 0) = 0",
            b"syscall_0x1c4",
            "not known here",
            id="a number",
        ),
        pytest.param(
            b'newcall(AT_FDCWD, "a") = 0', b"newcall", "not known here", id="unknown at-call"
        ),
        pytest.param(
            b'newcall("a") = -1 ENOENT (No such file or directory)',
            b"newcall",
            "not known here",
            id="unknown call",
        ),
        pytest.param(b"fchdir(4) = 0", b"fchdir", "strace -y", id="fchdir without -y"),
        pytest.param(
            b'openat(4, "a", O_RDONLY) = 5', b"openat", "strace -y", id="openat without -y"
        ),
        pytest.param(
            b'bind(3, {sa_family=AF_UNIX, sun_path="/run/abc"...}, 110) = 0',
            b"bind",
            "strace -s",
            id="cut name",
        ),
        pytest.param(b'stat("/run/abc"..., 0x7ffe) = 0', b"stat", "strace -s", id="cut path"),
        *(
            pytest.param(
                b'stat("%b", 0x7ffe) = 0' % path, b"stat", "a link of /proc", id=path.decode()
            )
            for path in (
                b"/proc/self/fd/4/a",
                b"/proc/12/cwd/a",
                b"/proc/thread-self/root//a",
                b"/proc/1/task/2/root/a",
                b"/dev/fd/4/a",
            )
        ),
    ],
)
def test_what_hides_something_is_a_problem(line: bytes, call: bytes, cause: str) -> None:
    (problem,) = parse(line).problems
    assert call == problem.call
    assert cause in problem.cause


def test_what_failed_hides_nothing() -> None:
    assert [Access(b"/w/d", Use.STAT)] == accesses(
        b'chroot("d") = -1 EPERM (Operation not permitted)',
        b"unshare(CLONE_NEWNS) = -1 EPERM (Operation not permitted)",
    )


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"Hello, world!", id="the program's own words"),
        pytest.param(b'openat(AT_FDCWD, "a", O_RDO', id="cut line"),
        pytest.param(b"<... read resumed>) = 0", id="a second half without the first"),
        pytest.param(b'stat("a\\0b", 0x7ffe) = 0', id="NUL in a name"),
        pytest.param(b"+++ odd +++", id="unknown mark"),
        pytest.param(b"strace: cannot do that", id="a message of strace's"),
    ],
)
def test_what_is_not_understood_is_kept(line: bytes) -> None:
    assert Log((), unparsed=(line,)) == parse(line)


def test_addresses_make_no_difference() -> None:
    missing = b"-1 ENOENT (No such file or directory)"
    lines = [b'readlink("a", 0x7ffe%d, 9) = %b' % (number, missing) for number in (1, 2, 2)]
    assert accesses(*lines) == [Access(b"/w/a", Use.ABSENT, False)]
    moved = accesses(lines[0], b'chdir("d") = 0', lines[1])
    assert [access.path for access in moved] == [b"/w/a", b"/w/d", b"/w/d/a"]


def test_what_is_alike_tells_of_the_working_directory_too() -> None:
    there, elsewhere = (
        b'newfstatat(AT_FDCWD</%b>, "/x", 0x7ffe%%d, 0) = -1 ENOENT (No such file)' % place
        for place in (b"there", b"elsewhere")
    )
    lines = [there % 1, elsewhere % 2, there % 3, b'access("f", F_OK) = 0']
    assert [access.path for access in accesses(*lines)] == [b"/there/f", b"/x"]


@pytest.mark.parametrize("start", [b"c, ", b"d 3<b>, ", rb"\", ", rb"<\", "])
def test_what_looks_like_an_address_in_a_name_is_none(start: bytes) -> None:
    lines = [b'access("%b0x%d", F_OK) = 0' % (start, number) for number in (1, 2)]
    assert len(accesses(*lines)) == 2


def test_what_looks_like_an_address_in_a_directory_is_none() -> None:
    lines = [rb'openat(3</d\", 0x%d>, "a", O_RDONLY) = 4' % number for number in (1, 2)]
    assert len(accesses(*lines)) == 2


def test_connected_sockets_are_named() -> None:
    log = parse(
        b'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/run/log"}, 110) = 0\n'
        b'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="near"}, 110) = -1 EAGAIN (Again)\n'
        b'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/run/no"}, 110)'
        b" = -1 ECONNREFUSED (Connection refused)\n",
        b"/w",
    )
    assert log.sockets == (b"/run/log", b"/w/near")
    assert [access.path for access in log.accesses] == [b"/run/log", b"/run/no", b"/w/near"]


# Working directories.


def paths_of(*lines: bytes, cwd: bytes = b"/w") -> list[tuple[bytes, bool]]:
    """Return path and certainty of what `lines` look at by access(2)."""
    text = [line.replace(b"@", b'access("f", F_OK) = 0') for line in lines]
    found = accesses(*text, cwd=cwd)
    return [(access.path, access.sure) for access in found if access.path.endswith(b"/f")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([b"@"], [b"/w/f"], id="at the start"),
        pytest.param([b'chdir("d") = 0', b"@"], [b"/w/d/f"], id="chdir"),
        pytest.param([b'chdir("/d") = 0', b"@"], [b"/d/f"], id="absolute chdir"),
        pytest.param([b'chdir("..") = 0', b"@"], [b"/w/../f"], id="dots are left alone"),
        pytest.param(
            [b'chdir("d") = -1 EACCES (Permission denied)', b"@"], [b"/w/f"], id="failed chdir"
        ),
        pytest.param([b"fchdir(4</d>) = 0", b"@"], [b"/d/f"], id="fchdir"),
        pytest.param(
            [b"fchdir(4</d>) = -1 EACCES (Permission denied)", b"@"], [b"/w/f"], id="failed fchdir"
        ),
        pytest.param([b'openat(AT_FDCWD</x>, "g", O_RDONLY) = 3', b"@"], [b"/x/f"], id="-y tells"),
        pytest.param(
            [b'openat(AT_FDCWD</x>(deleted), "g", O_RDONLY) = -1 ENOENT (None)', b"@"],
            [b"/w/f"],
            id="a deleted place",
        ),
        pytest.param(
            [
                b'statx(AT_FDCWD</x>, "/g") = 0',
                b'chdir("/z") = 0',
                b'statx(AT_FDCWD</x>, "/g") = 0',
                b"@",
            ],
            [b"/x/f"],
            id="-y tells again",
        ),
        pytest.param([b'getcwd("/x", 4096) = 3', b"@"], [b"/x/f"], id="getcwd tells"),
        pytest.param(
            [b"1 fork() = 2", b'1 chdir("p") = 0', b"1 @", b'2 chdir("c") = 0', b"2 @"],
            [b"/w/c/f", b"/w/p/f"],
            id="a child starts where its parent is",
        ),
        pytest.param(
            [b'1 chdir("p") = 0', b"2 @", b"1 vfork() = 2"],
            [b"/w/p/f"],
            id="a child's line comes first",
        ),
        pytest.param(
            [b"1 clone3({flags=0}, 88 <unfinished ...>", b"2 @", b"1 <... clone3 resumed>) = 2"],
            [b"/w/f"],
            id="halves",
        ),
        pytest.param(
            [
                b"1 fork() = 2",
                b'2 chdir("c") = 0',
                b"2 +++ exited with 0 +++",
                b"1 fork() = 2",
                b"2 @",
            ],
            [b"/w/f"],
            id="a number that comes again",
        ),
        pytest.param(
            [
                b"1 clone(flags=CLONE_FS) = 2",
                b"2 unshare(CLONE_FS) = 0",
                b'2 chdir("c") = 0',
                b"2 @",
            ],
            [b"/w/c/f"],
            id="sharing no longer",
        ),
    ],
)
def test_working_directory(lines: list[bytes], expected: list[bytes]) -> None:
    assert [(path, True) for path in expected] == paths_of(*lines)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            [b"1 clone(flags=CLONE_FS) = 2", b"1 @", b'2 chdir("c") = 0'],
            [b"/w/c/f", b"/w/f"],
            id="moved by a thread",
        ),
        pytest.param(
            [b"1 clone(flags=CLONE_FS) = 2", b"1 fork() = 3", b'2 chdir("/c") = 0', b"3 @"],
            [b"/c/f", b"/w/f"],
            id="a child of a group that moved",
        ),
        pytest.param(
            [
                b"1 clone(flags=CLONE_FS) = 2",
                b"1 @",
                b'2 openat(AT_FDCWD</y>, "g", O_RDONLY) = 3',
                b'2 openat(AT_FDCWD</y>, "h", O_RDONLY) = 3',
            ],
            [b"/w/f", b"/y/f"],
            id="-y tells of another place",
        ),
        pytest.param(
            [b'1 chdir("/x") = 0', b"9 @"], [b"/w/f", b"/x/f"], id="a process that nobody made"
        ),
    ],
)
def test_an_uncertain_working_directory_gives_all_candidates(
    lines: list[bytes], expected: list[bytes]
) -> None:
    assert [(path, False) for path in expected] == paths_of(*lines)


def test_moving_about_too_much_is_a_problem() -> None:
    moves = [b'1 chdir("/%d") = 0' % number for number in range(99)]
    lines = [b"1 clone(flags=CLONE_FS) = 2", *moves, b"2 exit(0) = ?"]
    (problem,) = parse(b"\n".join(lines)).problems
    assert Problem(b"chdir", "moved about too much to be followed") == problem


def test_moving_too_deep_is_a_problem() -> None:
    lines = [b'chdir("%b") = 0' % (b"d" * 200)] * 400
    (problem,) = parse(b"\n".join(lines)).problems
    assert Problem(b"chdir", "moved about too much to be followed") == problem


@pytest.mark.parametrize("error", [b"0", b"-1 (errno 18446744073709551595)"])
def test_exec_by_a_thread_goes_on_under_its_leaders_number(error: bytes) -> None:
    found = accesses(
        b"1 clone(flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = 2",
        b"1 pause( <unfinished ...>",
        b'2 execve("/bin/true", ["true"], 0x7ffe /* 3 vars */ <unfinished ...>',
        b"1 +++ superseded by execve in pid 2 +++",
        b"1 <... execve resumed>) = " + error,
        b'1 openat(AT_FDCWD, "/etc/a", O_RDONLY) = 3',
        b"1 +++ exited with 0 +++",
    )
    assert [Access(b"/bin/true", Use.EXEC), Access(b"/etc/a", Use.READ)] == found


def test_join_puts_parents_first_and_keeps_odd_ones() -> None:
    logs = {
        9: b'access("c", F_OK) = 0\n+++ exited with 0 +++\n',
        30: b"fork() = 7\nclone3({flags=CLONE_VM} => {parent_tid=[9]}, 88) = 9\nfork() = 70000\n",
        7: b'chdir("d") = 0\n\naccess("b", F_OK) = 0\n',
        8: b'access("o", F_OK) = 0\n',
    }
    text = join(logs)
    assert re.findall(rb"^(\d+) +\S", text, re.MULTILINE) == [
        b"8",
        b"30",
        b"30",
        b"30",
        b"7",
        b"7",
        b"9",
        b"9",
    ]
    assert b"30    fork() = 7\n" in text
    assert text == join(dict(reversed(logs.items())))


def test_join_ends_where_processes_make_each_other() -> None:
    assert join({1: b"fork() = 2\n", 2: b"fork() = 1\n"}) == b"1     fork() = 2\n2     fork() = 1\n"


NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & set(name))


@settings(max_examples=25, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=8))
def test_any_name_survives(names: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    where = os.fsencode(tmp_path_factory.mktemp("names"))
    wanted = [name for name in names if name not in (b".", b"..") and len(name) < 200]
    for name in wanted:
        with open(os.path.join(where, name), "w"):
            pass
    log = os.path.join(where, b"../log")
    command = [b"strace", b"-y", b"-s", b"1", b"-e", b"trace=%file", b"-o", log, b"--"]
    # A name with a slash before it is never an option.
    subprocess.run([*command, b"cat", *[b"./" + name for name in wanted]], cwd=where, check=True)
    with open(log, "rb") as stream:
        found = parse(stream.read(), where)
    opened = {access.real for access in found.accesses if access.path.startswith(where + b"/./")}
    assert found.unparsed == ()
    assert {os.path.join(where, name) for name in wanted} == opened


PIECES = st.sampled_from(
    [
        *(b"openat(", b"AT_FDCWD", b"</d>", b"<", b">", b'"', b'"a"', b"...", b", ", b") = "),
        *(b"0", b"3", b"-1 ENOENT (x)", b"?", b"\\", b"\0", b"\n", b"1 ", b"2 ", b"[pid 3] "),
        *(b"<unfinished ...>", b"<... openat resumed>", b"+++ exited with 0 +++"),
        *(b"+++ superseded by execve in pid 2 +++", b"strace: Process 2 attached\n"),
        *(b"clone(flags=CLONE_FS", b"unshare(CLONE_FS", b"chdir(", b"fchdir(", b"getdents64("),
        *(b"recvmsg(", b"cmsg_data=[", b"bind(", b"sun_path=", b"{", b"}"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(text=st.binary() | st.lists(PIECES).map(b"".join))
def test_no_bytes_raise_anything(text: bytes) -> None:
    log = parse(text)
    assert list(log.accesses) == sorted(log.accesses, key=order)
    assert all(access.path[:1] == b"/" and b"\0" not in access.path for access in log.accesses)


GOLDEN_LOGS = [path.read_bytes() for path in sorted(Path(GOLDEN).glob("*.strace"))]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_mutated_log_raises_anything(data: st.DataObject) -> None:
    log = data.draw(st.sampled_from(GOLDEN_LOGS))
    start = data.draw(st.integers(0, len(log)))
    text = log[start : start + 2000]
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(PIECES) + text[at + data.draw(st.integers(0, 6)) :]
    log_of = parse(text)
    assert strace.is_whole(text) in (True, False)
    faults: list[bytes | Problem] = [*log_of.unparsed, *log_of.problems]
    for fault in faults:
        assert 1 <= strace.line_of(text, fault) <= text.count(b"\n") + 1


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'openat(AT_FDCWD, "a" = 3<"x', id="result"),
        pytest.param(b'connect(3, {sun_path="}, 1) = 0', id="socket"),
        pytest.param(b'stat(" , 1) = 0', id="path"),
        pytest.param(b"fchdir(\\<>) = 0", id="descriptor"),
    ],
)
def test_marks_that_belong_together_and_are_apart(line: bytes) -> None:
    assert parse(line).unparsed == (line,)


def test_each_golden_log_is_whole() -> None:
    assert all(map(strace.is_whole, GOLDEN_LOGS))
    assert not any(strace.is_whole(log[: log.rindex(b"+++", 0, -5)]) for log in GOLDEN_LOGS)


def test_long_lines_take_no_long_time() -> None:
    for piece in (b"<", b'"', b'\\"', b"<a", b"(", b") = ", b"\\<", b"+++ "):
        assert len(parse(b"stat(" + piece * 100_000).unparsed) == 1
