"""Build the documentation as a site and check it; measure the tutorial.

Usage: python -m scripts.docs build [--out site] [--browser]
       python -m scripts.docs time-tutorial [--wheel FILE]

`build` ends with 1 if MkDocs has a warning, if a page would fetch anything from elsewhere, if a
link leads nowhere, or if a page cannot be reached from the first one. With --browser every page is
also opened in Chromium, which keeps its own record of what was asked of the network.

`time-tutorial` makes an environment, installs the wheel and runs the blocks of docs/tutorial.md in
order, as a reader would, and prints what each took. Without --wheel it builds the wheel first.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts import site_checks
from scripts.blocks import ROOT, blocks, play, refuse_python
from scripts.browser import asked_of_network, browser

TUTORIAL = ROOT / "docs" / "tutorial.md"


def build(out: Path) -> list[str]:
    """Build the site and return what is wrong with it."""
    call = [sys.executable, "-m", "mkdocs", "build", "--strict"]  # --quiet hides warnings
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*call, "--site-dir", str(out.resolve())], cwd=ROOT, env=environment, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        return [line for line in lines if line.strip() and not line.startswith("INFO")]
    return [
        *[f"fetched from elsewhere: {found}" for found in site_checks.remote(out)],
        *[f"leads nowhere: {found}" for found in site_checks.broken(out)],
        *[f"cannot be reached: {found}" for found in site_checks.unreachable(out)],
    ]


def browse(out: Path) -> list[str]:
    """Open every page in a browser; return what it complained of and asked of the network."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "net.json"
        with browser(record) as page:
            for path in site_checks.pages(out):
                page.open(path)
                for event in page.events:
                    if event.get("method") == "Runtime.exceptionThrown":
                        details = event["params"]["exceptionDetails"]
                        found.append(f"{path.relative_to(out)}: {details.get('text')}")
        found += [f"asked of the network: {url}" for url in sorted(asked_of_network(record))]
    return found


def time_tutorial(wheel: Path | None) -> dict[str, float]:
    """Set up and run the tutorial in a new folder; return seconds by stage.

    Raises:
        BlockError: If a block fails.
        CalledProcessError: If the set-up fails.
    """
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if wheel is None:
            wheel = _built(folder / "dist")
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
        python = folder / "env" / "bin" / "python"
        call = [str(python), "-m", "pip", "install", "--quiet", str(wheel.resolve())]
        subprocess.run(call, check=True)
        seconds["set-up"] = time.perf_counter() - start
        place = folder / "tutorial"
        place.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FORGET_AUDIT", "PYTHON"))}
        environment = {
            **kept,
            "HOME": str(folder / "home"),
            "PATH": f"{python.parent}:{os.environ['PATH']}",
        }
        start = time.perf_counter()
        play(blocks(TUTORIAL), place, environment, refuse_python)
        seconds["blocks"] = time.perf_counter() - start
    return seconds


def _built(folder: Path) -> Path:
    call = [
        sys.executable,
        "-m",
        "build",
        "--outdir",
        str(folder),
        str(ROOT),
    ]  # by way of the sdist
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.whl"))


def main(words: Sequence[str]) -> int:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m scripts.docs")
    verbs = parser.add_subparsers(dest="verb", required=True)
    building = verbs.add_parser("build")
    building.add_argument("--out", type=Path, default=ROOT / "site")
    building.add_argument("--browser", action="store_true")
    timing = verbs.add_parser("time-tutorial")
    timing.add_argument("--wheel", type=Path)
    given = parser.parse_args(words)
    if given.verb == "time-tutorial":
        seconds = time_tutorial(given.wheel)
        sys.stdout.write("".join(f"{stage}: {spent:.0f} s\n" for stage, spent in seconds.items()))
        total, cores = sum(seconds.values()), len(os.sched_getaffinity(0))
        sys.stdout.write(
            f"both: {total:.0f} s on {cores} cores, {platform.machine()}, "
            f"Python {platform.python_version()}\n"
        )
        return 0
    found = build(given.out)
    if given.browser and not found:
        found = browse(given.out)
    n_pages = len(site_checks.pages(given.out)) if given.out.is_dir() else 0
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.stdout.write(f"{n_pages} pages, {len(found)} problems\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
