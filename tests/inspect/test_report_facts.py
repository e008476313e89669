"""Facts for a report: layers and archives are read as they are."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from scratch_image.errors import InputError
from scratch_image.fs.digest import Digest
from scratch_image.image import archive, layer, layer_stack
from scratch_image.image.config import Image
from scratch_image.image.layer_stack import Blob
from scratch_image.image.reference import Reference
from scratch_image.image.settings import HealthCheck, Settings
from scratch_image.inspect import report_facts
from scratch_image.inspect.report_facts import Content
from tars import member, packed

MEMBERS = [member("etc/x"), member("srv", tarfile.DIRTYPE), member("srv/\udcff")]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_layer_has_its_files_and_both_sizes(tmp_path: Path, suffix: str) -> None:
    path = packed(tmp_path, *MEMBERS, suffix=suffix)

    [found] = report_facts.read_layers(path)

    assert found.name == "all files"
    assert found.contents == {
        b"/etc/x": Content(5, Digest.of(b"etc/x")),
        b"/srv/\xff": Content(5, Digest.of(b"srv/\xff")),
    }
    assert found.compressed == os.path.getsize(path)
    assert found.size == os.path.getsize(packed(tmp_path, *MEMBERS))


def test_layers_of_a_stack_have_names(tmp_path: Path) -> None:
    text = tmp_path / "x.layers"
    made = packed(tmp_path, *MEMBERS)
    path = (
        Path(os.fsdecode(layer_stack.blobs(os.fsencode(text))))
        / f"{layer.read(made).diff_id.hex}.tar"
    )
    path.parent.mkdir()
    os.rename(made, path)
    blob = os.fsencode(path)
    names = ("libc6:amd64", layer_stack.SMALL, layer_stack.OWN)
    blobs = [Blob(layer.read(blob), blob, name) for name in names]
    text.write_bytes(layer_stack.write(blobs, "none"))

    found = report_facts.read_layers(os.fsencode(text))

    names_found = [each.name for each in found]
    assert names_found == ["libc6:amd64", "small packages", "files of no package"]
    assert {len(each.contents) for each in found} == {2}


def test_damaged_layer_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"x" * 2000)

    with pytest.raises(
        InputError, match=r"cannot report on layer .*/x.tar: it is not a whole tar \("
    ):
        report_facts.read_layers(os.fsencode(tmp_path / "x.tar"))


ALL_SET = Settings(
    "arm64",
    1_700_000_000,
    entrypoint=["/bin/hello", "two words"],
    cmd=["--quick"],
    env={"LANG": "C.UTF-8", "PATH": "/bin"},
    user="1000:1000",
    workdir="/srv",
    labels={"org.example.a": "<b>"},
    ports=["80", "53/udp"],
    volumes=["/data"],
    stop_signal="SIGQUIT",
    health_check=HealthCheck(["/bin/check"], interval=30, timeout=0.5, retries=3),
    annotations={"org.example.c": "d"},
)


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        pytest.param(ALL_SET, {
            "Tags": ["example/hello:1.2"],
            "Platform": ["linux/arm64/v8"],
            "Entrypoint": ["/bin/hello 'two words'"],
            "Command": ["--quick"],
            "Environment": ["LANG=C.UTF-8", "PATH=/bin"],
            "User": ["1000:1000"],
            "Working directory": ["/srv"],
            "Ports": ["53/udp", "80/tcp"],
            "Volumes": ["/data"],
            "Labels": ["org.example.a=<b>"],
            "Health check": ["/bin/check", "every 30 s", "timeout 0.5 s", "3 retries"],
            "Stop signal": ["SIGQUIT"],
            "Annotations": ["org.example.c=d"],
            "Created": ["2023-11-14T22:13:20Z"],
        }, id="all"),
        pytest.param(Settings("amd64"), {
            "Tags": ["example/hello:1.2"],
            "Platform": ["linux/amd64"],
            "Entrypoint": [],
            "Command": [],
            "Environment": [],
            "User": [],
            "Working directory": [],
            "Ports": [],
            "Volumes": [],
            "Labels": [],
            "Health check": [],
            "Stop signal": [],
            "Annotations": [],
            "Created": ["1970-01-01T00:00:00Z"],
        }, id="nothing"),
    ],
)  # fmt: skip
def test_image_has_its_settings(
    tmp_path: Path, settings: Settings, values: dict[str, list[str]]
) -> None:
    path = packed(tmp_path, *MEMBERS)
    image = Image(settings, (layer.read(path),))
    with (tmp_path / "x.oci.tar").open("wb") as sink:
        archive.write(sink, image, [path], [Reference.parse("example/hello:1.2")])

    found = report_facts.read_image(os.fsencode(tmp_path / "x.oci.tar"))

    assert found.id == Digest.of(image.config.json())
    assert found.manifest == Digest.of(image.manifest.json())
    assert list(found.layers) == [image.layers[0].digest]
    assert found.settings == values
    assert list(found.settings) == list(values)
