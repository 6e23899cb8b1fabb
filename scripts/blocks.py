"""The code blocks of a page, and running them in order in a folder, as a reader would.

A block with `title="NAME"` is a file that the page makes. Other `sh` blocks are run, each in a
shell of its own, and other `python` blocks one after the other in one session. A comment
`<!-- not run: REASON -->` right before a block says why it is only read; so are blocks that do
nothing but call `make`, which is at home in the repository.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]+?) -->\n\n?)?"
    r"^```(?P<language>\w*)(?P<marks>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
TITLE = re.compile(r'title="([^"]+)"')
# Exit codes with which a command gives an answer instead of failing.
ANSWERS: Mapping[str, frozenset[int]] = {
    "certify": frozenset({1, 3}),
    "verify": frozenset({3, 4}),
    "gate": frozenset({1}),
    "doctor": frozenset({1}),
}
# Notes every command that ends with another code than 0, unless the block itself looks at it.
NOTE = "trap 'echo \"$? $BASH_COMMAND\" >&9' ERR\n"
LONGEST = 900


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page.

    Args:
        page: Path from the root of the repository.
        number: Of the block on the page, from 0.
        language: As written after the fence.
        marks: The rest of that line.
        text: What stands between the fences.
        reason: Why it is not run; empty if it is.
    """

    page: str
    number: int
    language: str
    marks: str
    text: str
    reason: str = ""

    @property
    def title(self) -> str:
        """Name of the file that the block is, if it is one."""
        found = TITLE.search(self.marks)
        return found[1] if found else ""

    @property
    def only_make(self) -> bool:
        """Whether it only calls `make`."""
        called = [words[0] for words in commands(self.text)]
        return self.language == "sh" and set(called) == {"make"}

    @property
    def name(self) -> str:
        """Of the block, for messages."""
        return f"{self.page}-{self.number}"


class BlockError(Exception):
    """A block of a page does not do what the page says."""


def pages(root: Path = ROOT) -> list[Path]:
    """Return the pages that are read: those of the root, and of the documentation."""
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def blocks(page: Path, root: Path = ROOT) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(
            page=page.relative_to(root).as_posix(),
            number=number,
            language=found["language"],
            marks=found["marks"].strip(),
            text=found["text"],
            reason=" ".join((found["reason"] or "").split()),
        )
        for number, found in enumerate(FENCE.finditer(text))
    ]


def play(
    found: Iterable[Block],
    folder: Path,
    environment: Mapping[str, str],
    python: Callable[[Block], None],
) -> list[str]:
    """Write and run blocks in order; return what the shell printed, a text a block that ran.

    Args:
        found: Blocks of one page.
        folder: Where a reader would stand.
        environment: Of the shell.
        python: Runs a block of Python.

    Raises:
        BlockError: If a command fails, other than by giving an answer.
    """
    printed = []
    for block in found:
        if block.reason or block.only_make:
            continue
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            printed.append(shell(block, folder, environment))
        elif block.language == "python":
            python(block)
    return printed


def refuse_python(block: Block) -> None:
    """Refuse a block of Python, for pages that are made of commands and files.

    Raises:
        BlockError: Always.
    """
    raise BlockError(f"{block.name}: expected commands and files, found a block of Python")


def shell(block: Block, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a block in a shell and return what it printed.

    Raises:
        BlockError: If a command in it fails, other than by giving an answer.
    """
    reading, writing = os.pipe()
    script = f"exec 9>&{writing} {writing}>&-\n{NOTE}{block.text}"
    try:
        done = subprocess.run(
            ["bash", "-u", "-c", script],  # noqa: S607  the bash of whoever runs the pages
            cwd=folder, env=dict(environment), pass_fds=[writing],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False, timeout=LONGEST,
        )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as file:
            notes = file.read().splitlines()
    except subprocess.TimeoutExpired as error:
        raise BlockError(f"{block.name}: still running after {LONGEST} s") from error
    wrong = [line for line in notes if not _answered(line)]
    if done.returncode and not notes:
        wrong.append(f"{done.returncode} at the end")
    if "Traceback (most recent" in done.stdout:
        wrong.append("a traceback")
    if wrong:
        raise BlockError(f"{block.name}: {'; '.join(wrong)}\n{block.text}\n{done.stdout}")
    return done.stdout


def commands(text: str) -> list[list[str]]:
    """Return the words of each line of a block that calls the program or make."""
    found = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        plain = re.sub(r'"([^"]*)"', lambda quoted: quoted[1].replace(" ", "_"), line)
        words = re.split(r"\s*(?:[>|#]|&&).*", plain)[0].split()
        while words and re.fullmatch(r"[A-Z_]+=\S+", words[0]):
            words = words[1:]
        if words and words[0] in ("forget-audit", "make"):
            found.append(words)
    return found


def _answered(line: str) -> bool:
    code, _, command = line.partition(" ")
    words: Sequence[str] = command.split()
    if words[:1] != ["forget-audit"] or len(words) < 2:
        return False
    return int(code) in ANSWERS.get(words[1], frozenset())
