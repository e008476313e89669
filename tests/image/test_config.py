from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_image.errors import InputError
from scratch_image.fs.digest import Digest
from scratch_image.image import config
from scratch_image.image.compression import MEDIA_TYPES
from scratch_image.image.config import Image
from scratch_image.image.layer import Layer
from scratch_image.image.reference import Reference
from scratch_image.image.settings import HealthCheck, Settings

GOLDEN = Path(__file__).parent / "config"

FULL = Settings(
    architecture="amd64",
    created=1_700_000_000,
    entrypoint=["/usr/bin/hello"],
    cmd=["--name", "Welt ✓"],
    env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "EMPTY": ""},
    user="1000:100",
    workdir="/srv",
    labels={"org.opencontainers.image.title": "hello", "a": "b"},
    ports=["8080", "53/udp", "0080/tcp"],
    volumes=["/srv/data"],
    stop_signal="SIGINT",
    health_check=HealthCheck(["/usr/bin/hello", "--ping"], interval=2.5),
    annotations={"org.opencontainers.image.version": "1.2", "org.example.a": "Ä"},
)

LAYERS = (
    Layer(MEDIA_TYPES[".tar.gz"], Digest.of(b"blob 1"), 6, Digest.of(b"tar 1")),
    Layer(MEDIA_TYPES[".tar"], Digest.of(b"tar 2"), 5, Digest.of(b"tar 2")),
)

IMAGE = Image(FULL, LAYERS)


DOCUMENTS = {
    "config.json": IMAGE.config.json(),
    "manifest.json": IMAGE.manifest.json(),
    "index.json": IMAGE.index(
        [Reference.parse("hello"), Reference.parse("example.org/hello:1.2")]
    ).json(),
    "bare.json": Image(Settings("arm64"), LAYERS[:1]).config.json(),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_json_is_the_golden_one(name: str) -> None:
    assert (GOLDEN / name).read_bytes() == DOCUMENTS[name] + b"\n"


@settings(max_examples=50)
@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_canonical_json_has_one_form(document: object) -> None:
    try:
        made = config.canonical(document)
    except InputError as error:
        assert "not UTF-8" in str(error)
        return
    assert document == json.loads(made)
    assert made == config.canonical(json.loads(made))


def test_any_order_of_settings_gives_the_same_bytes() -> None:
    values = {"x": "1", "y": "2", "z": "3"}
    turned = dict(reversed(values.items()))
    first, second = Settings("amd64", labels=values), Settings("amd64", labels=turned)
    assert Image(first, ()).config.json() == Image(second, ()).config.json()
    first, second = Settings("amd64", env=values), Settings("amd64", env=turned)
    assert Image(first, ()).config.json() == Image(second, ()).config.json()


def test_a_setting_that_is_not_utf_8() -> None:
    with pytest.raises(InputError) as caught:
        Image(Settings("amd64", cmd=["name-\udcff"]), ()).config.json()
    assert str(caught.value) == (
        'cannot write image settings: \'nfig":{"Cmd":["name-\\udcff\' '
        "has bytes that are not UTF-8; write them in UTF-8"
    )


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        pytest.param(62, "amd64", id="x86-64"),
        pytest.param(183, "arm64", id="AArch64"),
        pytest.param(3, "386", id="i386"),
        pytest.param(40, "arm", id="ARM"),
        pytest.param(243, "riscv64", id="RISC-V"),
    ],
)
def test_architectures(machine: int, name: str) -> None:
    assert name == config.architecture(machine)


def test_an_architecture_without_a_name() -> None:
    with pytest.raises(InputError) as caught:
        config.architecture(2)
    assert str(caught.value) == (
        "cannot name the architecture of ELF machine 2: Docker has no name for it; build for one "
        "of amd64, 386, arm64, arm, mips64le, ppc64le, s390x, riscv64, loong64"
    )


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("linux/amd64", "amd64"),
        ("linux/arm64", "arm64"),
        ("linux/arm64/v8", "arm64"),
        ("linux/arm/v7", "arm"),
    ],
)
def test_platforms(name: str, architecture: str) -> None:
    assert architecture == config.architecture_of(name)


@pytest.mark.parametrize("name", ["arm64", "linux/arm/v6", "windows/amd64", ""])
def test_a_platform_that_docker_does_not_have(name: str) -> None:
    with pytest.raises(InputError) as caught:
        config.architecture_of(name)
    assert str(caught.value) == (
        f"cannot build for platform {name!r}: it is not one that Docker has; write one of "
        "linux/amd64, linux/386, linux/arm64, linux/arm, linux/mips64le, linux/ppc64le, "
        "linux/s390x, linux/riscv64, linux/loong64, linux/arm64/v8, linux/arm/v7"
    )


@pytest.mark.parametrize(
    ("architecture", "members"),
    [
        pytest.param("amd64", {"architecture": "amd64", "os": "linux"}, id="none"),
        pytest.param("arm", {"architecture": "arm", "os": "linux", "variant": "v7"}, id="arm"),
        pytest.param(
            "arm64", {"architecture": "arm64", "os": "linux", "variant": "v8"}, id="arm64"
        ),
    ],
)
def test_config_and_index_name_the_variant_that_is_due(
    architecture: str, members: dict[str, str]
) -> None:
    made = Image(Settings(architecture), ())
    config = json.loads(made.config.json())
    [manifest] = json.loads(made.index([Reference.parse("x")]).json())["manifests"]
    assert members == {
        key: config[key] for key in ("architecture", "os", "variant") if key in config
    }
    assert members == manifest["platform"]
