"""The profile of system calls: an image passes its runs under it, and can do nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import arm64
import pytest
from lab import NO_ENGINE, PACKAGE, WITHOUT_NAMESPACES, Scons
from project import Project
from scratch_image.errors import ImageError, InputError, TraceError
from scratch_image.image import tar_header
from scratch_image.inspect import seccomp
from scratch_image.inspect.seccomp import BASELINE
from scratch_image.sandbox.run import Run
from tars import member, packed

CODE = r"""
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "fail")) return 3;
    if (!strcmp(what, "odd")) syscall(999);
    if (!strcmp(what, "child") && fork() == 0) { getpgid(0); return 0; }
    if (!strcmp(what, "child")) wait(0);
    errno = 0;
    if (!strcmp(what, "outside")) getpriority(PRIO_PROCESS, 0);
    puts(errno ? strerror(errno) : "well");
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("seccomp") / "program"
    command = ["gcc", "-static", "-x", "c", "-", "-o", str(made)]
    subprocess.run(command, input=CODE.encode(), check=True)
    return made


@pytest.fixture
def packing(tmp_path: Path, program: Path) -> bytes:
    data = program.read_bytes()
    head = tar_header.format_header(b"bin/program", mode=0o755, size=len(data))
    return packed(
        tmp_path, member("bin/", tarfile.DIRTYPE), head + data + tar_header.padding(len(data))
    )


def _trial(word: str) -> tuple[Run, bytes]:
    return Run(word, (b"program", word.encode())), b"/bin/program"


def test_calls_of_all_processes_and_runs_are_found(packing: bytes) -> None:
    found = seccomp.calls("x", [_trial("child"), _trial("outside")], [packing])
    assert {"execve", "write", "getpgid", "wait4", "getpriority", "exit_group"} <= found
    # These are the way in.
    assert found.isdisjoint({"chroot", "capset", "mount", "chdir"})
    assert "getpriority" not in seccomp.calls("x", [_trial("child")], [packing])


def test_a_run_that_fails_in_its_image(packing: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        seccomp.calls("x", [_trial("fail")], [packing])
    assert str(caught.value) == (
        "cannot profile image x: in run fail it ended with status 3, not with status 0, and said "
        "''; test the image"
    )


def test_a_call_that_strace_does_not_know(packing: bytes) -> None:
    with pytest.raises(TraceError) as caught:
        seccomp.calls("x", [_trial("odd")], [packing])
    assert str(caught.value) == (
        "cannot profile run odd: strace does not know syscall_0x3e7; install a newer strace"
    )


def test_the_profile() -> None:
    found = json.loads(seccomp.profile(["sethostname", "read", "chroot"], number=183))
    assert found == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_AARCH64"],
        "syscalls": [
            {
                "names": sorted(BASELINE),
                "action": "SCMP_ACT_ALLOW",
                "comment": "needed by runtimes and C libraries",
            },
            {
                "names": ["chroot", "sethostname"],
                "action": "SCMP_ACT_ALLOW",
                "comment": "needed by runs",
            },
        ],
    }
    assert seccomp.profile(["a", "b"], 62) == seccomp.profile(["b", "a"], 62)


def test_a_machine_that_libseccomp_does_not_know() -> None:
    with pytest.raises(InputError) as caught:
        seccomp.profile([], number=258)
    assert str(caught.value) == (
        "cannot profile programs for ELF machine 258: libseccomp does not know it; "
        "run the image under the engine's own profile"
    )


FOREIGN = """
base = env.Sysroot("base", directory="arm64")
env.ScratchImage("y", "/usr/bin/hello", ROOT=base)
"""


def test_calls_of_an_emulator_are_no_profile(tmp_path: Path, newest: Scons) -> None:
    project = Project(tmp_path, newest)
    arm64.make_base(tmp_path / "arm64")

    told = project.run(FOREIGN, "y.seccomp.json", status=2)

    assert (
        "cannot profile image y: it is for aarch64, and an emulator makes other calls; profile it "
        "on such a machine"
    ) in told


SCONSTRUCT = """
from scratch_image import Run
env.ScratchImage("x", {"/bin/program": "program"}, IMAGE_TAG="seccomp:1", IMAGE_USER="nonroot",
    RUNS=[Run("program child", name="child"), Run("program < input", name="input")])
"""

OPTIONS = [
    pytest.param([], id="plain"),
    pytest.param(["--user=0"], id="root"),
    pytest.param(["--security-opt=no-new-privileges"], id="no new privileges"),
    pytest.param(["--read-only", "--cap-drop=ALL", "--tty"], id="read only"),
]


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, newest: Scons, engine: str, program: Path
) -> Project:
    project = Project(tmp_path_factory.mktemp("project"), newest, engine)
    (project.directory / "program").write_bytes(program.read_bytes())
    (project.directory / "program").chmod(0o755)
    (project.directory / "input").write_text("input")
    project.run(SCONSTRUCT, ".")
    assert not (project.directory / "x.seccomp.json").exists()
    told = project.run(SCONSTRUCT, "x.seccomp.json")
    assert [line[:9] for line in told.splitlines() if line[:3].isupper()] == ["CALLS  x "]
    return project


def test_the_profile_is_a_target_of_its_own(project: Project) -> None:
    assert "up to date" in project.run(SCONSTRUCT, "x.seccomp.json")
    told = project.run(SCONSTRUCT.replace("program child", "program again"), "x.seccomp.json")
    assert "CALLS  x" in told
    assert "TAR" not in told
    assert "CALLS  x" in project.run(SCONSTRUCT, "x.seccomp.json")


@pytest.mark.parametrize("options", OPTIONS)
def test_an_image_passes_its_runs_and_no_other_call(
    project: Project, engine: str, options: list[str]
) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    profile = f"--security-opt=seccomp={project.directory}/x.seccomp.json"
    command = ["docker", "-H", engine, "run", "--rm", "--network=none", *options]

    def run(*words: str) -> str:
        ran = subprocess.run([*command, *words], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    assert run(profile, "seccomp:1", "child") == "well"
    assert run(profile, "seccomp:1") == "well"
    assert run(profile, "seccomp:1", "outside") == "Operation not permitted"
    assert run("seccomp:1", "outside") == "well"


def test_a_profile_of_nothing(project: Project) -> None:
    output = project.run(SCONSTRUCT + "env.SeccompProfile('y', 'x.tar')\n", status=2)
    assert output.splitlines()[-1].endswith(
        ": cannot profile y.seccomp.json: it has no layer or no trace; name what LayerTar and "
        "Strace made"
    )


STEP = """
import sys
from scratch_image.errors import SandboxError
from scratch_image.fs.root import Root
from scratch_image.scons.steps.seccomp import SeccompStep
try:
    SeccompStep("x", 0, (), b"strace").run(Root(), [sys.argv[1].encode()], [])
except SandboxError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
def test_a_machine_without_namespaces(tmp_path: Path) -> None:
    ran = subprocess.run(
        [
            *WITHOUT_NAMESPACES,
            sys.executable,
            "-B",
            "-c",
            STEP,
            tmp_path / "x.json",
        ],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.startswith("cannot give a process a root of its own: "), ran.stderr
    assert os.listdir(tmp_path) == []
