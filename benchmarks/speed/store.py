"""Where runs are kept, so that a broken benchmark goes on where it was.

A run is known by the code it ran, its contestant and its settings: other code runs again.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.speed.clock import ONE_THREAD, ROOT, Json, fresh_process

FOLDERS = ("forget_audit", "attacks", "experiments", "methods", "reports", "benchmarks")
TOOLS = "benchmarks.speed.tools"


@dataclass(frozen=True, kw_only=True)
class Store:
    """Runs on disk.

    Args:
        folder: Where they are kept.
        peers: Folder of the other tools' packages; none if they are not installed.
        fresh: Whether to measure again what is there.
        tiny: Whether to measure at a size that only shows that everything works.
        say: Told what is measured.
    """

    folder: Path
    peers: Path | None = None
    fresh: bool = False
    tiny: bool = False
    say: Callable[[str], None] = print

    @cached_property
    def code(self) -> str:
        """Return a digest of all code that is measured or measures."""
        digest = sha256()
        for folder in FOLDERS:
            for path in sorted((ROOT / folder).rglob("*.py")):
                if not any(parent.is_symlink() for parent in path.parents):
                    digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
        return digest.hexdigest()

    def script(self, script: str, arguments: Sequence[str]) -> Json:
        """Return what a script writes with `--out`, kept or new."""
        file = self._file(Path(script).stem, [script, *arguments])
        if not file.is_file() or self.fresh:
            self.say(f"{script} {' '.join(arguments)}")
            self.folder.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            call = [sys.executable, script, *arguments, "--out", str(part)]
            environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
            subprocess.run(call, cwd=ROOT, env=environment, check=True)
            part.replace(file)
        return _read(file)

    def run(self, tool: str, options: Json, *, round_: int = 0, with_peers: bool = False) -> Json:
        """Return what a tool measures in a process of its own, kept or new.

        Args:
            tool: Its module among the tools.
            options: What it is given.
            round_: Tells repeated runs apart.
            with_peers: Whether it imports another tool.

        Raises:
            RuntimeError: If it fails.
        """
        file = self._file(tool, [options, round_])
        if file.is_file() and not self.fresh:
            return _read(file)
        self.say(f"{tool} {json.dumps(options)}")
        found = fresh_process(f"{TOOLS}.{tool}", options, self.peers if with_peers else None)
        self.folder.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(found), "utf-8")
        part.replace(file)
        return found

    def _file(self, name: str, about: list[Any]) -> Path:
        key = json.dumps([self.code, name, about], sort_keys=True)
        return self.folder / f"{name}-{sha256(key.encode()).hexdigest()[:16]}.json"


def _read(file: Path) -> Json:
    kept: Json = json.loads(file.read_text("utf-8"))
    return kept
