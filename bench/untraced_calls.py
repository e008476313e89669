"""Twelve programs, each traced on one call, and tried in its image on five others.

Each program is built by three lines of an SConscript, plus at most two lines that a message of the
tool has named. The calls run in a private view of the machine's root, and in the unpacked image;
their output and status are compared. A row says which lint line has foretold that a call fails,
and which lint lines are noise: untrue or useless. Prints each program's lint lines
and calls, then a table, and the totals beside the goals.

Run as root: ``.venv/bin/python bench/untraced_calls.py [NAME ...]``. Skips a program that is not
installed, and names its package.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).parents[1]
sys.path.insert(0, str(TOP / "site_scons/site_tools"))

from scratch_image.fs.file_system import FileSystem  # noqa: E402
from scratch_image.sandbox import process  # noqa: E402
from scratch_image.sandbox.namespaces import Sandbox  # noqa: E402
from scratch_image.sandbox.private_view import private_view  # noqa: E402
from scratch_image.sandbox.run import Run  # noqa: E402
from scratch_image.sysroot.image_root import unpacked_layers  # noqa: E402

SECONDS = 60.0
"""Time of a call."""

SCONSTRUCT = """\
env = Environment(tools=["scratch_image"], toolpath=[{tools!r}], DOCKER_HOST="unix:///nowhere")
from scratch_image import Run

env.ScratchImage({call})
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that the image needs besides program and run."""

    text: str
    """An argument of ScratchImage."""
    said: str
    """Words of the message that names it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that no run has shown: variables, program and arguments as a shell has them."""

    text: str
    stdin: str = ""
    said: str = ""
    """Words of the lint line that has foretold its failure."""

    def run(self, directory: Path) -> Run:
        """Return the call as a run, with its input as a file in `directory`."""
        words = shlex.split(self.text)
        count = next(number for number, word in enumerate(words) if "=" not in word)
        environment = dict(word.encode().split(b"=", 1) for word in words[:count])
        stdin = directory / "stdin"
        stdin.write_text(self.stdin)
        argv = tuple(map(os.fsencode, words[count:]))
        return Run("call", argv, environment, os.fsencode(stdin))


@dataclass(frozen=True, slots=True)
class Program:
    """A program, its traced call and the calls that no run shows."""

    name: str
    package: str
    """Of Debian."""
    path: str
    """Where it lies; the program is skipped if nothing is there."""
    traced: str
    """The elements of RUNS."""
    calls: tuple[Call, ...]
    lines: tuple[Line, ...] = ()
    noise: tuple[str, ...] = ()
    """Words of the lint lines that are noise."""
    staged: dict[str, str] = field(default_factory=dict)
    """Image paths of what the project brings, each with the SCons expression of its node."""
    files: dict[str, str] = field(default_factory=dict)
    """Names of files of the project, each with its text."""
    stdin: str = ""
    """Text of the file ``stdin.txt`` of the project, which the traced run reads."""
    prepare: tuple[str, ...] = ()
    """Commands that make the rest of the project."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call went in the image, beside the machine."""

    call: Call
    verdict: str
    """``equal``, ``failed`` or ``other``: another answer, with no word about an error."""
    is_said: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A program, its build and its calls."""

    program: Program
    is_built: bool
    lint: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def noise(self) -> list[str]:
        """The lint lines that are noise."""
        return [line for line in self.lint if any(w in line for w in self.program.noise)]

    def numbers(self) -> list[int]:
        """Return the columns of the table."""
        failed = [each for each in self.outcomes if each.verdict == "failed"]
        other = [each for each in self.outcomes if each.verdict == "other"]
        return [
            len(self.program.lines),
            sum(each.verdict == "equal" for each in self.outcomes),
            len(failed) + sum(each.is_said for each in other),
            sum(each.is_said for each in [*failed, *other]),
            sum(not each.is_said for each in other),
            len(self.lint),
            len(self.noise),
        ]


COLUMNS = ("added", "equal", "failed", "foretold", "silent", "lint", "noise")


def build(program: Program, directory: Path) -> str:
    """Make the project of `program` in `directory` and build it; return all that it prints."""
    for name, text in {**program.files, "stdin.txt": program.stdin}.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    for command in program.prepare:
        subprocess.run(command, shell=True, cwd=directory, check=True, stdout=subprocess.DEVNULL)
    # The program is the first entry that is no directory.
    entries = program.staged or {program.path: repr(program.path)}
    source = ", ".join(f"{path!r}: {node}" for path, node in entries.items())
    lines = [f"{program.name!r}", f"{{{source}}}", f"RUNS=[{program.traced}]"]
    call = ", ".join([*lines, *(line.text for line in program.lines)])
    tools = str(TOP / "site_scons/site_tools")
    (directory / "SConstruct").write_text(SCONSTRUCT.format(tools=tools, call=call))
    words = [sys.executable, "-m", "SCons", "-Q", f"{program.name}.oci.tar"]
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True)
    return done.stdout + done.stderr


def try_calls(program: Program, directory: Path, lint: tuple[str, ...]) -> Iterator[Outcome]:
    """Yield how each call of `program` goes in its image, which is built in `directory`."""
    staged = {
        os.fsencode(path): os.fsencode(directory / node.split("'")[1])
        for path, node in program.staged.items()
        if "'/" not in node
    }
    layer = os.fsencode(directory / f"{program.name}.tar")
    path = os.fsencode(next(iter(program.staged), program.path))
    for call in program.calls:
        run = call.run(directory)
        with unpacked_layers([layer], run) as sandbox:
            image = start(sandbox, path, run)
        with tempfile.TemporaryDirectory() as place:
            files = FileSystem(staged=staged)
            view = private_view(files, os.path.realpath(os.fsencode(place)), run)
            yield compare(call, start(view, path, run), image, lint)


def start(sandbox: Sandbox, path: bytes, run: Run) -> process.Result:
    """Run `path` in `sandbox`; return how it ended."""
    words = [*sandbox.enter_words(run.variables, run.cwd), path, *run.argv[1:]]
    return process.run([*sandbox.unshare_words(run.stdin), *words], timeout=SECONDS)


def compare(
    call: Call, machine: process.Result, image: process.Result, lint: tuple[str, ...]
) -> Outcome:
    """Return how `image` differs from `machine`."""
    if (machine.status, machine.stdout) == (image.status, image.stdout):
        note = f"status {machine.status}" if machine.status else ""
        return Outcome(call, "equal", False, note)
    is_said = bool(call.said) and any(call.said in line for line in lint)
    is_silent = machine.status == image.status and image.stderr in (b"", machine.stderr)
    verdict = "other" if is_silent else "failed"
    ends = (f"{each.end}: {(each.stdout[-90:], each.stderr[-200:])}" for each in (image, machine))
    return Outcome(call, verdict, is_said, " | machine: ".join(ends))


def try_program(program: Program, directory: Path) -> Trial:
    """Build `program` in `directory`, and try its calls if that succeeds; print both."""
    printed = build(program, directory)
    print(f"== {program.name}\n{printed}", flush=True)
    lint = tuple(line for line in printed.splitlines() if line.startswith("lint: "))
    is_built = (directory / f"{program.name}.oci.tar").exists()
    outcomes = []
    for each in try_calls(program, directory, lint) if is_built else ():
        said = f", foretold: {each.call.said}" if each.is_said else ""
        print(f"{each.verdict}{said}: {each.call.text} {each.detail}", flush=True)
        outcomes.append(each)
    return Trial(program, is_built, lint, tuple(outcomes))


def report(trials: list[Trial]) -> None:
    """Print the table, and the totals beside the goals."""
    print(f"\n{'program':12}" + "".join(f"{each:>10}" for each in COLUMNS))
    for trial in trials:
        print(f"{trial.program.name:12}" + "".join(f"{each:10}" for each in trial.numbers()))
    sums = [sum(column) for column in zip(*(trial.numbers() for trial in trials), strict=True)]
    print(f"{'total':12}" + "".join(f"{each:10}" for each in sums))
    _, _, failed, foretold, silent, lint, noise = sums
    built = sum(each.is_built for each in trials)
    print(f"built          {built} of {len(trials)}, goal: all, with at most 2 lines each")
    print(f"silent         {silent}, goal: 0")
    print(f"foretold       {foretold} of {failed} failures, goal: 90 %")
    print(f"noise          {noise} of {lint} lint lines, goal: at most 1 in 5")


def main(*names: str) -> None:
    """Try the programs `names`; all of them if none is named."""
    trials = []
    for program in PROGRAMS:
        if names and program.name not in names:
            continue
        if not os.path.exists(program.path):
            print(f"skip {program.name}: no {program.path}; install the package {program.package}")
            continue
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            trials.append(try_program(program, Path(directory)))
    if trials:
        report(trials)


C = '#include <stdio.h>\n#include <math.h>\nint main(void) { printf("%f\\n", sqrt(2)); }\n'
CPP = "#include <iostream>\nint main() { std::cout << 1 << std::endl; }\n"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="30">{}</svg>'
NUMBERS = "#!/opt/venv/bin/python3\nimport sys\nimport numpy\n\nprint(eval(sys.argv[1]))\n"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs="
JAVA = """\
import java.util.*;
public class Main {
    public static void main(String[] words) throws Exception {
        switch (words[0]) {
        case "sort" -> System.out.println(new TreeSet<>(Arrays.asList(words)));
        case "hour" -> System.out.println(
            java.time.Instant.EPOCH.atZone(java.time.ZoneId.of(words[1])).getHour());
        case "encode" -> System.out.println("\\u3042".getBytes(words[1]).length);
        case "digest" -> System.out.println(HexFormat.of().formatHex(
            java.security.MessageDigest.getInstance(words[1]).digest(new byte[0])));
        case "trust" -> {
            var store = javax.net.ssl.TrustManagerFactory.getInstance("PKIX");
            store.init((java.security.KeyStore) null);
            System.out.println(((javax.net.ssl.X509TrustManager) store.getTrustManagers()[0])
                .getAcceptedIssuers().length > 0);
        }
        case "text" -> {
            var image = new java.awt.image.BufferedImage(99, 30, 1);
            image.createGraphics().drawString("text", 9, 20);
            System.out.println(image.getRGB(9, 9));
        }
        }
    }
}
"""

PROGRAMS = (
    Program(
        "sshd",
        "openssh-server",
        "/usr/sbin/sshd",
        'Run("sshd -D -p 2222", ready="tcp:2222")',
        (
            Call("sshd -t"),
            Call("sshd -T -C user=games,host=localhost,addr=127.0.0.1"),
            Call("sshd -T -o UsePAM=no"),
            Call("sshd -i"),
            Call("sshd -t -o AuthorizedKeysCommand=/bin/true -o AuthorizedKeysCommandUser=games"),
        ),
        (Line('IMAGE_ALLOW="/etc/ssh"', "add their paths to IMAGE_ALLOW"),),
        noise=("LANG with",),
        prepare=("mkdir -p /run/sshd",),
    ),
    Program(
        "dnsmasq",
        "dnsmasq-base",
        "/usr/sbin/dnsmasq",
        'Run("dnsmasq -k -p 1053", ready="tcp:1053")',
        (
            Call("dnsmasq --test"),
            Call("dnsmasq -p 1054 --user=daemon", said="the name of another account"),
            Call("dnsmasq -p 1054 --group=nogroup --pid-file"),
            Call("dnsmasq --help dhcp"),
            Call("dnsmasq -p 1054 --enable-tftp --tftp-root=/srv"),
        ),
    ),
    Program(
        "convert",
        "imagemagick-6.q16",
        "/usr/bin/convert",
        '"convert rose: rgb:-"',
        (
            Call("convert rose: jpeg:-", said="modules-Q16/coders"),
            Call("convert rose: -resize 50% -strip gif:-", said="modules-Q16/coders"),
            Call(
                "convert -size 90x30 gradient:red-blue -colorspace Gray rgb:-",
                said="modules-Q16/coders",
            ),
            Call("convert logo: -format %wx%h info:", said="modules-Q16/coders"),
            Call("convert rose: -negate txt:-", said="modules-Q16/coders"),
        ),
    ),
    Program(
        "java",
        "openjdk-17-jdk-headless",
        "/usr/bin/java",
        '"java -cp /srv Main sort b a"',
        (
            Call(
                "java -cp /srv Main hour Asia/Tokyo",
                said="another file of /usr/lib/jvm/java-17-openjdk-amd64",
            ),
            Call("java -cp /srv Main encode Shift_JIS"),
            Call(
                "java -cp /srv Main digest SHA-256",
                said="another file of /usr/lib/jvm/java-17-openjdk-amd64",
            ),
            Call(
                "java -cp /srv Main trust",
                said="another file of /usr/lib/jvm/java-17-openjdk-amd64",
            ),
            Call(
                "java -cp /srv Main text", said="another file of /usr/lib/jvm/java-17-openjdk-amd64"
            ),
        ),
        staged={"/usr/bin/java": "'/usr/bin/java'", "/srv/Main.class": "'Main.class'"},
        files={"Main.java": JAVA},
        prepare=("javac Main.java",),
    ),
    Program(
        "numpy",
        "python3-venv",
        "/usr/bin/python3",
        """["numbers", "numpy.arange(3).sum()"]""",
        (
            Call("numbers 'numpy.linalg.det([[1, 2], [3, 4]])'"),
            Call("numbers 'abs(numpy.fft.fft([1, 2, 3]))'"),
            Call("numbers 'numpy.random.default_rng(1).random()'", said="python-imports"),
            Call("numbers 'numpy.polynomial.Polynomial([1, 2])(3)'"),
            Call('numbers \'numpy.loadtxt(["1 2", "3 4"], encoding="latin1")\''),
        ),
        staged={"/srv/numbers": "'numbers'", "/opt/venv": "env.Dir('venv')"},
        files={"numbers": NUMBERS},
        prepare=("/usr/bin/python3 -m venv venv", "venv/bin/pip install -q numpy"),
    ),
    Program(
        "gcc",
        "gcc",
        "/usr/bin/gcc",
        '"gcc -x c -S -o - - < stdin.txt"',
        (
            Call("gcc -x c -c -o /tmp/main.o -", C, said="can start /bin/sh, /usr/bin/as"),
            Call("gcc -x c -o /tmp/main - -lm", C, said="can start /bin/sh, /usr/bin/as"),
            Call("gcc -x c++ -S -o - -", CPP, said="program of /usr/lib/gcc/x86_64-linux-gnu/12"),
            Call(
                "gcc -x c -O2 -S -o - -",
                C.replace("stdio.h", "stdlib.h"),
                said="another file of /usr/include",
            ),
            Call(
                "gcc -x c -fopenmp -E -", "#include <omp.h>\n", said="another file of /usr/lib/gcc"
            ),
        ),
        stdin=C,
    ),
    Program(
        "gawk",
        "gawk",
        "/usr/bin/gawk",
        """["gawk", "BEGIN { print 1 + 1 }"]""",
        (
            Call(
                'gawk -l filefuncs \'BEGIN { print stat("/", s), s["type"] }\'',
                said="another file of /usr/lib/x86_64-linux-gnu/gawk",
            ),
            Call("TZ=Asia/Tokyo gawk 'BEGIN { print strftime(\"%H\", 0) }'", said="TZ with"),
            Call("LC_ALL=C.UTF-8 gawk 'BEGIN { print length(\"\u00e9\") }'", said="LANG with"),
            Call("gawk 'BEGIN { \"echo 3\" | getline x; print x }'", said="can start /bin/sh"),
            Call(
                "gawk -i join 'BEGIN { split(\"a b\", w); print join(w, 1, 2) }'",
                said="another file of /usr/share/awk",
            ),
        ),
        noise=("a terminal",),
    ),
    Program(
        "ruby",
        "ruby",
        "/usr/bin/ruby",
        """["ruby", "-e", "puts 1 + 1"]""",
        (
            Call("ruby -rjson -e 'puts JSON.generate([1])'", said="another file of /usr/lib/ruby"),
            Call(
                "ruby -ropenssl -e 'puts OpenSSL::Digest::SHA256.hexdigest(\"\")'",
                said="another file of /usr/lib/ruby",
            ),
            Call("TZ=Asia/Tokyo ruby -e 'puts Time.at(0).hour'", said="TZ with"),
            Call(
                'ruby -e \'puts 0x3042.chr("UTF-8").encode("Shift_JIS").bytesize\'',
                said="ruby/3.1.0/enc",
            ),
            Call("ruby -e 'puts `echo 3`'", said="can start /bin/sh"),
        ),
    ),
    Program(
        "node",
        "nodejs",
        "/usr/bin/node",
        """["node", "-e", "console.log(1 + 1)"]""",
        (
            Call('node -p \'crypto.createHash("sha256").digest("hex")\''),
            Call("TZ=Asia/Tokyo node -p 'new Date(0).getHours()'"),
            Call(
                "node -p 'child_process.execSync(\"echo 3\").toString()'", said="can start /bin/sh"
            ),
            Call("node -p 'os.userInfo().username'", said="the name of a user or group"),
            Call("node -e 'dns.lookup(\"localhost\", (e, a) => console.log(e, a))'"),
        ),
        noise=("temporary file",),
    ),
    Program(
        "gnuplot",
        "gnuplot-nox",
        "/usr/bin/gnuplot",
        """["gnuplot", "-e", "set term dumb; plot sin(x)"]""",
        (
            Call("gnuplot -e 'set term svg; plot sin(x)'"),
            Call("gnuplot -e 'set term pngcairo; plot sin(x)'", said="another font"),
            Call(
                "gnuplot -e 'set term postscript color; plot sin(x)'",
                said="another file of /usr/share/gnuplot",
            ),
            Call('gnuplot -e \'set print "-"; print system("echo 3")\'', said="can start /bin/sh"),
            Call("gnuplot -e 'help plot'"),
        ),
    ),
    Program(
        "tclsh",
        "tcl8.6",
        "/usr/bin/tclsh8.6",
        '"tclsh8.6 < stdin.txt"',
        (
            Call(
                "tclsh8.6",
                "puts [clock format 0 -timezone :Asia/Tokyo -format %H]",
                said="another file of /usr/share/tcltk/tcl8.6",
            ),
            Call(
                "tclsh8.6",
                "puts [clock format 0 -gmt 1 -locale de -format %A]",
                said="another file of /usr/share/tcltk/tcl8.6",
            ),
            Call(
                "tclsh8.6",
                "puts [string length [encoding convertto shiftjis \\u3042]]",
                said="another file of /usr/share/tcltk/tcl8.6",
            ),
            Call(
                "tclsh8.6",
                "package require http\nputs [http::quoteString {a b}]",
                said="another file of /usr/share/tcltk/tcl8.6",
            ),
            Call("tclsh8.6", "puts [exec echo 3]", said="no /tmp"),
        ),
        stdin="puts [expr {1 + 1}]\n",
    ),
    Program(
        "rsvg",
        "librsvg2-bin",
        "/usr/bin/rsvg-convert",
        '"rsvg-convert < stdin.txt"',
        (
            Call("rsvg-convert", SVG.format('<text y="20">text</text>'), said="another font"),
            Call("rsvg-convert -f svg", SVG.format('<circle r="9"/>')),
            Call(
                "rsvg-convert",
                SVG.format(f'<image width="9" height="9" href="{PIXEL}"/>'),
                said="gdk-pixbuf-2.0",
            ),
            Call("rsvg-convert -f ps", SVG.format('<rect width="9" height="9"/>')),
            Call(
                "rsvg-convert -w 45",
                SVG.format('<text y="20" lang="ja">\u3042</text>'),
                said="another font",
            ),
        ),
        stdin=SVG.format('<rect width="9" height="9"/>'),
    ),
)

if __name__ == "__main__":
    main(*sys.argv[1:])
