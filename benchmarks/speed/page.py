"""The figures as a page in Markdown, and as tables for the documentation; no figure is typed."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.speed import chart, race
from benchmarks.speed.clock import Json

HEADING = """\
# How fast

Written by `make bench` from [speed.json](speed.json); what was measured, and how, stands in
[docs/speed.md](../../docs/speed.md). Processor seconds of one thread.
"""
NOTHING = "Not measured yet."
MB = "peak memory, MB"
STARTS = {
    "help": "`forget-audit --help`",
    "import": "`import forget_audit.cli`",
    "python": "Python",
}
STAGES = ("training", "unlearning", "attacks", "statistics", "report", "import", "other")


def page(result: Json) -> str:
    """Return the whole page."""
    parts = [HEADING, machine(result)]
    for name, title in TITLES.items():
        if name == "scaling" and name in result["parts"]:
            parts.append(f"![{chart.ALTERNATIVE}](speed.svg)\n")
        parts.append(f"## {title}\n\n{block(result, name)}\n")
    return "\n".join(parts)


def block(result: Json, name: str) -> str:
    """Return the tables of a part, or that it was not measured."""
    measured = result["parts"].get(name)
    if measured is None:
        return NOTHING
    if "missing" in measured:
        return f"Not measured: {measured['missing']}."
    return BLOCKS[name](measured)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *rows])


def machine(result: Json) -> str:
    """Return what it was measured on: a line, or one a machine if parts differ."""
    lines: dict[str, list[str]] = {}
    for name, part in result["parts"].items():
        lines.setdefault(_machine(part), []).append(TITLES[name])
    if len(lines) == 1:
        return next(iter(lines)) + "\n"
    return "".join(f"- {', '.join(names)}: {line}\n" for line, names in lines.items())


def _machine(part: Json) -> str:
    told = part["machine"]
    peers = ", ".join(f"{name} {version}" for name, version in part["peers"].items())
    return (
        f"{told['processor']}, {told['cores']} cores, {told['memory_gb']} GB, {told['system']}, "
        f"Python {told['python']}, PyTorch {told['torch']}, NumPy {told['numpy']}, "
        f"forget-audit {told['forget-audit']}; {peers or 'no other tools'}; {told['date']}."
    )


def shadows(part: Json) -> str:
    """Return the race of the contestants and whether they trained equally good models."""
    rows = []
    for tool, row in part["tools"].items():
        own = f"{row['own_auc']:.3f}" if "own_auc" in row else ""
        rows.append(
            (
                race.NAMES[tool],
                f"{row['training']:.2f}",
                f"{row['training_ratio']:.2f}",
                f"{row['whole']:.2f}",
                f"{row['whole_ratio']:.2f}",
                f"{row['accuracy']:.4f}",
                f"{row['auc']:.4f}",
                own,
            )
        )
    head = ("", "training, s", "times ours", "whole attack, s", "times ours", "accuracy",
            "LiRA AUC", "own AUC")  # fmt: skip
    lines = [f"Medians of {part['rounds']} rounds in turns.", "", table(head, rows), ""]
    for name, told in part["agreement"].items():
        worst = max(told["gaps"].values(), key=abs)
        word = "agree" if told["agrees"] else "DO NOT AGREE"
        lines.append(
            f"- {name}: {word}; furthest from the plain loop {worst:+.4f}, noise of one round "
            f"{told['noise']:.4f}, allowed for the mean {told['allowed']:.4f}"
        )
    return "\n".join(lines)


def bootstraps(part: Json) -> str:
    """Return the race of the bootstraps and what both found."""
    theirs, ours = part["theirs"], part["ours"]
    names = ("auc", "auc_low", "auc_high", "accuracy", "epsilon_low", "epsilon_high")
    rows = [
        (
            name.replace("_", ", "),
            f"{theirs[name]:.4f}",
            f"{ours[name]:.4f}",
            f"{part['standard_errors'][name]:.1f}",
        )
        for name in names
    ]
    ratio, ends = part["ratio"], part["ratios"]["bootstraps"]
    return "\n".join(
        [
            f"{part['draws']} bootstraps of {part['rows']} + {part['rows']} scores at a hundred "
            f"false positive rates: PrivacyGuard's node {theirs['bootstraps']:.3f} s (with its "
            f"exact interval {theirs['whole']:.3f} s), ours {ours['bootstraps']:.3f} s. Ratio "
            f"{ratio['bootstraps']:.1f} ({ends[0]:.1f} to {ends[1]:.1f} in {part['rounds']} "
            f"rounds), of the whole node {ratio['whole']:.1f}.",
            "",
            table(("", "PrivacyGuard", "ours", "standard errors apart"), rows),
        ]
    )


def demo(part: Json) -> str:
    """Return the profile of the demonstration, starting times, and one attack more."""
    lines = []
    if "profile" in part:
        told = part["profile"]
        rows = [
            (name, f"{told['seconds'].get(name, 0.0):.1f}", f"{told['shares'].get(name, 0.0):.0%}")
            for name in STAGES
        ]
        lines += [
            f"`forget-audit demo`: {told['cpu']:.1f} processor seconds. Sampled by pyinstrument:",
            "",
            table(("stage", "s, by the clock", "share"), rows),
            "",
        ]
    starts = [(STARTS[name], f"{seconds:.2f}") for name, seconds in part["starting"].items()]
    lines += [table(("start", "s"), starts), ""]
    added = part["added"]
    lines.append(
        f"An audit: {added['first']:.1f} s; the same command again {added['again']:.1f} s; with "
        f"the attack `{added['added']}` more {added['one_more']:.1f} s, {added['share']:.0%} of "
        "the first."
    )
    return "\n".join(lines)


def scaling(part: Json) -> str:
    """Return the curves with their exponents."""
    rows = []
    for curve in part["curves"].values():
        for line in curve["lines"]:
            for x, cpu, peak in zip(line["x"], line["cpu"], line["peak_mb"], strict=True):
                memory = "" if peak is None else f"{peak:.0f}"
                rows.append((curve["title"], line["path"], f"{x:,g}", f"{cpu:.3f}", memory))
            fitted = f"**{line['exponent']:.2f}**"
            rows.append((curve["title"], line["path"], "exponent", fitted, ""))
    return table(("curve", "way", "size", "s", MB), rows)


def networks(part: Json) -> str:
    """Return the automatic choice beside the plain loop and the batched way."""
    rows = []
    for row in part["rows"]:
        batched = f"{row['ratio']['batched']:.2f}" if "batched" in row["ratio"] else "not possible"
        rows.append(
            (
                f"`{row['architecture']}`, {row['parameters']:,} parameters",
                str(row["models"]),
                f"{row['cpu']['loop']:.3f}",
                f"{row['ratio']['automatic']:.2f}",
                row["way"],
                batched,
            )
        )
    head = (
        "architecture",
        "models",
        "plain loop, s",
        "automatic / loop",
        "chosen",
        "batched / loop",
    )
    return f"{table(head, rows)}\n\nWorst of the automatic choice: {part['worst']:.2f}."


def statistics(part: Json) -> str:
    """Return the growth of the verdict's statistics."""
    stages = ("collect", "pack", "read", "weigh")
    rows = [
        (
            f"{one['rows']:,}",
            f"{one['cpu_s']:.1f}",
            *(f"{one[f'{stage}_s']:.1f}" for stage in stages),
            f"{one['peak_gb']['weigh']:.2f}",
        )
        for one in part["sizes"]
    ]
    fitted = (f"**{part['exponents'][name]:.2f}**" for name in ("cpu", *stages))
    rows.append(("exponent", *fitted, ""))
    head = ("rows", "all, s", *(f"{stage}, s" for stage in stages), "peak memory, GB")
    told = f"{part['models']} models, {part['classes']} classes: from the answers to the verdict."
    return f"{told}\n\n{table(head, rows)}"


BLOCKS: Mapping[str, Callable[[Json], str]] = {
    "shadows": shadows,
    "bootstraps": bootstraps,
    "demo": demo,
    "scaling": scaling,
    "networks": networks,
    "statistics": statistics,
}
TITLES: Mapping[str, str] = {
    "shadows": "32 shadow models and an attack",
    "bootstraps": "1,000 bootstraps",
    "demo": "The command line",
    "networks": "Where batching wins",
    "scaling": "Growth",
    "statistics": "The verdict's statistics",
}
