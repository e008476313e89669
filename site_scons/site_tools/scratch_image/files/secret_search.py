"""The search for secrets, by the path of a file and by its content: keys, tokens, passwords.

No image gets a file whose path is that of a secret, unless the user allows it. Programs read their
user's secrets, so traces have them; a glob or a directory brings any file that lies there. Public
certificates are no secrets.

The search in content gives the kind of the first secret and its place, never the secret. A file
that is as its Debian package ships it is trusted: `in_file`.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..errors import ListError
from ..fs.file_system import FileSystem
from ..fs.lookup import FileKind
from ..fs.root import find_once
from . import dpkg
from .secret_kinds import RULES, TOKENS, Rule, is_password, is_random, is_strong, key_file_kind

NAMES = {
    "private key": rb"id_(rsa|dsa|ecdsa|ed25519|ecdsa_sk|ed25519_sk)|ssh_host_\w+_key|.*\.(ppk|pvk)"
    rb"|(wg\d*[._-]?)?private[._-]?key|privkey\.pem"
    rb"|hs_ed25519_secret_key|rndc\.key|munge\.key",
    "key store": rb"(?!.*(trust|cacerts))[^/]*\.(p12|pfx|jks|jceks|bks|keystore)"
    rb"|key[34]\.db|logins\.json|signons\.sqlite|.*\.keychain(-db)?",
    "SSH directory": rb"\.ssh(/.+)",
    "GnuPG directory": rb"\.gnupg(/.+)",
    "cloud credentials": rb"\.(aws|azure|config/gcloud|oci|aliyun|boto|s3cfg)(/.+)?",
    "registry credentials": rb"\.docker/config\.json|\.dockercfg|containers/auth\.json",
    "Kubernetes credentials": rb"\.kube(/.+)|kubeconfig",
    "login and password": rb"\.(netrc|pgpass|my\.cnf|mylogin\.cnf|htpasswd)|_netrc"
    rb"|\.(smbcredentials|passwd-s3fs|msmtprc|fetchmailrc|vault_pass(word)?(\.txt)?)"
    rb"|sasl_passwd(\.db)?|(ipsec|chap|pap)[.-]secrets|rclone\.conf",
    "package registry token": rb"\.(npmrc|yarnrc\.yml|pypirc)"
    rb"|\.(gem|cargo)/credentials(\.toml)?",
    "git credentials": rb"\.(git-credentials|gitconfig|config/git/(config|credentials))",
    "curl and wget configuration": rb"\.(curlrc|wgetrc)",
    "history": rb"\.(\w+_history|history|histfile|lesshst|viminfo)",
    "environment file": rb"\.env(\.[\w.-]+)?|\.envrc",
    "git repository": rb"\.git(/.+)",
    "GitHub token": rb"\.config/(gh|hub)(/.+)?",
    "password store": rb"\.(password-store|local/share/keyrings)(/.+)|.*\.kdbx?",
    "Kerberos tickets": rb"krb5cc_.+",
    "Vault token": rb"\.vault-token",
    "Terraform credentials": rb"\.(terraformrc|terraform\.d/credentials\.tfrc\.json)",
    "Terraform state": rb".*\.(tfstate|tfvars)",
    "X cookie": rb"\.(X|ICE)authority",
}
"""By rule: the end of a path, whole components, wherever it lies."""

PLACES = {
    "password file": rb"/etc/(g?shadow|master\.passwd|security/opasswd)([-.~].*)?",
    "password backup": rb"/var/backups/.*(passwd|shadow|group).*",
    "sudo rules": rb"/etc/sudoers([-.~].*|\.d/.+)?",
    "private key": rb"/etc/(ssl|pki/tls)/private/.+"
    rb"|/etc/letsencrypt/(archive|live|keys)/.*privkey.*"
    rb"|/etc/(wireguard|ipsec\.d/private|openvpn)/.*\.(conf|key|pem)"
    rb"|/var/lib/(postgresql|mysql)/.+[.-]key(\.pem)?"
    rb"|/etc/(nginx|apache2|httpd|haproxy|postfix|dovecot|exim4|mysql|postgresql|redis|ssl|tls|pki"
    rb"|mosquitto|stunnel|ldap|traefik|caddy)/.*\.key|/etc/corosync/authkey|/etc/ceph/.*keyring",
    "password database": rb"/var/lib/samba/private/.+|/etc/(pam_|libnss-)?ldap\.secret"
    rb"|/etc/exim4/passwd\.client|/var/lib/jenkins/(secrets/.+|credentials\.xml)",
    "cloud metadata": rb"/(var/lib|run)/cloud(-init)?/.+|/var/lib/(waagent|google)/.+",
    "mounted secret": rb"/run/(secrets|credentials)/.+|/var/run/secrets/.+",
    "machine credentials": rb".*\.keytab|/var/lib/systemd/credential.*"
    rb"|/etc/NetworkManager/system-connections/.+|/etc/apt/auth\.conf(\.d/.+)?",
    "Kubernetes credentials": rb"/etc/kubernetes/.+|/var/lib/kubelet/.+|/etc/rancher/.+",
    "registry credentials": rb"/etc/(docker|containers)/(config|auth)\.json",
    "mail of users": rb"/var/(spool/)?mail/.+",
    "jobs of users": rb"/var/spool/cron/.+",
}
"""By rule: a whole path."""

HOMES = {"home directory": rb"/root/.+|/home/[^/]+/.+"}
"""By rule: home directories of people. Those of system users lie elsewhere."""


def _compile_paths(
    rules: dict[str, bytes], before: bytes, after: bytes = b""
) -> list[tuple[str, re.Pattern[bytes]]]:
    return [
        (name, re.compile(before + b"(?:%s)" % text + after, re.DOTALL))
        for name, text in rules.items()
    ]


_BACKUP = rb"(?:~|[.-](?:bak|backup|old|orig|saved?|sw[op]|dpkg-\w+|\d+))*"
"""Ends of the names of copies."""

_NAMES = _compile_paths(NAMES, b"(?:.*/)?", _BACKUP)
_PLACES = _compile_paths(PLACES, b"")
_HOMES = _compile_paths(HOMES, b"")


def secret_rule(path: bytes, *, own: bool = False) -> str:
    """Return the name of the rule that keeps the file `path` out of images; empty without one.

    A file of the project itself (`own`) may lie in a home directory; its name still counts.
    """
    rules = _NAMES + _PLACES + ([] if own else _HOMES)
    return next((name for name, rule in rules if rule.fullmatch(path)), "")


_CHUNK = 8 << 20
"""Bytes that are searched in one piece."""

_OVERLAP = 16 << 10
"""Bytes of a piece that are searched again with the next one: no token is longer."""

_HEAD = 8 << 10
"""First bytes of a file: those of a binary file have a NUL."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The kind and place of a secret."""

    kind: str
    at: int
    """Bytes before it."""
    line: int = 0
    """The line of a text, from 1; 0 in a binary file."""

    def __str__(self) -> str:
        """Return kind and place for a message."""
        return f"{self.kind}, {f'line {self.line}' if self.line else f'byte {self.at}'}"


_IN_BINARIES = (b"_", b"-", b".", b"AKIA", b"ASIA", b"AIza", b"AGE-SECRET-KEY-1", b"AccountKey=")
"""Beginnings that are also searched for in binary files, whose size matters most."""


@functools.cache
def _token_rules(is_text: bool) -> tuple[tuple[re.Pattern[bytes], tuple[str, ...]], ...]:
    """Return patterns, each with the kind of each of its groups.

    One byte, or a whole beginning, starts each pattern: `re` looks for that at memory speed, where
    alternatives cost as much as all the rest.
    """
    groups: dict[bytes, list[tuple[str, bytes]]] = {}
    for kind, begins, body in TOKENS:
        for begin in begins.split():
            first = begin[-1:] if begin[-1:] in b"_-." else begin
            plain = re.escape(begin)
            rule = rb"(?<=%s)(?<![0-9A-Za-z]%s)(%s)(?![0-9A-Za-z])" % (plain, plain, body)
            # These follow an account's name.
            rule = rule.replace(b"(?<![0-9A-Za-z]%s)" % plain, b"") if begin[:1] in b".:" else rule
            groups.setdefault(first, []).append((kind, rule))
    found = []
    for first, rows in groups.items():
        if is_text or first in _IN_BINARIES:
            rules = b"|".join(rule for _, rule in rows)
            pattern = re.compile(b"%s(?=[\\w+/-]{12})(?:%s)" % (re.escape(first), rules))
            found.append((pattern, tuple(kind for kind, _ in rows)))
    return tuple(found)


def _tokens(content: bytes, *, is_text: bool) -> Iterator[Secret]:
    for rule, kinds in _token_rules(is_text):
        for match in rule.finditer(content):
            group = match.lastindex or 1
            if is_random(match[group]):
                yield Secret(kinds[group - 1], match.start())


@functools.cache
def _compile_rule(rule: Rule) -> re.Pattern[bytes]:
    return re.compile(rule.pattern, re.DOTALL)


def _by_rules(content: bytes, *, is_text: bool) -> Iterator[Secret]:
    for rule in RULES:
        if is_text or not rule.text_only:
            for match in _compile_rule(rule).finditer(content):
                if rule.check(match[match.lastindex or 0]):
                    yield Secret(rule.kind, match.start())


SETTING = (
    rb"(?i)(?:.*[\w.-])?(?:password|passwort|passphrase|secret|token|credentials?)\d?|"
    rb"(?:.*[_.-])?(?:pass|passwd|pwd|pw|auth|psk|authtok|bindpw|rootpw|requirepass|masterauth|authpass|"
    rb"secret_?key_?base|salt)|"
    rb"(?:.*[\w.-])?(?:api|access|secret|private|encryption|encrypt|signing|master|auth|account|"
    rb"session|cookie|shared|deploy|service)[_.-]?key(?:_base)?"
)
"""Names of variables and options whose values are secret."""

_LINE = (
    rb"(?im)^[ \t]*+(?:export[ \t]++|set[ \t]++|-[ \t]++|--)?[\"'{]*+[ \t]*+[\"']?"
    rb"([a-z][\w.-]{1,60}+)[\"']?(?:[ \t]*+(?:=>?|:)[ \t]*+|[ \t]++)"
    rb"(?:\"([^\"\n]++)\"|'([^'\n]++)'|([^\s\"',;]++))[ \t]*+[,;}]*+[ \t]*+(?:#.*)?\r?$"
)
_MEMBER = rb"\"([A-Za-z][\w.-]{1,60})\"\s*:\s*\"([^\"\n]+)\""
_ELEMENT = (
    rb"<([A-Za-z][\w.-]{1,60})(?:\s[^<>]{0,200})?>([^<>\s]+)</|"
    rb"(?:key|name)=\"([\w.:-]{1,60})\"\s+value=\"([^\"\n]+)\""
)
_CONFIGURATION = (
    rb"(?i)(?:.*\.(?:conf|cnf|cf|cfg|config|ini|inf|properties|props|toml|ya?ml|json|xml|env|rc|local|"
    rb"tfvars|plist|credentials?|secrets?|auto|d|sysconfig|default|prod|production|staging|netrc|"
    rb"npmrc)|(?-i:(?![A-Z_-]+$|copyright$|changelog$))\.?[^.]+)(?:~|[.-](?:bak|backup|old|orig|save|dist|dpkg-\w+|\d+))*"
)
"""Names of files that hold settings: a name without a dot, but README, or one of these ends."""

_ENVIRONMENT = rb"(?:(?:export[ \t]+)?[A-Z][A-Z0-9_]*=[^\n]*\n|[ \t]*(?:#[^\n]*)?\n){1,2000}"
_WORDS = (b"pass", b"pwd", b"secret", b"token", b"key", b"credential", b"auth", b"pw", b"psk")


def _settings(name: bytes, content: bytes) -> Iterator[Secret]:
    """Yield passwords in settings: any in an environment file, elsewhere those that are no word."""
    lowered = content.lower()
    if not any(word in lowered for word in _WORDS):
        return
    is_environment = re.fullmatch(_ENVIRONMENT, content.rstrip(b"\n") + b"\n") is not None
    if not is_environment and not re.fullmatch(_CONFIGURATION, name):
        return
    check = is_password if is_environment else is_strong
    for pattern in (_LINE, *(() if is_environment else (_MEMBER, _ELEMENT))):
        for match in re.finditer(pattern, content):
            key, value = [part for part in match.groups() if part is not None][:2]
            if re.fullmatch(SETTING, key) and check(value):
                yield Secret(f"password in {key.decode()}", match.start(match.lastindex or 0))


def _pgpass(content: bytes) -> Iterator[Secret]:
    field = rb"(?:[^:\s\\]|\\.)+"
    line = rb"%s:(?:\d{2,5}|\*):%s:%s:(?:[^:\n\\]|\\.)+" % (field, field, field)
    content = content.rstrip(b"\n") + b"\n"
    if len(content) < 4096 and re.fullmatch(rb"(?:#[^\n]*\n)*(?:%s\n)+" % line, content):
        yield Secret("PostgreSQL password", 0)


_TESTS_ITSELF = b"libgnutls."
"""A library with keys in it, for its own tests; other distributions have it, too."""


def find(name: bytes, content: bytes, *, is_first: bool = True) -> Secret | None:
    """Return the first secret in `content`, of a file with the base name `name`.

    `is_first` is false for a later piece of a file.
    """
    kind = key_file_kind(content) if is_first else ""
    if kind:
        return Secret(kind, 0)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        content = content.decode("utf-16", "replace").encode()
    is_text = b"\0" not in content[:_HEAD]
    found = [*_by_rules(content, is_text=is_text), *_tokens(content, is_text=is_text)]
    if name.startswith(_TESTS_ITSELF):
        found = [each for each in found if each.kind != "private key"]
    if is_text:
        found += [*_settings(name, content), *_pgpass(content)]
    first = min(found, key=lambda each: each.at, default=None)
    if first is None or not is_text or not is_first:
        return first
    return replace(first, line=content.count(b"\n", 0, first.at) + 1)


def in_file(files: FileSystem, path: bytes) -> Secret | None:
    """Return the first secret in the regular file `path`.

    None for a file as its Debian package ships it.
    """
    status = files.status(path)
    if status is None or status.kind is not FileKind.FILE:
        return None
    return find_once(_search, files, path, status)


def _is_shipped(files: FileSystem, path: bytes) -> bool:
    """Tell whether `path` is a file of a package, with the content of the package."""
    try:
        owned = None if path in files.staging else dpkg.lookup(files, path)
    except ListError:
        return False
    if owned is None or not owned.md5:
        return False
    with files.open(path) as stream:
        return hashlib.file_digest(stream, _MD5).hexdigest() == owned.md5


_MD5 = functools.partial(hashlib.md5, usedforsecurity=False)


def _search(files: FileSystem, path: bytes) -> Secret | None:
    if _is_shipped(files, path):
        return None
    name, at = files.host_path(path).rpartition(b"/")[2], 0
    with files.open(path) as stream:
        piece = stream.read(_CHUNK)
        while piece:
            found = find(name, piece, is_first=at == 0)
            if found is not None:
                return replace(found, at=at + found.at)
            more = stream.read(_CHUNK)
            at += max(len(piece) - _OVERLAP, 0)
            piece = more and piece[-_OVERLAP:] + more
    return None
