"""Files to start from: a commented plan and an adapter for one's own data and model."""

from importlib.resources import files
from pathlib import Path

from forget_audit.errors import ForgetAuditError

NAMES = ("plan.toml", "my_model.py")


def write_starter(folder: Path) -> list[Path]:
    """Write the starter files into `folder` and return their paths.

    Raises:
        ForgetAuditError: If one of them exists; nothing is written then.
    """
    paths = [folder / name for name in NAMES]
    there = [path for path in paths if path.exists()]
    if there:
        raise ForgetAuditError(f"{there[0]} exists already; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    source = files("forget_audit") / "starter"
    for name, path in zip(NAMES, paths, strict=True):
        path.write_text((source / name).read_text(encoding="utf-8"), encoding="utf-8")
    return paths
