"""Run the commands and the Python of README and docs as they stand, and look whether what they give is what is said.

    python scripts/check_commands.py [PAGE...]            small stand-ins, seconds a page (the tests do this)
    python scripts/check_commands.py --long [PAGE...]     every word as it stands, in an environment of its own made of
                                                          the wheel; before a release

Blocks marked ``sh`` and ``python`` are run, and commands between single backticks, each page in a folder of its own
that holds what its commands name (:mod:`command_inputs`). A comment in front of a block, or behind a command in a line,
says what is not run, and why; one says what has to be printed::

    <!-- check: never: it opens a window -->
    <!-- check: long: it takes four minutes -->
    <!-- prints: Done: .*report.html -->

Behind an expression a comment such as ``# (K, H, W)`` is the shape of its value: numbers are compared, K, H and W are
those of the page's ``layer`` and ``canvas``.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import command_inputs

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").glob("*.md")),
]
NOTE = r"<!-- (?:check|prints): .*? -->"
BLOCK = re.compile(rf"((?:^{NOTE}\n)*)^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(rf"`([^`\n]+)`((?:{NOTE})*)")
PROGRAMS = ("xinc ", ".venv/bin/", "python ", "pip ", "make ", "dask ", "git ")
SERVED = re.compile(r"^xinc explore (?!.*--export)")
"""What runs until it is stopped."""
PLACES = {
    "--signal SIGNAL": "--signal clip.mp4",
    "SIGNAL...": "photo.jpg", "SIGNAL": "photo.jpg", "RUN...": "RUN", "CHECKPOINT": "quant_vid.pth",
    "--as NAME": "--as hnerv", "--model NAME": "--model ffn", "--method NAME": "--method exact",
    "--layer NAME": "--layer block3", "--fraction F": "--fraction 0.2", "--by SCORE": "--by exact",
    "datasets PATH": "datasets DATA", "STUDY.toml": "study.toml", "package.module:name": "mine:network",
    ".venv/bin/xinc": "xinc", 
}  # fmt: skip
"""What a reader puts in place of words in capitals; other such words are names of files and folders here."""
SMALL = {
    r"--size 128x256 --every 4": "--size 32x64 --every 60",
    r"--size 128x256": "--size 32x64",
    r"(xinc fit .*)": r"\1 --epochs 1",
    r"(xinc analyse .*)": r"\1 --layers block3 --frames 1 --set clusters=4 --set restarts=1 --set shifts=2",
    r"(xinc (?:trace|verify) (?!.*--layers).*)": r"\1 --layers block3",
    r"(xinc verify .*)": r"\1 --frames 1",
    r"--neurons 200": "--neurons 20",
    r"--finetune 100": "--finetune 2",
    r"size=\(128, 256\), every=4": "size=(48, 112), every=25",
    r"epochs=60": "epochs=1, fc_dim=3",
    r"run\.analyse\(findings=\[\"grouping\"\]\)": "run.analyse(findings=['grouping'], layers=['head'], frames=[1])",
    r"run\.report\(\)": "run.report(embed=False)",
    r"progress=True": "progress=False",
    r"steps=100": "steps=2",
}  # fmt: skip
"""What the short mode does in place of what takes minutes."""


@dataclass(frozen=True)
class Command:
    """A block, or a command in a line.

    Attributes:
        page: where it stands.
        line: of the page, from 1.
        language: ``"sh"`` or ``"python"``.
        text: as it stands.
        alone: whether it stands in a line, and is run in a folder of its own.
        when: ``"short"`` (in both modes), ``"long"`` or ``"never"``, and why.
        prints: what has to be found in what it prints, as regular expressions.
    """

    page: Path
    line: int
    language: str
    text: str
    alone: bool
    when: str
    why: str
    prints: tuple[str, ...]


class WrongError(AssertionError):
    """A command fails, or gives something else than the page says."""


def commands(page: Path) -> list[Command]:
    """All commands of a page, in their order.

    Raises:
        WrongError: a block without a language begins with a command, or a note is none.
    """
    text = page.read_text(encoding="utf-8")
    found = []

    def add(start: int, language: str, body: str, notes: str, alone: bool = False) -> None:
        line = text[:start].count("\n") + 1
        check = re.findall(r"<!-- check: (.*?) -->", notes)
        when, _, why = check[0].partition(": ") if check else ("short", "", "")
        if when not in ("short", "long", "never") or (check and not why):
            raise WrongError(f"{page.name}, line {line}: {check[0]!r} is neither 'long: why' nor 'never: why'")
        prints = tuple(re.findall(r"<!-- prints: (.*?) -->", notes))
        found.append(Command(page, line, language, body, alone, when, why, prints))

    for block in BLOCK.finditer(text):
        if block[2] in ("sh", "python"):
            add(block.start(3), block[2], block[3], block[1])
        elif not block[2] and block[3].startswith(PROGRAMS):
            raise WrongError(f"{page.name}: this block has commands; mark it with sh: {block[3]}")
    for span in SPAN.finditer(BLOCK.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)):
        if span[1].startswith(PROGRAMS) and len(span[1].split()) > 1 and "`" not in span[1]:
            words = span[1].split()
            if words[0] != "xinc" or len(words) > 2:  # a name alone is no command
                add(span.start(), "sh", span[1], span[2], alone=True)
    return sorted(found, key=lambda command: command.line)


def small(text: str) -> str:
    """The same with what takes minutes left out."""
    for slow, quick in SMALL.items():
        text = re.sub(slow, quick, text)
    return text


def lines(command: Command, long: bool) -> Iterator[str]:
    """The shell's lines of a block, placeholders filled in."""
    for line in command.text.splitlines():
        plain = re.split(r"\s#\s", line)[0].strip()
        for word, stands_for in PLACES.items():
            plain = re.sub(rf"(?<!\S){re.escape(word)}(?!\S)", stands_for, plain)
        if plain and not plain.startswith("#"):
            yield plain if long else small(plain)


# Running


def in_process(line: str) -> str:
    """An ``xinc`` command in this process, which saves the seconds that torch takes to load."""
    from typer.testing import CliRunner

    from xinc.cli import app

    result = CliRunner().invoke(app, shlex.split(line)[1:], prog_name="xinc", env={"COLUMNS": "120", "NO_COLOR": "1"})
    if result.exit_code:
        raise WrongError(f"exit code {result.exit_code}: {result.output[-1500:]} {result.exception!r}")
    return result.output


def in_shell(line: str, environment: dict[str, str]) -> str:
    """A line as a reader gives it."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise WrongError(f"exit code {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout + done.stderr


def served(line: str, environment: dict[str, str]) -> str:
    """A server: started, waited for, stopped."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {line}"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = ""
        for text in process.stdout:
            said += text
            if "http://127.0.0.1" in text:
                process.terminate()
                return said
    raise WrongError(f"it ended by itself: {said[-1500:]}")


def run_shell(command: Command, long: bool, environment: dict[str, str]) -> str:
    """All lines of a block; what they printed."""
    said = ""
    for line in lines(command, long):
        begun = time.perf_counter()
        try:
            if SERVED.match(line):
                said += served(line, environment)
            elif line.startswith("xinc ") and not long:
                said += in_process(line)
            else:
                said += in_shell(line, environment)
        except WrongError as wrong:
            raise WrongError(f"{line}\n{wrong}") from None
        print(f"    {time.perf_counter() - begun:5.1f} s  {line}", file=sys.stderr)
    return said


def run_python(command: Command, long: bool, space: dict[str, Any]) -> str:
    """A block in the page's namespace, statement by statement, shapes compared; what it printed."""
    text = command.text if long else small(command.text)
    source, out = text.splitlines(), io.StringIO()
    with contextlib.redirect_stdout(out):
        for node in ast.parse(text).body:
            code = ast.unparse(node) if not isinstance(node, ast.FunctionDef | ast.ClassDef) else None
            where = f"{command.page.name}, line {command.line + node.lineno - 1}"
            if not isinstance(node, ast.Expr):
                whole = ast.Module([node], type_ignores=[])
                exec(compile(whole, where, "exec"), space)
                continue
            value = eval(compile(ast.Expression(node.value), where, "eval"), space)
            comment = source[node.end_lineno - 1][node.end_col_offset :]
            compare(value, comment, space, f"{where}: {code}")
    return out.getvalue()


SHAPE = re.compile(r"#.*?\(((?:[A-Z]|\d+)(?:, (?:[A-Z]|\d+))*),?\)")


def compare(value: Any, comment: str, space: dict[str, Any], where: str) -> None:
    """Whether a value has the shape that the comment behind it says."""
    told = SHAPE.search(comment)
    shape = value if isinstance(value, tuple) else getattr(value, "shape", None)
    if told is None or shape is None:
        return
    layer, canvas = space.get("layer"), space.get("canvas")
    size = getattr(layer, "shape", None) or (None, *getattr(canvas, "size", (None, None)))
    known = dict(zip("KHW", size, strict=True))
    wanted = [known.get(word) if word.isalpha() else int(word) for word in told[1].split(", ")]
    fits = len(wanted) == len(shape) and all(w in (None, n) for w, n in zip(wanted, shape, strict=True))
    if not fits:
        raise WrongError(f"{where} has the shape {tuple(shape)}, the comment says ({told[1]})")


def check(page: Path, long: bool = False) -> int:
    """Run the commands of a page in the working folder; how many they were.

    Raises:
        WrongError: one fails, or does not give what the page says.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = os.environ | {"BROWSER": "true", "COLUMNS": "120", "PATH": path}
    space: dict[str, Any] = {"__name__": page.name}
    wanted = [command for command in commands(page) if command.when == "short" or (command.when == "long" and long)]
    for command in wanted:
        try:
            with alone() if command.alone else contextlib.nullcontext():
                said = give(command, long, environment, space)
        except Exception as wrong:
            raise WrongError(f"{page.name}, line {command.line}: {type(wrong).__name__}: {wrong}") from wrong
        for text in command.prints:
            if not re.search(text, " ".join(said.split())):
                raise WrongError(f"{page.name}, line {command.line}: not printed: {text}\n{said[-1500:]}")
    return len(wanted)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """An empty working folder."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


def give(command: Command, long: bool, environment: dict[str, str], space: dict[str, Any]) -> str:
    """Run a command after making what it names; what it printed."""
    words = " ".join(lines(command, long)) if command.language == "sh" else small(command.text)
    command_inputs.prepare(Path(), words)
    if command.language == "python":
        return run_python(command, long, space)
    return run_shell(command, long, environment)


def in_fresh_environment(words: list[str]) -> int:
    """The same, every word as it stands, by a Python that has the wheel as a user has it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        build = ["-m", "build", "-q", "--no-isolation", "--wheel", "-o", folder, ROOT]
        subprocess.run([sys.executable, *build], check=True)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        (wheel,), python = folder.glob("*.whl"), folder / "venv" / "bin" / "python"
        install = ["-m", "pip", "install", "-q", "--no-compile", "-c", ROOT / "requirements.lock", f"{wheel}[sweep]"]
        subprocess.run([python, *install], check=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        kept |= {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "XINC_SAMPLES": str(ROOT / "samples")}
        return subprocess.run([python, __file__, "--literal", *words], env=kept, check=False).returncode


def main(words: list[str]) -> int:
    """Check pages; 1 if something is wrong."""
    pages = [word for word in words if not word.startswith("-")]
    if "--long" in words:
        return in_fresh_environment(pages)
    literal, wrong = "--literal" in words, 0
    for page in [page for page in PAGES if not pages or page.name in pages]:
        begun = time.perf_counter()
        with alone():
            try:
                said = f"{check(page, literal)} run"
            except WrongError as fault:
                wrong, said = 1, f"WRONG {fault}"
        print(f"{page.name}: {said}, {time.perf_counter() - begun:.0f} s", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
