"""Finished images, whole and with something missing, tested as root and as an ordinary user."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import lab
import pytest
from engines import dockerd
from lab import NO_ENGINE, PACKAGE, WITHOUT_NAMESPACES
from scratch_image.errors import EngineError, ImageError, TraceError
from scratch_image.files.merge import merge
from scratch_image.files.request import from_record
from scratch_image.fs.capabilities import ATTRIBUTE, attribute
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root
from scratch_image.image import archive, layer
from scratch_image.image.config import Image
from scratch_image.image.reference import Reference
from scratch_image.image.settings import Settings
from scratch_image.inspect import image_test, seccomp
from scratch_image.inspect.image_test import RepeatedRun
from scratch_image.publish.container import run_container
from scratch_image.publish.engine import load as load_image
from scratch_image.sandbox.run import Limits, Run
from scratch_image.trace import tracer
from scratch_image.trace.record import Record, write_record

pytestmark = pytest.mark.usefixtures("temporary")

CAT = b"/bin/cat"
PYTHON = b"/usr/bin/python3"

CHANGEABLE = r"""
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <signal.h>
int main(int argc, char **argv) {
    struct stat s;
    int inside = stat("/etc/debian_version", &s) != 0;
    if (!strcmp(argv[1], "fails")) { fputs("last words\n", stderr); return inside ? 7 : 0; }
    if (!strcmp(argv[1], "prints")) puts(inside ? "inside" : "outside");
    if (!strcmp(argv[1], "hangs")) { if (inside) sleep(60); }
    if (!strcmp(argv[1], "dies")) { kill(getpid(), SIGKILL); }
    if (!strcmp(argv[1], "forks") && inside) { for (;;) if (!fork()) sleep(60); }
    if (!strcmp(argv[1], "fills") && inside) {
        static char block[1 << 20];
        FILE *file = fopen("/filled", "w");
        while (fwrite(block, sizeof block, 1, file));
        perror("/filled");
        return 1;
    }
    if (!strcmp(argv[1], "aborts")) abort();
    if (!strcmp(argv[1], "bytes")) {
        for (int round = 0; round < 40; round++)
            for (int at = 0; at < 256; at++) { putchar(at); fputc(255 - at, stderr); fflush(stdout); }
        puts("no end of line follows");
        printf("%c", 0);
        return inside && argc > 2;
    }
    if (!strcmp(argv[1], "counts")) {
        cpu_set_t set;
        sched_getaffinity(0, sizeof set, &set);
        printf("%d processors, process 1 %d\n", CPU_COUNT(&set), getpid() == 1);
    }
    if (!strcmp(argv[1], "keeps")) {
        printf("starting\n");
        if (fopen("/kept/state", "w")) { remove("/kept/state"); return 0; }
        perror("/kept/state");
        return 3;
    }
    if (!strcmp(argv[1], "owns")) {
        if (!chown("/kept", 1, 1)) { chown("/kept", 0, 0); return 0; }
        perror("/kept");
        return 4;
    }
    if (!strcmp(argv[1], "writes")) { return !fopen("/written", "wx"); }
    return 0;
}
"""


@pytest.fixture(scope="session")
def changeable(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a static program that does other things where there is no Debian."""
    made = tmp_path_factory.mktemp("changeable") / "changeable"
    command = ["gcc", "-static", "-x", "c", "-", "-o", str(made)]
    subprocess.run(command, input=CHANGEABLE.encode(), check=True)
    return os.fsencode(made)


def traced(program: bytes, *words: str, **more: object) -> RepeatedRun:
    """Trace `program` on the machine; return what is to be repeated."""
    argv = (program, *map(os.fsencode, words))
    run = replace(Run("default", argv), **more)  # type: ignore[arg-type]
    trace = tracer.trace(run, program, Root())
    return RepeatedRun("demo", run, program, trace.record, trace.stdout)


def packed(directory: Path, trial: RepeatedRun, without: Collection[str] = ()) -> bytes:
    """Write a layer of all that `trial` used on the machine, but for `without`."""
    path = directory / "layer.tar"
    used = {
        os.fsdecode(use.path) for use in trial.record.uses if use.kind not in ("absent", "write")
    }
    wrote = {os.path.dirname(use.path) for use in trial.record.uses if use.kind == "write"}
    with tarfile.open(path, "w") as tar:
        for name in sorted({*used, *map(os.fsdecode, wrote)} - {*without}):
            tar.add(name, recursive=False)
    path.chmod(0o644)
    return os.fsencode(path)


def test_whole_image_passes(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data\n")
    (tmp_path / "input").write_text("input\n")
    source = os.fsencode(tmp_path / "input")
    trial = traced(CAT, f"{tmp_path}/data", "/etc/hosts", "-", stdin=source)
    trial = replace(trial, run=replace(trial.run, stdout=rb"data\n.*localhost.*input\n"))

    record = image_test.repeat_in_root(trial, [packed(tmp_path, trial)])

    assert os.fsencode(tmp_path / "data") in {use.path for use in record.uses if use.kind == "read"}
    absent = sum(use.kind == "absent" for use in record.uses)
    paths = len(record.uses) - absent
    told = f"default: status 0, stdout matches, {paths} paths, {absent} absent"
    assert image_test.result_line(trial, record) == told
    assert image_test.result_line(trial, None) == "default: status 0, stdout matches"


def test_output_is_compared_with_the_trace(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data\n")
    trial = traced(CAT, f"{tmp_path}/data")
    path = packed(tmp_path, trial)

    assert "stdout equal" in image_test.result_line(trial, image_test.repeat_in_root(trial, [path]))
    assert message(
        lambda: image_test.repeat_in_root(replace(trial, stdout=b"other\n"), [path])
    ) == (
        "cannot accept image demo: run default failed its test: it printed 'data', on the machine 'other'; "
        "if its output may vary, give the run a stdout that matches all of it"
    )


def message(call: Callable[[], object]) -> str:
    """Return the error that `call` ends with."""
    with pytest.raises(ImageError) as error:
        call()
    return str(error.value)


def test_missing_data_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data\n")
    trial = traced(CAT, f"{tmp_path}/data")

    told = message(
        lambda: image_test.repeat_in_root(trial, [packed(tmp_path, trial, [f"{tmp_path}/data"])])
    )

    assert told == (
        f"cannot accept image demo: run default failed its test: it did not find {tmp_path}/data, which the "
        "machine has; add what it lacks to an extra list"
    )


def test_missing_files_matter_even_if_the_program_does_without(tmp_path: Path) -> None:
    names = [f"{tmp_path}/{number}" for number in range(7)]
    for name in names:
        Path(name).write_text("")
    looks = "; ".join(f"test -f {name}" for name in names)
    trial = traced(b"/bin/sh", "-c", f"{looks}; true")

    told = message(lambda: image_test.repeat_in_root(trial, [packed(tmp_path, trial, names)]))

    assert f"it did not find {', '.join(names[:5])} and 2 more, which the machine has" in told


def test_files_of_a_missing_directory_are_named(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/one").write_text("1")
    (tmp_path / "d/two").write_text("2")
    trial = traced(CAT, f"{tmp_path}/d/one", f"{tmp_path}/d/two")
    layer = packed(tmp_path, trial, [f"{tmp_path}/d", f"{tmp_path}/d/one", f"{tmp_path}/d/two"])

    told = message(lambda: image_test.repeat_in_root(trial, [layer]))

    assert f"it did not find {tmp_path}/d/one, {tmp_path}/d/two, which" in told


def test_missing_library_is_named(tmp_path: Path) -> None:
    trial = traced(CAT, "/dev/null")
    [library] = [use.path for use in trial.record.uses if use.path.endswith(b"/libc.so.6")]

    told = message(
        lambda: image_test.repeat_in_root(trial, [packed(tmp_path, trial, [os.fsdecode(library)])])
    )

    assert f"did not find {os.fsdecode(library)}, which the machine has" in told


@pytest.mark.parametrize(
    "path", ["/etc/ld.so.cache", "/etc/resolv.conf", "/var/log/dpkg.log", "/dev/zero"]
)
def test_path_that_lists_leave_out_by_rule_is_not_missing(tmp_path: Path, path: str) -> None:
    trial = traced(b"/bin/sh", "-c", f"test -e {path}; true")

    image_test.repeat_in_root(trial, [packed(tmp_path, trial, [path, "/var/log", "/var"])])


def test_path_that_an_extra_list_leaves_out_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    trial = traced(b"/bin/sh", "-c", f"test -e {tmp_path}/data; true")
    layer = packed(tmp_path, trial, [f"{tmp_path}/data"])

    image_test.repeat_in_root(replace(trial, left_out=(re.compile(rb".*/data"),)), [layer])


def test_socket_is_not_missing(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    trial = traced(b"/bin/sh", "-c", f"test -e {fifo}; true")

    image_test.repeat_in_root(trial, [packed(tmp_path, trial, [str(fifo)])])


def test_interpreter_reads_links_and_directories(tmp_path: Path) -> None:
    code = "import json, os; print(json.dumps(sorted(os.environ)), os.listdir('/proc/self/fd')[:1])"
    trial = traced(PYTHON, "-I", "-c", code, environment={b"LC_ALL": b"C", b"X": b"1"})

    record = image_test.repeat_in_root(trial, [packed(tmp_path, trial)])

    assert any(use.path.endswith(b"/json/__init__.py") for use in record.uses)


@pytest.mark.parametrize(
    ("words", "more", "cause"),
    [
        pytest.param(["fails"], {}, "it ended with status 7, not with status 0, and said 'last words'",
                     id="status"),
        pytest.param(["prints"], {}, "it printed 'inside', on the machine 'outside'", id="output"),
        pytest.param(["prints"], {"stdout": b"outside\n"},
                     "it printed 'inside', which does not match b'outside\\n'", id="pattern"),
        pytest.param(["hangs"], {"timeout": 1.0}, "after 1 s it still ran (", id="time limit"),
    ],
)  # fmt: skip
def test_run_that_fails_inside_only(
    tmp_path: Path, changeable: bytes, words: list[str], more: dict[str, object], cause: str
) -> None:
    trial = traced(changeable, *words, **more)
    layer = packed(tmp_path, trial, ["/etc/debian_version"])
    trial = replace(trial, record=Record(()))  # what it looks for is not the matter here

    told = message(lambda: image_test.repeat_in_root(trial, [layer]))

    assert told.startswith(f"cannot accept image demo: run default failed its test: {cause}")


@pytest.mark.parametrize(
    ("words", "cause", "variable"),
    [
        pytest.param(["fills"], "nothing was left of the 16 MB that it may write", "TRACE_SPACE",
                     id="space"),
        pytest.param(["forks"], "it had more than 60 processes and threads at once",
                     "TRACE_PROCESSES", id="processes"),
    ],
)  # fmt: skip
def test_limits_hold_in_the_image(
    tmp_path: Path, changeable: bytes, words: list[str], cause: str, variable: str
) -> None:
    trial = traced(changeable, *words, timeout=30.0, limits=Limits(60, 16))
    layer = packed(tmp_path, trial, ["/etc/debian_version"])
    trial = replace(trial, record=Record(()))

    told = message(lambda: image_test.repeat_in_root(trial, [layer]))
    profiled = message(lambda: seccomp.calls("demo", [(trial.run, changeable)], [layer]))

    assert cause in told
    assert cause in profiled
    assert told.endswith(f", or raise {variable}")
    assert profiled.endswith(f", or raise {variable}")


def test_run_that_is_to_end_by_a_signal(tmp_path: Path, changeable: bytes) -> None:
    trial = traced(changeable, "dies", status=-signal.SIGKILL)
    layer = packed(tmp_path, trial, [])

    assert "default: status -9, " in image_test.result_line(
        trial, image_test.repeat_in_root(trial, [layer])
    )


def test_program_that_is_not_in_the_image(tmp_path: Path, changeable: bytes) -> None:
    trial = traced(changeable, "prints")

    told = message(
        lambda: image_test.repeat_in_root(
            trial, [packed(tmp_path, trial, [os.fsdecode(changeable)])]
        )
    )

    assert f"it did not find {os.fsdecode(changeable)}, which the machine has" in told


def test_written_files_go_with_the_root(tmp_path: Path, changeable: bytes) -> None:
    trial = traced(changeable, "prints")
    trial = replace(trial, run=replace(trial.run, argv=(changeable, b"writes")), stdout=b"")
    layer = packed(tmp_path, trial)

    for _ in range(2):
        assert "status 0" in image_test.result_line(
            trial, image_test.repeat_in_root(trial, [layer])
        )
    assert not os.path.exists("/written")


def test_strace_that_is_missing(tmp_path: Path, changeable: bytes) -> None:
    trial = traced(changeable, "prints")

    with pytest.raises(TraceError):
        image_test.repeat_in_root(trial, [packed(tmp_path, trial)], b"no-strace")


SERVER = """
import os, signal, socket, sys
place = sys.argv[1]
family = socket.AF_UNIX if place[0] == "/" else socket.AF_INET
server = socket.socket(family)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(place if place[0] == "/" else ("127.0.0.1", int(place)))
server.listen()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
while True:
    server.accept()[0].close()
"""


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_server_is_asked_in_its_root(tmp_path: Path, temporary: Path, kind: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = f"{temporary}/s" if kind == "unix" else str(port)
    trial = traced(PYTHON, "-I", "-c", SERVER, place, ready=f"{kind}:{place}", timeout=20.0)
    (temporary / "s").unlink(missing_ok=True)
    layer = packed(tmp_path, trial)

    assert "stdout not compared" in image_test.result_line(
        trial, image_test.repeat_in_root(trial, [layer])
    )
    assert not image_test.repeat_in_container(trial, NO_ENGINE, "not asked")


# As an ordinary user, and in containers.

TESTS = Path(__file__).parent, Path(lab.__file__).parent


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_ordinary_user_tests_as_root_does(temporary: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import test_image_test as t\n"
        "from pathlib import Path\n"
        "from scratch_image.inspect import image_test\n"
        "import tempfile; here = Path(tempfile.mkdtemp())\n"
        "(here / 'data').write_text('data')\n"
        "trial = t.traced(t.CAT, f'{here}/data')\n"
        "root = image_test.repeat_in_root(trial, [t.packed(here, trial)])\n"
        "print(image_test.result_line(trial, root))\n"
        "try: image_test.repeat_in_root(trial, [t.packed(here, trial, [f'{here}/data'])])\n"
        "except t.ImageError as error: print(error)\n"
        "t.subprocess.run(['rm', '-r', here], check=True)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-B", "-c", code, PACKAGE.parent, *TESTS],
        env={"TMPDIR": str(temporary), "PATH": os.environ["PATH"]},
        cwd="/",
        user="nobody",
        group="nogroup",
        extra_groups=[],
        capture_output=True,
        text=True,
    )

    line, error = ran.stdout.splitlines() or [ran.stderr, ""]
    assert line.startswith("default: status 0, stdout equal, "), line
    assert "/data, which the machine has; " in error


@pytest.fixture
def loaded(tmp_path: Path, engine: str) -> Callable[[RepeatedRun], str]:
    """Return what gives an image of what a trial used to the engine, and returns its ID."""
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")

    return lambda trial: load_layer(engine, packed(tmp_path, trial, ["/", "/etc/debian_version"]))


def load_layer(engine: str, path: bytes, **more: Any) -> str:
    """Give an image of the layer file `path` to the engine; return its ID."""
    settings = Settings("amd64", entrypoint=["/none"], cmd=["none"], **more)
    image = Image(settings, (layer.read(path),))
    target = Path(os.fsdecode(path)).with_suffix(".oci.tar")
    with target.open("wb") as sink:
        archive.write(sink, image, [path], [Reference.parse("tester")])
    return load_image(engine, os.fsencode(target)).id


def test_container_prints_what_the_machine_printed(
    tmp_path: Path, engine: str, loaded: Callable[[RepeatedRun], str]
) -> None:
    (tmp_path / "data").write_text(f"{4000 * 'd'}\n" * 100)
    trial = traced(CAT, "-", stdin=os.fsencode(tmp_path / "data"))
    image = loaded(trial)

    assert image_test.repeat_in_container(trial, engine, image)
    told = message(
        lambda: image_test.repeat_in_container(replace(trial, stdout=b"other"), engine, image)
    )

    assert "on the machine 'other'; if its output may vary" in told
    pattern = replace(trial, run=replace(trial.run, stdout=b"no"))
    assert "does not match b'no'; " in message(
        lambda: image_test.repeat_in_container(pattern, engine, image)
    )


@pytest.mark.parametrize(
    ("words", "more", "cause"),
    [
        pytest.param(["fails"], {}, "it ended with status 7 in its container, and said 'last words'",
                     id="status"),
        pytest.param(["hangs"], {"timeout": 1.0}, "it did not end in time in its container",
                     id="time limit"),
    ],
)  # fmt: skip
def test_run_that_fails_in_its_container_only(
    engine: str,
    loaded: Callable[[RepeatedRun], str],
    changeable: bytes,
    words: list[str],
    more: dict[str, object],
    cause: str,
) -> None:
    trial = traced(changeable, *words, **more)
    image = loaded(trial)

    told = message(lambda: image_test.repeat_in_container(trial, engine, image))

    assert told.startswith(f"cannot accept image demo: run default failed its test: {cause}")


def test_container_prints_the_same_bytes(
    engine: str, loaded: Callable[[RepeatedRun], str], changeable: bytes
) -> None:
    trial = traced(changeable, "bytes")
    image = loaded(trial)
    assert trial.stdout.startswith(bytes(range(256)))

    assert image_test.repeat_in_container(trial, engine, image)
    result = run_container(engine, image, trial.run, changeable)

    assert result.stdout == trial.stdout == bytes(range(256)) * 40 + b"no end of line follows\n\0"
    assert result.stderr == bytes(range(255, -1, -1)) * 40


def test_of_much_output_the_same_is_kept(
    tmp_path: Path, engine: str, loaded: Callable[[RepeatedRun], str]
) -> None:
    (tmp_path / "data").write_bytes(os.urandom(3_000_000))
    trial = traced(CAT, "-", stdin=os.fsencode(tmp_path / "data"))

    assert image_test.repeat_in_container(trial, engine, loaded(trial))


@pytest.mark.parametrize(("word", "number"), [("aborts", signal.SIGABRT), ("dies", signal.SIGKILL)])
def test_signals_end_a_program_in_any_root(
    tmp_path: Path,
    engine: str,
    loaded: Callable[[RepeatedRun], str],
    changeable: bytes,
    word: str,
    number: int,
) -> None:
    trial = traced(changeable, word, status=-number)

    assert image_test.repeat_in_container(trial, engine, loaded(trial))
    assert image_test.repeat_in_root(trial, [packed(tmp_path, trial)])
    assert tracer.trace(trial.run, changeable, Root(), private=True)


def test_program_counts_as_many_processors_in_its_container(
    engine: str, loaded: Callable[[RepeatedRun], str], changeable: bytes
) -> None:
    trial = traced(changeable, "counts")
    assert trial.stdout == b"1 processors, process 1 0\n"

    assert image_test.repeat_in_container(trial, engine, loaded(trial))


def test_engine_without_an_init_is_told(
    tmp_path: Path, changeable: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = traced(changeable, "prints")
    with dockerd(tmp_path / "engine", options=["--init-path=/none/docker-init"]) as address:
        image = load_layer(address, packed(tmp_path, trial, ["/", "/etc/debian_version"]))
        with pytest.raises(EngineError) as error:
            image_test.repeat_in_container(trial, address, image)

    assert str(error.value).startswith(f"cannot run image {image}: engine at {address}: ")
    assert str(error.value).endswith("; install tini where the engine runs")


@pytest.mark.parametrize(
    ("words", "cause", "mend"),
    [
        pytest.param(
            ["keeps"],
            "it ended with status 3 in its container, and said '/kept/state: Read-only file system' "
            "after it printed 'starting'",
            "give the run read_only=False, or name the directory that it writes to in IMAGE_VOLUMES",
            id="writes",
        ),
        pytest.param(
            ["owns"],
            "it ended with status 4 in its container, and said '/kept: Read-only file system'",
            "give the run read_only=False and cap_drop=False",
            id="writes and needs capabilities",
        ),
        pytest.param(
            ["fails"],
            "it ended with status 7 in its container, and said 'last words'",
            "add what it lacks to an extra list",
            id="neither",
        ),
    ],
)
def test_message_names_the_setting_that_a_run_needs(
    tmp_path: Path, engine: str, changeable: bytes, words: list[str], cause: str, mend: str
) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    trial = traced(changeable, "prints")
    run = replace(trial.run, argv=(changeable, *map(os.fsencode, words)))
    trial = replace(trial, run=run, stdout=b"starting\n" if words == ["keeps"] else b"")
    path = packed(tmp_path, trial, ["/", "/etc/debian_version"])
    directory = tarfile.TarInfo("kept")
    directory.type, directory.mode = tarfile.DIRTYPE, 0o755
    with tarfile.open(path, "a") as tar:
        tar.addfile(directory)
    image = load_layer(engine, path)

    told = message(lambda: image_test.repeat_in_container(trial, engine, image))

    assert told == f"cannot accept image demo: run default failed its test: {cause}; {mend}"
    if words == ["keeps"]:
        image = load_layer(engine, path, volumes=["/kept"])
        assert image_test.repeat_in_container(trial, engine, image)


def test_container_lets_write_only_who_says_so(
    engine: str, loaded: Callable[[RepeatedRun], str], changeable: bytes
) -> None:
    trial = traced(changeable, "prints")
    image = loaded(trial)
    writes = replace(trial, run=replace(trial.run, argv=(changeable, b"writes")), stdout=b"")

    assert "it ended with status 1 " in message(
        lambda: image_test.repeat_in_container(writes, engine, image)
    )
    image_test.repeat_in_container(
        replace(writes, run=replace(writes.run, read_only=False, cap_drop=False)), engine, image
    )


@pytest.mark.parametrize(
    ("text", "goes"),
    [
        pytest.param("cap_net_raw,cap_sys_chroot=ep", True, id="of any container"),
        pytest.param("cap_sys_admin=ep", False, id="of no container"),
    ],
)
def test_program_with_capabilities(tmp_path: Path, engine: str, text: str, goes: bool) -> None:
    """The kernel starts it only where it can have all of them."""
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    shutil.copy("/bin/true", tmp_path / "true")
    os.setxattr(tmp_path / "true", ATTRIBUTE, attribute(text))
    trial = traced(os.fsencode(tmp_path / "true"))
    view = Overlay(Root(), b"/project")
    path = tmp_path / "layer.tar"
    with path.open("wb") as sink:
        entries = merge(view, from_record(trial.record, "default"))
        layer.write(sink, entries, view)

    assert image_test.repeat_in_root(trial, [os.fsencode(path)])
    image = load_layer(engine, os.fsencode(path))
    assert image_test.repeat_in_container(trial, engine, image) == goes


def test_image_that_the_engine_does_not_have(engine: str, changeable: bytes) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    trial = traced(changeable, "prints")

    with pytest.raises(EngineError) as error:
        image_test.repeat_in_container(trial, engine, "tester-none")

    assert str(error.value) == (
        f"cannot run image tester-none: engine at {engine}: No such image: tester-none:latest; "
        "look into the engine's log"
    )


def test_engine_that_is_down(changeable: bytes) -> None:
    trial = traced(changeable, "prints")

    with pytest.raises(EngineError) as error:
        image_test.repeat_in_container(trial, NO_ENGINE, "x")

    assert str(error.value).startswith(f"cannot reach engine at {NO_ENGINE}: ")


STEP = """
import sys
from scratch_image.errors import ScratchImageError
from scratch_image.fs.root import Root
from scratch_image.sandbox.run import Run
from scratch_image.scons.steps.test import TestStep
from scratch_image.scons.steps.trace import TracedRun
layer, record, stdout, iid, target, address, program = sys.argv[1:]
traced = TracedRun(program.encode(), Run("default", (b"x", b"prints"), stdout=b"inside.|outside."), False)
step = TestStep("demo", 1, (traced,), (), b"strace", (), address, b"/")
sources = [layer, record, stdout, *([iid] if address else [])]
try:
    print(step.run(Root(), [target.encode()], [each.encode() for each in sources]))
except ScratchImageError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
@pytest.mark.parametrize("has_engine", [False, True])
def test_without_namespaces_the_container_is_left(
    tmp_path: Path,
    engine: str,
    changeable: bytes,
    loaded: Callable[[RepeatedRun], str],
    has_engine: bool,
) -> None:
    trial = traced(changeable, "prints")
    (tmp_path / "x.iid").write_text(f"{loaded(trial)}\n")
    (tmp_path / "x.trace").write_bytes(write_record(trial.record))
    (tmp_path / "x.stdout").write_bytes(trial.stdout)
    names = ("layer.tar", "x.trace", "x.stdout", "x.iid", "x.tested")

    ran = subprocess.run(
        [*WITHOUT_NAMESPACES, sys.executable, "-B", "-c", STEP]
        + [str(tmp_path / name) for name in names]
        + [engine if has_engine else "", os.fsdecode(changeable)],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )

    if has_engine:
        assert ran.stdout == "default in a container\n", ran.stderr
        told = "default: status 0, stdout matches\n"
        assert (tmp_path / "x.tested").read_text() == told
    else:
        assert ran.stdout.startswith("cannot give a process a root of its own: "), ran.stderr
        assert not (tmp_path / "x.tested").exists()
