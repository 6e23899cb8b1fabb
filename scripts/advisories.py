"""Ask whether a known weakness is in what this package needs, as installed here.

Usage: python -m scripts.advisories

Ends with 1 if there is one that is not accepted below. A service that cannot be reached, or knows
none of the packages, ends with 0 and one line that says so: nothing was found out then.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.closure import closure, direct, extras, versions

LIMIT_S = 60
# Advisory id: why it does not concern users of this package.
ACCEPTED: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of asking.

    Args:
        line: For people.
        weak: Packages with an advisory, one line each.
    """

    line: str
    weak: tuple[str, ...] = ()


def read(text: str, complaints: str, accepted: Mapping[str, str] = ACCEPTED) -> Answer:
    """Return the answer of pip-audit, which skips a package that its service does not know.

    Args:
        text: Its standard output, JSON if the service answered.
        complaints: Its standard error.
        accepted: Advisories that are no matter, by id.
    """
    try:
        found = json.loads(text)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (complaints.strip().splitlines() or ["no answer"])[-1]
        return Answer(line=f"advisories: not asked, the service cannot be reached ({last[:200]})")
    asked = [one for one in found if "vulns" in one]
    if not asked:
        return Answer(
            line=f"advisories: not asked, the service knows none of {len(found)} packages"
        )
    weak = tuple(
        f"{one['name']} {one['version']}: {advisory['id']}, mended in "
        f"{', '.join(advisory['fix_versions']) or 'no version yet'}"
        for one in asked
        for advisory in one["vulns"]
        if not {advisory["id"], *advisory.get("aliases", [])} & accepted.keys()
    )
    skipped = len(found) - len(asked)
    more = f"; {skipped} more are not known to the service" if skipped else ""
    return Answer(line=f"advisories: {len(weak)} in {len(asked)} packages{more}", weak=weak)


def ask() -> Answer:
    """Ask the advisory service of pip-audit about every package, extras included."""
    found = versions(closure(direct(extras())))
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("".join(f"{name}=={one}\n" for name, one in found.items()), "utf-8")
        call = [sys.executable, "-m", "pip_audit", "-r", str(listed), "--no-deps", "--disable-pip"]
        call += ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
        try:
            done = subprocess.run(
                call, capture_output=True, text=True, check=False, timeout=LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return read("", f"no answer within {LIMIT_S} s")
    return read(done.stdout, done.stderr)


def main() -> int:
    """Print the answer; 1 if something is weak."""
    answer = ask()
    sys.stdout.write("\n".join([*answer.weak, answer.line]) + "\n")
    return 1 if answer.weak else 0


if __name__ == "__main__":
    sys.exit(main())
