"""Certificates for encrypted connections to a cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import one_line
from .address import Address

if TYPE_CHECKING:
    import ssl

_HINT = "name PEM files in IMAGE_CACHE_TLS: ca, and cert with its key"


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificates of a connection: files in PEM form."""

    ca: str = ""
    """Certificates of the authorities that the server's is checked against; empty for the
    system's."""
    cert: str = ""
    """Our own certificate, where the server wants one."""
    key: str = ""
    """Its private key; empty where `cert` has it, too."""

    def context(self, address: Address) -> ssl.SSLContext:
        """Return the settings of encrypted connections; InputError when a file makes no sense."""
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                # Without a password, OpenSSL would ask for one at the terminal.
                context.load_cert_chain(self.cert, self.key or None, password="")
        except (OSError, ValueError) as error:
            names = ", ".join(filter(None, (self.ca, self.cert, self.key)))
            raise address.error(f"{names}: {one_line(error)}", _HINT) from error
        return context

    def texts(self, address: Address) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Return authorities, private key and our certificate as gRPC takes them.

        InputError as for `context`. gRPC would bring authorities of its own.
        """
        import ssl

        self.context(address)
        ca = self.ca or ssl.get_default_verify_paths().cafile
        return _text(ca), _text(self.key or self.cert), _text(self.cert)


def _text(path: str | None) -> bytes | None:
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()
