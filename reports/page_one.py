"""Page one: the verdict, what was asked, what was found, what it does not say, how to check it."""

from forget_audit.reports import numbers, words
from forget_audit.reports.view import Banner, Fact, Facts, Signer
from forget_audit.types import Json


def banner(evidence: Json) -> Banner:
    """Return the verdict with the counts behind it; never a bare colour."""
    outcome = evidence["verdict"]["outcome"]
    return Banner(
        outcome=outcome,
        symbol=words.SYMBOLS[outcome],
        style=outcome.lower(),
        sentence=_sentence(evidence),
        counts=_counts(evidence),
    )


def asked(evidence: Json) -> Facts:
    """Return the question: by whom, about which records and which model."""
    request, data = evidence["request"], evidence["data"]
    scope = f"{numbers.people(evidence['counts']['forget'])} records"
    if request["scope"] == "attribute":
        scope = f"the label “{request['attribute']}” of all {scope}"
    elif request["scope"] != "instance":
        kind = "class" if request["scope"] == "class" else "sub-class"
        scope += f": all of {kind} {numbers.value(request['classes'])}"
    size = f"{numbers.count(evidence['counts']['retain'])} records kept"
    received = f", received {request['received']}" if request["received"] else ""
    facts = [
        Fact(label="Question", text=f"Does the model still carry {_deleted(request)}, compared "
             f"with {evidence['counts']['retrained']} models retrained without them?"),
        Fact(label="Request", text=f"{request['reference']}{received}; {request['basis']}"),
        Fact(label="Controller", text=numbers.value(evidence["report"]["controller"])),
        Fact(label="To be forgotten", text=f"{scope} of “{data['title']}” ({size})"),
    ]  # fmt: skip
    for item in evidence["model"]["audited"]:
        text = f"{item['name']}, made by {item['made_by']}"
        if item["made_by"] == "handed in":
            text = f"{item['name']}, handed in ready-made"
        facts.append(Fact(label="Audited model", text=text))
        facts.append(Fact(label="its SHA-256", text=item["sha256"], code=True))
    return Facts(items=tuple(facts))


def _deleted(request: Json) -> str:
    return "the deleted labels" if request["scope"] == "attribute" else "the deleted records"


def found(evidence: Json) -> tuple[str, ...]:
    """Return the headline and the reasons in plain words."""
    verdict = evidence["verdict"]
    headline = {"PASS": _passed, "FAIL": _failed, "INCONCLUSIVE": _undecided}[verdict["outcome"]]
    return (headline(evidence), *(_reason(code) for code in verdict["reasons"]))


def not_said(evidence: Json) -> tuple[str, ...]:
    """Return what the verdict must not be taken for."""
    return (
        "This is a first-party declaration: whoever ran the audit speaks about a model of their "
        "own choice. It is not a certification under Art. 42 GDPR, and not legal advice.",
        "It is not a proof of deletion. It bounds what the attacks listed here can see, with the "
        f"access listed here ({evidence['battery']['access']}); other attacks may see more.",
        "It is about the model file named above alone: not about other models or copies, backups, "
        "or the records themselves.",
    )


def signer_facts(signer: Signer) -> Facts:
    """Return who signed and the two fingerprints, for comparing by hand."""
    name = f"{signer.name}, {signer.org}" if signer.org else signer.name
    how = "without a person present" if signer.protection == "unattended" else "under a passphrase"
    return Facts(
        items=(
            Fact(label="Signed by", text=f"{name}; key used {how}, valid until {signer.until}"),
            Fact(label="Key", text=signer.key, code=True),
            Fact(label="Certificate", text=signer.certificate, code=True),
        )
    )


def check() -> Facts:
    """Return the commands that check the report without trusting it."""
    return Facts(
        items=(
            Fact(label="Everything", text="forget-audit verify FOLDER",
                 code=True),
            Fact(label="The PDF alone", text="pdfsig report.pdf", code=True),
            Fact(label="The page alone", text="sed '/^<!-- forget-audit signature "
                 "begin -->$/,/^<!-- forget-audit signature end -->$/d' report.html | sha256sum",
                 code=True),
        )
    )  # fmt: skip


def _sentence(evidence: Json) -> str:
    outcome, reasons = evidence["verdict"]["outcome"], evidence["verdict"]["reasons"]
    codes = [code for code in reasons if outcome == "FAIL" and code in words.BANNERS]
    sentence = words.BANNERS[next(iter(codes), outcome)]
    return sentence.replace("the deleted records", _deleted(evidence["request"]))


def _counts(evidence: Json) -> str:
    required = evidence["battery"]["required"]
    tests = [item for item in evidence["statistics"] if item["name"] in required]
    shown = sum(item["outcome"] == "pass" for item in tests)
    gates = evidence["gates"]
    met = sum(item["outcome"] != "fail" for item in gates)
    watched = [item for item in evidence["statistics"] if item["role"] in ("secondary", "whitebox")]
    differ = sum(item["outcome"] == "fail" for item in watched)
    noun = "test" if len(required) == 1 else "tests"
    return (
        f"{shown} of {len(required)} required {noun} within the margin · {met} of {len(gates)} "
        f"conditions met · {differ} of {len(watched)} further measures differ"
    )


def _main(evidence: Json) -> Json | None:
    return next((item for item in evidence["statistics"] if item["role"] == "primary"), None)


def _confidence(evidence: Json) -> str:
    return numbers.percent(1 - evidence["battery"]["settings"].get("alpha", 0.05))


def _passed(evidence: Json) -> str:
    bound, main = evidence["verdict"]["attained_bound"], _main(evidence)
    allowed = main and main["margin"]
    share = "a bounded share" if bound is None else f"at most {numbers.percent_at_most(bound)}"
    gone = _deleted(evidence["request"])
    text = (
        f"{share[0].upper()}{share[1:]} of the measurable influence of {gone} "
        f"remains in the model (or was over-removed), with {_confidence(evidence)} confidence"
    )
    return f"{text}; {numbers.percent(allowed)} was allowed." if allowed else f"{text}."


def _failed(evidence: Json) -> str:
    main = _main(evidence)
    differing = [item["name"] for item in evidence["statistics"] if item["outcome"] == "fail"]
    if main is None or main["outcome"] != "fail" or main["difference"] is None:
        named = [words.MEASURES[name].title.lower() for name in differing if name in words.MEASURES]
        what = ", ".join(named) or "accuracy"
        return f"The model differs from retrained models beyond chance in: {what}."
    low, high = (numbers.percent(end) for end in main["interval"])
    span = f"between {low} and {high}; {numbers.percent(main['margin'])} would have been allowed"
    if main["difference"] < 0:
        return (
            f"The model was pushed about {numbers.percent(-main['difference'])} of the measurable "
            f"influence of {_deleted(evidence['request'])} beyond where retrained models lie "
            f"({span})."
        )
    return (
        f"About {numbers.percent(main['difference'])} of the measurable influence of "
        f"{_deleted(evidence['request'])} is still in the model ({span})."
    )


def _undecided(evidence: Json) -> str:
    main, power = _main(evidence), evidence["controls"]["power"]["detectable_share"]
    text = f"The audit cannot tell whether {_deleted(evidence['request'])} are gone."
    if main is not None and None not in main["interval"]:
        low, high = (numbers.percent(end) for end in main["interval"])
        text += f" What remains of their influence lies anywhere between {low} and {high}."
    if power is not None:
        text += (
            f" Only a remainder above {numbers.percent(power)} would have been noticed reliably."
        )
    return text


def _reason(code: str) -> str:
    return f"{words.REASONS.get(code, 'See the section on the verdict.')} ({code})"
