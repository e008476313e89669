"""Pushes to a real docker-registry, also to one that fails."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import TAR, build, contents, rewrite
from registries import PASSWORD, USER, Fault, Gate, docker_registry, gate
from scratch_image import progress
from scratch_image.errors import InputError, RegistryError
from scratch_image.fs.digest import Digest
from scratch_image.image import archive, tar_header
from scratch_image.publish import push, registry, registry_client
from scratch_image.publish.registry import Tag
from tars import member

OTHER = member("other") * 10 + tar_header.END


@pytest.fixture
def before(hub: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Give a gate before that registry."""
    monkeypatch.setattr(registry_client, "_WAITS", (0.01, 0.02))
    with gate(hub) as made:
        yield made


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """Give a repository that no other test has."""
    return "test/" + str(Digest.of(request.node.nodeid.encode()).hex[:16])


@pytest.fixture
def small(tmp_path: Path) -> bytes:
    """Return an archive with two layers."""
    build(tmp_path / "x.oci.tar", [TAR, OTHER])
    return os.fsencode(tmp_path / "x.oci.tar")


def tags(gate: Gate, *names: str) -> list[Tag]:
    return [Tag.parse(f"http://{gate.host}/{name}") for name in names]


def test_registry_has_the_digest_that_the_build_wrote_down(
    before: Gate, small: bytes, repository: str, tmp_path: Path
) -> None:
    pushed = push.push(small, tags(before, f"{repository}:1", f"{repository}:2")).digest

    assert pushed == archive.read(small).manifest
    assert registry.digest_of(tags(before, f"{repository}:2")[0]) == pushed
    subprocess.run(
        [
            *("skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false"),
            *(f"docker://{before.registry}/{repository}:1", f"oci:{tmp_path}/back:x"),
        ],
        check=True,
    )
    index = json.loads((tmp_path / "back/index.json").read_text())
    assert [each["digest"] for each in index["manifests"]] == [str(pushed)]


def test_second_push_sends_nothing(before: Gate, small: bytes, repository: str) -> None:
    push.push(small, tags(before, f"{repository}:1"))
    before.log.clear()

    push.push(small, tags(before, f"{repository}:1"))

    assert {(verb, status) for verb, _, status, _ in before.log} == {("HEAD", 200)}
    assert len(before.log) == 5  # three blobs, the manifest, the tag


def test_only_the_layer_that_is_missing_is_sent(
    before: Gate, small: bytes, repository: str, tmp_path: Path
) -> None:
    push.push(small, tags(before, f"{repository}:1"))
    before.log.clear()
    new = member("new") + tar_header.END
    image = build(tmp_path / "y.oci.tar", [TAR, new])

    pushed = push.push(os.fsencode(tmp_path / "y.oci.tar"), tags(before, f"{repository}:1"))

    config = len(image.config.json())
    assert before.sent() == len(new) + config == pushed.sent
    assert before.count("PUT", "/blobs/uploads/") == 2


def test_blob_of_another_repository_is_mounted(before: Gate, small: bytes, repository: str) -> None:
    push.push(small, tags(before, f"{repository}/one:1", f"{repository}/two:1"))

    assert before.count("POST", "mount=") == 3
    assert before.count("PUT", f"{repository}/one/blobs/uploads/") == 3
    assert before.count("PUT", f"{repository}/two/blobs/uploads/") == 0


@pytest.mark.parametrize("status", [202, 403])
def test_blob_that_cannot_be_mounted_is_sent(
    before: Gate, small: bytes, repository: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The registry itself answers 202 where it has no such blob there.
    for digest in archive.layout(small).blobs:
        monkeypatch.setitem(push._places, (before.host, digest), "test/none")
    if status == 403:
        before.faults.append(Fault("POST", "mount=", 403, times=3))

    push.push(small, tags(before, f"{repository}:1"))

    assert before.count("PUT", "/blobs/uploads/") == 3


def test_earlier_push_is_recalled(
    before: Gate, small: bytes, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [tag] = tags(before, f"{repository}/one:1")
    digest = push.push(small, [tag]).digest
    monkeypatch.setattr(push, "_places", {})
    for name in ("x.pushed", "gone.pushed"):
        (tmp_path / name).write_text(f"{tag.shown}@{digest}\n")

        push.recall(os.fsencode(tmp_path / name))

    assert push._places == {
        (before.host, each): f"{repository}/one" for each in archive.layout(small).blobs
    }
    push.push(small, tags(before, f"{repository}/two:1"))
    assert before.count("PUT", "/two/blobs/uploads/") == 0


def test_index_takes_the_images_of_all_platforms_along(
    before: Gate, repository: str, tmp_path: Path
) -> None:
    images = []
    for name in ("amd64", "arm64"):
        build(tmp_path / name, [TAR, OTHER], architecture=name)
        images.append(archive.read(os.fsencode(tmp_path / name)))
    path = tmp_path / "x.index.oci.tar"
    with path.open("wb") as sink:
        digest = archive.write_index(sink, images, images[0].references)

    assert push.push(os.fsencode(path), tags(before, f"{repository}:1")).digest == digest

    assert registry.digest_of(tags(before, f"{repository}:1")[0]) == digest
    for image in images:
        place = registry.Repository(f"http://{before.host}", repository)
        assert place.digest_of(str(image.manifest)) == image.manifest
    assert before.count("PUT", "/blobs/uploads/") == 4  # the layers once


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("HEAD", "/blobs/"), id="dropped while it is asked for a blob"),
        pytest.param(Fault("POST", "/uploads/"), id="dropped at the begin of an upload"),
        pytest.param(Fault("PUT", "/uploads/"), id="dropped while a blob is sent"),
        pytest.param(Fault("PUT", "/manifests/"), id="dropped with the manifest"),
        pytest.param(Fault("PUT", "/uploads/", 500), id="500"),
        pytest.param(Fault("PUT", "/manifests/", 503), id="503"),
        pytest.param(Fault("HEAD", "/manifests/", 429, {"Retry-After": "0"}), id="429"),
        pytest.param(Fault("POST", "/uploads/", 502, times=2), id="502 twice"),
    ],
)
def test_failure_that_may_pass_is_retried(
    before: Gate, small: bytes, repository: str, fault: Fault
) -> None:
    before.faults.append(fault)

    pushed = push.push(small, tags(before, f"{repository}:1"))

    assert fault.times == 0
    assert registry.digest_of(tags(before, f"{repository}:1")[0]) == pushed.digest


WRONG = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(
            Fault("PUT", "/uploads/", 500, times=99),
            "cannot use {place}: it answers 500; look into the registry's log",
            id="500 for ever",
        ),
        pytest.param(
            Fault("POST", "/uploads/", times=99),
            "cannot reach registry {host}: Remote end closed connection without response; "
            "see that it runs, and that the tag names its host",
            id="dropped for ever",
        ),
        pytest.param(
            Fault("PUT", "/uploads/", headers={"Docker-Content-Digest": WRONG}, forward=True),
            f"cannot trust {{place}}: it has {WRONG} for {{digest}}; look into the registry's log",
            id="wrong digest of a blob",
        ),
        pytest.param(
            Fault("HEAD", "/blobs/", 200, {"Docker-Content-Digest": WRONG}),
            f"cannot trust {{place}}: it has {WRONG} for {{digest}}; look into the registry's log",
            id="wrong digest of a blob that it has",
        ),
        pytest.param(
            Fault("PUT", "/manifests/", headers={"Docker-Content-Digest": WRONG}, forward=True),
            f"cannot trust {{place}}: it has {WRONG} for {{digest}}; look into the registry's log",
            id="wrong digest of the manifest",
        ),
        pytest.param(
            Fault("PUT", "/manifests/", headers={"Docker-Content-Digest": "x\ny"}, forward=True),
            "cannot trust {place}: it reports 'x', which is not a digest; "
            "look into the registry's log",
            id="no digest",
        ),
        pytest.param(
            Fault("PUT", "/uploads/", 413, times=9),
            "cannot push {digest} to {place}: it answers 413; "
            "let the registry, or the proxy before it, take larger blobs",
            id="413",
        ),
        pytest.param(
            Fault("POST", "/uploads/", 202, times=9),
            "cannot push {digest} to {place}: it answers 202; look into the registry's log",
            id="upload without a place",
        ),
        pytest.param(
            Fault("POST", "/uploads/", 202, {"Location": "http://other.example/x"}, times=9),
            "cannot push {digest} to {place}: it wants the blob by plain HTTP; "
            "look into the registry's log",
            id="upload elsewhere",
        ),
        pytest.param(
            Fault("HEAD", "/blobs/", 410, times=9),
            "cannot ask for {digest} in {place}: it answers 410; look into the registry's log",
            id="410",
        ),
        pytest.param(
            Fault("PUT", "/manifests/", 400, {}, b'{"errors":[{"code":"NO","message":"n\\no"}]}'),
            "cannot push {manifest} to {place}: it answers 400 NO n o; "
            "look into the registry's log",
            id="refused with a reason",
        ),
        pytest.param(
            Fault("PUT", "/manifests/", 403, {}, b"[]"),
            "cannot push {manifest} to {place}: it answers 403; "
            "run docker login {host} as a user who may",
            id="403",
        ),
        pytest.param(
            Fault("PUT", "/manifests/", 400, {}, b'{"errors":[7]}' + b" " * (4 << 20)),
            "cannot trust {place}: its answer has no end; look into the registry's log",
            id="endless",
        ),
    ],
)
def test_every_refusal_is_a_line(
    before: Gate, tmp_path: Path, repository: str, fault: Fault, message: str
) -> None:
    # Without a layer there is one blob, so that it is known which one is refused.
    image = build(tmp_path / "x.oci.tar", [])
    before.faults.append(fault)

    with pytest.raises(RegistryError) as raised:
        push.push(os.fsencode(tmp_path / "x.oci.tar"), tags(before, f"{repository}:1"))

    manifest = Digest.of(image.manifest.json())
    digest = manifest if fault.part == "/manifests/" else image.manifest.config.digest
    assert str(raised.value) == message.format(
        host=before.host,
        place=f"{before.host}/{repository}",
        digest=digest,
        manifest=manifest,
    )
    if "manifests" not in fault.part:
        assert before.count("PUT", "/manifests/") == 0  # no tag means what is not all there


def test_blob_that_is_not_what_its_name_says_is_refused(
    before: Gate, small: bytes, repository: str
) -> None:
    path = Path(os.fsdecode(small))
    members = contents(path)
    name = f"blobs/sha256/{archive.read(small).layers[1].hex}"
    rewrite(path, {**members, name: members[name].replace(b"other", b"OTHER")})
    # A gate may get the port of an earlier one, by which the true blob would be mounted.
    push._places.clear()

    with pytest.raises(RegistryError, match="it answers 400 DIGEST_INVALID"):
        push.push(small, tags(before, f"{repository}:1"))

    assert registry.digest_of(tags(before, f"{repository}:1")[0]) is None


def test_broken_archive_is_refused(before: Gate, small: bytes, repository: str) -> None:
    path = Path(os.fsdecode(small))
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(InputError, match="cannot read image archive"):
        push.push(small, tags(before, f"{repository}:1"))


def test_password_opens_a_registry_and_is_never_told(
    tmp_path: Path, small: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with docker_registry(tmp_path / "registry", auth=True) as host:
        tag = Tag.parse(f"http://{host}/fox/hello:1")
        with pytest.raises(RegistryError) as refused:
            push.push(small, [tag])
        log_in(tmp_path / "docker", host, "wrong-horse")
        with pytest.raises(RegistryError) as wrong:
            push.push(small, [tag])
        log_in(tmp_path / "docker", host, PASSWORD)
        pushed = push.push(small, [tag])
        assert registry.digest_of(tag) == pushed.digest

    assert str(refused.value).endswith(
        f"in {host}/fox/hello: it answers 401; run docker login {host}"
    )
    assert str(wrong.value) == str(refused.value)


def log_in(directory: Path, host: str, password: str) -> None:
    """Write what ``docker login`` writes."""
    import base64

    directory.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (directory / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def test_certificate_is_verified(
    tmp_path: Path, small: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with docker_registry(tmp_path / "registry", tls=True) as host:
        tag = Tag.parse(f"https://{host}/hello:1")
        with pytest.raises(RegistryError) as raised:
            push.push(small, [tag])
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "registry/ca.pem"))
        pushed = push.push(small, [tag])
        assert registry.digest_of(tag) == pushed.digest

    assert str(raised.value).startswith(f"cannot reach registry {host}: [SSL: CERTIFICATE_VERIFY")
    assert str(raised.value).endswith("; let SSL_CERT_FILE name the certificate of its authority")


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([], id="sent, mounted, and there already"),
        pytest.param([Fault("PUT", "/blobs/uploads/")], id="sent again"),
    ],
)
def test_progress_comes_to_its_end(
    before: Gate, small: bytes, repository: str, faults: list[Fault]
) -> None:
    before.faults += faults
    names = [f"{repository}/one:1", f"{repository}/two:1"]
    with progress.watch() as watched:
        push.push(small, tags(before, *names))
        push.push(small, tags(before, *names[:1]))

    blobs = archive.layout(small).blobs.values()
    assert watched.done == watched.total == 3 * sum(blob.size for blob in blobs)
