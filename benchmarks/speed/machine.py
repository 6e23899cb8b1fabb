"""What the figures were measured on."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import forget_audit
from benchmarks.speed.clock import Json

MODEL = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


def description() -> Json:
    """Return processor, memory, system, versions and date; no name of the machine."""
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": memory,
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "forget-audit": forget_audit.__version__,
        **{name: metadata.version(name) for name in LIBRARIES},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    found = MODEL.search(told.read_text("utf-8")) if told.is_file() else None
    return found[1].strip() if found else platform.processor() or platform.machine()
