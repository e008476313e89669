"""Tests of run_checks.py: runs that fail, and traces that do not show all."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import (
    needs_root,
    old_strace,
    settle_clock,
    strace_with,
    trace_error,
    traced,
    uses_below,
)
from scratch_image.errors import TraceError
from scratch_image.fs.root import Root
from scratch_image.sandbox.run import Run
from scratch_image.trace import tracer
from scratch_image.trace.log import Log
from scratch_image.trace.run_checks import check_log
from scratch_image.trace.syscalls import Problem


@needs_root
def test_an_interpreter_that_is_registered_is_an_error(site: Path) -> None:
    (site / "binfmt").mkdir()
    (site / "program").write_bytes(b"scratch-image-test")
    (site / "program").chmod(0o755)
    settle_clock()
    subprocess.run(["mount", "-t", "binfmt_misc", "none", site / "binfmt"], check=True)
    try:
        (site / "binfmt/register").write_text(":scratchtest:M::scratch-image-test::/bin/cat:")
        text = trace_error(site / "program")
    finally:
        (site / "binfmt/scratchtest").write_text("-1")
        subprocess.run(["umount", site / "binfmt"], check=True)
    assert text == (
        f"cannot trust the trace of run demo: {site}/program ran by an interpreter of binfmt_misc, "
        "which strace does not see; name that interpreter as the program"
    )


def test_a_missing_interpreter_is_an_error(site: Path) -> None:
    (site / "script").write_text("#!/no/such/interpreter\n")
    (site / "script").chmod(0o755)
    settle_clock()
    assert trace_error(site / "script") == (
        f"cannot trace run demo: {site}/script needs /no/such/interpreter, and there is no such "
        "file; install it, or build the program for the loader of its root"
    )


@pytest.fixture
def setid(programs: Path, site: Path) -> Path:
    shutil.copy(programs / "setid", site / "setid")
    os.chown(site / "setid", 65534, -1)
    (site / "setid").chmod(0o4755)
    settle_clock()
    return site / "setid"


@needs_root
def test_a_set_id_program_keeps_its_privileges(setid: Path, site: Path) -> None:
    assert uses_below(traced(setid).record, site) == {"setid": "exec"}


@needs_root
@pytest.mark.parametrize(
    ("program", "private", "hint"),
    [
        pytest.param("/bin/sh", False, "install strace 6.2 or newer", id="plain"),
        pytest.param("/bin/sh", True, "set TRACE_ROOT=plain and install strace 6.2 or newer", id="private"),
        pytest.param("setid", True, "set TRACE_ROOT=plain", id="private, the program itself"),
    ],
)  # fmt: skip
def test_privileges_that_a_run_lost_are_an_error(
    program: str, private: bool, hint: str, setid: Path, site: Path
) -> None:
    tool = old_strace(site, "6.1", real=True)
    run = Run("demo", (b"sh", b"-c", b"./setid; exit 0"), cwd=os.getcwdb())
    path = os.fsencode(site / program)
    with pytest.raises(TraceError) as caught:
        tracer.trace(run, path, Root(), tool, private=private)
    assert str(caught.value) == (
        f"cannot trust the trace of run demo: {setid} is set-id, and ran without its privileges; "
        f"{hint}"
    )
    if hint == "set TRACE_ROOT=plain":
        tracer.trace(run, path, Root(), tool)


@needs_root
def test_file_capabilities_count_for_ordinary_users(
    programs: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(programs / "open", site / "capable")
    value = bytes.fromhex("01000002002000000000000000000000000000 00")
    os.setxattr(site / "capable", "security.capability", value)
    settle_clock()
    assert uses_below(traced(site / "capable").record, site) == {"capable": "exec"}
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert trace_error(site / "capable").startswith(
        f"cannot trust the trace of run demo: {site}/capable is set-id"
    )


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        pytest.param(
            "echo one >&2; echo two >&2; exit 3",
            "it ended with status 3, not with status 0, and said 'one | two'",
            id="status",
        ),
        pytest.param(
            "kill -SEGV $$",
            "it was ended by SIGSEGV, not with status 0, and said ''",
            id="signal",
        ),
        pytest.param(
            "yes x | head -301 | tr -d '\\n' >&2; exit 1",
            f"it ended with status 1, not with status 0, and said '...{'x' * 300}'",
            id="much to say",
        ),
    ],
)
def test_unexpected_ends(command: str, cause: str, site: Path) -> None:
    assert trace_error(b"/bin/sh", "-c", command) == (
        f"cannot trace run demo: {cause}; install what it lacks, set TRACE_ROOT=private if that is "
        "staged, correct the run, or let it expect that"
    )


def test_runs_that_never_end(site: Path) -> None:
    text = trace_error(b"/bin/sh", "-c", "setsid sleep 91 & echo $!; exit", timeout=0.7)
    assert text == (
        "cannot trace run demo: after 0.7 s it still ran (sleep\\04091); "
        "give it a longer timeout, or a command that ends"
    )
    assert subprocess.run(["pgrep", "-f", "^sleep 91"], check=False).returncode == 1


@needs_root
@pytest.mark.parametrize(
    ("what", "cause"),
    [
        pytest.param("chroot", "chroot gave the run another view of the file system", id="chroot"),
        pytest.param(
            "namespace", "unshare gave the run another view of the file system", id="unshare"
        ),
        pytest.param(
            "untraced", "clone made a process that strace may not follow", id="CLONE_UNTRACED"
        ),
        pytest.param(
            "handle", "open_by_handle_at opened a file without naming it", id="open_by_handle_at"
        ),
    ],
)
def test_program_that_hides_something(what: str, cause: str, programs: Path, site: Path) -> None:
    assert trace_error(programs / "hides", what) == (
        f"cannot trust the trace of run demo: {cause}; run it without that, "
        "or name its files in an extra list"
    )


def test_lines_that_are_not_understood(site: Path) -> None:
    # With -k strace prints where in the program each call comes from.
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), strace_with(site, "-k"))
    found = re.fullmatch(
        r"cannot trust the trace of run demo: ([0-9]+) lines of it are not understood, "
        r"the first is '> .*'; report this, with the version of strace",
        str(caught.value),
    )
    assert found
    assert int(found[1]) > 1


def test_message_has_all_problems() -> None:
    problems = (Problem(b"a", "did one thing"), Problem(b"b", "did another"))
    with pytest.raises(TraceError, match="demo: a did one thing, b did another; run it without"):
        check_log(Run("demo", (b"x",)), Log((), problems=problems))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param(lambda site: (site / "d/b.txt").write_text("new"), "d/b.txt", id="content"),
        pytest.param(lambda site: (site / "d/b.txt").chmod(0o600), "d/b.txt", id="mode"),
        pytest.param(lambda site: (site / "d/real/new").touch(), "d/real", id="listing"),
        pytest.param(lambda site: (site / "d/b.txt").unlink(), "d/b.txt", id="vanished"),
        pytest.param(
            lambda site: (site / "d/b.txt").rename(site / "other"), "d/b.txt", id="renamed"
        ),
        # A file of the directory keeps its time.
        pytest.param(
            lambda site: (site / "kept").rename(site / "none"), "none/file", id="appeared"
        ),
    ],
)
def test_inputs_that_change_meanwhile(
    change: Callable[[Path], object], path: str, site: Path
) -> None:
    (site / "kept").mkdir()
    (site / "kept/file").write_text("kept")

    def meanwhile() -> None:
        while not (site / "started").exists():
            time.sleep(0.01)
        change(site)
        (site / "seen").touch()

    other = threading.Thread(target=meanwhile, daemon=True)
    other.start()
    script = "cat d/b.txt; ls d/real; test -e none/file; : >started; until test -e seen; do sleep 0.02; done"
    text = trace_error(b"/bin/sh", "-c", script)
    other.join()
    assert text == (
        f"cannot trust the trace of run demo: {site}/{path} changed while it ran; "
        "build again when nothing writes to it"
    )


def test_own_changes_to_a_listed_directory_are_no_error(site: Path) -> None:
    script = "ls d >/dev/null; : > d/new; : > d/gone; rm d/gone"
    assert uses_below(traced(b"/bin/sh", "-c", script).record, site) == {
        "d": "list",
        "d/new": "write",
    }


@needs_root
def test_the_setid_fixture_is_set_id(setid: Path) -> None:
    assert setid.stat().st_mode & stat.S_ISUID
