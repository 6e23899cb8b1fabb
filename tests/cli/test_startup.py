"""The command line starts quickly: what only one command needs is loaded by that command."""

import json
import resource
import subprocess
import sys
from statistics import median

import pytest

from forget_audit.commands import init, stress, trust
from forget_audit.keys.trusted import ROLES
from forget_audit.starter.writing import KINDS
from forget_audit.types import SMALL_REQUEST

HEAVY = {
    "asn1crypto", "cryptography", "jinja2", "matplotlib", "numpy", "pyhanko", "rfc8785", "scipy",
    "sklearn", "sqlite3", "statsmodels", "torch", "weasyprint", "xgboost",
}  # fmt: skip
TELL = """
import json, sys
from forget_audit.cli import app
app(sys.argv[1:], standalone_mode=False)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("group", ["", "keys", "trust", "ledger", "init", "stress", "certify"])
def test_help_loads_nothing_heavy(group: str) -> None:
    call = [sys.executable, "-c", TELL, *group.split(), "--help"]
    said = subprocess.run(call, capture_output=True, text=True, check=True)
    loaded = set(json.loads(said.stdout.splitlines()[-1]))
    assert "typer" in loaded
    assert loaded & HEAVY == set()


def test_statistics_load_no_data_frames() -> None:
    tell = "import sys, forget_audit.stats; print({'pandas', 'statsmodels'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_help_takes_less_than_half_a_second() -> None:
    times = []
    for _ in range(3):
        before = spent()
        call = [sys.executable, "-m", "forget_audit", "--help"]
        subprocess.run(call, capture_output=True, check=True)
        times.append(spent() - before)
    assert median(times) < 0.5 * 2  # twice, for slower and busier machines than ours


def test_what_help_says_without_loading_it_is_so() -> None:
    assert ", ".join(KINDS) == init.KINDS
    assert ", ".join(ROLES) == trust.ROLES
    assert stress.SMALLEST == SMALL_REQUEST
