"""The tools beside ours, by exact version, in a folder that only their processes see."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from benchmarks.speed.clock import Json

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def wanted() -> dict[str, str]:
    """Return the packages with their exact versions."""
    lines = REQUIREMENTS.read_text("utf-8").splitlines()
    pairs = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {name: version for name, _, version in pairs}


def installed(folder: Path) -> dict[str, str]:
    """Return the packages in the folder with their versions."""
    found = metadata.distributions(path=[str(folder)]) if folder.is_dir() else ()
    return {item.metadata["Name"].lower().replace("_", "-"): item.version for item in found}


def missing(folder: Path) -> list[str]:
    """Return what is not in the folder in the wanted version."""
    there = installed(folder)
    return [
        f"{name}=={version}" for name, version in wanted().items() if there.get(name) != version
    ]


def install(folder: Path) -> None:
    """Install what is missing from the package index that pip is set to.

    Where that fails, the benchmark goes on without the other tools.
    """
    if not missing(folder):
        return
    call = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    done = subprocess.run([*call, "--target", str(folder), "-r", str(REQUIREMENTS)], check=False)
    if done.returncode:
        print(f"other tools are not measured: pip ended with {done.returncode}", file=sys.stderr)


def versions(folder: Path | None) -> Json:
    """Return the versions of the three tools that were raced, or nothing."""
    if folder is None:
        return {}
    names = ("sacroml", "adversarial-robustness-toolbox", "privacyguard-platform")
    there = installed(folder)
    return {name: there[name] for name in names}
