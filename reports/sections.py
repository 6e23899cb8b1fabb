"""The body of the report, section by section, in the order on paper."""

from forget_audit.reports import drawings, numbers, tables, words
from forget_audit.reports.view import Fact, Facts, Points, Section, Table, Text
from forget_audit.types import Json

EQUIVALENCE = (
    "The audit asks for equivalence. It is not enough that no difference was found: the whole "
    "interval of every required test must lie inside the margin that was fixed before the run. "
    "The interval is a two-sided {level} interval of the difference between the audited model and "
    "the mean of the retrained ones, so that each side errs with probability {alpha} at most "
    "(two one-sided tests).",
    "Each retrained model was measured against all the others, exactly as the audited model was. "
    "If the audited model were one more of them, its place among them would be random: that gives "
    "an exact test over all measures at once (largest studentised deviation), p = {p}. The "
    "p-values in the table are corrected for their number (Holm) and say where a difference lies.",
)
RULE = (
    "PASS: every required test is shown equivalent, every condition is met, and no further measure "
    "differs beyond chance (a difference in a required test that lies inside its margin does not "
    "count).",
    "FAIL: a measure differs beyond chance and is not shown to lie inside its margin, or a loss of "
    "accuracy beyond the allowed one is proven.",
    "INCONCLUSIVE: everything else. A required test that is not shown equivalent, or a condition "
    "that is not met, never ends in PASS.",
)


def body(evidence: Json, digest: str) -> tuple[Section, ...]:
    """Return all sections after page one."""
    return (
        _section("Results", tables.results(evidence), *drawings.overview(evidence)),
        _section("Verdict rule", Text(paragraphs=(_decision(evidence),)), Points(items=RULE),
                 tables.gates(evidence)),
        _section("Attacks", Text(paragraphs=(ATTACKS,)), tables.attacks(evidence),
                 *drawings.curves(evidence), *_not_carried_out(evidence)),
        _section("Controls", Text(paragraphs=(CONTROLS,)), _controls(evidence)),
        _section("Uncertainty", Text(paragraphs=_uncertainty(evidence))),
        _section("Data", _data(evidence)),
        _section("Method of unlearning", *_method(evidence)),
        _section("Reference models", _reference(evidence)),
        _section("Test battery", _battery(evidence)),
        _section("Limits", Points(items=tuple(item["text"] for item in evidence["limits"])),
                 Text(paragraphs=(evidence["verdict"]["scope"],))),
        _section("What the audit itself keeps", tables.retention(evidence)),
        _section("Reproducing it", _reproduction(evidence, digest)),
        _section("Glossary", Facts(items=tuple(Fact(label=a, text=b) for a, b in words.GLOSSARY))),
    )  # fmt: skip


def _not_carried_out(evidence: Json) -> tuple[Table, ...]:
    table = tables.not_carried_out(evidence)
    return () if table is None else (table,)


ATTACKS = (
    "Every attack of the toolkit has a row, also those that were not run, in the second table. "
    "Attacks are informative: what decides are the measures above, some of which rest on them."
)
CONTROLS = (
    "A battery that cannot see the deleted records in a model trained on them would pass anything. "
    "So originals must be told apart, and models truly retrained must not be accused."
)


def _section(title: str, *blocks: object) -> Section:
    anchor = title.lower().replace(" ", "-")
    return Section(title=title, anchor=anchor, blocks=[b for b in blocks if b])  # type: ignore[misc]


def _decision(evidence: Json) -> str:
    verdict, settings = evidence["verdict"], evidence["battery"]["settings"]
    reasons = ", ".join(verdict["reasons"]) or "none"
    smallest = numbers.number(verdict["attained_bound"])
    return (
        f"This audit: {verdict['outcome']}; reason codes: {reasons}. Level "
        f"{numbers.value(settings.get('alpha'))}, profile “{verdict['profile']}”. The smallest "
        f"margin at which equivalence would still have been shown is {smallest}."
    )


def _uncertainty(evidence: Json) -> tuple[str, ...]:
    alpha = evidence["battery"]["settings"].get("alpha", 0.05)
    level = numbers.percent(1 - 2 * alpha)
    p = numbers.probability(evidence["verdict"]["p_value"])
    return tuple(text.format(level=level, alpha=numbers.value(alpha), p=p) for text in EQUIVALENCE)


def _controls(evidence: Json) -> Facts:
    controls = evidence["controls"]
    original, power = controls["original"], controls["power"]
    identity = ", ".join(numbers.probability(item["p_value"]) for item in controls["identity"])
    effective = numbers.number(original["n_eff"], 1)
    needed = numbers.value(original["n_eff_required"])
    return Facts(
        items=(
            Fact(label="Originals keep", text=f"{numbers.number(original['estimate'], 2)} of the "
                 f"influence, at least {numbers.number(original['low'], 2)} (required "
                 f"{numbers.number(original['required'], 2)}); told apart with p = "
                 f"{numbers.probability(original['p_value'])}"),
            Fact(label="Records that carry the evidence", text=f"{effective} (required {needed})"),
            Fact(label="Truly retrained models", text=f"compared like the audited one: p = "
                 f"{identity or numbers.DASH}"),
            Fact(label="A true retrain would pass", text="with probability "
                 f"{numbers.number(power['pass_probability'], 2)}"),
            Fact(label="Smallest remainder noticed", text=_noticed(power)),
        )
    )  # fmt: skip


def _noticed(power: Json) -> str:
    share = power["detectable_share"]
    found = numbers.DASH if share is None else numbers.percent_at_most(share)
    return f"{found} of the influence, with probability 80 %"


def _data(evidence: Json) -> Facts:
    data, counts = evidence["data"], evidence["counts"]
    facts = [
        Fact(label="Data set", text=f"{data['title']} ({data['source']})"),
        Fact(label="Digest of the rows", text=data["digest"], code=True),
        Fact(label="Commitment to the deleted records", text=data["forget_commitment"], code=True),
        Fact(label="Records", text=f"{numbers.people(counts['forget'])} to forget, "
             f"{numbers.count(counts['retain'])} kept, {numbers.count(counts['test'])} unseen"),
        Fact(label="For fitting attacks", text=f"{numbers.count(counts['auxiliary'])} further "
             "unseen records"),
        Fact(label="Shape", text=f"{' × '.join(map(str, data['shape']))} features, "
             f"{data['n_classes']} classes"),
        Fact(label="Duplicates", text=f"{data['duplicates']} "
             f"({numbers.count(data['duplicates_dropped'])})"),
    ]  # fmt: skip
    if data["label_noise"]:
        noise = f"{numbers.percent(data['label_noise'])} of labels drawn at random"
        facts.append(Fact(label="Label noise", text=noise))
    return Facts(items=tuple(facts))


def _method(evidence: Json) -> tuple[Text | Facts, ...]:
    method = evidence["method"]
    if method is None:
        return (Text(paragraphs=("The model was handed in; how it was made was not observed.",)),)
    report = method["report"]
    facts = Facts(
        items=(
            Fact(label="Method", text=f"{method['title']} ({method['name']}), {method['paper']}"),
            Fact(label="Guarantee", text=words.GUARANTEES.get(method["guarantee"],
                                                              method["guarantee"])),
            *_reservations(method),
            Fact(label="Parameters", text=_settings(method["parameters"])),
            Fact(label="Effort", text=f"{numbers.count(report['steps'])} steps, "
                 f"{numbers.count(report['rows_touched'])} rows touched, "
                 f"{numbers.seconds(report['seconds'])}; ended: {report['stop_reason']}"),
            *(Fact(label="Note", text=note) for note in report["notes"]),
        )
    )  # fmt: skip
    return Text(paragraphs=(method["summary"],)), facts


def _reservations(method: Json) -> list[Fact]:
    """Return what a guarantee rests on, and where the method is not the published one."""
    facts = [
        Fact(label=label, text=method[key])
        for key, label in (("assumptions", "It holds if"), ("reconstructed", "Reconstructed"))
        if method.get(key)
    ]
    if method.get("adapted"):
        text = "no publication defines this method for such a request; the way it is done is ours"
        facts.append(Fact(label="Our extension", text=text))
    return facts


def _reference(evidence: Json) -> Facts:
    counts, model = evidence["counts"], evidence["model"]
    facts = [
        Fact(label="Retrained without the records", text=f"{counts['retrained']} models, one seed "
             "each, same recipe"),
        Fact(label="Originals trained by the auditor", text=f"{counts['originals']} models"),
        Fact(label="Identity controls", text=f"{counts['identity']} models retrained like the "
             "references"),
        Fact(label="Shadow models for attacks", text=f"{counts['shadows']}"),
        Fact(label="Architecture", text=f"{model['architecture']}, "
             f"{numbers.count(model['parameters'])} parameters"),
        Fact(label="Recipe", text=_settings(evidence["training"])),
    ]  # fmt: skip
    if model["original"]:
        facts.append(Fact(label="Original model", text=model["original"]["sha256"], code=True))
    return Facts(items=tuple(facts))


def _battery(evidence: Json) -> Facts:
    battery = evidence["battery"]
    required = ", ".join(tables.title_of(name).lower() for name in battery["required"])
    return Facts(
        items=(
            Fact(label="Profile", text=battery["profile"]),
            Fact(label="Digest of the profile", text=battery["profile_digest"], code=True),
            Fact(label="Fixed before the run", text=_settings(battery["settings"])),
            Fact(label="Required tests", text=required),
            Fact(label="Claim", text=words.CLAIMS.get(battery["claim"], battery["claim"])),
            Fact(label="Access", text=battery["access"]),
        )
    )


def _reproduction(evidence: Json, digest: str) -> Facts:
    tool, environment, digests = evidence["tool"], evidence["environment"], evidence["digests"]
    versions = {
        k: v for k, v in environment.items() if k not in ("libraries", "device", "platform")
    }
    stages = ", ".join(f"{k} {numbers.seconds(v)}" for k, v in evidence["timings"].items())
    return Facts(
        items=(
            Fact(label="Tool", text=f"{tool['name']} {tool['version']}"),
            Fact(label="Sources of the tool", text=tool["source_digest"], code=True),
            Fact(label="Evidence", text=digest, code=True),
            Fact(label="Scores", text=digests["scores"], code=True),
            Fact(label="Plan", text=digests["plan"], code=True),
            Fact(label="Case", text=digests["case"], code=True),
            Fact(label="Seeds", text=f"root {evidence['seeds']['root']}; all others are derived"),
            Fact(label="Commitment to the seeds", text=evidence["seeds"]["commitment"], code=True),
            Fact(label="Environment", text=f"{environment['platform']}, {environment['device']}; "
                 f"{_settings({**versions, **environment['libraries']})}"),
            Fact(label="Time", text=f"{numbers.seconds(evidence['duration_s'])} ({stages})"),
        )
    )  # fmt: skip


def _settings(items: Json) -> str:
    return (
        ", ".join(f"{name.replace('_', ' ')} {numbers.value(item)}" for name, item in items.items())
        or numbers.DASH
    )
