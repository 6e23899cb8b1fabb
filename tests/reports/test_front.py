"""Page one: every word of it, for every outcome, in every language, and for older evidence."""

import re

import pytest

from forget_audit.reports import headlines, html, html_signature, page_one, plain_words, sections
from forget_audit.reports.languages import catalogue
from forget_audit.types import Json
from tests.fixtures.evidence import complete, evidence
from tests.fixtures.released import key
from tests.reports.test_page import page_of, text_of, undrawn, words_of


def front_of(document: Json, language: str | None = None) -> str:
    """What a reader sees of page one, in one line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "body", lambda *_: ())
        return words_of(page_of(document, language))


@pytest.mark.parametrize(
    ("outcome", "symbol", "sentence"),
    [
        ("PASS", "✓", "At most 13 % of the measurable influence of the deleted records remains in "
         "the model (or was over-removed), with 95 % confidence; 20 % was allowed."),
        ("FAIL", "✕", "About 41 % of the measurable influence of the deleted records is still in "
         "the model (between 31 % and 51 %; 20 % would have been allowed)."),
        ("INCONCLUSIVE", "?", "The audit cannot tell whether the deleted records are gone."),
    ],
)  # fmt: skip
def test_the_answer_is_a_word_a_symbol_and_a_sentence(
    outcome: str, symbol: str, sentence: str
) -> None:
    text = text_of(evidence(outcome))
    assert f"{symbol} {outcome}" in text
    assert sentence in text
    assert re.search(
        r"Required tests within the margin: \d of \d · conditions met: \d of \d · further measures "
        r"that differ: \d of \d",
        text,
    )


def test_a_required_test_that_is_inconclusive_is_counted_as_such() -> None:
    assert "Required tests within the margin: 0 of 1 · conditions met: 5 of 7" in front_of(
        evidence("INCONCLUSIVE")
    )


@pytest.mark.parametrize("code", sorted(plain_words.REASONS))
def test_every_reason_is_explained_in_words(code: str) -> None:
    document = evidence("INCONCLUSIVE")
    document["verdict"]["reasons"] = [code]
    assert f"{plain_words.REASONS[code]} ({code})" in front_of(document)


def test_an_unknown_reason_points_to_the_section_on_the_verdict() -> None:
    document = evidence("FAIL")
    document["verdict"]["reasons"] = ["NEW_CODE"]
    text = front_of(document)
    assert "See the section on the verdict. (NEW_CODE)" in text
    assert plain_words.BANNERS["FAIL"] in text


@pytest.mark.parametrize("scope", ["instance", "class", "subclass", "attribute"])
@pytest.mark.parametrize("outcome", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_verdict_words_agree_for_every_outcome_reason_and_scope(outcome: str, scope: str) -> None:
    for language, (word, code) in {
        "en": (outcome, ""),
        "de": ({"PASS": "BESTANDEN", "FAIL": "NICHT BESTANDEN"}.get(outcome, "NICHT ENTSCHEIDBAR"),
               f"({outcome})"),
        "fr": ({"PASS": "RÉUSSI", "FAIL": "ÉCHEC"}.get(outcome, "NON CONCLUANT"), f"({outcome})"),
    }.items():  # fmt: skip
        t = catalogue(language)
        for reason in (None, *plain_words.REASONS):
            document = evidence(outcome)
            document["request"]["scope"] = scope
            document["verdict"]["reasons"] = [reason] if reason else []
            banner = page_one.banner(document, t)
            assert (banner.word, banner.code, banner.style) == (word, code, outcome.lower())
            known = outcome == "FAIL" and reason in plain_words.BANNERS
            key_text = plain_words.BANNERS[str(reason) if known else outcome]
            labels = scope == "attribute"
            assert banner.sentence == t.deleted(key_text, labels=labels)
            said = " ".join((banner.sentence, *headlines.found(document, t)))
            if labels:
                assert not re.search(
                    "deleted records|gelöschten? Datens|enregistrements suppr", said
                )


def test_a_loss_of_accuracy_alone_is_named() -> None:
    document = evidence("FAIL")
    document["verdict"]["reasons"] = ["UTILITY"]
    for item in document["statistics"]:
        item["outcome"] = "pass" if item["role"] == "primary" else "informative"
    text = front_of(document)
    assert "Unlearning took more of the model's accuracy than was allowed." in text
    assert "beyond chance in: accuracy." in text


def test_bounds_and_margins_are_never_rounded_in_the_favour_of_a_model() -> None:
    document = evidence("PASS")
    document["battery"]["settings"]["alpha"] = 0.001
    document["statistics"][0]["margin"] = 0.125
    text = front_of(document)
    assert "with 99.9 % confidence; 12.5 % was allowed" in text
    document["verdict"]["attained_bound"] = None
    assert "lies within the margin." in front_of(document)
    document = evidence("INCONCLUSIVE")
    document["controls"]["power"]["detectable_share"] = 0.6101
    assert "Only a remainder above 62 % would have been noticed" in front_of(document)
    document["controls"]["power"]["detectable_share"] = None
    document["statistics"][0]["interval"] = [None, None]
    assert "remainder" not in front_of(document)


def test_over_removal_is_a_failure_in_plain_words() -> None:
    document = evidence("FAIL")
    document["verdict"]["reasons"] = ["OVERFORGET"]
    document["statistics"][0] |= {"difference": -0.4, "interval": [-0.5, -0.3], "estimate": -0.4}
    text = front_of(document)
    assert "pushed about 40 % of the measurable influence of the deleted records beyond" in text
    assert "between −50 % and −30 %" in text


def test_a_failure_outside_the_main_measure_names_what_differs() -> None:
    document = evidence("FAIL")
    document["statistics"][0]["outcome"] = "pass"
    assert "differs from retrained models beyond chance in: residual influence, log-odds" in (
        front_of(document)
    )


def test_what_a_signature_means_is_said() -> None:
    text = front_of(evidence())
    for sentence in plain_words.SIGNATURE:
        assert sentence in text
    assert "first-party declaration" in text
    assert "not a certification under Art. 42 GDPR" in text
    assert "not a proof of deletion" in text
    assert key().key_fingerprint in text
    assert key().certificate_fingerprint in text
    assert "key used without a person present" in text


def test_the_paper_is_a_declaration_or_an_audit_report_and_never_certified() -> None:
    named = "This is the report of the auditor named below; how independent they are is their own"
    for document, kind, first in (
        (evidence(), "Declaration by the controller; not a certification", "first-party"),
        (complete(), "Audit report by a named auditor; not a certification", named),
    ):
        text = front_of(document)
        assert kind in text
        assert first in text
        assert not re.search(r"\bcertif(y|ies|ied)\b", text, re.IGNORECASE)


def test_page_one_says_which_report_this_is_and_who_may_read_it() -> None:
    text = front_of(complete())
    for words in (
        "ISSUED", "Report FA-20261121-3F9A1C", "Date 21 November 2026, 10:00 UTC",
        "Version replaces FA-20261103-0B77D2: The first report named the wrong day of receipt.",
        "Made with forget-audit 0.1.0",
        "Classification restricted; contains pseudonymised personal data",
        "Distribution Data protection officer, Supervisory authority on request",
    ):  # fmt: skip
        assert words in text, words


def test_page_one_says_who_asked_whom_when_and_about_which_model() -> None:
    document = complete()
    text = front_of(document)
    for words in (
        "Does the model still carry the deleted records, compared with 39 models retrained",
        "100 records of “RAND Health Insurance Experiment, 1974 to 1982” (records kept: 1 000)",
        "Audited model unlearned.safetensors, made by the audit",
        f"its SHA-256 {document['model']['audited'][0]['sha256']}",
        "Decision asked for Whether the unlearned model may replace the original in production",
        "Request REQ-7731", "Legal basis GDPR Art. 17", "Received 1 November 2026",
        "Due 1 December 2026", "Erased 5 November 2026", "Audited 21 November 2026",
        "Controller Example Controller Ltd", "Processor Example Cloud GmbH",
        "Auditor A. Auditor, privacy engineer, Example Controller Ltd; independence: did not take "
        "part in training or unlearning the model",
    ):  # fmt: skip
        assert words in text, words
    document["request"]["erased"] = "2026-12-02"
    assert "Erased 2 December 2026, after the deadline" in front_of(document)


def test_page_one_says_how_to_check_the_file() -> None:
    document = complete()
    text = front_of(document)
    begin, end = html_signature.BEGIN.decode(), html_signature.END.decode()
    for words in (
        "Everything forget-audit verify FOLDER", "The PDF alone pdfsig report.pdf",
        f"The page alone sed '/^{begin}$/,/^{end}$/d' report.html | sha256sum",
        "Ledger example.org/forget-audit; entries before this one: 41; their root: "
        f"{document['ledger']['root'][:16]}…",
    ):  # fmt: skip
        assert words in text, words
    assert document["ledger"]["root"] not in text


def test_of_many_copies_page_one_names_two() -> None:
    document = complete()
    document["model"]["audited"] = [
        {**document["model"]["audited"][0], "name": f"copy-{i}.safetensors", "made_by": "handed in"}
        for i in range(5)
    ]
    text = front_of(document)
    assert "copy-1.safetensors, handed in ready-made" in text
    assert "copy-2.safetensors" not in text
    assert "Further copies 3; all digests stand in the attestation" in text


def test_older_evidence_leaves_no_gap_unsaid() -> None:
    text = front_of(evidence())
    for words in (
        "Version first", "Distribution not stated", "Decision asked for not stated",
        "Due not stated", "Erased not stated", "Processor none stated",
        "Auditor the controller itself", "Ledger not stated",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("language", "word", "note"),
    [("en", "DRAFT", "nothing here may be relied on"), ("de", "ENTWURF", "Nicht ausgestellt"),
     ("fr", "PROJET", "Non émis")],
)  # fmt: skip
def test_a_draft_says_so_on_every_page_and_needs_no_signer(
    language: str, word: str, note: str
) -> None:
    document = complete()
    assert word not in front_of(document, language)
    document = undrawn(document)
    document["report"]["status"] = "draft"
    assert note in front_of(document, language)
    view = html.build(document, None, language)
    assert view.draft
    assert view.footer.startswith(f"{word} · ")
    assert view.status_word == word
    assert catalogue(language)("nobody: this is a draft") in view.signer.items[0].text
    assert "watermark" in html.page(view, medium="pdf").decode().partition("</style>")[2]


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_page_one_and_glossary_are_in_the_language_asked_for_and_the_body_says_it_is_not(
    language: str,
) -> None:
    document = undrawn(complete("FAIL"))
    page = page_of(document, language)
    assert page.count(f'<html lang="{language}">') == 1
    assert '<div class="body" id="details" lang="en">' in page
    marked = f'<section id="glossary" lang="{language}">' in page
    assert marked == (language != "en")
    t = catalogue(language)
    for heading in ("What was found", "What was asked", "How to check it", "Glossary"):
        assert t(heading) in page
    document["report"]["language"] = language
    assert f'<html lang="{language}">' in page_of(document)


def crowded(outcome: str) -> Json:
    """Evidence that fills page one and the receipt as far as may really happen."""
    document = complete(outcome)
    reasons = {
        "PASS": ["TRIVIAL", "FIDELITY"],
        "FAIL": ["RESIDUAL", "STREISAND", "UTILITY", "FIDELITY"],
        "INCONCLUSIVE": ["NO_SIGNAL", "UNDERPOWERED", "SHIFT", "NOT_SHOWN"],
    }
    document["verdict"]["reasons"] = reasons[outcome]
    controller = "Landesbetrieb für Gesundheitsdaten und Versorgungsforschung Musterland, Anstalt"
    document["report"] |= {
        "status": "draft", "controller": f"{controller} des öffentlichen Rechts",
        "contact": "Datenschutzbeauftragte, Musterstraße 123, 12345 Musterstadt, Telefon auf "
                   "Anfrage",
        "authority": "Die Landesbeauftragte für den Datenschutz und die Informationsfreiheit "
                     "Musterland, Postfach 1234, 12345 Musterstadt",
        "decision": "Whether the triage model 4.2 may go back into service in all clinics of the "
                    "group, and from which day on",
        "distribution": ["Data protection officer", "Head of clinical data science",
                         "Internal audit", "Supervisory authority of Musterland"],
        "change": "the first run had used an outdated list of records to be deleted",
    }  # fmt: skip
    document["parties"] |= {
        "processor": "Cloud Machine Learning Services Europe Ltd, Dublin",
        "auditor": {
            "name": "Dr. Elisabeth Mustermann-Beispielhaft, Musterprüf Wirtschaftsprüfungs"
                    "gesellschaft mbH",
            "role": "external auditor",
            "independence": "no part in training or operating the model; paid by the controller",
        },
    }  # fmt: skip
    return document
