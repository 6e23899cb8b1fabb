"""Somebody who has installed the wheel and nothing else of ours, in an empty folder."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("attacks", "experiments", "forget_audit", "methods", "reports")
FILES = ("LICENSE", "NOTICE", "README.md", "pyproject.toml")
OFFLINE = """\
import socket


def refuse(*_: object) -> None:
    raise RuntimeError("an audit asked the network")


socket.socket.connect = refuse
"""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command that has ended.

    Args:
        code: Exit code.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
        memory: Most resident memory, MiB.
    """

    code: int
    out: str
    err: str
    memory: float


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """Runs the installed program.

    Args:
        site: Where the wheel is installed.
        home: Folder of the user's keys.
    """

    site: Path
    home: Path

    def environment(self) -> dict[str, str]:
        """Return an environment in which the repository cannot be seen."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            "PYTHONPATH": str(self.site),
            "FORGET_AUDIT_HOME": str(self.home),
            "OMP_NUM_THREADS": "1",
        }

    def python(self, *words: str, folder: Path) -> Ran:
        """Run Python in a folder."""
        return self._run([sys.executable, *words], folder)

    def __call__(self, *words: str, folder: Path) -> Ran:
        """Run `forget-audit` in a folder."""
        return self._run([sys.executable, str(self.site / "bin" / "forget-audit"), *words], folder)

    def _run(self, call: list[str], folder: Path) -> Ran:
        texts = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
        with texts[0].open("wb") as out, texts[1].open("wb") as err:
            started = subprocess.Popen(
                call, cwd=folder, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=out, stderr=err,
            )  # fmt: skip
            _, status, used = os.wait4(started.pid, 0)
            started.returncode = os.waitstatus_to_exitcode(status)
        said, complained = (text.read_text(encoding="utf-8") for text in texts)
        return Ran(code=started.returncode, out=said, err=complained, memory=used.ru_maxrss / 1024)


def install(folder: Path) -> Newcomer:
    """Build the wheel from a copy of the sources and install it, alone, under `folder`."""
    copy, site = folder / "sources", folder / "site"
    for name in SOURCES:
        shutil.copytree(
            ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist")]
    _must_work([sys.executable, *build, str(copy)])
    (wheel,) = (folder / "dist").glob("*.whl")
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-warn-conflicts"]
    _must_work([sys.executable, *pip, "--target", str(site), str(wheel)])
    (site / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
    return Newcomer(site=site, home=folder / "home")


def _must_work(call: list[str]) -> None:
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def edit(file: Path, *changes: tuple[str, str]) -> None:
    """Change lines of a file as a person would: each begins with the first text.

    Raises:
        ValueError: If not exactly one line begins so.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    for start, new in changes:
        places = [k for k, line in enumerate(lines) if line.startswith(start)]
        if len(places) != 1:
            raise ValueError(f"expected one line that begins with {start!r}, found {len(places)}")
        lines[places[0]] = new
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
