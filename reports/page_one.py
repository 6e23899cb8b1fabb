"""Page one: what the report is, the verdict, what was asked of which model, how to check it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forget_audit.reports import headlines, numbers, plain_words
from forget_audit.reports.languages import Catalogue, message
from forget_audit.reports.view import Banner, Fact, Facts
from forget_audit.types import SMALL_REQUEST, Json

SHORT = 16
MOST_MODELS = 2
STATED = "not stated"

_SCOPES: Mapping[str, str] = {
    "instance": message("{size} records of “{data}” (records kept: {kept})"),
    "people": message("{size} records of {people} people in “{data}” (records kept: {kept})"),
    "class": message("{size} records of “{data}”: all of class {classes} (records kept: {kept})"),
    "subclass": message(
        "{size} records of “{data}”: all of sub-class {classes} (records kept: {kept})"
    ),
    "attribute": message(
        "the label “{attribute}” of {size} records of “{data}” (records kept: {kept})"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Whose signature the report carries.

    Args:
        name: As in the certificate.
        org: Organisation, if any.
        protection: `unattended`, `passphrase` or `token`.
        key: Fingerprint of the key in groups of four.
        certificate: Fingerprint of the certificate in groups of four.
        until: Last day of the certificate.
    """

    name: str
    org: str | None
    protection: str
    key: str
    certificate: str
    until: str


def kind(evidence: Json, t: Catalogue) -> str:
    """Return what the paper is: a declaration, or the report of a named auditor."""
    if _party(evidence, "auditor") is None:
        return t("Declaration by the controller; not a certification")
    return t("Audit report by a named auditor; not a certification")


def status(evidence: Json, t: Catalogue) -> str:
    """Return whether the report counts."""
    return t("DRAFT") if evidence["report"]["status"] == "draft" else t("ISSUED")


def header(evidence: Json, t: Catalogue) -> Facts:
    """Return which report this is, which version of it, and who may read it."""
    report, tool = evidence["report"], evidence["tool"]
    version = t("first")
    if report["supersedes"]:
        version = t("replaces {id}", id=report["supersedes"])
        if report.get("change"):
            version = f"{version}: {report['change']}"
    readers = ", ".join(report.get("distribution", ())) or t(STATED)
    return Facts(
        items=(
            Fact(label=t("Report"), text=report["id"]),
            Fact(label=t("Date"), text=t.moment(report["issued"])),
            Fact(label=t("Version"), text=version),
            Fact(label=t("Made with"), text=f"{tool['name']} {tool['version']}"),
            Fact(label=t("Classification"), text=classification(evidence, t)),
            Fact(label=t("Distribution"), text=readers),
        )
    )


def classification(evidence: Json, t: Catalogue) -> str:
    """Return who may read the report, and why not everybody."""
    return t(
        "{level}; contains pseudonymised personal data",
        level=t.known(evidence["report"]["classification"]),
    )


def banner(evidence: Json, t: Catalogue) -> Banner:
    """Return the verdict with the counts behind it; never a bare colour."""
    outcome = evidence["verdict"]["outcome"]
    word = t(plain_words.WORDS[outcome])
    return Banner(
        outcome=outcome,
        word=word,
        code="" if word == outcome else f"({outcome})",
        symbol=plain_words.SYMBOLS[outcome],
        style=outcome.lower(),
        sentence=headlines.sentence(evidence, t),
        counts=headlines.counts(evidence, t),
    )


def asked(evidence: Json, t: Catalogue) -> Facts:
    """Return the question: about which records, which model, and for what decision."""
    facts = [
        Fact(label=t("Question"), text=_question(evidence, t)),
        Fact(label=t("To be forgotten"), text=_scope(evidence, t)),
        *_models(evidence, t),
    ]
    decision = evidence["report"].get("decision")
    facts.append(Fact(label=t("Decision asked for"), text=decision or t(STATED)))
    return Facts(items=tuple(facts))


def clock(evidence: Json, t: Catalogue) -> Facts:
    """Return the request and its dates; says so if the deadline was missed."""
    request = evidence["request"]
    due, erased = request.get("due"), request.get("erased")
    done = t.date(erased)
    if due and erased and erased > due:
        done = t("{date}, after the deadline", date=done)
    return Facts(
        items=(
            Fact(label=t("Request"), text=t.known(request["reference"])),
            Fact(label=t("Legal basis"), text=t.known(request["basis"])),
            Fact(label=t("Received"), text=t.date(request["received"])),
            Fact(label=t("Due"), text=t.date(due)),
            Fact(label=t("Erased"), text=done),
            Fact(label=t("Audited"), text=t.date(evidence["report"]["issued"][:10])),
        )
    )


def parties(evidence: Json, t: Catalogue) -> Facts:
    """Return who answers for the data, who works for them, and who audited."""
    controller, processor = evidence["report"]["controller"], _party(evidence, "processor")
    auditor = t("the controller itself")
    if person := _party(evidence, "auditor"):
        auditor = t(
            "{name}, {role}; independence: {independence}",
            name=person["name"], role=t.known(person["role"]),
            independence=t.known(person["independence"]),
        )  # fmt: skip
    return Facts(
        items=(
            Fact(label=t("Controller"), text=t.known(controller or STATED)),
            Fact(label=t("Processor"), text=processor or t("none stated")),
            Fact(label=t("Auditor"), text=auditor),
        )
    )


def not_said(evidence: Json, t: Catalogue) -> tuple[str, ...]:
    """Return what the verdict must not be taken for."""
    first = t(
        "This is a first-party declaration: whoever ran the audit speaks about a model of their "
        "own choice. It is not a certification under Art. 42 GDPR, and not legal advice."
    )
    if _party(evidence, "auditor"):
        first = t(
            "This is the report of the auditor named below; how independent they are is their own "
            "statement. It is not a certification under Art. 42 GDPR, and not legal advice."
        )
    return (
        first,
        t(
            "It is not a proof of deletion. It bounds what the attacks listed here can see, with "
            "the access listed here ({access}); other attacks may see more.",
            access=t.known(evidence["battery"]["access"]),
        ),
        t(
            "It is about the model file named below alone: not about other models or copies, "
            "backups, or the records themselves."
        ),
    )


def signer_facts(signer: Signer | None, t: Catalogue) -> Facts:
    """Return who signed and the two fingerprints, for comparing by hand."""
    if signer is None:
        return Facts(items=(Fact(label=t("Signed by"), text=t("nobody: this is a draft")),))
    return Facts(
        items=(
            Fact(
                label=t("Signed by"),
                text=t(
                    "{name}; {how}, valid until {date}",
                    name=f"{signer.name}, {signer.org}" if signer.org else signer.name,
                    how=t(plain_words.KEYS[signer.protection]),
                    date=t.date(signer.until),
                ),
            ),
            Fact(label=t("Key"), text=signer.key, code=True),
            Fact(label=t("Certificate"), text=signer.certificate, code=True),
        )
    )


def check(evidence: Json, t: Catalogue) -> Facts:
    """Return the commands that check the report without trusting it, and its ledger entry."""
    facts = [
        Fact(label=t("Everything"), text="forget-audit verify FOLDER", code=True),
        Fact(label=t("The PDF alone"), text="pdfsig report.pdf", code=True),
        Fact(label=t("The page alone"), text="sed '/^<!-- forget-audit signature "
             "begin -->$/,/^<!-- forget-audit signature end -->$/d' report.html | sha256sum",
             code=True),
    ]  # fmt: skip
    ledger = evidence.get("ledger")
    position = t(STATED)
    if ledger:
        position = t(
            "{origin}; entries before this one: {size}; their root: {root}",
            origin=ledger["origin"], size=t.number(ledger["size"]),
            root=f"{ledger['root'][:SHORT]}…",
        )  # fmt: skip
    return Facts(items=(*facts, Fact(label=t("Ledger"), text=position)))


def _question(evidence: Json, t: Catalogue) -> str:
    return t.deleted(
        "Does the model still carry the deleted records, compared with {count} models retrained "
        "without them?",
        labels=headlines.labels_only(evidence), count=evidence["counts"]["retrained"],
    )  # fmt: skip


def _scope(evidence: Json, t: Catalogue) -> str:
    request, counts = evidence["request"], evidence["counts"]
    small = numbers.is_small(counts)
    kept = t.number(_coarse(counts["retain"]) if small else counts["retain"])
    values = {
        "size": t("fewer than 10") if small else t.number(counts["forget"]),
        "data": evidence["data"]["title"],
        "kept": t("about {count}", count=kept) if small else kept,
        "attribute": request.get("attribute"),
        "classes": ", ".join(map(str, request["classes"])),
    }
    people = counts.get("people", {}).get("forget")
    if people is not None:
        return t(_SCOPES["people"], people=t.number(people), **values)
    return t(_SCOPES[request["scope"]], **values)


def _models(evidence: Json, t: Catalogue) -> list[Fact]:
    audited = evidence["model"]["audited"]
    facts = []
    for item in audited[:MOST_MODELS]:
        text = t("{name}, made by {maker}", name=item["name"], maker=t.known(item["made_by"]))
        if item["made_by"] == "handed in":
            text = t("{name}, handed in ready-made", name=item["name"])
        facts.append(Fact(label=t("Audited model"), text=text))
        facts.append(Fact(label=t("its SHA-256"), text=item["sha256"], code=True))
    if len(audited) > MOST_MODELS:
        text = t("{count}; all digests stand in the attestation", count=len(audited) - MOST_MODELS)
        facts.append(Fact(label=t("Further copies"), text=text))
    return facts


def _coarse(count: int) -> int:
    return SMALL_REQUEST * (count // SMALL_REQUEST)


def _party(evidence: Json, name: str) -> Any:
    return (evidence.get("parties") or {}).get(name)
