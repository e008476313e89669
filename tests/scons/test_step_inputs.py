"""Inputs of the steps of an image: names, captured text, settings, extra lists."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from project import Project, mistake_line


def test_odd_names_simply_work(project: Project) -> None:
    names = [b"a b", b'"quoted"', b"it's", b"new\nline", b"latin\xe9", b"back\\slash", b"-> arrow"]
    world = os.fsencode(project.directory / "odd names")
    os.mkdir(world)
    for name in names:
        with open(os.path.join(world, name), "wb") as file:
            file.write(name)
    program = project.compile(
        "show",
        "#include <dirent.h>\n#include <fcntl.h>\n#include <unistd.h>\n"
        'int main(int c, char **v) { chdir(v[1]); DIR *d = opendir("."); struct dirent *e;'
        " while ((e = readdir(d))) close(open(e->d_name, O_RDONLY)); return 0; }",
    )

    project.run(f"env.ScratchImage('x', '{program}', RUNS=[['show', '{os.fsdecode(world)}']])\n")

    listed = subprocess.run(
        ["tar", "--quoting-style=escape", "-tf", "x.tar"],
        cwd=project.directory,
        capture_output=True,
        check=True,
    ).stdout
    assert listed.count(b"odd names/") == len(names) + 1
    for name in names:
        found = subprocess.run(
            ["tar", "-xOf", "x.tar", "--no-wildcards", os.path.join(world, name)[1:]],
            cwd=project.directory,
            capture_output=True,
            check=True,
        )
        assert found.stdout == name
    assert "up to date" in project.run(
        f"env.ScratchImage('x', '{program}', RUNS=[['show', '{os.fsdecode(world)}']])\n"
    )


def test_text_captured_by_hand(project: Project) -> None:
    directory = project.directory
    (directory / "data").write_text("data")
    hand = ["strace", "-f", "-o", "hand.strace", "/bin/cat", str(directory / "data")]
    subprocess.run(hand, cwd=directory, check=True, capture_output=True)
    with (directory / "hand.ldd").open("wb") as output:
        subprocess.run(["ldd", "/bin/cat"], check=True, stdout=output)

    project.run("env.FileList('hand', ['hand.strace', 'hand.ldd'])\n")

    listed = (directory / "hand.files").read_text()
    assert f"{directory}/data run:hand\n" in listed
    assert "/libc.so.6 needed-by" in listed or "/libc.so.6 run:hand" in listed
    assert "target-of:/usr/lib64/ld-linux-x86-64.so.2" in listed
    (directory / "sub").mkdir()
    (directory / "sub/other.strace").write_text("hello world\n")
    refused = project.run("env.FileList('other', 'sub/other.strace')\n", status=2)
    assert "cannot read sub/other.strace:1: 'hello world' is no line of strace" in refused


PROGRAM = '#include <stdio.h>\nint main(void) { return puts("hello") < 0 || !fopen(DATA, "r"); }\n'


def test_project_program_lies_at_its_image_path(project: Project) -> None:
    (project.directory / "hello.c").write_text(PROGRAM)
    (project.directory / "hello.dat").write_text("data")
    sconstruct = """\
cc = Environment(tools=["default"])
hello = cc.Program("out/hello", "hello.c", CPPDEFINES={"DATA": '\\\\"/etc/hostname\\\\"'})
files = {"/opt/hello/bin/hello": hello, "/opt/hello/hello.dat": "hello.dat"}
env.ScratchImage("out/image/hello", files)
"""

    project.run(sconstruct)

    listed = (project.directory / "out/image/hello.files").read_text()
    assert "file 0755 0:0 /opt/hello/bin/hello program run:default staged\n" in listed
    assert "file 0644 0:0 /opt/hello/hello.dat staged\n" in listed
    assert str(project.directory) not in listed
    assert "up to date" in project.run(sconstruct)

    (project.directory / "hello.c").write_text(PROGRAM.replace("hello", "world"))
    output = project.run(sconstruct)
    assert [line.split()[0] for line in output.splitlines() if line[:5].isupper()] == [
        "TRACE", "LDD", "TAR", "IMAGE",
    ]  # fmt: skip
    assert "up to date" in project.run(sconstruct)

    (project.directory / "hello.dat").write_text("other")
    output = project.run(sconstruct)
    assert "TRACE" not in output
    assert "TAR  " in output


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_compressed_layers_hold_the_same(project: Project, suffix: str) -> None:
    project.run(f"env.ScratchImage('x', '/bin/true', LAYERTARSUFFIX='{suffix}')\n")

    made = project.directory / f"x{suffix}"
    flags = {".tar": [], ".tar.gz": ["-z"], ".tar.zst": ["--zstd"]}[suffix]
    listed = subprocess.run(["tar", *flags, "-tf", made], capture_output=True, check=True).stdout
    assert b"usr/bin/true" in listed.split()
    assert (project.directory / "x.oci.tar").exists()


SETTINGS = """
from scratch_image import HealthCheck
env.ScratchImage(
    "x",
    "/usr/bin/id",
    IMAGE_TAG=["settings:1", "settings:2"],
    IMAGE_USER="nonroot",
    IMAGE_PORTS=[8080, "53/udp"],
    IMAGE_VOLUMES="/data",
    IMAGE_STOP_SIGNAL="SIGQUIT",
    IMAGE_HEALTHCHECK=HealthCheck("id -u nobody", interval=5, retries=2),
    IMAGE_ANNOTATIONS={"org.opencontainers.image.version": 1.5},
    SOURCE_DATE_EPOCH=7,
)
"""


def test_settings_of_an_image(tmp_path: Path, newest: Scons, engine: str) -> None:
    project = Project(tmp_path, newest, engine)

    project.run(SETTINGS)

    archive = f"oci-archive:{tmp_path}/x.oci.tar:1"
    found = [
        json.loads(subprocess.run(["skopeo", "inspect", *each, archive], stdout=subprocess.PIPE, check=True).stdout)
        for each in (["--raw"], ["--config"])
    ]  # fmt: skip
    assert found[0]["annotations"] == {"org.opencontainers.image.version": "1.5"}
    assert found[1]["created"] == "1970-01-01T00:00:07Z"
    expected = {
        "User": "65532",
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT",
    }
    health = {"Test": ["CMD", "id", "-u", "nobody"], "Interval": 5 * 10**9, "Retries": 2}
    assert expected.items() <= found[1]["config"].items()
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    docker = ["docker", "-H", engine]
    told = subprocess.run([*docker, "inspect", "settings:2"], stdout=subprocess.PIPE, check=True)
    [image] = json.loads(told.stdout)
    assert {**expected, "Healthcheck": health}.items() <= image["Config"].items()
    command = [*docker, "run", "--rm", "--network=none", "settings:1"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert ran.stdout == "uid=65532(nonroot) gid=65532(nonroot) groups=65532(nonroot)\n"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        pytest.param("IMAGE_CMD='/bin/none -x'", "cannot start '/bin/none' of IMAGE_CMD: ", id="CMD"),
        pytest.param("IMAGE_HEALTHCHECK='curl localhost'",
                     "cannot start 'curl' of IMAGE_HEALTHCHECK: ", id="health check"),
        pytest.param("IMAGE_USER='app', EXTRA_FILES='x.extra'",
                     "cannot run the image as 'app': its /etc/passwd has no such one; ", id="user"),
    ],
)  # fmt: skip
def test_image_that_cannot_start(project: Project, setting: str, message: str) -> None:
    for name in ("passwd", "group"):
        (project.directory / name).write_text("root:x:0:0::/:\n")
    (project.directory / "x.extra").write_text("passwd -> /etc/passwd\ngroup -> /etc/group\n")

    output = project.run(f"env.ScratchImage('x', '/bin/true', {setting})\n", status=2)

    assert mistake_line(output).startswith(f"scons: *** [x.oci.tar] {message}")
    assert not (project.directory / "x.oci.tar").exists()


def test_image_of_layers_by_package_passes_its_test(project: Project) -> None:
    lines = "env.ScratchImage('x', '/bin/busybox', IMAGE_LAYERS='packages')\n"

    output = project.run(lines, "x.oci.tar", "x.tested")

    assert re.search(r"^TAR    x +\d layers, (\S+) MB, \1 MB of it new, ", output, re.MULTILINE)
    assert re.search("^TEST   x +default", output, re.MULTILINE)
    assert "is up to date" in project.run(lines, "x.oci.tar", "x.tested")


def test_user_values_stay(project: Project) -> None:
    tool = f"tools=['scratch_image'], toolpath=['{PACKAGE.parent}']"
    project.run(
        f"other = Environment({tool}, STRACE='mine')\n"
        "assert other['STRACE'] == 'mine'\n"
        f"assert other.Clone({tool})['STRACE'] == 'mine'\n"
    )


def test_what_extra_lists_name_is_built_first(project: Project) -> None:
    (project.directory / "x.extra").write_text(
        "include more.extra\nmade.txt -> /etc/made.txt\nsub -> /opt/sub\n"
    )
    sconstruct = (
        "env.FileList('x', 'x.extra')\n"
        "for name in ('made.txt', 'sub/deep/made.txt'):\n"
        "    env.Command(name, [], 'echo made > $TARGET')\n"
        "env.Command('more.extra', [], 'echo /etc/passwd > $TARGET')\n"
    )

    project.run(sconstruct, "x.files", "-j8")

    listed = (project.directory / "x.files").read_text()
    assert "/etc/made.txt <- made.txt extra:x.extra" in listed
    assert "/opt/sub/deep/made.txt <- sub/deep/made.txt extra:x.extra" in listed
    assert "/etc/passwd extra:more.extra" in listed
    assert "is up to date" in project.run(sconstruct, "x.files")
    (project.directory / "made.txt").unlink()
    again = project.run(sconstruct, "x.files")
    assert "echo made > made.txt" in again
    assert "LIST" not in again


def test_variables_of_the_file_list(project: Project) -> None:
    (project.directory / "etc").mkdir()
    for name in ("id_rsa", "one", "two"):
        (project.directory / "etc" / name).write_text("")
    there = project.directory / "etc"
    (project.directory / "x.extra").write_text(f"{there}/id_rsa\n")
    sconstruct = (
        f"trace = env.Strace('x', '/bin/ls', RUN='ls {there}')\n"
        "env.FileList('x', [trace, 'x.extra'], IMAGE_PRESETS=['tmp'],\n"
        f"    IMAGE_LISTED='{there}', IMAGE_ALLOW='{there}/id_rsa')\n"
    )

    project.run(sconstruct, "x.files")

    listed = (project.directory / "x.files").read_text()
    assert "dir 1777 0:0 /var/tmp preset:tmp" in listed
    assert f"{there}/one listed-by:default" in listed
    assert f"{there}/id_rsa extra:x.extra" in listed
    assert "TRACE" not in project.run(sconstruct.replace("['tmp']", "'tmp nss'"), "x.files")
    assert "/etc/nsswitch.conf" in (project.directory / "x.files").read_text()
    refused = project.run(sconstruct.replace("/id_rsa')", "/one')"), "x.files", status=2)
    assert " is a secret" in mistake_line(refused)
    assert (project.directory / "x.files").read_text().count("nsswitch") == 1


SECRET_SETTINGS = [
    ("IMAGE_ENV={'DB_PASSWORD': 'hunter2'}", "DB_PASSWORD", "password"),
    ("IMAGE_LABELS={'org.example.token': 'hunter2'}", "org.example.token", "password"),
    ("IMAGE_ANNOTATIONS={'a.b': 'https://a:hunter2@x'}", "a.b", "password in a URL"),
    ("IMAGE_CMD='/bin/busybox --password=hunter2'", "IMAGE_CMD", "password"),
    ("IMAGE_ENTRYPOINT='/bin/busybox --token hunter2'", "IMAGE_ENTRYPOINT", "password"),
    ("IMAGE_HEALTHCHECK='/bin/busybox API_KEY=hunter2'", "IMAGE_HEALTHCHECK", "password"),
    ("RUNS=[Run('true', env={'RUN_TOKEN': 'hunter2'})]", "RUN_TOKEN", "password"),
    (
        "RUNS=[Run('httpd', ready='tcp:80', probes=['curl --password=hunter2'])]",
        "RUNS",
        "password",
    ),
    ("RUN='echo --password=hunter2'", "RUNS", "password"),
]


@pytest.mark.parametrize(("setting", "name", "kind"), SECRET_SETTINGS)
def test_secret_in_a_setting_is_refused(
    project: Project, setting: str, name: str, kind: str
) -> None:
    call = "Strace" if setting.startswith("RUN=") else "ScratchImage"

    refused = project.run(
        f"from scratch_image import Run\nenv.{call}('x', '/bin/busybox', {setting})\n", status=2
    )

    told = mistake_line(refused)
    assert (
        f"cannot use {name}: it holds a secret ({kind}); take that out, or add {name} to " in told
    )
    assert "hunter2" not in refused


def test_secrets_in_settings_are_allowed_by_name(project: Project) -> None:
    settings = ", ".join(setting for setting, _, _ in SECRET_SETTINGS[:-2])
    names = [name for _, name, _ in SECRET_SETTINGS]

    project.run(
        "from scratch_image import Run\n"
        f"env.ScratchImage('x', '/bin/busybox', {settings}, IMAGE_ALLOW={names})\n",
        "-n",
    )


def test_run_starts_in_its_directory(project: Project) -> None:
    (project.directory / "a").mkdir()
    runs = f"Run('busybox cat data', cwd='{project.directory}/a', name='a'), Run('busybox pwd', name='workdir')"
    sconstruct = (
        "from scratch_image import Run\n"
        f"env.ScratchImage('x', '/bin/busybox', RUNS=[{runs}], IMAGE_WORKDIR='/usr/share')\n"
    )
    (project.directory / "a/data").write_text("data")

    project.run(sconstruct, "x.oci.tar", "x.tested")

    assert (project.directory / "x.a.stdout").read_text() == "data"
    assert (project.directory / "x.workdir.stdout").read_text() == "/usr/share\n"
    listed = (project.directory / "x.files").read_text()
    assert f"{project.directory}/a/data run:a\n" in listed
    assert "/usr/share run:workdir\n" in listed
