"""Sections on what came out: results, controls, uncertainty, and side effects."""

from forget_audit.reports import attack_tables, drawings, figures, numbers, tables
from forget_audit.reports.section_battery import noticed
from forget_audit.reports.view import Cell, Fact, Facts, Figure, Pair, Row, Table, Text
from forget_audit.types import Json

HOW_TO_READ = (
    "Each line compares the audited model with the mean of the retrained models. The difference "
    "counts with its interval: the tests that decide pass only if the whole interval lies inside "
    "the margin. Measures of the model as a whole stand under “Utility and side effects”."
)
ATTACKS = (
    "Attacks were run in the same way on the audited model, on retrained models and on originals. "
    "What counts is where the audited model stands between the two. They are informative: what "
    "decides are the measures above, some of which rest on their scores. Their p-values say how "
    "rarely a retrained model stands out as far, and are not corrected for the number of attacks."
)
NO_ATTACKS = "No attacks were carried out beside the measures above."
CONTROLS = (
    "A battery that cannot see the deleted records in a model trained on them would pass anything. "
    "So the same tests were run on models whose true state is known: originals must be told "
    "apart, and models truly retrained must not be accused."
)
VOID = (
    "The battery could not reliably tell the originals apart here. Its results are void as a sign "
    "of forgetting: nothing in this report may be read as a pass."
)
ACCUSED = (
    "The battery accused models that had truly been retrained. Its comparison does not hold here: "
    "nothing in this report may be read as a pass or as a failure."
)
EQUIVALENCE = (
    "The audit asks for equivalence. It is not enough that no difference was found: the whole "
    "interval of every required test must lie inside the margin that was fixed before the run. "
    "Two one-sided tests at level {alpha} each are the same as a two-sided {level} interval inside "
    "the margin. All required tests must pass, so no correction for their number is needed."
)
EXACT = (
    "Each retrained model was measured against all the others, exactly as the audited model was. "
    "If the audited model were one more of them, its place among them would be random: that gives "
    "an exact test over all measures at once (largest studentised deviation), p = {p}. The "
    "p-values in the table of results are corrected for their number (Holm) and say where a "
    "difference lies."
)
TOO_FEW = (
    "There were fewer retrained models than the exact test over all measures needs, so only the "
    "p-values of the single measures count, corrected for their number (Holm)."
)
STANDS_IN = (
    "The answers do not stand out beyond chance in any of the {n} measures that look for it."
)
STREISAND = ("js", "js_test", "entropy", "entropy_test", "dispersion")
OVER_REMOVED = (
    "Over-removal: the audited model was pushed away from the deleted records, further than models "
    "that never saw them. That gives the records away as well (“Streisand effect”)."
)
EQUALS = "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"
Block = Text | Facts | Table | Figure | Pair


def results(evidence: Json) -> list[Block]:
    """Return what was measured: tables first, then pictures; decisive measures first."""
    blocks: list[Block] = [Text(paragraphs=(HOW_TO_READ,)), tables.results(evidence)]
    blocks += drawings.overview(evidence)
    table = attack_tables.attacks(evidence)
    if table is None:
        return [*blocks, Text(paragraphs=(NO_ATTACKS,))]
    return [*blocks, Text(paragraphs=(ATTACKS,)), table, *drawings.of_attacks(evidence)]


def controls(evidence: Json) -> list[Block]:
    """Return whether the tests work, shown on models whose true state is known."""
    blocks: list[Block] = [Text(paragraphs=(CONTROLS,))]
    failed = {item["code"] for item in evidence["gates"] if item["outcome"] == "fail"}
    warnings = {"NO_SIGNAL": VOID, "HARNESS": ACCUSED}
    blocks += [Text(paragraphs=(text,)) for code, text in warnings.items() if code in failed]
    return [*blocks, _controls(evidence)]


def _controls(evidence: Json) -> Table:
    original, power = evidence["controls"]["original"], evidence["controls"]["power"]
    identity = evidence["controls"]["identity"]
    alpha = numbers.value(numbers.error_level(evidence))
    accused = ", ".join(numbers.probability(item["p_value"]) for item in identity)
    required = numbers.number(original["required"], 2)
    bearing = numbers.number(original["n_eff"], 1)
    if numbers.is_small(evidence["counts"]):
        bearing = numbers.BAND
    rows = (
        ("Positive control", "originals, trained with the records, are told apart",
         f"keep at least {required} of the influence",
         f"{numbers.number(original['estimate'], 2)}, at least "
         f"{numbers.number(original['low'], 2)}; told apart with "
         f"p{EQUALS}{numbers.probability(original['p_value'])}", "NO_SIGNAL"),
        ("Records that carry the evidence", "in how many records the influence shows",
         f"at least {numbers.value(original['n_eff_required'])}", bearing, "NO_SIGNAL"),
        ("Negative control", f"{len(identity)} models truly retrained are not accused",
         f"not all of them at p ≤ {alpha}", f"p{EQUALS}{accused or numbers.DASH}", "HARNESS"),
        ("A true retrain would pass", "expected from the spread among retrained models",
         "for information", "with probability "
         f"{numbers.chance(power['pass_probability'])}", ""),
        ("Detectable effect", "smallest remainder noticed at this sample size",
         "for information", noticed(power), ""),
    )  # fmt: skip
    return Table(
        columns=tuple(Cell(text=t) for t in ("Control", "Expected", "Found", "Outcome")),
        rows=tuple(
            Row(cells=(Cell(text=name, note=note), Cell(text=wanted), Cell(text=found),
                       _condition(evidence, code)))
            for name, note, wanted, found, code in rows
        ),
        caption="Models whose true state is known, put to the same tests", name="controls",
    )  # fmt: skip


def _condition(evidence: Json, code: str) -> Cell:
    found = [item["outcome"] for item in evidence["gates"] if item["code"] == code]
    return tables.outcome(found[0] if found else "informative")


def uncertainty(evidence: Json) -> list[Block]:
    """Return how intervals and p-values were made, and what was done about their number."""
    settings, counts = evidence["battery"]["settings"], evidence["counts"]
    alpha = settings.get("alpha", 0.05)
    level = numbers.confidence(1 - 2 * alpha)
    exact = counts["retrained"] >= settings.get("references", 0)
    p = numbers.probability(evidence["verdict"]["p_value"])
    paragraphs = (
        EQUIVALENCE.format(level=level, alpha=numbers.value(alpha)),
        EXACT.format(p=p) if exact else TOO_FEW,
    )
    repeats = f"{counts['retrained']} retrained models and {counts['originals']} originals"
    one = counts["copies"] == 1
    spread = "spread of the retrained models, Student's t" if one else "pooled spread, or Welch's t"
    privacy = [item for item in evidence["statistics"] if item["role"] != "fidelity"]
    facts = [
        Fact(label="Interval method", text=f"two-sided {level} interval of the difference; {spread}"
             "; for the residual influence not narrower than its error over records"),
        Fact(label="Intervals of attacks", text=_constructions(evidence)),
        Fact(label="Measures tested together", text=f"{len(privacy)}; the model as a whole is "
             "tested apart and does not decide"),
        Fact(label="Repeats", text=f"{repeats}, each from a seed of its own; "
             f"{counts['copies']} audited"),
        Fact(label="Seeds", text="all derived from one root seed, see “Reproducibility”"),
    ]  # fmt: skip
    if "people" in counts:
        text = (
            "the person: records of one person are not independent, and an interval over records "
            "would be too narrow"
        )
        facts.append(Fact(label="Unit of observation", text=text))
    if "canary" in evidence["battery"]["claim"]:
        text = "shares the level with the coin-toss test: half of it each"
        facts.append(Fact(label="Exact test", text=text))
    if "sequential" in evidence["battery"]:
        facts.append(Fact(label="Looks", text=_looks(evidence)))
    return [Text(paragraphs=paragraphs), Facts(items=tuple(facts))]


def _looks(evidence: Json) -> str:
    """Say after how many retrained models the verdict was clear, and what looking often costs."""
    found = evidence["battery"]["sequential"]
    *fewer, most = found["looks"]
    error = 100 * numbers.error_level(evidence)
    return (
        f"after {', '.join(map(str, fewer))} and {most} retrained models, until the verdict was "
        f"clear: after {found['looks'][found['stopped_at'] - 1]}. Each look spends a share of the "
        f"error, so that all together are wrong no more often than {error:g} in 100 times"
    )


def _constructions(evidence: Json) -> str:
    if numbers.is_small(evidence["counts"]):
        return "not shown for so few records"
    made = [m["construction"] for item in evidence["attacks"] for m in item["metrics"]]
    return ", ".join(sorted({text for text in made if text})) or "none"


def utility(evidence: Json) -> list[Block]:
    """Return what unlearning did to the rest of the model, and whether it did too much."""
    gate = next((item for item in evidence["gates"] if item["code"] == "UTILITY"), None)
    blocks: list[Block] = []
    if gate is not None:
        word = "is met" if gate["outcome"] != "fail" else "is NOT met"
        blocks.append(
            Text(
                paragraphs=(
                    f"The condition on usefulness {word}: {numbers.with_minus(gate['detail'])}.",
                )
            )
        )
    whole = tables.utility(evidence)
    blocks += [whole] if whole else []
    table = tables.by_class(evidence)
    if table is None:
        text = "Accuracy by class is not in the evidence of this audit."
        blocks.append(Text(paragraphs=(text,)))
    else:
        blocks.append(Text(paragraphs=(_by_class(evidence),)))
        picture = figures.by_class(evidence)
        blocks += [table, *([picture] if picture else [])]
    return [*blocks, Text(paragraphs=_too_much(evidence))]


def _by_class(evidence: Json) -> str:
    hidden = len(evidence["side_effects"]["groups"]) - len(tables.classes(evidence))
    text = (
        "Unlearning can cost one class more than another. Differences are given in standard "
        "deviations of the retrained models as well; they are not corrected for the number of "
        "classes and do not decide."
    )
    if hidden:
        text += f" Classes with {numbers.BAND} unseen records are named without numbers."
    return text


def _too_much(evidence: Json) -> tuple[str, ...]:
    """Say whether the model was pushed away from the records, or stands out by its answers."""
    scope, reasons = evidence["request"]["scope"], evidence["verdict"]["reasons"]
    found = []
    main = next((item for item in evidence["statistics"] if item["name"] == "rho_p"), None)
    if main is not None and None not in main["interval"]:
        low, margin = main["interval"][0], main["margin"]
        reach = f"The interval of the residual influence reaches down to {numbers.signed(low, 2)}"
        if "OVERFORGET" in reasons:
            found.append(OVER_REMOVED)
        elif margin is None or low > -margin:
            found.append(f"Over-removal check: no sign of it. {reach}, where values below 0 "
                         "would mean that the records were pushed away.")  # fmt: skip
        else:
            found.append(f"Over-removal check: it cannot be excluded. {reach}, which is beyond "
                         f"the margin of {numbers.signed(-margin, 2)}.")  # fmt: skip
    looked = [item for item in evidence["statistics"] if item["name"] in STREISAND]
    out = [tables.title_of(i["name"], scope).lower() for i in looked if i["outcome"] == "fail"]
    if out:
        found.append(f"The answers stand out in: {'; '.join(out)}.")
    elif looked:
        found.append(STANDS_IN.format(n=len(looked)))
    return tuple(found)
