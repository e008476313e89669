"""Signatures of entries: a reader that has keys uses only what their holders put into a cache.

HMAC-SHA256 (RFC 2104) has one secret, which signs and checks. Ed25519 (RFC 8032) has a private key,
which signs, and a public key, which checks. A signature is over key and entry: a server cannot give
the entry of another key.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Protocol

from ..errors import InputError
from .entry import BlobDigest, CacheEntry

_LEAST = 32
"""Bytes that a secret has at least."""
_MOST = 1 << 16
"""Bytes that a file with a key has at most."""

_KEY_HINT = "make one by openssl genpkey -algorithm ed25519, or by openssl rand -hex 32"
_PUBLIC_HINT = "write the line that openssl pkey -pubout prints between BEGIN and END"


class SignatureKey(Protocol):
    """A key that checks signatures."""

    kind: bytes
    """The word before its signatures."""

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (hostile) of `message` was made with it."""


class SigningKey(SignatureKey, Protocol):
    """A key that makes signatures as well."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`."""


class Signatures:
    """The keys of a build: they sign what it puts into a cache, and check what it takes out."""

    def __init__(self, key_file: str = "", trusted: Sequence[str] = ()) -> None:
        """Take the file of a private key or secret, and public keys in base64; all may be missing.

        InputError when one of them is no key.
        """
        self._own = _read_key(key_file) if key_file else None
        public = tuple(map(_parse_public_key, trusted))
        self._keys: tuple[SignatureKey, ...] = (*public, self._own) if self._own else public

    def sign(self, key: BlobDigest, entry: CacheEntry) -> CacheEntry:
        """Return `entry` of `key` with our signature, if we have a key of our own."""
        if not self._own:
            return entry
        signature = base64.b64encode(self._own.sign(_message(key, entry)))
        return dataclasses.replace(entry, stderr=b"%s %s" % (self._own.kind, signature))

    def accepts(self, key: BlobDigest, entry: CacheEntry) -> bool:
        """Tell whether one of our keys has signed `entry` (hostile) of `key`, or we have none."""
        kind, _, text = entry.stderr.partition(b" ")
        try:
            signature = base64.b64decode(text, validate=True)
        except binascii.Error:
            signature = b""
        message = _message(key, entry)
        fitting = [each for each in self._keys if each.kind == kind]
        return not self._keys or any(each.has_signed(message, signature) for each in fitting)


class HmacKey:
    """A secret that signs and checks."""

    kind = b"hmac-sha256"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`."""
        return hmac.digest(self._secret, message, hashlib.sha256)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (hostile) of `message` was made with it."""
        return hmac.compare_digest(self.sign(message), signature)


class Ed25519Key:
    """A public key, and its private key if we have it."""

    kind = b"ed25519"

    def __init__(self, public: Any, private: Any = None) -> None:
        self._public = public
        self._private = private

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`."""
        return bytes(self._private.sign(message))

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (hostile) of `message` was made with its private key."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def _message(key: BlobDigest, entry: CacheEntry) -> bytes:
    """Return the bytes to sign. Servers may write the same entry in other bytes than ours."""
    bare = dataclasses.replace(entry, stderr=b"")
    return b"scratch_image entry 1\n%s\n%s" % (key.hex.encode(), bare.write())


def _read_key(path: str) -> SigningKey:
    """Return the private key or the secret in the file `path`."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST).strip()
    except OSError as error:
        raise _key_error(path, str(error.strerror)) from error
    if text.startswith(b"-----BEGIN"):
        return _parse_private_key(path, text)
    if len(text) < _LEAST:
        raise _key_error(path, f"it has fewer than {_LEAST} bytes")
    return HmacKey(text)


def _parse_private_key(path: str, text: bytes) -> SigningKey:
    ed25519, serialization = _libraries(path)
    try:
        private = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError) as error:
        raise _key_error(path, "it has no private key, or a password") from error
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise _key_error(path, "its key is not an Ed25519 key")
    return Ed25519Key(private.public_key(), private)


def _parse_public_key(text: str) -> SignatureKey:
    ed25519, serialization = _libraries(text)
    try:
        public = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except ValueError:
        public = None
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise InputError(f"use key {text}", "it is not an Ed25519 public key", _PUBLIC_HINT)
    return Ed25519Key(public)


def _libraries(name: str) -> tuple[Any, Any]:
    """Return the modules of `cryptography` that read and use the key `name`."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise InputError(
            f"use key {name}",
            f"package {error.name} is not installed",
            "run pip install scons-scratch-image[remote]",
        ) from error
    return ed25519, serialization


def _key_error(path: str, cause: str) -> InputError:
    return InputError(f"use key {path}", cause, _KEY_HINT)
