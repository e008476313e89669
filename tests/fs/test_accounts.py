from __future__ import annotations

import pytest
from scratch_image.fs.accounts import Account, parse


@pytest.mark.parametrize(
    ("line", "accounts"),
    [
        pytest.param(b"www-data:x:33:34:www:/var/www:/bin/sh", [Account(b"www-data", 33, 34)],
                     id="user"),
        pytest.param(b"adm:x:4:syslog,me", [Account(b"adm", 4, 4, (b"syslog", b"me"))], id="group"),
        pytest.param(b"empty:x:5:", [Account(b"empty", 5, 5)], id="group without members"),
        pytest.param(b"a:x:1", [], id="too few fields"),
        pytest.param(b"a:x:one:1::/:", [], id="word as number"),
        pytest.param(b"a:x:1::::", [], id="no group"),
        pytest.param(b"a:x:4294967295:0::/:", [], id="number that means no change"),
        pytest.param(b"a:x:" + b"9" * 5000 + b":0::/:", [], id="endless number"),
        pytest.param(b"+::::::", [], id="line of NIS"),
        pytest.param(b"", [], id="empty line"),
    ],
)  # fmt: skip
def test_line(line: bytes, accounts: list[Account]) -> None:
    assert list(parse(line + b"\n")) == accounts
