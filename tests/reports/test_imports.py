"""Reports are rendered and verified without torch, and the command line answers at once."""

import subprocess
import sys

import pytest

MODULES = (
    "forget_audit.reports.release", "forget_audit.reports.pdf", "forget_audit.reports.figures",
    "forget_audit.reports.pdf_signature", "forget_audit.verification.verify", "forget_audit.trust",
    "forget_audit.deployment.gating", "forget_audit.ledger.check", "forget_audit.cli",
)  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_importing_needs_no_model_code(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "print([n for n in ('torch', 'sklearn', 'xgboost', 'weasyprint') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
