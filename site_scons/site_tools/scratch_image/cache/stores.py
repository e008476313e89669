"""The stores that a URL may mean."""

from __future__ import annotations

from .address import Address
from .cache_login import CacheLogin, CredentialSources
from .store import Store
from .tls import Tls


def open_store(url: str, tls: Tls, sources: CredentialSources) -> Store:
    """Return the store that `url` means: an absolute directory, or a server.

    InputError when it means none, when files of `tls` make no sense, or when other machines could
    read the credentials on their way. This sends no request. Only the libraries of that store are
    imported.
    """
    if url[:1] == "/":
        from .directory_store import DirectoryStore

        return DirectoryStore(url)
    address = Address.parse(url)
    login = CacheLogin(address, sources)
    if address.scheme.startswith("grpc"):
        from .grpc_store import GrpcStore

        return GrpcStore(address, tls, login)
    from .http_store import HttpStore

    return HttpStore(address, tls, login)
