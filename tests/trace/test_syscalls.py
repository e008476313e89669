"""Tests of syscalls.py: a line for each call."""

from __future__ import annotations

import pytest
from scratch_image.trace.log import Access, parse
from scratch_image.trace.record import Use
from strace_logs import access_key, accesses


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
    assert sorted(expected, key=access_key) == accesses(line)


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
def test_call_that_hides_something_is_a_problem(line: bytes, call: bytes, cause: str) -> None:
    (problem,) = parse(line).problems
    assert call == problem.call
    assert cause in problem.cause


def test_failed_call_hides_nothing() -> None:
    assert [Access(b"/w/d", Use.STAT)] == accesses(
        b'chroot("d") = -1 EPERM (Operation not permitted)',
        b"unshare(CLONE_NEWNS) = -1 EPERM (Operation not permitted)",
    )


def test_connected_sockets_are_named() -> None:
    log = parse(
        b'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/run/log"}, 110) = 0\n'
        b'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="near"}, 110) = -1 EAGAIN (Again)\n'
        b'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/run/no"}, 110)'
        b" = -1 ECONNREFUSED (Connection refused)\n",
        b"/w",
    )
    assert [access.path for access in log.accesses] == [b"/run/log", b"/run/no", b"/w/near"]
