"""One page for the person whose data it was: what was done, when, what remains, how to complain.

It holds no scores, no parameters, no digests of models, no pseudonyms and no sizes: nothing in it
says more about the person, or about others, than that there was a request. The layout follows the
idea of a receipt in ISO/IEC TS 27560.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from forget_audit.reports import html, plain_words, receipt_words
from forget_audit.reports.languages import Catalogue, catalogue
from forget_audit.reports.page_one import STATED
from forget_audit.reports.view import Banner, Fact
from forget_audit.types import Json

MOST = 4
SIDE = "side"
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the page.

    Args:
        title: Heading.
        facts: Labelled values.
        points: Sentences.
        name: CSS class.
    """

    title: str
    facts: tuple[Fact, ...] = ()
    points: tuple[str, ...] = ()
    name: str = ""


def page(evidence: Json, language: str) -> bytes:
    """Return the receipt as a complete page, for browsers and for the PDF maker.

    Args:
        evidence: Fits the published schema.
        language: `en`, `de` or `fr`.

    Raises:
        ForgetAuditError: If the language is another one.
    """
    t = catalogue(language)
    report = evidence["report"]
    text = html.environment().get_template("receipt.html.j2").render(
        language=t.language,
        style=html.style("receipt.css"),
        title=t("Your request for deletion: what was done"),
        identifier=report["id"],
        issued_at=report["issued"],
        draft=t("DRAFT") if report["status"] == "draft" else "",
        draft_note=t("Not issued: nothing here may be relied on, it may still change."),
        answer=_answer(evidence, t),
        answer_label=t("Result of the check"),
        parts=(_who(evidence, t), _request(evidence, t), _done(evidence, t), _left(evidence, t),
               _rights(evidence, t)),
        seal=_seal(evidence, t),
    )  # fmt: skip
    return html.encoded(text)


def _answer(evidence: Json, t: Catalogue) -> Banner:
    outcome, reasons = evidence["verdict"]["outcome"], evidence["verdict"]["reasons"]
    failed = next(
        (receipt_words.FAILED[code] for code in reasons if code in receipt_words.FAILED),
        receipt_words.DIFFERS,
    )
    sentence = t(
        {"PASS": receipt_words.PASSED, "INCONCLUSIVE": receipt_words.UNDECIDED}.get(outcome, failed)
    )
    if outcome != "PASS":
        sentence = f"{sentence} {t('Please ask the controller what will be done next.')}"
    return Banner(
        outcome=outcome,
        word=t(receipt_words.HEADINGS[outcome]),
        code="",
        symbol=plain_words.SYMBOLS[outcome],
        style=outcome.lower(),
        sentence=sentence,
        counts="",
    )


def _who(evidence: Json, t: Catalogue) -> Part:
    report = evidence["report"]
    auditor = (evidence.get("parties") or {}).get("auditor")
    checked = t("the controller itself")
    if auditor:
        checked = t("{name}, {role}", name=auditor["name"], role=t.known(auditor["role"]))
    return Part(
        title=t("Who answers you"),
        facts=(
            Fact(label=t("Controller"), text=t.known(report["controller"] or STATED)),
            Fact(label=t("Contact"), text=report.get("contact") or t(STATED)),
            Fact(label=t("Checked by"), text=checked),
        ),
        name=SIDE,
    )


def _request(evidence: Json, t: Catalogue) -> Part:
    request = evidence["request"]
    return Part(
        title=t("Your request"),
        facts=(
            Fact(label=t("Reference"), text=request["reference"]),
            Fact(label=t("Received"), text=t.date(request["received"])),
            Fact(label=t("Answer due"), text=t.date(request.get("due"))),
            Fact(label=t("Deleted"), text=t.date(request.get("erased"))),
            Fact(label=t("Checked"), text=t.date(evidence["report"]["issued"][:10])),
        ),
        name=SIDE,
    )


def _done(evidence: Json, t: Catalogue) -> Part:
    request, method = evidence["request"], evidence["method"]
    if request.get("erased"):
        first = t(
            "According to the controller, the data named in your request were deleted on {date}.",
            date=t.date(request["erased"]),
        )
    else:
        first = t("The controller has not stated when the data named in your request were deleted.")
    if method is None:
        second = t("The controller changed the model; how it did so was not part of the check.")
    elif method["guarantee"] == "exact":
        second = t("The model was trained again, in full or in part, without these data.")
    else:
        second = t(
            "The model was changed by a procedure meant to remove what it had learnt from these "
            "data."
        )
    return Part(
        title=t("What was done"),
        points=(
            first,
            second,
            t("Then it was compared with models that were trained anew without these data."),
            t(
                "The check is about this one model and the tests used. It is a statement by those "
                "named here, not a certification by an authority."
            ),
        ),
    )


def _left(evidence: Json, t: Catalogue) -> Part:
    return Part(
        title=t("What remains"),
        points=(*_derived(evidence, t), *_recipients(evidence, t), *_records(evidence, t)),
    )


def _derived(evidence: Json, t: Catalogue) -> Iterable[str]:
    """Say in plain words what became of everything made from the model or the data."""
    lineage = evidence.get("lineage") or []
    named: dict[str, list[str]] = {fate: [] for fate in receipt_words.FATES}
    for item in lineage:
        kind = t(receipt_words.KINDS[item["kind"]])
        explained = item["detail"] and item["fate"] in ("kept", "unknown")
        named[item["fate"]].append(f"{kind} ({item['detail']})" if explained else kind)
    for fate, sentence in receipt_words.FATES.items():
        if named[fate]:
            yield t(sentence, things=_several(named[fate], t))
    if not lineage:
        yield t("Nothing is stated about copies, backups or other models made from the data.")
    elif not any(item["kind"] == "backup" for item in lineage):
        yield t("Nothing is stated about backup copies.")


def _recipients(evidence: Json, t: Catalogue) -> Iterable[str]:
    recipients = evidence.get("recipients") or []
    told = [
        t("{name} (on {date})", name=item["name"], date=t.date(item["informed"]))
        for item in recipients
        if item["informed"]
    ]
    if told:
        yield t("Others who had received the data and were told: {names}.", names=_several(told, t))
    untold = [item["name"] for item in recipients if not item["informed"]]
    if untold:
        yield t("Others who had received the data and were not told: {names}.",
                names=_several(untold, t))  # fmt: skip
    if not recipients:
        yield t("Nothing is stated about others who had received the data.")


def _records(evidence: Json, t: Catalogue) -> Iterable[str]:
    """Say how long what the audit itself holds is kept, and the report."""
    ends = [item["until"] for item in evidence["retention"]]
    kept = t("They are kept until the controller destroys them; you may ask for that.")
    if ends and all(map(DAY.fullmatch, ends)):
        kept = t("They are kept until {date} at the latest.", date=t.date(max(ends)))
    models = t(
        "For the check, test models were trained with and without the data, and measurements were "
        "stored under pseudonyms."
    )
    yield f"{models} {kept}"
    until = evidence["report"].get("retain_until")
    if until:
        yield t("The full report is kept until {date}.", date=t.date(until))
    else:
        yield t("How long the full report is kept is not stated.")


def _rights(evidence: Json, t: Catalogue) -> Part:
    authority = evidence["report"].get("authority")
    complain = t(
        "You may complain to a data protection supervisory authority, for instance where you live, "
        "where you work, or where you think the law was broken."
    )
    if authority:
        complain = t(
            "You may complain to a data protection supervisory authority, for instance this one: "
            "{authority}.",
            authority=authority,
        )
    return Part(
        title=t("Your rights"),
        points=(
            t("You may ask the controller what it still holds about you, and contest this answer."),
            complain,
            t("You may also take the matter to court."),
        ),
    )


def _seal(evidence: Json, t: Catalogue) -> Part:
    report = evidence["report"]
    return Part(
        title=t("How to check this page"),
        points=(
            t(
                "This page belongs to the audit report {id} of {date}.",
                id=report["id"], date=t.date(report["issued"][:10]),
            ),
            t(
                "As a PDF it is signed electronically: a PDF reader shows whose key signed it, and "
                "whether it was changed since. Ask the controller for the fingerprint of that key "
                "and compare."
            ),
        ),
    )  # fmt: skip


def _several(names: Iterable[str], t: Catalogue) -> str:
    """Return different names in a row; of many, the first few."""
    different = list(dict.fromkeys(names))
    shown = ", ".join(different[:MOST])
    more = len(different) - MOST
    return t("{names} and further ones ({count})", names=shown, count=more) if more > 0 else shown
