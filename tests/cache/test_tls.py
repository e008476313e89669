from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scratch_image.cache.address import Address
from scratch_image.cache.tls import Tls
from scratch_image.errors import InputError

ADDRESS = Address.parse("https://fox:secret@cache.example")


def test_files_are_read_as_grpc_takes_them(certificates: Path) -> None:
    ca, cert, key = (certificates / name for name in ("server.pem", "client.pem", "client.key"))
    both = certificates / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())

    texts = Tls(str(ca), str(cert), str(key)).texts(ADDRESS)
    assert texts == (ca.read_bytes(), key.read_bytes(), cert.read_bytes())
    assert Tls(str(ca), str(both)).texts(ADDRESS)[1:] == (both.read_bytes(), both.read_bytes())


def test_authorities_of_the_system_are_the_default(
    monkeypatch: pytest.MonkeyPatch, certificates: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "other.pem"))

    assert Tls().texts(ADDRESS) == ((certificates / "other.pem").read_bytes(), None, None)


def test_files_that_make_no_sense_are_a_line(certificates: Path) -> None:
    subprocess.run(
        [
            "openssl",
            "genpkey",
            "-algorithm",
            "ed25519",
            "-aes256",
            "-pass",
            "pass:word",
            "-out",
            certificates / "locked.key",
        ],
        check=True,
    )
    (certificates / "junk.pem").write_text("junk")
    client = str(certificates / "client.pem")
    for tls, shown in (
        (Tls("/none.pem"), "/none.pem: [Errno 2] No such file or directory"),
        (Tls(str(certificates / "junk.pem")), "junk.pem: [X509"),
        (Tls(cert=client), "client.pem: [SSL]"),
        (Tls(cert=client, key=str(certificates / "other.key")), "other.key: [X509"),
        (Tls(cert=client, key=str(certificates / "locked.key")), "locked.key: [SSL]"),
    ):
        with pytest.raises(InputError) as raised:
            tls.texts(ADDRESS)

        text = str(raised.value)
        assert text.startswith("cannot use cache https://cache.example: /")
        assert shown in text
        assert text.endswith("; name PEM files in IMAGE_CACHE_TLS: ca, and cert with its key")
