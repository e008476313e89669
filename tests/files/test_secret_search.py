"""Planted secrets are found in files of any name, and what only looks like one is not.

No secret stands in this file: each is put together, or made by its own program, when tests run.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import os
import random
import string
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from scratch_image.files import dpkg, secret_search
from scratch_image.files.secret_search import secret_rule
from scratch_image.fs.root import Root, WatchedFileSystem


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        (b"/srv/id_rsa", "private key"),
        (b"/srv/keys/id_ed25519", "private key"),
        (b"/etc/ssh/ssh_host_ed25519_key", "private key"),
        (b"/etc/ssl/private/server.pem", "private key"),
        (b"/etc/letsencrypt/live/x/privkey.pem", "private key"),
        (b"/srv/.ssh/known_hosts", "SSH directory"),
        (b"/var/lib/x/.gnupg/secring.gpg", "GnuPG directory"),
        (b"/srv/.aws/credentials", "cloud credentials"),
        (b"/srv/.config/gcloud/credentials.db", "cloud credentials"),
        (b"/srv/.docker/config.json", "registry credentials"),
        (b"/etc/docker/config.json", "registry credentials"),
        (b"/srv/.kube/config", "Kubernetes credentials"),
        (b"/var/lib/kubelet/pki/x", "Kubernetes credentials"),
        (b"/srv/.netrc", "login and password"),
        (b"/srv/.npmrc", "package registry token"),
        (b"/srv/.pypirc", "package registry token"),
        (b"/srv/.git-credentials", "git credentials"),
        (b"/.gitconfig", "git credentials"),
        (b"/srv/.curlrc", "curl and wget configuration"),
        (b"/srv/.bash_history", "history"),
        (b"/var/lib/postgresql/.psql_history", "history"),
        (b"/srv/app/.env", "environment file"),
        (b"/srv/app/.env.production", "environment file"),
        (b"/srv/app/.git/config", "git repository"),
        (b"/srv/app/.git/objects/12/3", "git repository"),
        (b"/etc/shadow", "password file"),
        (b"/etc/shadow-", "password file"),
        (b"/etc/gshadow", "password file"),
        (b"/var/backups/shadow.bak", "password backup"),
        (b"/etc/sudoers", "sudo rules"),
        (b"/etc/sudoers.d/me", "sudo rules"),
        (b"/root/notes", "home directory"),
        (b"/home/me/src/data", "home directory"),
        (b"/run/cloud-init/instance-data.json", "cloud metadata"),
        (b"/var/lib/cloud/instance/user-data.txt", "cloud metadata"),
        (b"/run/secrets/token", "mounted secret"),
        (b"/var/run/secrets/kubernetes.io/serviceaccount/token", "mounted secret"),
        (b"/etc/krb5.keytab", "machine credentials"),
        (b"/tmp/krb5cc_1000", "Kerberos tickets"),
        (b"/var/spool/mail/me", "mail of users"),
        (b"/var/spool/cron/crontabs/me", "jobs of users"),
        (b"/etc/ssl/certs/ca-certificates.crt", ""),
        (b"/etc/ssl/certs/Some_CA.pem", ""),
        (b"/usr/share/ca-certificates/mozilla/x.crt", ""),
        (b"/usr/lib/python3/dist-packages/certifi/cacert.pem", ""),
        (b"/usr/share/git-core/templates/config", ""),
        (b"/etc/gitconfig", ""),
        (b"/etc/passwd", ""),
        (b"/usr/share/doc/x/env", ""),
        (b"/usr/lib/environment", ""),
        (b"/var/lib/www/data", ""),
        (b"/srv/app/.github/x", ""),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else None,
)
def test_rule(path: bytes, rule: str) -> None:
    assert secret_rule(path) == rule


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        pytest.param(b"/home/me/src/app.conf", "", id="in a home"),
        pytest.param(b"/root/project/server.key", "", id="key of the project's own"),
        pytest.param(b"/home/me/src/id_rsa", "private key", id="name"),
        pytest.param(b"/etc/shadow", "password file", id="place"),
    ],
)
def test_files_of_the_project_may_lie_in_homes(path: bytes, rule: str) -> None:
    assert secret_rule(path, own=True) == rule


LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM = UPPER + LOWER + DIGITS
HEX = "0123456789abcdef"
WORD = ALNUM + "-_"


def some(alphabet: str, count: int, seed: int = 1) -> str:
    """Return `count` random characters, the same ones each time."""
    return "".join(random.Random(f"{seed} {count}").choices(alphabet, k=count))


def b64(count: int) -> str:
    """Return `count` random bytes in base64."""
    return base64.b64encode(random.Random(count).randbytes(count)).decode()


PASSWORD = "Tr4ub" + some(ALNUM, 9)


@functools.cache
def made(*command: str, take: str = "key") -> bytes:
    """Return the file `take` that the command makes in an empty directory."""
    with TemporaryDirectory() as directory:
        subprocess.run(["sh", "-ec", command[0]], cwd=directory, check=True, capture_output=True)
        return (Path(directory) / take).read_bytes()


RSA = "openssl genrsa -traditional -out key 1024 2>/dev/null"
EC = "openssl ecparam -name prime256v1 -genkey -noout -out key"
ED = "openssl genpkey -algorithm ed25519 -out key"
PKCS8 = "openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:1024 -out key 2>/dev/null"
LOCKED = f"{PKCS8}; openssl pkcs8 -topk8 -in key -passout pass:x -out key2; mv key2 key"
SSH = "ssh-keygen -q -t {} -N '' -f key"
CERT = "openssl req -x509 -newkey rsa:1024 -nodes -keyout k -out key -subj /CN=x -days 9"
P12 = f"{CERT}; openssl pkcs12 -export -inkey k -in key -passout pass:x -out p12; mv p12 key"
TRUST = f"{CERT}; openssl pkcs12 -export -nokeys -in key -passout pass:x -out p12; mv p12 key"
GPG = (
    "mkdir -m700 h; gpg --homedir h --batch --passphrase '' --quick-gen-key x {} 2>/dev/null;"
    " gpg --homedir h --batch {} > key; gpgconf --homedir h --kill all"
)


def openssl(command: str) -> Callable[[], bytes]:
    return lambda: made(command)


def der(command: str) -> Callable[[], bytes]:
    return lambda: made(command)


def text(content: str) -> Callable[[], bytes]:
    return lambda: content.encode()


def inside(before: str, command: str, after: str = "") -> Callable[[], bytes]:
    return lambda: before.encode() + made(command) + after.encode()


def as_json(command: str) -> Callable[[], bytes]:
    """Return the credentials of a service account, with the key in one line."""
    return lambda: json.dumps({
        "type": "service_account", "private_key_id": some(HEX, 40),
        "private_key": made(command).decode(), "client_email": "x@y.iam.gserviceaccount.com",
    }).encode()  # fmt: skip


def kubeconfig() -> bytes:
    key = base64.b64encode(made(RSA)).decode()
    return f"users:\n- name: me\n  user:\n    client-key-data: {key}\n".encode()


def java_store(magic: int, tag: int) -> Callable[[], bytes]:
    entry = tag.to_bytes(4, "big") + b"\0\4mine" + bytes(8)
    body = b"\0\5X.509" + b"\0\0\0\4cert" if tag == 2 else b"\0\0\0\4data"
    return lambda: magic.to_bytes(4, "big") + b"\0\0\0\2\0\0\0\1" + entry + body + bytes(20)


def bouncy_castle(tag: int) -> Callable[[], bytes]:
    head = b"\0\0\0\2\0\0\0\x14" + bytes(range(20)) + b"\0\0\4\0"
    cert = b"\0\5X.509\0\0\0\4cert"
    return lambda: head + bytes([tag]) + b"\0\4mine" + bytes(8) + b"\0\0\0\0" + cert + bytes(21)


def jwt(payload: dict[str, str]) -> str:
    words = (json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps(payload))
    first, second = (base64.urlsafe_b64encode(word.encode()).decode().rstrip("=") for word in words)
    return f"{first}.{second}.{some(WORD, 43)}"


def token(*parts: str) -> Callable[[], bytes]:
    """Return a file of notes with what `parts` are together."""
    return text(f"# how we deploy\nuse {''.join(parts)} for it\n")


def login(user: str = "bot") -> str:
    return base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()


PRIVATE = "PRIVATE" + " KEY"
HASH = some(ALNUM, 16) + "$" + some(ALNUM + "./", 86)

KINDS: tuple[tuple[str, str, Callable[[], bytes]], ...] = (
    # Keys in PEM and like it.
    ("rsa-pem", "/srv/app/a.txt", openssl(RSA)),
    ("ec-pem", "/srv/app/b", openssl(EC)),
    ("ed25519-pem", "/srv/app/c.dat", openssl(ED)),
    ("pkcs8-pem", "/etc/nginx/ssl/site.pem", openssl(PKCS8)),
    ("pkcs8-encrypted-pem", "/srv/app/d.pem", openssl(LOCKED)),
    ("rsa-encrypted-pem", "/srv/app/e.pem", openssl(
        "openssl genrsa -traditional -aes128 -passout pass:x -out key 1024 2>/dev/null")),
    ("dsa-pem", "/srv/app/f.pem", openssl(
        "openssl dsaparam -noout -genkey -out key 1024 2>/dev/null")),
    ("cert-with-key", "/etc/haproxy/site.pem", openssl(f"{CERT}; cat k >> key")),
    ("tls-key-of-nginx", "/etc/nginx/ssl/site.key", openssl(RSA)),
    ("tls-key-of-postgresql", "/var/lib/postgresql/15/main/server.key", openssl(RSA)),
    ("tls-key-of-mysql", "/var/lib/mysql/server-key.pem", openssl(RSA)),
    ("openssh-ed25519", "/srv/app/deploy", openssl(SSH.format("ed25519"))),
    ("openssh-rsa", "/srv/app/deploy-rsa", openssl(SSH.format("rsa -b 1024"))),
    ("openssh-encrypted", "/srv/app/deploy-locked", openssl(
        "ssh-keygen -q -t ed25519 -N secret -f key")),
    ("openssh-host-key", "/etc/ssh/ssh_host_rsa_key", openssl(SSH.format("rsa -b 1024"))),
    ("id-rsa-backup", "/srv/app/id_rsa.bak", text("x")),
    ("pgp-armoured", "/srv/app/release.asc", openssl(
        GPG.format("rsa1024", "--armor --export-secret-keys"))),
    ("pgp-binary", "/srv/app/release.gpg", openssl(GPG.format("rsa1024", "--export-secret-keys"))),
    ("pgp-ed25519-binary", "/srv/app/sign.bin", openssl(
        GPG.format("ed25519", "--export-secret-keys"))),
    ("gpg-agent-key", "/srv/app/agent.key", lambda: made(
        GPG.format("rsa1024", "--export") + "; cp h/private-keys-v1.d/*.key key")),
    ("ssh2-commercial", "/srv/app/g", text(
        f"---- BEGIN SSH2 ENCRYPTED {PRIVATE} ----\n{b64(200)}\n---- END SSH2 ----\n")),
    ("putty", "/srv/app/h.txt", text(
        f"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\n{b64(36)}\n")),
    ("ppk-by-name", "/srv/app/me.ppk", text("x")),
    ("pem-in-source", "/srv/app/config.py", lambda: b'KEY = """' + made(EC) + b'"""\n'),
    ("pem-in-string-literals", "/srv/app/key.c", lambda: b"".join(
        b'"%s\\n"\n' % line for line in made(RSA).splitlines())),
    ("pem-in-yaml", "/srv/app/values.yaml", lambda: b"tls:\n  key: |\n" + b"".join(
        b"    %s\n" % line for line in made(PKCS8).splitlines())),
    ("pem-in-binary", "/srv/app/program", inside("\x7fELF" + "\0" * 9000, RSA, "\0" * 99)),
    ("pem-in-base64", "/srv/app/x.tmpl", lambda: b"key: " + base64.b64encode(made(PKCS8))),
    ("service-account", "/srv/app/google.json", as_json(PKCS8)),
    ("openvpn-inline", "/srv/app/office.ovpn", inside("client\n<key>\n", PKCS8, "</key>\n")),
    ("openvpn-static", "/srv/app/static.txt", text(
        f"-----BEGIN OpenVPN Static key V1-----\n{some(HEX, 32)}\n{some(HEX, 32, 2)}\n")),
    ("age", "/srv/app/keys.txt", text(
        "# created\nAGE-SECRET-" + "KEY-1" + some("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58))),
    ("minisign", "/srv/app/minisign.txt", text(
        f"untrusted comment: minisign encrypted secret key\nRWRTY0Iy{b64(150)}\n")),
    ("signify", "/srv/app/x.sec", text(f"untrusted comment: x secret key\nRWRCS{b64(90)}\n")),
    ("dnssec", "/srv/app/Kexample.private", text(
        f"Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: {b64(32)}\n")),
    ("tor-service", "/srv/app/onion", text("== ed25519v1-secret: type0 ==\0\0\0" + "k" * 64)),
    ("ssh1", "/srv/app/identity", text(f"SSH {PRIVATE} FILE FORMAT 1.1\n\0\0")),
    ("jwk", "/srv/app/jwk.json", text(
        f'{{"kty":"EC","crv":"P-256","x":"{some(WORD, 43)}","d":"{some(WORD, 43, 2)}"}}')),
    # Key stores and keys in DER.
    ("pkcs8-der", "/srv/app/k1.der", der(f"{PKCS8}; openssl pkcs8 -topk8 -nocrypt -in key"
                                         " -outform der -out d; mv d key")),
    ("pkcs8-encrypted-der", "/srv/app/k2.der", der(
        f"{PKCS8}; openssl pkcs8 -topk8 -passout pass:x -in key -outform der -out d; mv d key")),
    ("pkcs1-der", "/srv/app/k3", der(
        f"{PKCS8}; openssl rsa -traditional -in key -outform der -out d 2>/dev/null; mv d key")),
    ("sec1-der", "/srv/app/k4", der(f"{EC}; openssl ec -in key -outform der -out d 2>/dev/null;"
                                    " mv d key")),
    ("ed25519-der", "/srv/app/k5", der(f"{ED}; openssl pkcs8 -topk8 -nocrypt -in key -outform der"
                                       " -out d; mv d key")),
    ("pkcs12", "/srv/app/site.p12", openssl(P12)),
    ("pfx", "/srv/app/site.pfx", openssl(P12)),
    ("pkcs12-of-any-name", "/srv/app/site.bin", openssl(P12)),
    ("jks", "/srv/app/x.jks", java_store(0xFEEDFEED, 1)),
    ("jks-of-any-name", "/srv/app/store", java_store(0xFEEDFEED, 1)),
    ("jceks", "/srv/app/store2", java_store(0xCECECECE, 3)),
    ("bks", "/srv/app/store3", bouncy_castle(4)),
    ("keytab", "/etc/http.keytab", text("x")),
    ("keytab-of-any-name", "/srv/app/kt", lambda: (
        b"\5\2\0\0\0\x4c\0\2\0\x0bEXAMPLE.COM\0\4HTTP\0\3web\0\0\0\1" + bytes(48))),
    ("ccache", "/srv/app/cc", lambda: (
        b"\5\4\0\x0c\0\1\0\x08" + b"\xff" * 8 + b"\0\0\0\1\0\0\0\1\0\0\0\x0bEXAMPLE.COM\0\0\0\2me")),
    ("keepass", "/srv/app/db", lambda: b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5" + bytes(40)),
    ("kdbx-by-name", "/srv/app/x.kdbx", text("x")),
    ("gnome-keyring", "/srv/app/login", lambda: b"GnomeKeyring\n\r\0\n" + bytes(40)),
    ("kwallet", "/srv/app/kdewallet", lambda: b"KWALLET\n\r\0\r\n" + bytes(40)),
    ("password-safe", "/srv/app/pw", lambda: b"PWS3" + bytes(range(40))),
    ("nss-key4", "/srv/app/db4", lambda: b"SQLite format 3\0" + b"..CREATE TABLE nssPrivate"),
    ("key4-by-name", "/srv/app/key4.db", text("x")),
    ("chrome-logins", "/srv/app/Login", lambda: b"SQLite format 3\0" + b" password_value BLOB"),
    ("firefox-logins", "/srv/app/l.json", text(f'{{"encryptedPassword":"{b64(60)}"}}')),
    ("keychain", "/srv/app/kc", lambda: b"kych\0\1\0\0" + bytes(20)),
    ("git-crypt", "/srv/app/gc", lambda: b"\0GITCRYPTKEY\0\0\0\2" + bytes(40)),
    ("pvk", "/srv/app/code", lambda: b"\x1e\xf1\xb5\xb0" + bytes(40)),
    ("snk", "/srv/app/strong", lambda: b"\7\2\0\0\0\x24\0\0RSA2" + bytes(40)),
    ("x-cookie", "/srv/app/xauth", lambda: (
        b"\1\0\0\4host\0\0010\0\x12MIT-MAGIC-COOKIE-1\0\x10" + bytes(range(16)))),
    ("ethereum", "/srv/app/utc.json", text(
        f'{{"crypto":{{"ciphertext":"{some(HEX, 64)}","kdfparams":{{}}}}}}')),
    # Tokens, in a file of any name.
    ("github-personal", "/srv/app/n", token("gh", "p_", some(ALNUM, 36))),
    ("github-oauth", "/srv/app/n", token("gh", "o_", some(ALNUM, 36))),
    ("github-server", "/srv/app/n", token("gh", "s_", some(ALNUM, 36))),
    ("github-fine-grained", "/srv/app/n", token("github", "_pat_", some(ALNUM, 22), "_",
                                                some(ALNUM, 59))),
    ("gitlab", "/srv/app/n", token("gl", "pat-", some(WORD, 20))),
    ("gitlab-deploy", "/srv/app/n", token("gl", "dt-", some(WORD, 20))),
    ("gitlab-runner", "/srv/app/n", token("gl", "rt-", some(WORD, 20))),
    ("npm", "/srv/app/n", token("np", "m_", some(ALNUM, 36))),
    ("pypi", "/srv/app/n", token("py", "pi-", "AgEIcHlwaS5vcmc", some(WORD, 120))),
    ("rubygems", "/srv/app/n", token("ruby", "gems_", some(HEX, 48))),
    ("docker-hub", "/srv/app/n", token("dckr", "_pat_", some(WORD, 27))),
    ("aws-id", "/srv/app/n", token("AK", "IA", some(UPPER + "234567", 16))),
    ("aws-temporary", "/srv/app/n", token("AS", "IA", some(UPPER + "234567", 16))),
    ("aws-secret", "/srv/app/x.py", text(f'aws_secret_access_key = "{some(ALNUM + "/+", 40)}"\n')),
    ("aws-secret-upper", "/srv/app/x.sh", text(
        f"export AWS_SECRET_ACCESS_KEY={some(ALNUM + '/+', 40)}\n")),
    ("google-api", "/srv/app/n", token("AI", "za", some(WORD, 35))),
    ("google-oauth", "/srv/app/n", token("GOC", "SPX-", some(WORD, 28))),
    ("google-user", "/srv/app/adc", text(f'{{"refresh_token": "1//{some(WORD, 60)}"}}')),
    ("azure-storage", "/srv/app/n", token(
        "DefaultEndpointsProtocol=https;AccountName=x;Account", "Key=", b64(64))),
    ("azure-bus", "/srv/app/n", token("Endpoint=sb://x;SharedAccess", "Key=", b64(32))),
    ("azure-client", "/srv/app/n", token(some(ALNUM, 3), "8", "Q~", some(ALNUM, 34))),
    ("alibaba", "/srv/app/n", token("LT", "AI", some(ALNUM, 20))),
    ("digitalocean", "/srv/app/n", token("dop", "_v1_", some(HEX, 64))),
    ("vault", "/srv/app/n", token("hv", "s.", some(WORD, 95))),
    ("slack-bot", "/srv/app/n", token("xo", "xb-", some(DIGITS, 12), "-", some(ALNUM, 24))),
    ("slack-user", "/srv/app/n", token("xo", "xp-", some(DIGITS, 12), "-", some(HEX, 32))),
    ("slack-webhook", "/srv/app/n", token("https://hooks.slack.com", "/services/T",
                                          some(UPPER, 8), "/B", some(UPPER, 8, 2), "/",
                                          some(ALNUM, 24))),
    ("discord-webhook", "/srv/app/n", token("https://discord.com/api", "/webhooks/",
                                            some(DIGITS, 18), "/", some(WORD, 68))),
    ("stripe", "/srv/app/n", token("sk", "_live_", some(ALNUM, 24))),
    ("stripe-restricted", "/srv/app/n", token("rk", "_live_", some(ALNUM, 24))),
    ("twilio", "/srv/app/n", token("S", "K", some(HEX, 32))),
    ("sendgrid", "/srv/app/n", token("S", "G.", some(WORD, 22), ".", some(WORD, 43))),
    ("mailgun", "/srv/app/n", token("ke", "y-", some(HEX, 32))),
    ("mailchimp", "/srv/app/n", token(some(HEX, 32), "-us", "12")),
    ("shopify", "/srv/app/n", token("shp", "at_", some(HEX, 32))),
    ("hugging-face", "/srv/app/n", token("h", "f_", some(UPPER + LOWER, 34))),
    ("openai", "/srv/app/n", token("sk", "-proj-", some(WORD, 74))),
    ("anthropic", "/srv/app/n", token("sk", "-ant-api03-", some(WORD, 93), "AA")),
    ("databricks", "/srv/app/n", token("da", "pi", some(HEX, 32))),
    ("terraform-cloud", "/srv/app/n", token(some(ALNUM, 14), ".atlas", "v1.", some(WORD, 64))),
    ("grafana", "/srv/app/n", token("gl", "sa_", some(ALNUM, 32), "_", some(HEX, 8))),
    ("tailscale", "/srv/app/n", token("tskey", "-auth-", some(ALNUM, 12), "-", some(ALNUM, 32))),
    ("telegram", "/srv/app/n", token(some(DIGITS, 10), ":A", "A", some(WORD, 33))),
    ("jwt", "/srv/app/n", token(jwt({"sub": "system:serviceaccount:x", "iss": "kubernetes"}))),
    # Settings of programs.
    ("pip-conf", "/etc/pip.conf", text(
        f"[global]\nindex-url = https://bot:{PASSWORD}@pypi.corp.net/simple\n")),
    ("git-config", "/srv/app/config", text(
        f'[remote "origin"]\n\turl = https://bot:{PASSWORD}@git.corp.net/x.git\n')),
    ("git-extraheader", "/srv/app/gitconfig", text(
        f"[http]\n\textraheader = AUTHORIZATION: basic {login()}\n")),
    ("docker-config", "/srv/app/auths.json", text(f'{{"auths":{{"r.io":{{"auth":"{login()}"}}}}}}')),
    ("npmrc", "/srv/app/npmrc", text(f"//registry.corp.net/:_authToken={some(ALNUM, 30)}\n")),
    ("kubeconfig", "/srv/app/admin.conf", kubeconfig),
    ("kubernetes-secret", "/srv/app/secret.yaml", text(
        f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\ndata:\n  password: {b64(12)}\n")),
    ("netrc-backup", "/srv/app/.netrc.bak", text("x")),
    ("netrc-of-any-name", "/srv/app/logins", text(
        f"machine git.corp.net\nlogin bot\npassword {PASSWORD}\n")),
    ("env-prod-local", "/srv/app/.env.prod.local", text("x")),
    ("env-of-any-name", "/srv/app/settings", text(f"DEBUG=0\nDB_PASSWORD={PASSWORD[:6]}\n")),
    ("pgpass", "/srv/app/pg", text(f"db.corp.net:5432:app:app:{PASSWORD}\n")),
    ("my-cnf", "/etc/mysql/conf.d/x.cnf", text(f"[client]\nuser=root\npassword={PASSWORD}\n")),
    ("wpa-supplicant", "/etc/wifi", text(f'network={{\n  ssid="x"\n  psk="{PASSWORD}"\n}}\n')),
    ("hostapd", "/etc/hostapd", text(f"ssid=x\nwpa_passphrase={PASSWORD}\n")),
    ("wireguard", "/srv/app/wg", text(f"[Interface]\nPrivateKey = {b64(32)}\n")),
    ("wireguard-preshared", "/srv/app/wg", text(f"[Peer]\nPresharedKey = {b64(32)}\n")),
    ("ipsec-secrets", "/etc/ipsec.secrets", text("x")),
    ("ipsec-of-any-name", "/srv/app/vpn", text(f'10.0.0.1 10.0.0.2 : PSK "{PASSWORD}"\n')),
    ("chap-secrets", "/etc/ppp/chap-secrets", text("x")),
    ("shadow-of-any-name", "/srv/app/users", text(f"root:$6${HASH}:19000:0:99999:7:::\n")),
    ("htpasswd", "/srv/app/web.users", text(f"me:$apr1${some(ALNUM, 8)}${some(ALNUM, 22)}\n")),
    ("htpasswd-bcrypt", "/srv/app/web", text(f"me:$2y$05${some(ALNUM, 53)}\n")),
    ("ldap-hash", "/srv/app/slapd", text(f"rootpw {{SSHA}}{b64(24)}\n")),
    ("grub", "/srv/app/grub", text("password_pbkdf2 root grub.pbkdf2.sha512.10000."
                                   + some("0123456789ABCDEF", 128) + "\n")),
    ("tfstate", "/srv/app/terraform.tfstate.backup", text("x")),
    ("tfstate-of-any-name", "/srv/app/state", text('{"version": 4, "terraform_version": "1.5.0"}')),
    ("ansible-vault", "/srv/app/vault.yml", text(
        f"$ANSIBLE_VAULT;1.1;AES256\n{some(HEX, 80)}\n")),
    ("redis-conf", "/etc/app/redis.conf", text(f"port 6379\nrequirepass {PASSWORD}\n")),
    ("properties", "/srv/app/application.properties", text(
        f"spring.datasource.password={PASSWORD}\n")),
    ("appsettings", "/srv/app/appsettings.json", text(f'{{"ApiKey": "{some(ALNUM, 32)}"}}')),
    ("database-yml", "/srv/app/database.yml", text(f"production:\n  password: {PASSWORD}\n")),
    ("maven-settings", "/srv/app/settings.xml", text(f"<server><password>{PASSWORD}</password>")),
    ("web-config", "/srv/app/web.config", text(f'<add key="DbPassword" value="{PASSWORD}" />')),
    ("wordpress", "/srv/app/wp-config.php", text(f"define('DB_PASSWORD', '{PASSWORD}');\n")),
    ("django", "/srv/app/settings.py", text(f"SECRET_KEY = '{some(ALNUM + '!^*', 50)}'\n")),
    ("laravel", "/srv/app/app.env.txt", text(f"APP_KEY=base64:{b64(32)}\n")),
    ("url-of-database", "/srv/app/x.rb", text(f"connect 'postgres://app:{PASSWORD}@db/app'\n")),
    ("rndc", "/srv/app/rndc", text(f'key "rndc" {{ algorithm hmac-sha256; secret "{b64(32)}"; }};')),
    ("ceph", "/srv/app/ceph", text(f"[client.admin]\n\tkey = AQ{some(ALNUM, 36)}==\n")),
    ("zerotier", "/srv/app/zt", text(
        f"{some(HEX, 10)}:0:{some(HEX, 128)}:{some(HEX, 128, 2)}\n")),
    ("filezilla", "/srv/app/sites.xml", text(f'<Pass encoding="base64">{b64(12)}</Pass>')),
    ("snmp", "/srv/app/snmpd", text(f"createUser me SHA {PASSWORD} AES\n")),
)  # fmt: skip


def _judged(path: str, content: bytes) -> str:
    found = secret_search.find(os.path.basename(path).encode(), content)
    return secret_rule(path.encode()) or (found.kind if found else "")


def test_there_are_enough_kinds() -> None:
    assert len(KINDS) >= 133
    assert len({name for name, _, _ in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    ("path", "content"), [pytest.param(path, content, id=name) for name, path, content in KINDS]
)
def test_planted_secret_is_found(path: str, content: Callable[[], bytes]) -> None:
    assert _judged(path, content())


NEAR = (
    ("certificate", "/srv/app/cert.pem", openssl(CERT)),
    ("certificate-der", "/srv/app/cert.der", der(f"{CERT}; openssl x509 -in key -outform der"
                                                 " -out d; mv d key")),
    ("request", "/srv/app/x.csr", openssl(
        "openssl req -new -newkey rsa:1024 -nodes -keyout k -subj /CN=x -out key")),
    ("public-key", "/srv/app/pub.pem", openssl(f"{RSA}; openssl rsa -in key -pubout -out d"
                                               " 2>/dev/null; mv d key")),
    ("public-key-der", "/srv/app/pub.der", der(f"{RSA}; openssl rsa -in key -pubout -outform der"
                                               " -out d 2>/dev/null; mv d key")),
    ("ssh-public-key", "/srv/app/deploy.pub", lambda: made(SSH.format("ed25519"), take="key.pub")),
    ("pgp-public-key", "/srv/app/release.gpg", openssl(GPG.format("rsa1024", "--export"))),
    ("pgp-public-armour", "/srv/app/r.asc", openssl(GPG.format("rsa1024", "--armor --export"))),
    ("trust-store-pkcs12", "/srv/app/truststore.p12", openssl(TRUST)),
    ("trust-store-java", "/srv/app/cacerts", java_store(0xFEEDFEED, 2)),
    ("trust-store-bks", "/srv/app/trusted", bouncy_castle(1)),
    ("dh-parameters", "/srv/app/dh.pem", text(
        f"-----BEGIN DH PARAMETERS-----\n{b64(200)}\n-----END DH PARAMETERS-----\n")),
    ("armour-in-code", "/srv/app/x.py", text(f'if line == "-----BEGIN {PRIVATE}-----":\n')),
    ("armour-in-program", "/srv/app/prog", text(
        f"\0\0-----BEGIN RSA {PRIVATE}-----\0-----END RSA {PRIVATE}-----\0wrong tag\0" * 9)),
    ("armour-in-docs", "/srv/app/README", text(
        f"-----BEGIN {PRIVATE}-----\nMIIEvQ...\n-----END {PRIVATE}-----\n")),
    ("aws-example", "/srv/app/n", token("AKIAIOSFODNN7", "EXAMPLE")),
    ("aws-example-secret", "/srv/app/n.cfg", text(
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY\n")),
    ("placeholder-token", "/srv/app/n", token("gh", "p_", "x" * 36)),
    ("counted-token", "/srv/app/n", token("gh", "p_", "0123456789abcdefghijklmnopqrstuvwxyz")),
    ("short-token", "/srv/app/n", token("gh", "p_", some(ALNUM, 12))),
    ("token-in-a-word", "/srv/app/n", token("x", "SK", some(HEX, 32))),
    ("empty-password", "/srv/app/a.conf", text("password =\nsecret = \"\"\n")),
    ("password-of-environment", "/srv/app/a.yml", text("password: ${DB_PASSWORD}\n")),
    ("password-of-template", "/srv/app/a.ini", text("password = {{ vault_password }}\n")),
    ("password-placeholder", "/srv/app/a.ini", text("password = changeme\ntoken=<your token>\n")),
    ("password-comment", "/srv/app/a.conf", text("# password = " + PASSWORD + "\n")),
    ("password-words", "/srv/app/de.json", text('{"password": "Passwort eingeben"}')),
    ("password-file", "/srv/app/b.conf", text("password_file = /run/secrets/db\n")),
    ("password-in-docs", "/srv/app/x.dist-info/METADATA", text("secret = \"hunter2\"\n")),
    ("npm-pattern", "/srv/app/npm.py", text("r'_authToken=((npm_.+)|([A-Fa-f0-9-]{36}))'\n")),
    ("password-in-code", "/srv/app/x.py", text("password = getpass.getpass()\n")),
    ("environment-without", "/srv/app/default", text("LANG=C.UTF-8\nPORT=8080\n")),
    ("environment-placeholder", "/srv/app/sample", text("DB_PASSWORD=changeme\nAPI_KEY=\n")),
    ("url-example", "/srv/app/n", text("see https://user:password@example.com/ for it\n")),
    ("url-without", "/srv/app/n", text("https://git.corp.net:8443/x@y\n")),
    ("random-base64", "/srv/app/n.txt", text(b64(600))),
    ("random-hex", "/srv/app/n.txt", text(some(HEX, 64))),
    ("random-bytes", "/srv/app/n.bin", lambda: random.Random(5).randbytes(50_000)),
    ("wireguard-peer", "/srv/app/n.txt", text(f"[Peer]\nPublicKey = {b64(32)}\n")),
    ("jwt-example", "/srv/app/n", token(jwt({"sub": "1234567890", "name": "John Doe"}))),
    ("passwd", "/etc/passwd", text("root:x:0:0:root:/root:/bin/bash\nme:*:1:1::/:/bin/sh\n")),
    ("services", "/etc/services", text("kpasswd\t\t464/tcp\nkpasswd\t\t464/udp\n")),
    ("docker-config-empty", "/srv/app/x.json", text('{"auths": {"r.io": {}}, "credsStore": "x"}')),
    ("netrc-example", "/srv/app/n", text('machine HOST login USER password "PASSWORD"\n')),
    ("pkcs12-text", "/srv/app/n", text("PKCS12 and PWS, kych and SQLite format 3\n")),
    ("sqlite", "/srv/app/db", lambda: b"SQLite format 3\0" + b"CREATE TABLE users" + bytes(99)),
    ("empty", "/srv/app/n", text("")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "content"), [pytest.param(path, content, id=name) for name, path, content in NEAR]
)
def test_near_miss_passes(path: str, content: Callable[[], bytes]) -> None:
    assert _judged(path, content()) == ""


def test_place_is_told_and_nothing_of_the_secret(tmp_path: Path) -> None:
    content = token("gh", "p_", some(ALNUM, 36))()

    found = [secret_search.find(b"x", content), secret_search.find(b"x", b"\0" + content)]

    assert [str(each) for each in found] == ["GitHub token, line 2", "GitHub token, byte 24"]


def test_secret_anywhere_in_a_large_file_is_found(tmp_path: Path) -> None:
    planted = token("gh", "p_", some(ALNUM, 36))()
    # The first piece ends in the middle of the token.
    at = (8 << 20) - 30
    (tmp_path / "large").write_bytes(b"\n" * at + planted + b"\n" * at)

    found = secret_search.in_file(Root().files, os.fsencode(tmp_path / "large"))

    assert found is not None
    assert (found.kind, found.at) == ("GitHub token", at + planted.index(b"p_") + 1)


def test_text_in_utf_16_is_read(tmp_path: Path) -> None:
    content = f"password={PASSWORD}\r\n".encode("utf-16")

    assert _judged("/srv/app/x.ini", content) == "password in password"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b" " * 4_000_000, id="blanks"),
        pytest.param(b"password = " + b" " * 4_000_000 + b"x y", id="blanks before a value"),
        pytest.param(b"password = x" + b" " * 4_000_000 + b"y", id="blanks after a value"),
        pytest.param(b"a" * 4_000_000, id="one word"),
        pytest.param(b"\n" * 4_000_000 + b"token", id="empty lines"),
        pytest.param(b"PRIVATE KEY-----" * 100_000, id="armour"),
        pytest.param(b"eyJ." * 500_000 + b"password", id="tokens"),
        pytest.param(b"machine  login " * 200_000, id="netrc"),
        pytest.param(b"://a:" * 200_000, id="addresses"),
        pytest.param(b'"kty" "d" "ciphertext":"' * 20_000, id="JSON"),
        pytest.param(b"<password" * 200_000, id="elements"),
        pytest.param(b"apiVersion: v1\nkind: Secret\n" * 20_000, id="manifests"),
    ],
)
def test_hostile_content_takes_no_time(content: bytes) -> None:
    start = time.process_time()

    secret_search.find(b"x.conf", content)

    assert time.process_time() - start < 3


def test_shipped_file_is_trusted_until_it_changes(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "var/lib/dpkg/info").mkdir(parents=True)
    (base / "usr/share/x").mkdir(parents=True)
    key = base / "usr/share/x/test.pem"
    key.write_bytes(made(RSA))
    digest = subprocess.run(["md5sum", key], capture_output=True, check=True).stdout[:32]
    home = base / "var/lib/dpkg"
    (home / "status").write_text(
        "Package: xx\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n"
    )
    (home / "info/xx.list").write_text("/.\n/usr/share/x/test.pem\n")
    (home / "info/xx.md5sums").write_bytes(digest + b"  usr/share/x/test.pem\n")
    root = Root(WatchedFileSystem(os.fsencode(base)))
    assert dpkg.owner(root, b"/usr/share/x/test.pem") is not None

    shipped = secret_search.in_file(root.files, b"/usr/share/x/test.pem")
    with key.open("ab") as stream:
        stream.write(b"\n")
    changed = secret_search.in_file(root.files, b"/usr/share/x/test.pem")

    assert shipped is None
    assert changed is not None
    assert str(changed) == "private key, line 1"


PLACES = ("/etc", "/usr/bin", "/usr/share/perl5")


def _shipped(place: str) -> Iterator[bytes]:
    """Yield the regular files below `place` that are of Debian's packages, and that names let pass."""
    for directory, _, names in os.walk(os.fsencode(place)):
        for path in (os.path.join(directory, name) for name in names):
            is_file = os.path.isfile(path) and not os.path.islink(path) and os.access(path, os.R_OK)
            if is_file and not secret_rule(path) and dpkg.lookup(Root().files, path):
                yield path


@pytest.mark.parametrize("place", PLACES)
def test_files_of_debian_raise_no_alarm_even_without_trust(place: str) -> None:
    paths = [*itertools.islice(_shipped(place), 600)]
    alarms = {}
    for path in paths:
        with open(path, "rb") as stream:
            found = secret_search.find(os.path.basename(path), stream.read(100_000))
        if found:
            alarms[path] = found.kind

    # Debian's browser has a key of Google's services, which is no secret to Debian.
    assert {path for path in alarms if not path.endswith(b"/chromium.d/apikeys")} == set()
    assert len(paths) > 50


def test_library_that_tests_itself_may_have_keys() -> None:
    content = b"\x7fELF\0" + made(RSA)

    assert secret_search.find(b"libgnutls.so.30.34.3", content) is None
    assert secret_search.find(b"libother.so.1", content) is not None
