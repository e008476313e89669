"""The kinds of secrets: how each begins, what follows, and the check that it is no example.

The formats are those of their programs (RFC 7468, RFC 9580), and for tokens the public rules of
gitleaks (config/gitleaks.toml) and detect-secrets (plugins/), whose names they keep.

Files that are a key or a key store as a whole are known by their first bytes. Their formats are
those of RFC 7292, RFC 5958 and RFC 9580, the key stores of Java and Bouncy Castle, and the
file_ccache and keytab formats of MIT Kerberos.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

_Check = Callable[[bytes], bool]


def is_random(text: bytes) -> bool:
    """Tell a token from placeholders of documents: ``xxxx``, ``EXAMPLE``, ``12345678``."""
    if b"example" in text.lower() or len(set(text)) < min(8, len(text) // 2):
        return False
    steps = sum(after - before in (0, 1) for before, after in itertools.pairwise(text))
    return steps * 3 <= len(text)


TOKENS: tuple[tuple[str, bytes, bytes], ...] = (
    ("GitHub token", rb"ghp_ gho_ ghu_ ghs_ ghr_", rb"[0-9A-Za-z]{36,255}"),
    ("GitHub token", rb"github_pat_", rb"[0-9A-Za-z_]{60,100}"),
    ("GitLab token", rb"glpat- gldt- glrt- glptt- glcbt- glsoat- gloas- glft- glimt- glagent-"
     rb" glffct-", rb"[\w.-]{20,300}"),
    ("GitLab runner token", rb"GR1348941", rb"[\w-]{20}"),
    ("npm token", rb"npm_", rb"[0-9A-Za-z]{36}"),
    ("PyPI token", rb"pypi-", rb"AgE[\w-]{50,1000}"),
    ("RubyGems token", rb"rubygems_", rb"[0-9a-f]{48}"),
    ("crates.io token", rb"cio", rb"[0-9A-Za-z]{32}"),
    ("NuGet key", rb"oy2", rb"[0-9a-z]{43}"),
    ("Clojars token", rb"CLOJARS_", rb"[0-9a-z]{60}"),
    ("Docker Hub token", rb"dckr_pat_ dckr_oat_", rb"[\w-]{20,60}"),
    ("Artifactory token", rb"AKCp", rb"[0-9A-Za-z]{60,75}"),
    ("Artifactory token", rb"cmVmd", rb"[0-9A-Za-z]{59}"),
    ("AWS access key", rb"AKIA ASIA ABIA ACCA", rb"[A-Z2-7]{16}"),
    ("AWS Bedrock key", rb"ABSK", rb"[0-9A-Za-z+/]{109,269}"),
    ("Google API key", rb"AIza", rb"[\w-]{35}"),
    ("Google OAuth secret", rb"GOCSPX-", rb"[\w-]{28}"),
    ("Google OAuth token", rb"ya29.", rb"[\w-]{30,}"),
    ("Azure storage key", rb"AccountKey=", rb"[0-9A-Za-z+/]{86}=="),
    ("Azure access key", rb"SharedAccessKey=", rb"[0-9A-Za-z+/]{43}="),
    ("Alibaba Cloud key", rb"LTAI", rb"[0-9A-Za-z]{20}"),
    ("DigitalOcean token", rb"dop_v1_ doo_v1_ dor_v1_", rb"[0-9a-f]{64}"),
    ("Heroku key", rb"HRKU-AA", rb"[\w-]{58}"),
    ("Fly.io token", rb"fo1_ fm1a_ fm1r_ fm2_", rb"[\w+/-]{43,}={0,3}"),
    ("Databricks token", rb"dapi", rb"[0-9a-f]{32}(?:-\d)?"),
    ("Vault token", rb"hvs. hvb. hvr.", rb"[\w-]{24,300}"),
    ("Terraform Cloud token", rb".atlasv1.", rb"[\w=-]{60,70}"),
    ("Pulumi token", rb"pul-", rb"[0-9a-f]{40}"),
    ("Doppler token", rb"dp.pt. dp.st. dp.sa. dp.ct.", rb"[\w.-]{40,}"),
    ("1Password token", rb"ops_", rb"eyJ[0-9A-Za-z+/]{250,}={0,3}"),
    ("Slack token", rb"xoxb- xoxp- xoxa- xoxr- xoxs- xoxo- xoxe- xapp- xoxe.xoxp- xoxe.xoxb-",
     rb"[\w-]{20,300}"),
    ("Slack webhook", rb"hooks.slack.com/services/ hooks.slack.com/workflows/",
     rb"[0-9A-Za-z+/]{40,60}"),
    ("Discord webhook", rb"discord.com/api/webhooks/ discordapp.com/api/webhooks/",
     rb"\d{17,20}/[\w-]{60,70}"),
    ("Stripe key", rb"sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_",
     rb"[0-9A-Za-z]{16,250}"),
    ("Stripe webhook secret", rb"whsec_", rb"[0-9A-Za-z+/]{24,64}"),
    ("Square token", rb"sq0atp- sq0csp-", rb"[\w-]{22,60}"),
    ("Shopify token", rb"shpat_ shpca_ shppa_ shpss_", rb"[0-9a-fA-F]{32}"),
    ("Twilio key", rb"SK", rb"[0-9a-f]{32}"),
    ("SendGrid key", rb"SG.", rb"[\w-]{16,32}\.[\w-]{16,64}"),
    ("Mailgun key", rb"key-", rb"[0-9a-f]{32}"),
    ("Brevo key", rb"xkeysib-", rb"[0-9a-f]{64}-[0-9A-Za-z]{16}"),
    ("Hugging Face token", rb"hf_ api_org_", rb"[0-9A-Za-z]{34}"),
    ("OpenAI key", rb"sk-proj- sk-svcacct- sk-admin-", rb"[\w-]{40,}"),
    ("OpenAI key", rb"sk-", rb"[0-9A-Za-z]{20}T3BlbkFJ[0-9A-Za-z]{20}"),
    ("Anthropic key", rb"sk-ant-api03- sk-ant-admin01- sk-ant-oat01-", rb"[\w-]{80,110}"),
    ("Perplexity key", rb"pplx-", rb"[0-9A-Za-z]{48}"),
    ("Replicate token", rb"r8_", rb"[0-9A-Za-z]{37}"),
    ("Atlassian token", rb"ATATT3 ATCTT3", rb"[\w=-]{100,}"),
    ("Linear key", rb"lin_api_", rb"[0-9A-Za-z]{40}"),
    ("Notion token", rb"ntn_ secret_", rb"[0-9A-Za-z]{43,46}"),
    ("Figma token", rb"figd_", rb"[\w-]{40}"),
    ("Grafana token", rb"glsa_", rb"[0-9A-Za-z]{32}_[0-9a-fA-F]{8}"),
    ("Grafana token", rb"glc_", rb"[0-9A-Za-z+/]{32,400}={0,3}"),
    ("New Relic key", rb"NRAK- NRII- NRAL-", rb"[\w-]{27,40}"),
    ("Sentry token", rb"sntryu_", rb"[0-9a-f]{64}"),
    ("Sentry token", rb"sntrys_", rb"eyJ[\w+/=-]{60,}"),
    ("Dynatrace token", rb"dt0c01.", rb"[0-9A-Z]{24}\.[0-9A-Z]{64}"),
    ("Postman key", rb"PMAK-", rb"[0-9a-f]{24}-[0-9a-f]{34}"),
    ("PlanetScale token", rb"pscale_tkn_ pscale_pw_ pscale_oauth_", rb"[\w=.-]{32,64}"),
    ("Prefect key", rb"pnu_", rb"[0-9A-Za-z]{36}"),
    ("Supabase token", rb"sbp_", rb"[0-9a-f]{40}"),
    ("Buildkite token", rb"bkua_", rb"[0-9a-f]{40}"),
    ("CircleCI token", rb"CCIPAT_ CCIPRJ_", rb"[0-9A-Za-z]{20,24}_[0-9a-f]{40}"),
    ("Tailscale key", rb"tskey-auth- tskey-api- tskey-client- tskey-webhook-", rb"[\w-]{20,80}"),
    ("OpenShift token", rb"sha256~", rb"[\w-]{43}"),
    ("EasyPost key", rb"EZAK EZTK", rb"[0-9A-Za-z]{54}"),
    ("Telegram token", rb":AA", rb"[\w-]{32,33}"),
    ("age key", rb"AGE-SECRET-KEY-1", rb"[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}"),
    ("1Password key", rb"A3-", rb"[A-Z0-9]{6}-[A-Z0-9]{5,6}-?[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}"),
)  # fmt: skip
"""Kind, its beginnings, and the pattern of the rest, which has to look random."""


def _decode(text: bytes) -> bytes:
    """Return the bytes that `text` is in base64, with or without padding; nothing if it is not."""
    try:
        return base64.b64decode(text.translate(_STANDARD).rstrip(b"=") + b"==")
    except (binascii.Error, ValueError):
        return b""


_STANDARD = bytes.maketrans(b"-_", b"+/")


def _is_armoured(body: bytes) -> bool:
    """Tell whether key material follows the first line of an armour, also inside of a string."""
    body = body.partition(b"-----END")[0].replace(b"\\r", b"").replace(b"\\n", b"\n")
    lines = [line.strip(b" \t\r\"',;+\\()>|") for line in body.split(b"\n")]
    text = b"".join(line for line in lines if b": " not in line and line[:1] != b"#")
    run = re.match(rb"[0-9A-Za-z+/]{40,}", text)
    return run is not None and is_random(run[0][:400])


def _is_key_in_base64(text: bytes) -> bool:
    return b"PRIVATE KEY" in _decode(text[:100])[:60]


def _is_bearer(text: bytes) -> bool:
    """Tell whether `text` is a signed JSON web token, and no well-known example."""
    header, payload, _ = text.split(b".")
    head, claims = _decode(header), _decode(payload)
    signed = b'"alg"' in head and b'"none"' not in head.lower()
    return signed and claims[:1] == b"{" and b'"1234567890"' not in claims


def _is_login(text: bytes) -> bool:
    """Tell whether `text` is ``USER:PASSWORD`` in base64."""
    user, colon, password = _decode(text).partition(b":")
    return bool(colon) and user.isascii() and is_password(password)


_NOT = (
    rb"(?i)[x*.?_~-]+|[\"']?[<$%@({\[!&].*|.*(?:\{\{|\$\{|%\(|example).*|(?:your|my|some|the|insert|enter|"
    rb"replace|change|put)[ _-]?(?:own|me|this|it|here|pass|pw|secret|token|key|api|user|name).*|"
    rb"pass(?:word|wd|phrase|w)?\d?|pwd?|secret|token|key|none|null|nil|true|false|yes|no|on|off|"
    rb"default|empty|undefined|optional|required|todo|tbd|placeholder|redacted|hidden|dummy|fake|"
    rb"foo\w*|bar\w*|baz|user(?:name)?|string|str|bytes|env|prompt|ask|file|stdin|and|or|is|not|"
    rb"[\d.]{1,3}|/.*|\S*://.*"
)
"""Placeholders of passwords."""


def is_password(text: bytes) -> bool:
    """Tell whether `text` is no reference, no path and no placeholder."""
    return bool(text) and not re.fullmatch(_NOT, text.strip(b"\"'"))


def is_strong(text: bytes) -> bool:
    """Tell whether `text` is a password that is no word of a language, and no code."""
    classes = sum(re.search(each, text) is not None for each in (rb"[a-z]", rb"[A-Z]", rb"\d"))
    others = re.search(rb"[^\w./:-]", text) is not None
    is_code = re.search(rb"[\w\])]\(|\)$|\]\.|::|->|^[a-z_]+\.[a-z_.]+$", text) is not None
    mixed = re.search(rb"\d", text) is not None and classes + others >= 2
    return is_password(text) and len(text) >= 7 and mixed and not is_code and is_random(text)


def _is_manifest(text: bytes) -> bool:
    """Tell whether the Kubernetes object `text` is a secret with something in it."""
    data = re.search(rb"(?m)^(?:stringD|d)ata:\s*\n\s+[\w.-]+:[ \t]*[\"']?([^\s\"']{4,})", text)
    is_secret = re.search(rb"(?m)^kind: Secret\s*$", text) is not None
    return is_secret and data is not None and is_password(data[1])


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of secret: a pattern, and a check of its last group."""

    kind: str
    pattern: bytes
    """It begins with plain text, which `re` looks for at memory speed."""
    check: _Check = bool
    text_only: bool = True


RULES = (
    Rule("private key", rb"PRIVATE KEY(?<=[ -]PRIVATE KEY)(?: BLOCK)? ?---?-?-?-?(.{0,4096})",
          _is_armoured, text_only=False),
    Rule("private key", rb"LS0tLS1CRUdJTi[0-9A-Za-z+/]{86,}", _is_key_in_base64, text_only=False),
    Rule("PuTTY key", rb"PuTTY-User-Key-File-\d: .{1,4000}Private-Lines: \d"),
    Rule("OpenVPN key", rb"-----BEGIN OpenVPN [^\n-]{3,40}-----\s+[0-9A-Za-z+/]{32}"),
    Rule("minisign key", rb"untrusted comment: [^\n]{0,1024}\nRW(?:RTY0Iy|RCS)[0-9A-Za-z+/]{40}"),
    Rule("DNSSEC key", rb"Private-key-format: v1"),
    Rule("GnuPG key", rb"private-key(?<=[(:-]private-key) ?\((?:\d:)?(?:rsa|dsa|ecc|elg)"),
    Rule("JSON web token", rb"eyJ(?<![\w-]eyJ)[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}", _is_bearer,
          text_only=False),
    Rule("JSON web key", rb'"d"\s*:\s*"([\w-]{30,})"(?=[^{}]{0,4096}"kty")', is_random),
    Rule("JSON web key", rb'"kty"[^{}]{0,4096}"d"\s*:\s*"([\w-]{30,})"', is_random),
    Rule("password in a URL", rb"://(?<=[a-z]://)[^\s:/@\"'<>`{}$|]{0,100}:([^\s/@\"'<>`|]{3,200})@"
          rb"(?!example\.|localhost\b|127\.|host\b)[\w\[]", is_strong),
    *(Rule("HTTP login", begin + rb"[\"']?\s*[:=]\s*[\"']?(?:[Bb]asic|[Bb]earer|BASIC|BEARER|"
            rb"[Tt]oken)\s+([\w+/=.-]{16,})", is_strong)
      for begin in (rb"uthorization", rb"UTHORIZATION")),
    Rule("Azure client secret", rb"Q~(?<![\w~.-]....Q~)(?<=[\w~.]{3}\dQ~)([\w~.-]{31,34})"
          rb"(?![\w~.-])", is_random),
    *(Rule("AWS secret key", begin + rb"_?[Kk][Ee][Yy][\"']?\s*[:=]\s*[\"']?([0-9A-Za-z/+]{40})"
            rb"(?![0-9A-Za-z/+])", is_random)
      for begin in (rb"ecret_?(?:[Aa]ccess)?", rb"SECRET(?:_ACCESS)?")),
    Rule("Google credentials", rb'"refresh_token"\s*:\s*"([^"]{20,})"', is_random),
    Rule("Mailchimp key", rb"-us(?<=[0-9a-f]{32}-us)\d{1,2}(?!\w)"),
    Rule("registry login", rb'"auth"\s*:\s*"([0-9A-Za-z+/=]{8,})"', _is_login),
    Rule("registry login", rb'"identitytoken"\s*:\s*"([^"]{16,})"', is_random),
    Rule("npm login", rb"_auth(?:Token)?\s*=\s*\"?([\w+/=.-]{8,})(?=\"?[ \t\r]*(?:\n|$))",
          is_strong),
    Rule("npm login", rb":_password\s*=\s*\"?([^\s\"]{4,})", is_password),
    Rule("netrc login", rb"machine\s+\S+\s+login\s+\S+\s+(?:account\s+\S+\s+)?password\s+(\S+)",
          is_password),
    *(Rule("WireGuard key", begin + rb"\s*=\s*([0-9A-Za-z+/]{43}=)", is_random)
      for begin in (rb"PrivateKey", rb"PresharedKey")),
    Rule("Ceph key", rb"key = (AQ[0-9A-Za-z+/]{36,38}==?)", is_random),
    Rule("ZeroTier key", rb":0:[0-9a-f]{128}:([0-9a-f]{128})", is_random),
    Rule("IPsec secret", rb":[ \t]*(?:PSK|XAUTH|EAP|NTLM|PIN|RSA \S+)[ \t]+"
          rb"(?:\"([^\"\n]+)\"|0[sx]\S+)",
          is_password),
    Rule("Wi-Fi password", rb"psk=\"?([^\"\n]{8,64})", is_password),
    Rule("Wi-Fi password", rb"wpa_passphrase=([^\n]{8,64})", is_password),
    Rule("DNS key", rb"secret\s+\"([0-9A-Za-z+/]{16,}={0,2})\"\s*;", is_random),
    Rule("password hash", rb":\$(?:1|2[abxy]|5|6|7|y|gy|apr1)\$([0-9A-Za-z./$=,]{18,})",
          is_random),
    Rule("password hash", rb"{S?SHA\d*\}([0-9A-Za-z+/=]{20,})", is_random),
    Rule("password hash", rb"grub\.pbkdf2\.sha\d+\.\d+\.([0-9A-F.]{60,})", is_random),
    Rule("password hash", rb"assw(?:or)?d[\"']?\s*[:=]\s*[\"']?\$(?:1|2[abxy]|5|6|7|y)\$"
          rb"([0-9A-Za-z./$=,]{18,})", is_random),
    Rule("Ansible vault", rb"\$ANSIBLE_VAULT;1\.\d;AES(?:256)?[^\n]*\r?\n\s*[0-9a-f]{20}"),
    Rule("Terraform state", rb'"terraform_version"\s*:\s*"\d'),
    Rule("Kubernetes secret", rb"apiVersion: v1\s(.{0,65536})", _is_manifest),
    Rule("browser logins", rb'"encryptedPassword"\s*:\s*"[0-9A-Za-z+/]{20}'),
    Rule("wallet", rb'"ciphertext"\s*:\s*"([0-9a-f]{32,})"(?=.{0,2000}"kdfparams")', is_random),
    Rule("FTP password", rb"<Pass(?: encoding=\"base64\")?>([^<\s]+)</Pass>", is_password),
    Rule("PHP password", rb"define\(\s*['\"]\w*(?:PASSWORD|_KEY|_SALT|SECRET)['\"]\s*,"
          rb"\s*['\"]([^'\"\n]{6,})['\"]", is_strong),
    Rule("Django key", rb"SECRET_KEY\s*=\s*['\"]([^'\"\n]{32,})['\"]", is_random),
    Rule("Laravel key", rb"APP_KEY=base64:([0-9A-Za-z+/]{40,})", is_random),
    Rule("SNMP password", rb"createUser\s+\S+\s+(?:MD5|SHA\S*)\s+(\S+)", is_password),
)  # fmt: skip


_DER = (
    rb"(?s)\x30(?:[\x00-\x7f]|\x81.|\x82..)(?:"
    rb"\x02\x01[\x00\x01]\x30[\x05-\x7f]\x06|"  # PKCS#8
    rb"\x30[\x0d-\x7f]\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05|"  # PKCS#8, by PKCS#5
    rb"\x30[\x0d-\x7f]\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01|"  # PKCS#8, by PKCS#12
    rb"\x02\x01\x00\x02(?:[\x40\x41]|\x81.|\x82..)\x00?[\x80-\xff]|"  # PKCS#1, and of DSA
    rb"\x02\x01\x01\x04[\x10-\x48])"  # SEC 1
)
_PKCS12 = (
    rb"(?s)\x30(?:\x80|\x82..|\x83...|\x81.)\x02\x01\x03\x30"
    rb"(?:\x80|\x82..|\x83...|\x81.|[\x00-\x7f])\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07[\x01\x02]"
)  # fmt: skip
_KEY_BAGS = (
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x01",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x02",
)
_SECRET_PACKET = (
    rb"(?s)(?:[\x94]..?|\x95..|\x97|\xc5(?:[\x00-\xbf]|[\xc0-\xdf].|\xff....))"
    rb"[\x03-\x06][\x25-\x7f]...(?:\x00[\x00-\x20])?[\x01-\x03\x10-\x13\x16\x19-\x1c]"
)  # fmt: skip
_KEYTAB = rb"(?s)\x05\x02\x00\x00[\x00-\x0f].\x00[\x01-\x08]\x00[\x01-\x7f][A-Za-z0-9][\w.-]*\x00"
_CCACHE = (
    rb"(?s)\x05(?:\x03|\x04\x00(?:\x00|[\x01-\x40].{4,64}?))\x00\x00\x00[\x00-\x0b]"
    rb"\x00\x00\x00[\x01-\x08]\x00\x00\x00[\x01-\x7f][A-Za-z0-9][\w.-]*\x00"
)  # fmt: skip
MAGICS = (
    ("KeePass database", b"\x03\xd9\xa2\x9a"),
    ("GNOME keyring", b"GnomeKeyring\n\r\0\n"),
    ("KDE wallet", b"KWALLET\n\r\0\r\n"),
    ("Password Safe database", b"PWS3"),
    ("macOS keychain", b"kych\0\x01"),
    ("git-crypt key", b"\0GITCRYPTKEY"),
    ("Tor key", b"== ed25519v1-secret:"),
    ("SSH key", b"SSH PRIVATE KEY FILE FORMAT 1.1\n"),
    ("Windows private key", b"\x1e\xf1\xb5\xb0"),
    ("Windows private key", b"\x07\x02\0\0\0\xa4\0\0RSA2"),
    ("strong name key", b"\x07\x02\0\0\0\x24\0\0RSA2"),
)
"""First bytes of files that hold only keys."""


_SQLITE = b"SQLite format 3"
_X_COOKIE = b"MIT-MAGIC-COOKIE-1\0\x10"


def key_file_kind(content: bytes) -> str:
    """Return the kind of the key or key store that begins with `content`; nothing if it is none."""
    tests = (
        ("private key", _is_der_key),
        ("PKCS#12 key store", _is_pkcs12),
        ("Java key store", _is_java_store),
        ("Bouncy Castle key store", _is_bouncy_castle_store),
        ("OpenPGP secret key", lambda head: re.match(_SECRET_PACKET, head) is not None),
        ("Kerberos keytab", lambda head: re.match(_KEYTAB, head) is not None),
        ("Kerberos tickets", lambda head: re.match(_CCACHE, head) is not None),
        ("NSS key database", lambda head: head[:15] == _SQLITE and b"nssPrivate" in head),
        ("browser logins", lambda head: head[:15] == _SQLITE and b"password_value" in head),
        ("X cookie", lambda head: head[:1] in b"\0\1" and _X_COOKIE in head[:300]),
    )  # fmt: skip
    magics = (kind for kind, magic in MAGICS if content.startswith(magic))
    return next(magics, "") or next((kind for kind, test in tests if test(content)), "")


def _is_der_key(content: bytes) -> bool:
    if not re.match(_DER, content):
        return False
    first = content[1]
    count = first - 0x80 if first > 0x80 else 0
    length = int.from_bytes(content[2 : 2 + count], "big") if count else first
    return 0 <= len(content) - (2 + count + length) <= 2


def _is_pkcs12(content: bytes) -> bool:
    """Tell whether a PKCS#12 file has a key: bags of keys are encrypted, their types are not."""
    return bool(re.match(_PKCS12, content)) and any(bag in content for bag in _KEY_BAGS)


def _is_java_store(content: bytes) -> bool:
    """Tell whether a JKS or JCEKS file has more than the certificates that are trusted."""
    if content[:4] not in (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce"):
        return False
    at = 12
    for _ in range(int.from_bytes(content[8:12], "big")):
        if content[at : at + 4] != b"\0\0\0\2":
            return at < len(content)
        at = _after(content, at + 4, 2) + 8
        at = _after(content, _after(content, at, 2), 4)
    return False


def _is_bouncy_castle_store(content: bytes) -> bool:
    """Tell whether a BKS file has more than certificates."""
    if content[:8] not in (b"\0\0\0\1\0\0\0\x14", b"\0\0\0\2\0\0\0\x14"):
        return False
    at = 32
    while content[at : at + 1] == b"\1":
        at = _after(content, at + 1, 2) + 8 + 4
        at = _after(content, _after(content, at, 2), 4)
    return content[at : at + 1] in (b"\2", b"\3", b"\4")


def _after(content: bytes, at: int, width: int) -> int:
    """Return where the field ends that begins with its length, of `width` bytes, at `at`."""
    return at + width + int.from_bytes(content[at : at + width], "big")
