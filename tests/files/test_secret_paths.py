from __future__ import annotations

import pytest
from scratch_image.files.secret_paths import secret_rule


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
