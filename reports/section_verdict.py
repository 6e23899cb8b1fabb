"""Sections on the judgement: limits, the rule and what disagrees with it, and who signs it off."""

from forget_audit.reports import numbers, tables
from forget_audit.reports.view import Fact, Facts, Points, SignOff, Table, Text
from forget_audit.types import Json

NOT_LEGAL = "This report is not legal advice. Whether a legal duty is met is for others to say."
NOT_CERTIFIED = (
    "It is not a certification, neither under Art. 42 GDPR nor in the sense of ISO/IEC 17000. It "
    "is a declaration by those who are named on page one, about tests that can be repeated."
)
NOT_PROOF = (
    "It is not proof of absence. No test can witness that nothing is left; it can only bound what "
    "the listed tests would have seen."
)
FORGEABLE = (
    "Whoever makes both model and report could deceive: the evidence shows what the tool measured "
    "on the files it was given, not that these files are the ones in use."
)
RULE = (
    "PASS: every required test is shown equivalent, every condition is met, and no further measure "
    "differs beyond chance (a difference in a required test that lies inside its margin does not "
    "count).",
    "FAIL: a measure differs beyond chance and is not shown to lie inside its margin, or a loss of "
    "accuracy (in a coin-toss test: a leak) beyond the allowed one is proven.",
    "INCONCLUSIVE: everything else. A required test that is not shown equivalent, or a condition "
    "that is not met, never ends in PASS.",
)
WHOLE = (
    "The model as a whole can be told from a retrained one, which is not about the deleted records."
)
NO_REVIEWER = (
    "No reviewer was named before this report was issued, and the signature of the tool stands "
    "alone. The field is kept free in case somebody is asked to review it later; that it is empty "
    "takes nothing from the signature on page one."
)
UNCOMMITTED = (
    "Nothing was committed to in a ledger before this audit: nobody can see whether other seeds or "
    "models were tried before, so trying again may have made the verdict."
)
SIGNS = (
    "A reviewer signs with a key of their own, after the tool. Their decision, its date and their "
    "remarks are in the signed file review.dsse.json; in the PDF their signature lies in the frame "
    "below. Without either of them nobody has reviewed this report."
)


def limits(evidence: Json) -> list[Points | Text]:
    """Return what holds for every report, then what holds for this one."""
    codes = {item["code"] for item in evidence["limits"]}
    fixed = [NOT_LEGAL, NOT_CERTIFIED, *([] if "NOT_PROOF" in codes else [NOT_PROOF]), FORGEABLE]
    stated = [item["text"] for item in evidence["limits"]]
    scope = evidence["verdict"]["scope"]
    own = _of_this_run(evidence)
    blocks: list[Points | Text] = [Points(items=(*fixed, *stated))]
    if own:
        blocks += [Text(paragraphs=("For this audit in particular:",)), Points(items=own)]
    return [*blocks, Text(paragraphs=(scope,))]


def _of_this_run(evidence: Json) -> tuple[str, ...]:
    """Return limits that follow from how this audit was run."""
    found = []
    if "begun" not in evidence["seeds"]:
        found.append(UNCOMMITTED)
    if not evidence.get("lineage"):
        found.append("Derived artefacts were not declared, and are not covered.")
    if evidence["method"] is None:
        found.append("The audited model was handed in; how it was made was not observed.")
    if numbers.is_small(evidence["counts"]):
        found.append(f"The request is about {numbers.BAND} records: tests of so few see little.")
    broken = [item["title"] for item in evidence["attacks"] if item["outcome"] == "error"]
    if broken:
        found.append(f"These attacks stopped with an error and say nothing: {', '.join(broken)}.")
    unmet = [item["code"] for item in evidence["gates"] if item["outcome"] == "fail"]
    if unmet:
        found.append(f"These conditions were not met: {', '.join(unmet)}.")
    if evidence["report"]["key"] == "unattended":
        found.append("The key of the tool was used without a person present.")
    return tuple(found)


def rule(evidence: Json) -> list[Text | Points | Table]:
    """Return the rule, this decision by it, and every measure that points another way."""
    dissent = _dissent(evidence)
    return [
        Points(items=RULE),
        Text(paragraphs=(_decision(evidence), _decisive(evidence))),
        tables.gates(evidence),
        Text(paragraphs=("Dissent: what points another way than the verdict.",)),
        Points(items=dissent or ("None: no further measure or attack disagrees.",)),
    ]


def _decision(evidence: Json) -> str:
    verdict = evidence["verdict"]
    reasons = ", ".join(verdict["reasons"]) or "none"
    level = numbers.value(numbers.error_level(evidence))
    smallest = numbers.number(verdict["attained_bound"])
    return (
        f"This audit: {verdict['outcome']}; reason codes: {reasons}. Level "
        f"{level}, profile “{verdict['profile']}”. The smallest "
        f"margin at which equivalence would still have been shown is {smallest}."
    )


def _decisive(evidence: Json) -> str:
    """Name the tests and conditions on which the verdict turned."""
    scope, required = evidence["request"]["scope"], evidence["battery"]["required"]
    told = [
        f"{tables.title_of(item['name'], scope).lower()} ({_word(item['outcome'])})"
        for item in evidence["statistics"]
        if item["name"] in required or (item["outcome"] == "fail" and item["role"] != "fidelity")
    ]
    unmet = [item["code"] for item in evidence["gates"] if item["outcome"] == "fail"]
    conditions = f"conditions not met: {', '.join(unmet)}" if unmet else "all conditions are met"
    return f"Decisive tests: {'; '.join(told)}; {conditions}."


def _word(outcome: str) -> str:
    return {"pass": "shown equivalent", "fail": "differs"}.get(outcome, "not decided")


def _dissent(evidence: Json) -> tuple[str, ...]:
    """Return what disagrees with the verdict, in plain sentences."""
    outcome = evidence["verdict"]["outcome"]
    found: list[str] = []
    if outcome != "FAIL":
        found += _alarms(evidence)
    if outcome != "PASS":
        scope, required = evidence["request"]["scope"], evidence["battery"]["required"]
        found += [
            f"{tables.title_of(item['name'], scope)} was shown equivalent."
            for item in evidence["statistics"]
            if item["name"] in required and item["outcome"] == "pass"
        ]
    if outcome == "FAIL":
        found += _silences(evidence)
    return tuple(found)


def _alarms(evidence: Json) -> list[str]:
    """Return what speaks against a model that did not fail."""
    alpha = numbers.error_level(evidence)
    found = [f"{title} differs beyond chance." for title in _watched(evidence, differs=True)]
    if evidence["fidelity"]["outcome"] == "fail":
        found.append(WHOLE)
    attacks = _ranked(evidence, alpha)
    out = [title for title, far in attacks.items() if far]
    if out:
        chance = f"about {numbers.number(alpha * len(attacks), 1)} would by chance"
        found.append(
            f"{len(out)} of {len(attacks)} attacks rank the audited model outside the retrained "
            f"ones at level {alpha:g} ({chance}): {'; '.join(out)}."
        )
    return found


def _silences(evidence: Json) -> list[str]:
    """Return what speaks for a model that failed."""
    alpha = numbers.error_level(evidence)
    alike, differ = (_watched(evidence, differs=differs) for differs in (False, True))
    attacks = _ranked(evidence, alpha)
    inside = [title for title, far in attacks.items() if not far]
    found = []
    if alike:
        found.append(
            f"No difference was found in {len(alike)} of {len(alike) + len(differ)} further "
            f"measures: {'; '.join(alike)}."
        )
    if inside:
        found.append(
            f"{len(inside)} of {len(attacks)} attacks rank the audited model among the retrained "
            f"ones: {'; '.join(inside)}."
        )
    return found


def _watched(evidence: Json, *, differs: bool) -> list[str]:
    scope = evidence["request"]["scope"]
    return [
        tables.title_of(item["name"], scope)
        for item in evidence["statistics"]
        if item["role"] in ("secondary", "whitebox") and (item["outcome"] == "fail") == differs
    ]


def _ranked(evidence: Json, alpha: float) -> dict[str, bool]:
    """Return whether the headline of each attack lies outside those of retrained models."""
    found = {}
    for item in evidence["attacks"]:
        metric = next((m for m in item["metrics"] if m["name"] == item["headline"]), None)
        if metric is not None and metric["p_value"] is not None:
            found[item["title"]] = metric["p_value"] <= alpha
    return found


def sign_off(evidence: Json) -> list[Text | SignOff]:
    """Return who is to review the report, and the frame for their signature."""
    reviewer = (evidence.get("parties") or {}).get("reviewer")
    later = "see review.dsse.json"
    facts = [
        Fact(label="Name", text=reviewer["name"] if reviewer else "nobody named"),
        Fact(label="Role", text=reviewer["role"] if reviewer else numbers.DASH),
        Fact(label="Independence, as declared",
             text=reviewer["independence"] if reviewer else numbers.DASH),
        Fact(label="Decision and date", text=f"with the signature, {later}"),
    ]  # fmt: skip
    return [
        Text(paragraphs=(SIGNS,) if reviewer else (NO_REVIEWER, SIGNS)),
        SignOff(facts=Facts(items=tuple(facts)), anchor="reviewer-field"),
    ]
