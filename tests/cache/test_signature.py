from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from scratch_image.cache.entry import BlobDigest, CacheEntry, Key, OutputFile, write_fields
from scratch_image.cache.signature import Signatures
from scratch_image.errors import InputError

KEY = Key.of("a").digest
OTHER_KEY = Key.of("b").digest
ENTRY = CacheEntry((OutputFile("x.trace", BlobDigest.of(b"trace")),), b"small")

EMPTY = Signatures()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make keys as the pages say: two pairs of Ed25519, two secrets, and others."""
    place = tmp_path_factory.mktemp("keys")
    script = """
        for name in ci other; do
            openssl genpkey -algorithm ed25519 -out $name.pem
            openssl pkey -in $name.pem -pubout | sed -n 2p > $name.pub
            openssl rand -hex 32 > $name.secret
        done
        openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:prime256v1 -out ec.pem
        openssl pkey -in ec.pem -pubout | grep -v - | tr -d '\\n' > ec.pub
        openssl genpkey -algorithm ed25519 -aes256 -pass pass:word -out locked.pem
        echo short > short.secret
    """
    subprocess.run(["sh", "-ec", script], cwd=place, check=True, capture_output=True)
    return place


def writer(keys: Path, kind: str) -> Signatures:
    return Signatures(str(keys / f"ci.{kind}"))


def reader(keys: Path, kind: str, name: str = "ci") -> Signatures:
    if kind == "secret":
        return Signatures(str(keys / f"{name}.secret"))
    return Signatures(trusted=[(keys / f"{name}.pub").read_text().strip()])


@pytest.mark.parametrize("kind", ["pem", "secret"])
def test_signed_entry_is_accepted_by_who_has_the_key(kind: str, keys: Path) -> None:
    signed = writer(keys, kind).sign(KEY, ENTRY)

    assert dataclasses.replace(signed, stderr=b"") == ENTRY
    assert writer(keys, kind).accepts(KEY, signed), "who signs accepts its own entries"
    assert reader(keys, kind).accepts(KEY, signed)
    assert EMPTY.accepts(KEY, signed)


@pytest.mark.parametrize("kind", ["pem", "secret"])
def test_servers_may_write_an_entry_in_other_bytes(kind: str, keys: Path) -> None:
    signed = writer(keys, kind).sign(KEY, ENTRY)
    metadata = write_fields([(9, b"\x0a\x06worker")])
    again = CacheEntry.read(metadata + signed.write())

    assert reader(keys, kind).accepts(KEY, again)


@pytest.mark.parametrize("kind", ["pem", "secret"])
def test_other_entries_are_refused(kind: str, keys: Path) -> None:
    signed = writer(keys, kind).sign(KEY, ENTRY)
    mine = reader(keys, kind)
    word, _, text = signed.stderr.partition(b" ")

    assert not mine.accepts(OTHER_KEY, signed), "an entry of another key"
    assert not mine.accepts(KEY, ENTRY), "without a signature"
    assert not reader(keys, kind, "other").accepts(KEY, signed), "another key's"
    changed = {
        "stdout": dataclasses.replace(signed, stdout=b"Small"),
        "files": dataclasses.replace(signed, files=()),
        "signature": dataclasses.replace(signed, stderr=word + b" " + text[::-1]),
        "no base64": dataclasses.replace(signed, stderr=signed.stderr + b"!"),
        "kind": dataclasses.replace(signed, stderr=b"md5 " + text),
        "no kind": dataclasses.replace(signed, stderr=text),
    }
    assert [case for case, entry in changed.items() if mine.accepts(KEY, entry)] == []


def test_signature_of_the_other_kind_is_refused(keys: Path) -> None:
    both = Signatures(str(keys / "ci.secret"), [(keys / "ci.pub").read_text().strip()])

    assert both.accepts(KEY, writer(keys, "pem").sign(KEY, ENTRY))
    assert both.accepts(KEY, both.sign(KEY, ENTRY))
    assert not reader(keys, "pem").accepts(KEY, both.sign(KEY, ENTRY))


def test_nothing_is_signed_without_a_key() -> None:
    assert EMPTY.sign(KEY, ENTRY) == ENTRY
    assert EMPTY.accepts(KEY, ENTRY)


FILES = {
    "none": "No such file or directory",
    "short.secret": "it has fewer than 32 bytes",
    "locked.pem": "it has no private key, or a password",
    "ec.pem": "its key is not an Ed25519 key",
}


@pytest.mark.parametrize("name", FILES)
def test_file_without_a_key_is_a_line(name: str, keys: Path) -> None:
    with pytest.raises(InputError) as raised:
        Signatures(str(keys / name))

    assert str(raised.value) == (
        f"cannot use key {keys / name}: {FILES[name]}; "
        "make one by openssl genpkey -algorithm ed25519, or by openssl rand -hex 32"
    )


@pytest.mark.parametrize("text", ["", "no base64", "bm8ga2V5", "ec"])
def test_text_that_is_no_public_key_is_a_line(text: str, keys: Path) -> None:
    shown = (keys / "ec.pub").read_text() if text == "ec" else text
    with pytest.raises(InputError) as raised:
        Signatures(trusted=[shown])

    assert str(raised.value) == (
        f"cannot use key {shown}: it is not an Ed25519 public key; "
        "write the line that openssl pkey -pubout prints between BEGIN and END"
    )


def test_missing_package_is_a_line(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(InputError) as raised:
        reader(keys, "pem")

    assert str(raised.value).endswith(
        ": package cryptography.hazmat.primitives is not installed; "
        "run pip install scons-scratch-image[remote]"
    )
