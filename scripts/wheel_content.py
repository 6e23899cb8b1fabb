"""Compare what a wheel holds with what the sources say it must hold: no file less, none more.

Usage: python -m scripts.wheel_content dist/forget_audit-0.1.0-py3-none-any.whl
"""

import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent
MUST = (
    "forget_audit/py.typed",
    "forget_audit/starter/files/plan.toml.j2",
    "forget_audit/starter/files/known_network.py",
    "forget_audit/starter/files/write_predictions.py",
    "forget_audit/presets/lpu-mnist-mlp.toml",
    "forget_audit/reports/schemas/stress-1.json",
    "forget_audit/starter/files/my_model.py",
    "forget_audit/attacks/lira.py",
    "forget_audit/experiments/__init__.py",
    "forget_audit/methods/scrub.py",
    "forget_audit/reports/schemas/evidence-1.json",
    "forget_audit/reports/locale/de.po",
    "forget_audit/reports/locale/fr.po",
    "forget_audit/reports/templates/report.html.j2",
    "forget_audit/reports/templates/receipt.html.j2",
    "forget_audit/reports/templates/front.css",
    "forget_audit/reports/fonts/DejaVuSans.ttf",
    "forget_audit/reports/fonts/LICENSE_DEJAVU",
)


def expected() -> set[str]:
    """Return the files of the wheel, without its metadata, as pyproject.toml describes them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    names = set()
    for package in settings["packages"]:
        inside = package.replace(".", "/")
        folder = ROOT / settings["package-dir"].get(package, inside)
        patterns = ["*.py", *settings["package-data"].get(package, [])]
        found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
        names |= {f"{inside}/{path.relative_to(folder).as_posix()}" for path in found}
    return names


def differences(wheel: Path) -> list[str]:
    """Return what is missing and what should not be there."""
    with ZipFile(wheel) as file:
        held = {name for name in file.namelist() if ".dist-info/" not in name}
    wanted = expected()
    problems = [f"missing: {name}" for name in sorted(wanted - held)]
    problems += [f"not expected: {name}" for name in sorted(held - wanted)]
    for name in MUST:
        if not any(entry.startswith(name) for entry in held):
            problems.append(f"missing by name: {name}")
    return problems


def main() -> int:
    """Print the result for the wheel named on the command line."""
    problems = differences(Path(sys.argv[1]))
    sys.stdout.write("\n".join(problems or [f"{len(expected())} files, all as expected"]) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
