from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab import PACKAGE, Scons
from scratch_image.scons.variables import VARIABLES


def _looked_up() -> Iterator[str]:
    """Yield the variables that the modules that know SCons read."""
    for module in (PACKAGE / "scons").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Call(func=ast.Name("read"), args=[_, ast.Constant(str(name))]):
                    yield name
                case (
                    ast.Call(
                        func=ast.Attribute(value=ast.Name("env"), attr="get"),
                        args=[ast.Constant(str(name)), *_],
                    )
                    | ast.Subscript(value=ast.Name("env"), slice=ast.Constant(str(name)))
                ):
                    is_ours = name == "BUILDERS" or name.startswith("_SCRATCH_IMAGE_")
                    assert is_ours, f"{name} is not checked"


def test_every_variable_that_is_read_is_told_of_and_checked() -> None:
    assert {each.name for each in VARIABLES} == set(_looked_up())


def test_variables_are_told_in_one_line_of_a_table() -> None:
    names = [each.name for each in VARIABLES]

    assert len(names) == len(set(names))
    assert not [each for each in VARIABLES if "|" in each.meaning + each.default_text]
    assert not [each for each in VARIABLES if "\n" in each.meaning or not each.meaning]


# Mistakes

BATCH = '''
import contextlib, io, json

DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=[ARGUMENTS["tool"]], DOCKER_HOST="unix:///no")
from scratch_image import HealthCheck, Run, Staged, Suite

def told(line):
    """Return the message about the mistake in `line`; nothing where there is none."""
    error = io.StringIO()
    try:
        with contextlib.redirect_stderr(error):
            exec(compile(line, "SConscript", "exec"), {**globals(), "env": env.Clone()})
    except SystemExit as ended:
        return f"{ended.code} {error.getvalue()}"
    except BaseException as raised:
        return f"{type(raised).__name__}: {raised}"
    return error.getvalue()

with open("lines.json") as stream:
    found = {line: told(line) for line in json.load(stream)}
with open("told.json", "w") as stream:
    json.dump(found, stream)
'''
"""An SConstruct that carries out each line by itself."""

_TOLD = re.compile(r"2 scons: \*\*\* SConscript:1: cannot \S+ [^\n]+: [^\n]+; [^\n]+\n")


def _carry_out(directory: Path, scons: Scons, lines: Iterable[str]) -> dict[str, str]:
    (directory / "SConstruct").write_text(BATCH)
    (directory / "lines.json").write_text(json.dumps(list(lines)))
    (directory / "d").mkdir()
    ran = scons.run(directory, "-Q", "-n", "nothing", f"tool={PACKAGE.parent}")
    assert (directory / "told.json").exists(), ran.stdout
    found: dict[str, str] = json.loads((directory / "told.json").read_text())
    return found


VALUES = (
    *("None", "True", "5", "-1", "8080", "1.5", "float('nan')", "10**40", "b'/x'"),
    *("''", "'a'", "'/a'", "'a b'", "'a\\nb'", "'a\\0b'", "'a \"b'", "'x || y'", "'$X$$'"),
    *("[]", "()", "[None]", "[[]]", "[['x', 3]]", "['x', None]", "[5]", "[True]", "[object()]"),
    *("['a=b']", "[{}]", "[b'/x']", "[1.5]", "{'a', 'b'}", "(x for x in 'ab')", "range(3)"),
    *("{}", "{'a': None}", "{'a': 5}", "{'a': True}", "{1: 'a'}", "{'a': []}", "{None: None}"),
    *(
        "object()",
        "len",
        "env",
        "env.Value('x')",
        "env.File('x')",
        "env.Dir('d')",
        "[env.File('x')]",
    ),
    *("Run('x')", "[Run('x')]", "HealthCheck('x')", "__import__('pathlib').Path('/x')"),
)


_LISTS = ["[]", "()"]
_WORDS = ["''", "'a'", "'/a'", "'a b'", *_LISTS, "[5]", "['a=b']", "[b'/x']", "[1.5]", "range(3)"]
_PATHS = ["b'/x'", "'/a'", *_LISTS, "[b'/x']", "__import__('pathlib').Path('/x')"]
_PAIRS = ["{}", "{'a': 5}"]
TAKEN = {
    "RUNS": ["'a'", "'/a'", "'a b'", *_LISTS, "[[]]", "[['x', 3]]", "Run('x')", "[Run('x')]"],
    "ROOT": [*_LISTS, "[[]]"],
    "EXTRA_FILES": [
        *("'a'", "'/a'", "'a b'", "'a\\nb'", "'a \"b'", "'x || y'", *_LISTS, "[[]]"),
        *("['a=b']", "env.File('x')", "[env.File('x')]"),
        *("__import__('pathlib').Path('/x')",),
    ],
    "IMAGE_PRESETS": ["''", *_LISTS],
    "IMAGE_LISTED": _PATHS,
    "IMAGE_ALLOW": [
        *_PATHS,
        "'a'",
        "'a b'",
        "'a\\nb'",
        "'a \"b'",
        "'x || y'",
        "['a=b']",
        "{'a', 'b'}",
    ],
    "IMAGE_PACKAGES": ["True"],
    "IMAGE_PLATFORMS": ["{}"],
    "IMAGE_TAG": ["'a'", *_LISTS],
    "IMAGE_ENTRYPOINT": _WORDS,
    "IMAGE_CMD": _WORDS,
    "IMAGE_ENV": _PAIRS,
    "IMAGE_LABELS": _PAIRS,
    "IMAGE_USER": ["5", "8080", "''", "'a'"],
    "IMAGE_WORKDIR": ["b'/x'", "''", "'/a'", "__import__('pathlib').Path('/x')"],
    "IMAGE_PORTS": ["5", "8080", *_LISTS, "[5]"],
    "IMAGE_VOLUMES": _PATHS,
    "IMAGE_STOP_SIGNAL": ["5", "''"],
    "IMAGE_HEALTHCHECK": [*_WORDS, "HealthCheck('x')"],
    "IMAGE_ANNOTATIONS": _PAIRS,
    "IMAGE_LAYERS": [],
    "LAYERTARSUFFIX": [],
    "SOURCE_DATE_EPOCH": ["5", "8080"],
    "TRACE_PROCESSES": ["5", "8080"],
    "TRACE_SPACE": ["5", "8080"],
    "DOCKER_HOST": ["'a'", "'/a'"],
    "REGISTRY_INSECURE": ["''", "'a'", "'a b'", "'a\\nb'", *_LISTS, "{'a', 'b'}"],
    "TRACE_ROOT": [],
    "STRACE": [
        *("b'/x'", "'a'", "'/a'", "'a b'", "'a\\nb'", "'a \"b'", "'x || y'"),
        *("__import__('pathlib').Path('/x')",),
    ],
    "IMAGE_CACHE": ["''", "'/a'"],
    "IMAGE_CACHE_WRITE": ["True", "''"],
    "IMAGE_CACHE_TLS": ["{}"],
    "IMAGE_CACHE_TRUST": ["''", *_LISTS],
    "RUN": [],
    "IMAGE_STAGED": ["{}"],
}
"""Those of `VALUES` that have a meaning, for each variable."""


def test_any_value_of_any_variable_is_taken_or_told_of(tmp_path: Path, scons: Scons) -> None:
    calls = {
        f"env.ScratchImage('i{at}', '/bin/true', **{{'{row.name}': {value}}})": (row.name, value)
        for at, (row, value) in enumerate(itertools.product(VARIABLES, VALUES))
    }

    told = _carry_out(tmp_path, scons, calls)

    assert {line: text for line, text in told.items() if text and not _TOLD.fullmatch(text)} == {}
    taken: dict[str, list[str]] = {row.name: [] for row in VARIABLES}
    for line, (name, value) in calls.items():
        taken[name] += [] if told[line] else [value]
    assert taken == {name: [v for v in VALUES if v in values] for name, values in TAKEN.items()}


def test_examples_are_taken(tmp_path: Path, newest: Scons) -> None:
    unusable = {"ROOT", "RUN", "IMAGE_STAGED", "IMAGE_PLATFORMS"}
    calls = [
        f"env.ScratchImage('i{at}', '/bin/true', {row.name}={row.check.example})"
        for at, row in enumerate(VARIABLES)
        if row.name not in unusable
    ]

    told = _carry_out(tmp_path, newest, calls)

    assert {line: text for line, text in told.items() if text} == {}


MISTAKES = {
    # Programs and files of the project
    "env.ScratchImage('x', None)": "cannot make an image without a program: ROOT is no image that starts one; name one",
    "env.ScratchImage('x', [])": "cannot use program [] of ScratchImage: it is not one program",
    "env.ScratchImage('x', 5)": "cannot use program 5 of ScratchImage: it is not one program",
    "env.ScratchImage('x', '')": "cannot use program '' of ScratchImage: it is not one program",
    "env.ScratchImage('x', ['/bin/true', '/bin/false'])":
        "cannot use program ['/bin/true', '/bin/false'] of ScratchImage: it is not one program",
    "env.ScratchImage('x', env.Value('x'))": "cannot make an image of x: it is a value; name a program",
    "env.ScratchImage('x', {'/a': None})":
        "cannot stage None at '/a': it is not one file or directory; name one",
    "env.ScratchImage('x', {'/a': ['b', 'c']})":
        "cannot stage ['b', 'c'] at '/a': it is not one file or directory; name one",
    "env.ScratchImage('x', {'/a': 5})": "cannot stage 5 at '/a': it is not one file or directory; name one",
    "env.ScratchImage('x', {'/a': env.Value('b')})": "cannot stage '/a': b is a value; stage files and directories",
    "env.ScratchImage('x', {None: 'b'})":
        "cannot stage 'b' at None: that is not a path; write one in the image",
    "env.ScratchImage(None, '/bin/true')": "cannot name an image None: it is no path; name the stem of files",
    "env.ScratchImage('', '/bin/true')": "cannot name an image '': it is no path; name the stem of files",
    "env.ScratchImage(5, '/bin/true')": "cannot name an image 5: it is no path; name the stem of files",
    "env.ScratchImage('x')": "cannot make an image without a program: ROOT is no image that starts one; name one",
    "env.ImageTree(None)": "cannot use directory None of ImageTree: it is not a directory",
    "env.ImageTree()": "cannot call ImageTree: missing a required argument: 'directory'; ",
    # Builders
    "env.DockerLoad('x', [])": "cannot load x.iid: it has 0 sources; name one image archive",
    "env.DockerLoad('x', None)": "cannot load x.iid: it has 0 sources; name one image archive",
    "env.DockerLoad('x', 5)": "cannot use source [5] of DockerLoad: 5 in it is not a file, or a list",
    "env.DockerLoad(5, 'x')": "cannot use target [5] of DockerLoad: 5 in it is not a file, or a list",
    "env.DockerLoad('x', ['y', 'z'])": "cannot load x.iid: it has 2 sources; name one image",
    "env.RegistryPush('x', [])": "cannot push x.pushed: it has 0 sources; name one image archive",
    "env.LayerTar('x', [])": "cannot pack x.tar: it has 0 sources; name one file list",
    "env.LayerStack('x', [])": "cannot pack x.layers: it has 0 sources; name one file list",
    "env.FileList('x', [])": "cannot list x.files: it has 0 sources; name traces, ldd texts or ",
    "env.Ldd('x', [])": "cannot find libraries for x.ldd: it has 0 sources; name programs",
    "env.OciImage('x', [])": "cannot make image x.oci.tar: it has 0 sources; name layers, and ",
    "env.ImageIndex('x', [])": "cannot index x.index.oci.tar: it has 0 sources; name image archives",
    "env.Strace('x', [])": "cannot trace x.strace: it has not one program; name just one",
    "env.ImageReport('x', [])": "cannot report on x.report.html: it is made of a file list, its ",
    "env.ImageTest('x', [])": "cannot test x.tested: it has no layer or no trace; ",
    "env.SeccompProfile('x', [])": "cannot profile x.seccomp.json: it has no layer or no trace; ",
    "env.Sbom('x.cdx.json', [])": "cannot make bill of materials x.cdx.json: it is made of a file ",
    "env.Ldd('x', env.Value('y'))": "cannot use 'y' for x.ldd: it is a value; name a file",
    "env.FileList('x', 'a b.strace')":
        "cannot list 'a b.strace': a trace is named as its run, which is not a name of up to 64 ",
    "env.ScratchImage('a\\nb', '/bin/true')": "cannot make a\\012b.strace: its name has more than ",
    "env.LayerTar('a\\x1b', 'x.files')": "cannot make a\\033.tar: its name has more than 200 bytes, ",
    f"env.LayerTar({'a' * 240!r}, 'x.files')": f"cannot make {'a' * 240}.tar: its name has more than ",
    "env.Sysroot('a\\nb', directory='d')": "cannot make a\\012b.sysroot: its name has more than 200 ",
    # Names
    "env.ScratchImage('x', '/bin/true', IMAGE_TAGS='a')":
        "cannot set IMAGE_TAGS: there is no such variable; write IMAGE_TAG",
    "env.ScratchImage('x', '/bin/true', TAG='a')":
        "cannot set TAG: there is no such variable; write IMAGE_TAG",
    "env.ScratchImage('x', '/bin/true', runs=[])":
        "cannot set runs: there is no such variable; write RUNS",
    "env.ScratchImage('x', '/bin/true', EXTRAFILES=[])":
        "cannot set EXTRAFILES: there is no such variable; write EXTRA_FILES",
    "env.ScratchImage('x', '/bin/true', image_tag='a')":
        "cannot set image_tag: there is no such variable; write IMAGE_TAG",
    "env.ScratchImage('x', '/bin/true', IMAGE_COLOUR='a')":
        "cannot set IMAGE_COLOUR: there is no such variable; write one of those in docs/reference.md",
    "env.OciImage('x', 'y.tar', IMAGE_ENTRY_POINT='a')":
        "cannot set IMAGE_ENTRY_POINT: there is no such variable; write IMAGE_ENTRYPOINT",
    "env['IMAGE_LABLES'] = {}; env.ScratchImage('x', '/bin/true')":
        "cannot set IMAGE_LABLES: there is no such variable; write IMAGE_LABELS",
    "env['IMAGE_LABLES'] = {}; env.LayerTar('x', 'x.files')":
        "cannot set IMAGE_LABLES: there is no such variable; write IMAGE_LABELS",
    "Run(sttaus=1)": "cannot set sttaus of Run: there is no such argument; write status",
    "Run(colour=1)": "cannot set colour of Run: there is no such argument; write command or name or ",
    "HealthCheck('x', interva=1)":
        "cannot set interva of HealthCheck: there is no such argument; write interval",
    "env.Sysroot('x', pakages=[])":
        "cannot set pakages of Sysroot: there is no such argument; write packages",
    # Arguments of calls
    "Run(None)": "cannot use command None of Run: it is not a command line, a list of words, or Run(",
    "Run(5)": "cannot use command 5 of Run: it is not a command line, a list of words, or Run(...)",
    "Run(['x', None])": "cannot use command ['x', None] of Run: None in it is not a word; write ",
    "Run('x', status='0')":
        "cannot use status '0' of Run: it is not a whole number from 0 to 255; write "
        "Run(..., status=1), for example",
    "Run('x', status=256)": "cannot use status 256 of Run: it is not a whole number from 0 to 255",
    "Run('x', status=None)": "cannot use status None of Run: it is not a whole number from 0 to 255",
    "Run('x', status=True)": "cannot use status True of Run: it is not a whole number from 0 to 255",
    "Run('x', env=['A=b'])": "cannot use env ['A=b'] of Run: it is not a dictionary of variables; ",
    "Run('x', env={'A': None})": "cannot use env {'A': None} of Run: None in it is not text or a num",
    "Run('x', stdin=['a', 'b'])": "cannot use stdin ['a', 'b'] of Run: it is not a file; write ",
    "Run('x', stdin=5)": "cannot use stdin 5 of Run: it is not a file; write ",
    "Run('x', cwd=5)": "cannot use cwd 5 of Run: it is not an absolute path; write ",
    "Run('x', cwd='a')": "cannot read cwd 'a' of run : it is not absolute; start with /",
    "Run('x', timeout='9')": "cannot use timeout '9' of Run: it is not a number of seconds; write ",
    "Run('x', timeout=-1)": "cannot use timeout -1 of Run: it is not a number of seconds; write ",
    "Run('x', timeout=float('nan'))": "cannot use timeout nan of Run: it is not a number of seconds",
    "Run('x', stdout=5)": "cannot use stdout 5 of Run: it is not a regular expression; write ",
    "Run('x', ready=5)": "cannot use ready 5 of Run: it is not text; write ",
    "Run('x', probes=5)": "cannot use probes 5 of Run: it is not a probe, or a list of probes; ",
    "Run('x', probes=[None])": "cannot use probes [None] of Run: None in it is not text without NUL",
    "Run('x', stop='SIGTERM')": "cannot use stop 'SIGTERM' of Run: it is not a signal; write ",
    "Run('x', network='lan')": "cannot use network 'lan' of Run: it is not 'loopback' or 'host'; ",
    "Run('x', read_only='no')": "cannot use read_only 'no' of Run: it is not True or False; write ",
    "Run('x', cap_drop=None)": "cannot use cap_drop None of Run: it is not True or False; write ",
    **{
        f"Run('x', name={name})": f"cannot use name {name} of Run: it is not a name of up to 64 "
        "letters, digits and _ . + -; write Run(..., name=\"first\"), for example"
        for name in ("'a\\nb'", "'a b'", "'../../x'", "'.a'", "'a/b'", "None", "['a']", "b'a'", "'\\x1b'")
    },
    f"Run('x', name={'a' * 65!r})": f"cannot use name '{'a' * 65}' of Run: it is not a name of up to",
    "Suite()": "cannot call Suite: missing a required argument: 'command'; write ",
    "Suite([])": "cannot run a suite: it has no command; name its harness",
    "Suite('make', cwd=5)": "cannot use cwd 5 of Suite: it is not a path; write ",
    "Suite('make', files=[5])": "cannot use files [5] of Suite: 5 in it is not a file, or a list of",
    "Staged()": "cannot call Staged: missing a required argument: 'node'; write ",
    "Staged('x', mode='600')": "cannot use mode '600' of Staged: it is not permission bits; write ",
    "Staged('x', owner='a b')": "cannot use owner 'a b' of Staged: it is not an account; write ",
    "Staged(['a', 'b'])": "cannot use node ['a', 'b'] of Staged: it is not a file or a directory; ",
    "HealthCheck()": "cannot call HealthCheck: missing a required argument: 'command'; write ",
    "HealthCheck([])": "cannot check health by nothing: it has no command; name a program of the ",
    "HealthCheck(None)": "cannot use command None of HealthCheck: it is not a command line, a list ",
    "HealthCheck('x', interval='5')": "cannot use interval '5' of HealthCheck: it is not a number of",
    "HealthCheck('x', timeout=1e-9)": "cannot check health with timeout 1e-09: it is not a time that",
    "HealthCheck('x', retries=1.5)": "cannot use retries 1.5 of HealthCheck: it is not a whole number",
    "HealthCheck('x', retries=-1)": "cannot use retries -1 of HealthCheck: it is not a whole number",
    "env.Sysroot('x', packages=5)": "cannot use packages 5 of Sysroot: it is not a name of a package",
    "env.Sysroot('x', packages=[None])": "cannot use packages [None] of Sysroot: None in it is not ",
    "env.Sysroot('x', directory=5)": "cannot use directory 5 of Sysroot: it is not a directory; ",
    "env.Sysroot('x', image=['y'])": "cannot use image ['y'] of Sysroot: it is not text without NUL",
    "env.Sysroot(None)": "cannot use target None of Sysroot: it is not a path; write ",
    "env.Sysroot('x', ['a.tar', 'b.tar'])": "cannot use source ['a.tar', 'b.tar'] of Sysroot: it is ",
    # Syntax that only a shell understands
    **{
        f"env.OciImage('x', 'x.tar', {variable}={command!r})":
        f"cannot read words {command!r}: {syntax} is for a shell, and an image has none; write a list "
        'of words, or ["/bin/sh", "-c", "..."], and /bin/sh in an extra list'
        for variable in ("IMAGE_HEALTHCHECK", "IMAGE_ENTRYPOINT", "IMAGE_CMD")
        for command, syntax in {
            "curl -f http://localhost/ || exit 1": "|",
            "pgrep nginx | wc": "|",
            "/bin/x && /bin/y": "&",
            "/bin/x > /dev/null": ">",
            "/bin/x < /etc/y": "<",
            "/bin/x; /bin/y": ";",
            "/bin/x `id`": "`",
            "test -f *.pid": "*",
        }.items()
    },
    **{
        f"env.OciImage('x', 'x.tar', IMAGE_HEALTHCHECK={words})":
        f"cannot read words {words}: {syntax} is for a shell, and an image has none; write a list of "
        for words, syntax in {
            "['/bin/x', '||', 'exit', '1']": "||",
            "['/bin/x', '&&', '/bin/y']": "&&",
            "['/bin/x', '2>/dev/null']": "2>/dev/null",
            "['/bin/x || exit 1']": "|",
        }.items()
    },
    **{
        f"env.OciImage('x', 'x.tar', IMAGE_HEALTHCHECK={words})":
        f"cannot check health by {words}: {words[2:].partition(chr(39))[0]} is a word of Dockerfiles, "
        "and no program; begin with the program"
        for words in ("['CMD', '/bin/x']", "['CMD-SHELL', '/bin/x || exit 1']", "['NONE']")
    },
    "HealthCheck('/bin/x || exit 1')": "cannot read words '/bin/x || exit 1': | is for a shell, and ",
}  # fmt: skip
"""Lines of SConscripts, and the beginning of each message, after its place."""


def test_each_mistake_is_told_in_a_line(tmp_path: Path, scons: Scons) -> None:
    told = _carry_out(tmp_path, scons, MISTAKES)

    assert {line: text for line, text in told.items() if not _TOLD.fullmatch(text)} == {}
    begun = {line: text.removeprefix("2 scons: *** SConscript:1: ") for line, text in told.items()}
    assert {line: text for line, text in begun.items() if not text.startswith(MISTAKES[line])} == {}


MEANT = (
    "env.ScratchImage('a', ['/bin/true'])",
    "env.ScratchImage('b', __import__('pathlib').Path('/bin/true'))",
    "env.ScratchImage('c', {'/bin/x': [env.File('x')]})",
    "env.ScratchImage('d', '/bin/true', VERSION='1', srcdir='.')",
    "env['IMAGE_OFFSET'] = 5; env.ScratchImage('e', '/bin/true')",
    "env['TAG'] = 'x'; env.ScratchImage('f', '/bin/true', TAG='y')",
    "env.LayerTar('g', 'g.files', LAYERTARCOMSTR='x')",
    "Run('x', name='', read_only=0, timeout=5, stdin=[env.File('x')], env={'PORT': 8080})",
    "Run('x', name='a-b.c+d_1', stop=__import__('signal').SIGQUIT)",
    "env.OciImage('h', 'x.tar', IMAGE_HEALTHCHECK=['/bin/sh', '-c', 'x || exit 1'])",
    "env.OciImage('i', 'x.tar', IMAGE_CMD=['/usr/bin/expr', '1', '|', '2'])",
    "env.OciImage('j', 'x.tar', IMAGE_CMD='/bin/x \"a || b\"')",
)


def test_each_meaning_is_taken(tmp_path: Path, scons: Scons) -> None:
    told = _carry_out(tmp_path, scons, MEANT)

    assert {line: text for line, text in told.items() if text} == {}
