from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.elf.shebang import EnvCommand, command_of_env
from scratch_image.files import dependencies
from scratch_image.files.merge import merge
from scratch_image.files.request import Request
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root

PATH = {b"PATH": b"/usr/bin"}


@pytest.mark.parametrize(
    ("line", "name", "environment"),
    [
        pytest.param("#!/usr/bin/env python3", "python3", PATH, id="name"),
        pytest.param("#! /bin/env\tpython3 \t", "python3", PATH, id="blanks"),
        pytest.param("#!/usr/bin/env python3 -u", "python3 -u", PATH, id="one word"),
        pytest.param("#!/usr/bin/env -S python3 -u -S", "python3", PATH, id="split"),
        pytest.param("#!/usr/bin/env -Spython3", "python3", PATH, id="split at once"),
        pytest.param("#!/usr/bin/env --split-string=python3", "python3", PATH, id="split long"),
        pytest.param("#!/usr/bin/env -S A=b 'C=d e' sh", "sh", {**PATH, b"A": b"b", b"C": b"d e"}, id="variables"),
        pytest.param("#!/usr/bin/env -S PATH=/opt sh", "sh", {b"PATH": b"/opt"}, id="PATH"),
        pytest.param("#!/usr/bin/env -S -i A=b sh", "sh", {b"A": b"b"}, id="clean"),
        pytest.param("#!/usr/bin/env -iS A=b sh", "sh", {b"A": b"b"}, id="clean and split"),
        pytest.param("#!/usr/bin/env -S -u PATH -- sh", "sh", {}, id="unset"),
        pytest.param("#!/usr/bin/env -S /bin/sh", "/bin/sh", PATH, id="path"),
        pytest.param("#!/usr/bin/env A=b sh", "", PATH, id="assignment alone"),
        pytest.param("#!/usr/bin/env", "", PATH, id="nothing"),
        pytest.param("#!/usr/bin/environment sh", "", PATH, id="other"),
        pytest.param("#!/bin/sh /usr/bin/env sh", "", PATH, id="argument"),
    ],
)  # fmt: skip
def test_what_env_starts(line: str, name: str, environment: dict[bytes, bytes]) -> None:
    found = command_of_env(f"{line}\necho\n".encode(), PATH)
    assert found == (EnvCommand(name.encode(), environment) if name else None)


@pytest.mark.parametrize("rest", ["-S --block-signal=INT sh", "--argv0=x sh", "-S 'sh"])
def test_env_that_is_not_understood(rest: str) -> None:
    assert command_of_env(f"#!/usr/bin/env {rest}\n".encode(), PATH) is None


@given(st.binary(), st.sampled_from([b"", b"-S ", b"-u"]))
def test_any_line_is_read(rest: bytes, option: bytes) -> None:
    command_of_env(b"#!/usr/bin/env " + option + rest, PATH)


def _found(
    where: Path, line: str, *wants: Request, reason: str = "extra:x"
) -> dependencies.Dependencies:
    script = where / "script"
    script.write_text(f"{line}\n")
    script.chmod(0o755)
    view = Overlay(Root(), b"/nonexistent")
    entries = merge(view, [Request(os.fsencode(script), reason), *wants])
    return dependencies.find(view, entries, (), (), {b"PATH": b"/none:/usr/bin:/bin"})


def test_program_that_env_starts_comes_with_its_libraries(tmp_path: Path) -> None:
    found = _found(tmp_path, "#!/usr/bin/env -S A=b perl -w")

    reasons = {want.path: want.reason for want in found.requests}
    assert reasons[b"/usr/bin/perl"] == f"interpreter-of:{tmp_path}/script"
    assert {b"/usr/bin/env", b"/lib64/ld-linux-x86-64.so.2"} <= set(reasons)
    needed = subprocess.run(["ldd", "/usr/bin/perl"], stdout=subprocess.PIPE, check=True).stdout
    assert b"libcrypt" in needed
    assert any(b"libcrypt" in path for path in reasons)
    assert found.findings == ()


def test_program_that_env_does_not_find_is_told(tmp_path: Path) -> None:
    [finding] = _found(tmp_path, "#!/usr/bin/env lost").findings

    assert str(finding) == (
        f"the use of {tmp_path}/script: {tmp_path}/script needs lost (searched: /none, "
        "/usr/bin, /bin); install its package, stage it, add its directory to the runpath, or add "
        "a run that loads it"
    )
    (tmp_path / "lost").write_text("")
    listed = Request(os.fsencode(tmp_path / "lost"), "run:x")
    assert _found(tmp_path, "#!/usr/bin/env lost", listed).findings == ()


def test_script_that_a_run_started_needs_no_more(tmp_path: Path) -> None:
    assert _found(tmp_path, "#!/usr/bin/env lost", reason="run:x") == dependencies.Dependencies(
        (), ()
    )


def test_script_that_starts_itself(tmp_path: Path) -> None:
    found = _found(tmp_path, f"#!/usr/bin/env {tmp_path}/script")

    assert found.findings == ()
