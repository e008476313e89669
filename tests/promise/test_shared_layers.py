"""The promise of images in layers by package: what they share is packed, stored and sent once."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import audit
import pytest
from debs import install
from lab import NO_ENGINE, PACKAGE, Scons
from registries import Gate, gate
from scratch_image.fs.digest import Digest
from scratch_image.image import archive, compression, layer, layer_stack

IMAGES = 10
LIBRARIES = {"libc6": 300_000, "libssl3": 200_000, "libown": 100_000, "tiny": 10}

SCONSTRUCT = """\
DefaultEnvironment(tools=[])
env = Environment(
    tools=["scratch_image"],
    toolpath=[{tool!r}],
    DOCKER_HOST=ARGUMENTS["engine"],
    ROOT=None,
    RUNS=[],
    **({{"IMAGE_LAYERS": "packages"}} if ARGUMENTS["layers"] == "packages" else {{}}),
)
env["ROOT"] = env.Sysroot("build/base", directory="base")
env["LAYERTARSUFFIX"] = ARGUMENTS.get("suffix", ".tar.gz")
env.ImageTree("images")
"""

SCONSCRIPT = """\
Import("env")
env.ScratchImage(
    "{name}",
    {{"/usr/bin/{name}": "#images/{name}/program"}},
    EXTRA_FILES="{name}.extra",
    IMAGE_TAG="{place}/{name}:1",
    IMAGE_LABELS={{"kind": "shared"}},
)
"""


def _random(size: int, seed: str) -> str:
    return random.Random(seed).randbytes(size).hex()[:size]


@dataclass
class Tree:
    """A project with some images whose libraries are of packages of a sysroot."""

    directory: Path
    scons: Scons
    gate: Gate
    layers: str
    place: str
    """Registry and repository of the images; no other test has it."""
    engine: str = NO_ENGINE

    def make(self, images: int) -> Tree:
        """Write the project."""
        for name, size in LIBRARIES.items():
            self.install(name, size)
        (self.directory / "base/lib64").mkdir()
        shutil.copy("/lib64/ld-linux-x86-64.so.2", self.directory / "base/lib64")
        text = SCONSTRUCT.format(tool=str(PACKAGE.parent))
        (self.directory / "SConstruct").write_text(text)
        for number in range(images):
            self.add(f"i{number}")
        return self

    def install(self, name: str, size: int, version: str = "1") -> None:
        """Install a package with one file."""
        text = _random(size, f"{name} {version}")
        install(self.directory / "base", name, {f"/usr/lib/{name}.so": text}, version)

    def add(self, name: str) -> None:
        """Add an image."""
        directory = self.directory / "images" / name
        directory.mkdir(parents=True)
        (directory / "SConscript").write_text(SCONSCRIPT.format(name=name, place=self.place))
        self.compile(name, name)
        lines = "".join(f"/usr/lib/{each}.so\n" for each in LIBRARIES)
        (directory / f"{name}.extra").write_text(lines)

    def compile(self, name: str, seed: str) -> None:
        """Make the program of an image; it does nothing."""
        code = f'void _start(void) {{}} const char own[] = "{_random(2000, seed)}";'
        made = self.directory / "images" / name / "program"
        command = ["gcc", "-x", "c", "-", "-static", "-nostdlib", "-o", str(made)]
        subprocess.run(command, input=code.encode(), check=True)

    def build(self, *targets: str, suffix: str = ".tar.gz", later: bool = False) -> list[str]:
        """Build; return the labels and names of the steps."""
        words = (f"engine={self.engine}", f"layers={self.layers}", f"suffix={suffix}")
        ran = self.scons.run(self.directory, "-j8", *words, *targets, later=later)
        assert ran.returncode == 0, ran.stdout
        return sorted(re.findall(r"^(?:LDD|LIST|TAR|IMAGE|PUSH|LOAD) +\w+", ran.stdout, re.M))

    def out(self, name: str, suffix: str) -> Path:
        """Return a step file."""
        return self.directory / "build/images" / name / f"{name}{suffix}"

    def blobs(self, name: str) -> dict[str, layer_stack.Blob]:
        """Return the layers of an image by name."""
        found = layer_stack.read(os.fsencode(self.out(name, ".layers")))
        return {blob.name: blob for blob in found}

    def config_size(self, name: str) -> int:
        """Return the bytes of an image's config."""
        found = archive.read(os.fsencode(self.out(name, ".oci.tar")))
        return found.blobs[found.config].size


@pytest.fixture
def tree(
    tmp_path: Path, newest: Scons, hub: str, request: pytest.FixtureRequest
) -> Iterator[Callable[[str, int], Tree]]:
    with gate(hub) as before:

        def make(layers: str, images: int) -> Tree:
            directory = tmp_path / layers
            directory.mkdir()
            name = Digest.of(f"{request.node.nodeid} {layers}".encode()).hex[:16]
            place = f"{before.host}/shared/{name}"
            return Tree(directory, newest, before, layers, place).make(images)

        yield make


Make = Callable[[str, int], Tree]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, newest: Scons, hub: str) -> Iterator[Tree]:
    """Give a tree of one image, which was pushed, for one edit after the other."""
    with gate(hub) as before:
        directory = tmp_path_factory.mktemp("one")
        made = Tree(directory, newest, before, "packages", f"{before.host}/shared/one").make(1)
        made.build("push/images/i0", "images/i0")
        yield made


def test_ten_images_take_two_fifths_of_the_bytes_in_a_registry(tree: Make) -> None:
    sent = {}
    for layers in ("single", "packages"):
        made = tree(layers, IMAGES)
        made.gate.log.clear()
        made.build("push/images")
        sent[layers] = made.gate.sent()
        for number in range(IMAGES):
            assert audit.validate(os.fsencode(made.out(f"i{number}", ".oci.tar"))) == []

    assert sent["packages"] <= 0.4 * sent["single"]


def test_push_of_a_second_image_sends_only_its_own_layer(tree: Make) -> None:
    made = tree("packages", 2)
    made.build("push/images/i0")
    made.gate.log.clear()

    made.build("push/images/i1")

    own = made.blobs("i1")[layer_stack.OWN].layer.size
    assert made.gate.sent() == own + made.config_size("i1")


def test_blobs_of_a_tree_are_made_once(tree: Make) -> None:
    made = tree("packages", IMAGES)
    made.build("images")

    stacks = [made.blobs(f"i{number}") for number in range(IMAGES)]
    for name in ("libc6", "libssl3", "libown", layer_stack.SMALL):
        assert len({os.stat(each[name].path).st_ino for each in stacks}) == 1
    assert len({each[layer_stack.OWN].layer.digest for each in stacks}) == IMAGES


def _update(name: str) -> Callable[[Tree], None]:
    return lambda tree: tree.install(name, LIBRARIES[name], version="2")


def _label(tree: Tree) -> None:
    path = tree.directory / "images/i0/SConscript"
    path.write_text(path.read_text().replace("kind", "sort"))


def _program(tree: Tree) -> None:
    tree.compile("i0", "another")


def _spoil(tree: Tree) -> None:
    path = Path(os.fsdecode(tree.blobs("i0")["libc6"].path))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def _lose(tree: Tree) -> None:
    os.unlink(tree.blobs("i0")["libc6"].path)


@pytest.mark.parametrize(
    ("edit", "steps", "changed"),
    [
        pytest.param(lambda tree: None, [], [], id="nothing"),
        pytest.param(_update("libssl3"), ["IMAGE", "LIST", "PUSH", "TAR"], ["libssl3"],
                     id="update of a package"),
        pytest.param(_update("tiny"), ["IMAGE", "LIST", "PUSH", "TAR"], [layer_stack.SMALL],
                     id="update of a small package"),
        pytest.param(_program, ["IMAGE", "LDD", "PUSH", "TAR"], [layer_stack.OWN],
                     id="the project's own file"),
        pytest.param(_label, ["IMAGE", "PUSH"], [], id="label"),
        pytest.param(_spoil, ["TAR"], [], id="blob is spoiled"),
        pytest.param(_lose, ["TAR"], [], id="blob is deleted"),
        pytest.param(lambda tree: tree.add("i1"), [], [], id="another image"),
    ],
)  # fmt: skip
def test_edit_changes_only_its_layer(
    one: Tree, edit: Callable[[Tree], None], steps: list[str], changed: list[str]
) -> None:
    before = one.blobs("i0")
    times = {name: os.stat(blob.path).st_mtime_ns for name, blob in before.items()}
    one.build("images/i0", later=True)
    one.gate.log.clear()

    edit(one)
    ran = one.build("push/images/i0", "images/i0")

    assert ran == sorted(f"{label:5}  i0" for label in steps)
    after = one.blobs("i0")
    assert [name for name in before if after[name].layer != before[name].layer] == changed
    made_anew = [name for name in before if os.stat(after[name].path).st_mtime_ns != times[name]]
    assert set(made_anew) - {"libc6"} == set(changed)
    sent = sum(after[name].layer.size for name in changed)
    assert one.gate.sent() == sent + (one.config_size("i0") if "IMAGE" in steps else 0)
    assert audit.validate(os.fsencode(one.out("i0", ".oci.tar"))) == []
    assert {layer.read(blob.path) for blob in after.values()} == {
        blob.layer for blob in after.values()
    }
    assert one.build("push/images/i0", "images/i0") == []


def test_suffix_is_the_compression_of_all_blobs(tree: Make) -> None:
    made = tree("packages", 1)
    for suffix in sorted(compression.MEDIA_TYPES):
        made.build("images/i0", suffix=suffix)

        assert {compression.suffix_of(blob.path) for blob in made.blobs("i0").values()} == {suffix}
        assert len(os.listdir(made.out("i0", ".blobs"))) == len(made.blobs("i0"))


def test_clean_takes_the_blobs_of_one_image(tree: Make) -> None:
    made = tree("packages", 2)
    made.build("images")

    made.build("-c", "images/i0")

    assert not made.out("i0", ".blobs").exists()
    assert made.build("images/i1") == []
    made.build("-c")
    assert [path for path in made.directory.rglob("build/images/**/*") if path.is_file()] == []


def test_engine_has_the_files_of_all_layers(tree: Make, engine: str) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    made = tree("packages", 1)
    made.engine = engine

    assert "LOAD   i0" in made.build("images/i0")

    tag = f"{made.place}/i0:1"
    command = ["docker", "-H", engine, "create", tag]
    created = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    command = ["docker", "-H", engine, "export", created]
    exported = subprocess.run(command, check=True, capture_output=True).stdout
    subprocess.run(["docker", "-H", engine, "rm", created], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        assert {"usr/lib/libc6.so", "usr/lib/tiny.so", "usr/bin/i0"} <= {*tar.getnames()}
    told = subprocess.run(
        ["docker", "-H", engine, "inspect", tag], check=True, capture_output=True, text=True
    ).stdout
    diff_ids = json.loads(told)[0]["RootFS"]["Layers"]
    assert diff_ids == [str(blob.layer.diff_id) for blob in made.blobs("i0").values()]
