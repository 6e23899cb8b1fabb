"""Who may import whom, and what must stay light."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REPORTS = sorted(
    f"forget_audit.reports.{path.stem}"
    for path in (ROOT / "reports").glob("*.py")
    if path.stem != "__init__"
)
WITHOUT_TORCH = (
    *REPORTS,
    "forget_audit.verification.verify",
    "forget_audit.deployment.gating",
    "forget_audit.verdict.scoretable",
    "forget_audit.trust",
    "forget_audit.ledger.check",
    "forget_audit.ledger.proofs",
)
HEAVY = ("torch", "sklearn", "xgboost", "torchvision")
ABSENT = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""


def fresh(code: str) -> str:
    """Run code in a new interpreter and return what it prints."""
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(imports: str) -> set[str]:
    """Return the top-level modules that are loaded after some imports."""
    printed = fresh(
        f"{imports}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    )
    return set(printed.split())


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_alone_is_light() -> None:
    loaded = loaded_after("import forget_audit")
    assert not loaded & {*HEAVY, "numpy", "scipy", "pydantic", "matplotlib", "weasyprint"}


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_reports_and_verification_need_no_model_code(module: str) -> None:
    assert not loaded_after(f"import {module}") & set(HEAVY)


def test_reports_and_verification_work_where_there_is_no_torch() -> None:
    imports = "".join(f"import {module}\n" for module in WITHOUT_TORCH)
    assert fresh(f"{ABSENT}{imports}print('ready')") == "ready\n"


def test_public_names_are_there_and_others_are_refused() -> None:
    import forget_audit

    for name in forget_audit.__all__:
        assert getattr(forget_audit, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        forget_audit.nothing  # noqa: B018
