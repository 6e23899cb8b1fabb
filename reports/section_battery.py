"""The section on the tests: what each looks for, with which access, by which margin, since when."""

from forget_audit.reports import attack_tables, body_words, numbers, tables, words
from forget_audit.reports.section_data import settings
from forget_audit.reports.view import Cell, Fact, Facts, Row, Table, Text
from forget_audit.types import Json

FIXED = (
    "The rule below was fixed before the run: the plan names it, the tool carries it, and its "
    "digest stands here and in the signed result. Whoever changes a margin afterwards gets "
    "another digest."
)
ACCESS = (
    "Black box means that a test sees answers of the audited model (its labels, or probabilities), "
    "grey box gradients as well, white box the weights. All tests may use the training recipe and "
    "models trained by it."
)
POWER = (
    "Required tests must be shown equivalent within their margin. Further measures have none: a "
    "difference beyond chance fails the audit. Informative ones decide nothing. Power is known for "
    "the required tests alone: what others do not find is no evidence that nothing is there."
)


def battery(evidence: Json) -> list[Text | Facts | Table]:
    """Return every test that was carried out, then those that were not."""
    blocks: list[Text | Facts | Table] = [
        Text(paragraphs=(FIXED,)),
        _rule(evidence),
        Text(paragraphs=(ACCESS, POWER)),
        _tests(evidence),
    ]
    absent = attack_tables.not_carried_out(evidence)
    return [*blocks, absent] if absent else blocks


def _rule(evidence: Json) -> Facts:
    battery, power = evidence["battery"], evidence["controls"]["power"]
    scope = evidence["request"]["scope"]
    required = ", ".join(tables.title_of(name, scope).lower() for name in battery["required"])
    chance = numbers.chance(power["pass_probability"])
    return Facts(
        items=(
            Fact(label="Rule", text=f"profile “{battery['profile']}” of the tool"),
            Fact(label="Digest of the rule", text=battery["profile_digest"], code=True),
            Fact(label="Its settings", text=settings(battery["settings"])),
            Fact(label="Required tests", text=required),
            Fact(label="Power", text=f"a true retrain passes with probability {chance}; a "
                 f"remainder of {noticed(power)}"),
            Fact(label="Attempt", text=_attempt(evidence)),
            Fact(label="Claim", text=words.CLAIMS.get(battery["claim"], battery["claim"])),
            Fact(label="Access given", text=battery["access"]),
        )
    )  # fmt: skip


def noticed(power: Json) -> str:
    """Say which remainder would have been noticed."""
    share = power["detectable_share"]
    found = "unknown size" if share is None else numbers.percent_at_most(share)
    return f"{found} of the influence is noticed with probability 80 %"


def _attempt(evidence: Json) -> str:
    attempt = evidence["battery"].get("attempt")
    if attempt is None:
        return "not counted"
    if "begun" not in evidence["seeds"]:
        return f"said to be number {attempt} at this request; no ledger counted it"
    text = f"audit number {attempt} of this request here"
    halved = "; each further one halves the level, so trying again until it passes does not pay"
    return text + halved


def _tests(evidence: Json) -> Table:
    digest = evidence["battery"]["profile_digest"]
    columns = (
        Cell(text="Test", note="purpose"),
        Cell(text="Threat model"),
        Cell(text="Statistic", note="unit and direction"),
        Cell(text="Margin", note=f"by rule {digest[:12]}…"),
        Cell(text="Sample"),
        Cell(text="Role"),
    )
    rows: list[Row] = []
    for role, heading in words.ROLES.items():
        items = [item for item in evidence["statistics"] if item["role"] == role]
        if items:
            rows.append(Row(cells=(Cell(text=heading),), heading=True))
        rows += [_measure(item, evidence) for item in items]
    attacks = [item for item in evidence["attacks"] if item["metrics"]]
    if attacks:
        rows.append(Row(cells=(Cell(text="Attacks, for information"),), heading=True))
    rows += [_attack(item, evidence) for item in attacks]
    return Table(columns=columns, rows=tuple(rows), caption="Tests carried out", name="battery")


def _measure(item: Json, evidence: Json) -> Row:
    scope, name = evidence["request"]["scope"], item["name"]
    measure = words.MEASURES.get(name)
    purpose, inside = (measure.purpose, measure.inside) if measure else ("", False)
    if scope == "attribute":
        purpose = purpose.replace("the class", "the label")
        inside = inside or (name == "rho_p" and "weights" in evidence["battery"]["access"])
    margin, role = "none", "further"
    if item["margin"] is not None:
        margin = f"{tables.PLUS_MINUS}{item['margin']:g} around retrained models"
    if item["role"] == "fidelity":
        margin, role = _allowed_loss(name, evidence), "informative"
    if name in evidence["battery"]["required"]:
        role = "required"
    return Row(
        cells=(
            Cell(text=tables.title_of(name, scope), note=purpose),
            _box("weights" if inside else "score"),
            Cell(text=name, note=tables.unit_of(name, scope)),
            Cell(text=margin),
            Cell(text=_sample(name, evidence)),
            Cell(text=role),
        )
    )


def _allowed_loss(name: str, evidence: Json) -> str:
    allowed = evidence["battery"]["settings"].get("utility")
    if "accuracy" in name and allowed is not None:
        return f"a proven loss beyond {allowed:g} fails"
    return "none"


def _attack(item: Json, evidence: Json) -> Row:
    return Row(
        cells=(
            Cell(text=item["title"], note=item["question"]),
            _box(item["access"]),
            Cell(text=attack_tables.metric_name(item["headline"]), note=item["perfect"]),
            Cell(text="none"),
            Cell(text=_sample("", evidence)),
            Cell(text="informative", note=_feeds(item, evidence)),
        )
    )


def _feeds(item: Json, evidence: Json) -> str:
    """Say which measures of the verdict rest on the same scores."""
    scope = evidence["request"]["scope"]
    weighed = {statistic["name"] for statistic in evidence["statistics"]}
    fed = [tables.title_of(name, scope).lower() for name in item["statistics"] if name in weighed]
    return f"its scores also enter: {'; '.join(fed)}" if fed else ""


def _box(access: str) -> Cell:
    box, sees = body_words.BOXES[access]
    return Cell(text=box, note=sees)


def _sample(name: str, evidence: Json) -> str:
    """Say how many records a test looks at; never the exact number of a small request."""
    counts = evidence["counts"]
    small = numbers.is_small(counts)
    if name == "retain_accuracy":
        return f"{numbers.beside(counts['retain'], small=small)} kept"
    unseen = f"{numbers.count(counts['test'])} unseen"
    if name == "test_accuracy":
        return f"{numbers.count(counts['test'] + counts['others'])} unseen"
    if name in ("test_z", "js_test", "entropy_test"):
        return unseen
    people = counts.get("people")
    if people and not small:
        found = f"{numbers.count(people['forget'])} deleted, {numbers.count(people['test'])} unseen"
        return f"people: {found}"
    return f"{numbers.people(counts['forget'])} deleted, {unseen}"
