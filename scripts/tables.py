"""Write the tables of README.md and docs/ that follow from the code, between their marks.

Usage: python -m scripts.tables            says which tables are out of date
       python -m scripts.tables --write    writes them
"""

import dataclasses
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from forget_audit import registry
from forget_audit.architectures import BUILDERS, Architecture, options_of
from forget_audit.contracts import AttackInfo, MethodInfo
from forget_audit.presets import page
from forget_audit.verdict.profiles import PROFILES, Profile

ROOT = Path(__file__).resolve().parent.parent
HOMES: Mapping[str, str] = {
    "methods": "README.md",
    "attacks": "README.md",
    "profile": "docs/verdict.md",
    "architectures": "docs/architectures.md",
    **dict.fromkeys(page.TABLES, "docs/papers.md"),
}
FLAT = ("mlp", "linear", "text")  # networks whose rows are no images


def methods() -> str:
    """Return the table of unlearning methods."""
    rows = [_method(kind.info) for kind in registry.methods().values() if ours(kind)]
    return as_table(("Method", "What it does", "By construction", "Source"), rows)


def attacks() -> str:
    """Return the table of attacks."""
    kinds: dict[str, type] = {**registry.attacks(), **registry.experiments()}
    cards = registry.cards()
    rows = [_attack(cards[name]) for name, kind in kinds.items() if ours(kind)]
    return as_table(("Attack", "What it asks", "Needs", "Source"), rows)


def profile() -> str:
    """Return the settings of all profiles with their meaning, read from the docstring."""
    meanings = dict(
        re.findall(r"^ +(\w+): (.+(?:\n {12,}.+)*)", inspect.getdoc(Profile) or "", re.MULTILINE)
    )
    rows = []
    for name, chosen in PROFILES.items():
        for field in dataclasses.fields(chosen):
            if field.name != "name":
                value = f"{getattr(chosen, field.name):g}"
                meaning = " ".join(meanings[field.name].split())
                rows.append((f"`{name}`", f"`{field.name}`", value, meaning))
    return as_table(("Profile", "Setting", "Value", "Meaning"), rows)


def architectures() -> str:
    """Return the table of networks: title, weights, options with their defaults."""
    rows = []
    for name, builder in BUILDERS.items():
        title = " ".join((builder.__doc__ or "").split("\n\n")[0].split())
        options = ", ".join(
            f"`{key}`" if value is None else f"`{key} = {json.dumps(value)}`"
            for key, value in options_of(name).items()
        )
        rows.append((f"`{name}`", title, f"{_weights(name):,}", options))
    return as_table(("Name", "What it is", "Weights", "Options"), rows)


def _weights(name: str) -> int:
    shape = (64,) if name in FLAT else (3, 32, 32)
    with torch.device("meta"):
        model = Architecture(name=name, shape=shape, n_classes=10).build()
    return sum(math.prod(parameter.shape) for parameter in model.parameters())


TABLES: Mapping[str, Callable[[], str]] = {
    "methods": methods,
    "attacks": attacks,
    "profile": profile,
    "architectures": architectures,
    **page.TABLES,
}


def current(text: str, name: str) -> str:
    """Return the table called `name` as it stands in `text`.

    Raises:
        ValueError: If its marks are missing.
    """
    found = _marks(name).search(text)
    if found is None:
        raise ValueError(f"found no marks <!-- table: {name} --> and <!-- end -->")
    return found[2].strip()


def replaced(text: str, name: str, table: str) -> str:
    """Return `text` with the table called `name` in place of the one it holds."""
    return _marks(name).sub(lambda found: f"{found[1]}\n{table}\n{found[3]}", text)


def _marks(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- table: {name} -->\n)(.*?)(\n<!-- end -->)", re.DOTALL)


def ours(kind: type) -> bool:
    """Say whether an item is one of this package."""
    return kind.__module__.startswith("forget_audit.")


def _method(info: MethodInfo) -> tuple[str, ...]:
    promise = {"none": "nothing", "exact": "exact", "certified": "certified under assumptions"}
    return (_name(info), info.summary, promise[info.guarantee], link(info.paper))


def _attack(info: AttackInfo) -> tuple[str, ...]:
    access = {
        "label": "predicted labels",
        "score": "probabilities",
        "gradient": "gradients",
        "weights": "weights",
    }
    return (_name(info), info.question, access[info.access], link(info.paper))


def _name(info: AttackInfo | MethodInfo) -> str:
    return f"`{info.name}` {info.title}"


def link(paper: str) -> str:
    """Return a link to a paper given by arXiv id, DOI or address."""
    for prefix, address in (("arXiv:", "https://arxiv.org/abs/"), ("doi:", "https://doi.org/")):
        if paper.lower().startswith(prefix.lower()):
            return f"[{paper}]({address}{paper[len(prefix) :]})"
    return f"[link]({paper})" if paper.startswith("http") else f"[{paper}](https://doi.org/{paper})"


def as_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in r) + " |" for r in lines
    )


def main() -> int:
    """Write or compare all tables."""
    write, stale = "--write" in sys.argv[1:], []
    for name, home in HOMES.items():
        path = ROOT / home
        text = path.read_text("utf-8")
        table = TABLES[name]()
        if current(text, name) != table:
            stale.append(f"{home}: table {name}")
            if write:
                path.write_text(replaced(text, name, table), encoding="utf-8")
    verb = "written" if write else "out of date, run `make tables`"
    sys.stdout.write("".join(f"{entry} {verb}\n" for entry in stale))
    return 1 if stale and not write else 0


if __name__ == "__main__":
    sys.exit(main())
