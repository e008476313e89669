"""Paths of secrets: no image gets these files unless the user allows the path.

Programs read their user's secrets, so traces have them; a glob or a directory brings any file that
lies there. Public certificates are no secrets. `secret_search` judges files by content.
"""

from __future__ import annotations

import re

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


def _compile(
    rules: dict[str, bytes], before: bytes, after: bytes = b""
) -> list[tuple[str, re.Pattern[bytes]]]:
    return [
        (name, re.compile(before + b"(?:%s)" % text + after, re.DOTALL))
        for name, text in rules.items()
    ]


_BACKUP = rb"(?:~|[.-](?:bak|backup|old|orig|saved?|sw[op]|dpkg-\w+|\d+))*"
"""Ends of the names of copies."""

_NAMES = _compile(NAMES, b"(?:.*/)?", _BACKUP)
_PLACES = _compile(PLACES, b"")
_HOMES = _compile(HOMES, b"")


def secret_rule(path: bytes, *, own: bool = False) -> str:
    """Return the name of the rule that keeps the file `path` out of images; empty without one.

    A file of the project itself (`own`) may lie in a home directory; its name still counts.
    """
    rules = _NAMES + _PLACES + ([] if own else _HOMES)
    return next((name for name, rule in rules if rule.fullmatch(path)), "")
