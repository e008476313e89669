"""A tool that this project had before the plugin came."""

from pathlib import Path


def _write(target, source, env):
    text = source[0].get_text_contents().strip()
    Path(str(target[0])).write_text(f'#define VERSION "{text}"\n')


def generate(env):
    """Add the builder."""
    env["BUILDERS"]["VersionHeader"] = env.Builder(action=env.Action(_write, "header $TARGET"))


def exists(env):
    """Tell SCons that the tool can be used."""
    return True
