"""Make the project that an earlier version of the plugin has built: tests/upgrade/COMMIT.tar.gz.

Run as ``python tests/upgrade/build.py COMMIT``, in a checkout. The program needs no library, so
that what is kept is small.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent

SCONSTRUCT = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=[ARGUMENTS.get("tool", "tool")])
env.ScratchImage(
    "build/hello",
    {"/bin/hello": "hello"},
    EXTRA_FILES="hello.extra",
    IMAGE_TAG="hello:1",
    IMAGE_PACKAGES=False,
)
"""

CODE = """\
void _start(void) {
    __asm__ volatile("syscall" : : "a"(1), "D"(1), "S"("hello\\n"), "d"(6) : "rcx", "r11", "memory");
    __asm__ volatile("syscall" : : "a"(60), "D"(0));
}
"""


def make(project: Path, commit: str) -> None:
    """Build a project with the plugin of `commit`."""
    (project / "SConstruct").write_text(SCONSTRUCT)
    (project / "hello.extra").write_text("note -> /srv/note\n")
    (project / "note").write_text("note\n")
    flags = ["-x", "c", "-", "-static", "-nostdlib", "-s", "-o", project / "hello"]
    subprocess.run(["gcc", *flags], input=CODE, text=True, check=True)
    with tempfile.TemporaryDirectory() as tool:
        command = ["git", "archive", commit, "site_scons/site_tools/scratch_image"]
        archive = subprocess.run(command, cwd=HERE.parents[2], stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-x", "-C", tool], input=archive.stdout, check=True)
        variables = {**os.environ, "DOCKER_HOST": "unix:///nonexistent/docker.sock"}
        command = [sys.executable, "-m", "SCons", f"tool={tool}/site_scons/site_tools"]
        subprocess.run(command, cwd=project, env=variables, check=True)


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return `member` without its owner."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main(commit: str) -> None:
    """Keep the project, its database and what was built."""
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), commit)
        with tarfile.open(HERE / f"{commit}.tar.gz", "w:gz") as tar:
            for path in sorted(Path(name).iterdir()):
                tar.add(path, path.name, filter=plain)


if __name__ == "__main__":
    main(sys.argv[1])
