"""forget-audit: is it gone, as far as a model retrained without that data?

The public names are loaded on first use, so that reports and verification need no torch.
"""

from importlib import import_module

TYPE_CHECKING = False  # as of typing, which a hostile folder may hold too: see __main__
if TYPE_CHECKING:
    from forget_audit.audits.audit import Audit
    from forget_audit.audits.direct import certify
    from forget_audit.types import Case, Rows

__version__ = "0.1.0"
__all__ = ["Audit", "Case", "Rows", "__version__", "certify"]

_HOMES = {
    "Audit": "forget_audit.audits.audit",
    "certify": "forget_audit.audits.direct",
    "Case": "forget_audit.types",
    "Rows": "forget_audit.types",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'forget_audit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
