"""The body of the report: every section, in order, from the evidence alone, for every evidence."""

import copy
import re

import pytest

from forget_audit.reports import (
    attack_tables,
    numbers,
    obligations,
    section_battery,
    section_data,
    section_governance,
    section_results,
    section_verdict,
    sections,
    tables,
    words,
)
from forget_audit.reports.evidence import problems
from forget_audit.reports.view import SignOff
from forget_audit.types import Json
from tests.fixtures.bodies import (
    BODIES,
    DIGEST,
    OUTCOMES,
    all_tables,
    body_of,
    document_of,
    said,
    text_of,
)
from tests.fixtures.evidence import complete, evidence, without_figures

ORDER = [
    "data", "lineage", "method", "reference", "battery", "results", "controls", "stress",
    "uncertainty", "utility", "limits", "verdict-rule", "sign-off", "reproducibility",
    "retention", "obligations", "glossary", "changes",
]  # fmt: skip


# All sections


@pytest.mark.parametrize(("kind", "outcome"), BODIES)
def test_every_section_is_there_in_order_with_something_in_it(kind: str, outcome: str) -> None:
    body = body_of(kind, outcome)
    assert [section.anchor for section in body] == ORDER
    assert all(section.title and section.blocks for section in body)
    assert len({section.title for section in body}) == len(body)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_fixtures_fit_the_schema_and_fill_all_of_it(outcome: str) -> None:
    document = complete(outcome)
    assert not problems(document)
    missing = {"distributions"} if outcome == "INCONCLUSIVE" else set()
    optional = {"parties", "lineage", "recipients", "ledger", "side_effects", "distributions",
                "command"}  # fmt: skip
    assert optional - set(document) == missing
    assert not optional & set(evidence(outcome))


@pytest.mark.parametrize(("kind", "outcome"), BODIES)
def test_tables_are_rectangular_captioned_and_written_with_true_minus_signs(
    kind: str, outcome: str
) -> None:
    found = list(all_tables(body_of(kind, outcome)))
    assert len(found) > 8
    for table in found:
        assert table.caption
        assert table.rows
        for row in table.rows:
            widths = sum(cell.span for cell in row.cells)
            assert widths == (1 if row.heading else len(table.columns)), table.caption
            assert row.cells[0].text
            for cell in row.cells:
                assert not re.search(r"(?:^|[ \[±])-\d", cell.text), cell.text


def test_everything_a_careful_controller_declares_is_shown() -> None:
    document, text = document_of("complete", "FAIL"), text_of(body_of("complete"))
    declared = [item[key] for item in document["lineage"] for key in ("name", "detail")]
    declared += [item["name"] for item in document["recipients"]]
    declared += list(document["parties"]["reviewer"].values())
    declared += [item["name"] for item in document["side_effects"]["groups"]]
    declared += [document["ledger"]["origin"], document["ledger"]["root"], document["command"]]
    declared += [document["report"][key] for key in ("supersedes", "change")]
    declared += [document["method"][key] for key in ("assumptions", "reconstructed")]
    declared += [document["battery"]["profile_digest"], document["data"]["forget_commitment"]]
    declared += ["21 November 2036", "audit number 2 of this request", "4 November 2026"]
    assert not [item for item in declared if item not in text]


def test_evidence_of_earlier_versions_says_what_it_lacks() -> None:
    text = text_of(body_of("older"))
    assert "No derived artefacts were declared" in text
    assert "No reviewer was named" in text
    assert "Accuracy by class is not in the evidence" in text
    assert "no position was recorded" in text
    assert "nothing: this is the first version" in text


# What went in


def test_unknown_fates_come_first_and_are_counted_before_the_table() -> None:
    blocks = section_data.lineage(document_of("complete", "PASS"))
    table = next(all_tables(blocks))
    fates = [row.cells[2].text for row in table.rows]
    assert fates[:4] == ["fate unknown", "fate unknown", "kept", "kept"]
    assert [row.cells[2].symbol for row in table.rows][:3] == ["?", "?", "!"]
    assert "Of 10 derived artefacts, 2 are of unknown fate and 2 were kept" in text_of(blocks)


def test_lineage_without_backups_or_recipients_says_so() -> None:
    document = complete("PASS")
    document["lineage"] = [item for item in document["lineage"] if item["kind"] == "ema"]
    document["recipients"] = []
    text = text_of(section_data.lineage(document))
    assert "Nothing was declared about checkpoints or backups; they are not covered." in text
    assert "No recipients of the deleted records" in text
    assert "unknown fate" not in text


@pytest.mark.parametrize("empty", [None, []])
def test_undeclared_lineage_is_a_plain_warning(empty: list[Json] | None) -> None:
    document = complete("PASS")
    document["lineage"] = empty
    if empty is None:
        del document["lineage"]
    assert "They are NOT covered by this report" in text_of(section_data.lineage(document))
    limits = text_of(section_verdict.limits(document))
    assert "Derived artefacts were not declared, and are not covered." in limits


def test_a_recipient_who_was_not_told_stands_out() -> None:
    blocks = section_data.lineage(document_of("complete", "PASS"))
    told = list(all_tables(blocks))[1].rows[1].cells[1]
    assert (told.symbol, told.text) == ("?", "not stated")


@pytest.mark.parametrize(
    ("request_", "plan", "rule"),
    [
        ({"scope": "instance"}, {"random": 100}, "drawn at random by the audit"),
        ({"scope": "instance"}, {"forget": "a list of ids"}, "a list handed in by the controller"),
        ({"scope": "class", "classes": [3, 4]}, {}, "every record of class 3, 4"),
        ({"scope": "attribute", "attribute": "smoker"}, {}, "the label “smoker” of every record"),
    ],
)
def test_the_selection_rule_is_said_in_words(request_: Json, plan: Json, rule: str) -> None:
    document = evidence()
    document["request"] |= request_
    document["plan"]["request"] = plan
    assert rule in text_of(section_data.identity(document))


def test_deviations_from_the_plan_are_found() -> None:
    document = complete("PASS")
    assert "none: method and options are those of the plan" in text_of(
        section_data.method(document)
    )
    document["plan"]["method"] = {"name": "finetune", "options": {"epochs": 5, "lr": 0.0005}}
    text = text_of(section_data.method(document))
    assert "planned was finetune; planned was epochs 5" in text
    assert "planned was lr" not in text


def test_a_model_that_was_handed_in_is_said_to_be_unobserved() -> None:
    assert "was not observed" in text_of(section_data.method(evidence("INCONCLUSIVE")))


# Tests and results


def test_every_test_has_purpose_threat_model_statistic_margin_sample_and_role() -> None:
    document = document_of("longest", "FAIL")
    table = next(t for t in all_tables(section_battery.battery(document)) if t.name == "battery")
    rows = [row for row in table.rows if not row.heading]
    assert len(rows) == len(document["statistics"]) + len(document["attacks"])
    assert all(row.cells[0].note and row.cells[1].text and row.cells[4].text for row in rows)
    boxes = {row.cells[0].text: row.cells[1].text for row in rows}
    assert boxes["Labels under noise"] == "black box"
    assert boxes["Gaussian poison"] == "grey box"
    assert boxes["Relearning speed"] == "white box"
    first = rows[0].cells
    assert (first[3].text, first[5].text) == (f"±{numbers.THIN}0.2 around retrained models",
                                              "required")  # fmt: skip
    assert table.columns[3].note == f"by rule {document['battery']['profile_digest'][:12]}…"


def test_every_measure_of_the_verdict_has_words() -> None:
    for name, measure in words.MEASURES.items():
        assert measure.purpose.endswith("."), name
        assert measure.unit, name


def test_a_label_is_not_called_a_class_and_white_box_measures_are_named() -> None:
    document = evidence()
    document["request"] |= {"scope": "attribute", "attribute": "smoker"}
    document["battery"]["access"] = "answers and weights with the training recipe"
    document["statistics"][1]["name"] = "first_probe"
    table = next(t for t in all_tables(section_battery.battery(document)) if t.name == "battery")
    found = {row.cells[0].text: row.cells[1].text for row in table.rows if not row.heading}
    assert found["Residual influence"] == "white box"
    assert found["Label found in the first layer"] == "white box"


def test_measures_of_a_whole_class_have_the_unit_they_are_computed_in() -> None:
    assert "deleted to unseen" in tables.unit_of("js", "instance")
    assert "deleted records alone" in tables.unit_of("js", "class")


def test_attacks_without_a_result_are_listed_with_their_reason() -> None:
    document = document_of("plain", "PASS")
    document = copy.deepcopy(document)
    document["attacks"] += [{**document["attacks"][-1], "title": "Another"}]
    table = attack_tables.not_carried_out(document)
    assert table is not None
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    assert ["Answers under noise (label only); Another", "left out by the plan", "not run"] in rows


def test_members_found_almost_without_mistakes_have_a_row_beside_the_headline() -> None:
    table = attack_tables.attacks(document_of("longest", "FAIL"))
    assert table is not None
    rows = [row.cells for row in table.rows if row.cells[0].text == "Loss threshold"]
    assert [cells[1].text for cells in rows] == [
        "area under the curve",
        "found at 1 % false alarms",
    ]
    assert rows[1][2].text == "0.040"
    assert rows[1][2].note == "0.011 to 0.099"


def test_a_battery_that_cannot_fail_the_original_is_void() -> None:
    document = evidence("INCONCLUSIVE")
    assert "Its results are void" in text_of(section_results.controls(document))
    assert "void" not in text_of(section_results.controls(evidence("PASS")))
    document["gates"][0]["outcome"] = "fail"
    assert "accused models that had truly been retrained" in text_of(
        section_results.controls(document)
    )


def test_no_power_is_certain() -> None:
    document = evidence()
    document["controls"]["power"]["pass_probability"] = 0.9999
    assert "with probability above 0.99" in text_of(section_results.controls(document))
    assert numbers.chance(0.001) == "below 0.01"
    assert numbers.chance(None) == numbers.DASH


def test_multiplicity_is_told_as_it_was_done() -> None:
    document = evidence()
    text = text_of(section_results.uncertainty(document))
    assert "two-sided 90 % interval" in text
    assert "its place among them would be random" in text
    document["battery"]["settings"] |= {"references": 79, "alpha": 0.0125}
    document["battery"]["claim"] = "artifact and canary"
    text = text_of(section_results.uncertainty(document))
    assert "two-sided 97.5 % interval" in text
    assert "its place among them would be random" not in text
    assert "shares the level with the coin-toss test" in text


@pytest.mark.parametrize(
    ("reasons", "low", "words_"),
    [
        ([], -0.05, "Over-removal check: no sign of it"),
        ([], -0.31, "Over-removal check: it cannot be excluded"),
        (["OVERFORGET"], -0.5, "pushed away from the deleted records"),
    ],
)
def test_over_removal_is_looked_for(reasons: list[str], low: float, words_: str) -> None:
    document = without_figures(evidence())
    document["verdict"]["reasons"] = reasons
    document["statistics"][0]["interval"] = [low, 0.1]
    assert words_ in text_of(section_results.utility(document))


def test_answers_that_stand_out_are_named() -> None:
    document = without_figures(evidence("FAIL"))
    assert "do not stand out beyond chance in any of the 3" in text_of(
        section_results.utility(document)
    )
    document["statistics"][3]["outcome"] = "fail"
    assert "The answers stand out in: spread of calibrated scores." in text_of(
        section_results.utility(document)
    )


def test_accuracy_by_class_gives_the_gap_and_hides_small_classes() -> None:
    table = tables.by_class(document_of("complete", "PASS"))
    assert table is not None
    first, last = table.rows[0].cells, table.rows[-1].cells
    assert [first[1].text, first[2].text] == ["60", "0.790"]
    assert first[4].text.startswith(numbers.MINUS)
    assert [cell.text for cell in last[1:]] == ["fewer than 10", *4 * [numbers.DASH]]


# Small requests


def test_nothing_in_the_body_depends_on_how_few_records_a_request_is_about() -> None:
    texts = set()
    for size, kept in ((3, 997), (8, 992), (None, 990)):
        document = complete("INCONCLUSIVE")
        document["counts"] |= {"forget": size, "retain": kept}
        document["controls"]["original"]["n_eff"] = (size or 5) - 0.5
        assert document["statistics"][7]["name"] == "tpr1"
        document["statistics"][7] |= {"estimate": -1 / (size or 5), "difference": 1 / (size or 5)}
        for attack in document["attacks"]:
            for metric in attack["metrics"]:
                rate = 0.001 * (size or 5)
                metric |= {"audited": 0.7 + rate, "low": rate, "high": 1 - rate}
        document["attacks"][1]["metrics"].append(
            {**document["attacks"][1]["metrics"][0], "name": "tpr_at_1_percent_fpr",
             "audited": 1 / (size or 5)}
        )  # fmt: skip
        document["attacks"][1]["series"] = evidence("PASS")["attacks"][1]["series"]
        document["distributions"] = complete("PASS")["distributions"]
        texts.add(text_of(sections.body(document, DIGEST)))
    assert len(texts) == 1
    text = texts.pop()
    assert "fewer than 10" in text
    assert "about 990" in text
    assert "would show the scores of single people" in text
    assert "At the lower left" not in text
    assert "Scores on" not in text


def test_large_requests_are_counted_exactly() -> None:
    text = text_of(section_data.identity(evidence("PASS")))
    assert f"Kept records 1{numbers.THIN}000" in " ".join(
        said(section_data.identity(evidence("PASS")))
    )
    assert "Deleted records 100" in text


# Judgement and paper


def test_dissent_is_named_whatever_the_verdict() -> None:
    document = evidence("PASS")
    assert "None: no further measure or attack disagrees." in text_of(
        section_verdict.rule(document)
    )
    document["statistics"][2]["outcome"] = "fail"
    document["fidelity"]["outcome"] = "fail"
    document["attacks"][1]["metrics"][0]["p_value"] = 0.025
    text = text_of(section_verdict.rule(document))
    assert "Calibrated membership advantage differs beyond chance." in text
    assert "The model as a whole can be told from a retrained one" in text
    assert "1 of 2 attacks rank the audited model outside the retrained ones at level 0.05" in text
    failed = evidence("FAIL")
    failed["statistics"][0]["outcome"] = "pass"
    text = text_of(section_verdict.rule(failed))
    assert "Residual influence was shown equivalent." in text
    assert "No difference was found in 6 of 8 further measures" in text


def test_decisive_tests_and_unmet_conditions_are_named() -> None:
    text = text_of(section_verdict.rule(evidence("INCONCLUSIVE")))
    assert (
        "Decisive tests: residual influence (not decided); conditions not met: NO_SIGNAL, " in text
    )
    text = text_of(section_verdict.rule(evidence("FAIL")))
    assert "calibrated membership advantage (differs); all conditions are met" in text


def test_the_disclaimer_is_always_whole() -> None:
    for outcome in OUTCOMES:
        document = complete(outcome)
        document["limits"] = [item for item in document["limits"] if item["code"] != "NOT_PROOF"]
        text = text_of(section_verdict.limits(document))
        for part in ("not legal advice", "not a certification", "not proof of absence"):
            assert part in text
        assert document["verdict"]["scope"] in text


def test_limits_of_this_run_follow_from_it() -> None:
    document = evidence("INCONCLUSIVE")
    document["attacks"][0]["outcome"] = "error"
    text = text_of(section_verdict.limits(document))
    assert "stopped with an error and say nothing: Loss threshold" in text
    assert "conditions were not met: NO_SIGNAL, UNDERPOWERED" in text
    assert "used without a person present" in text


@pytest.mark.parametrize("named", [True, False])
def test_there_is_always_a_place_for_a_reviewer_to_sign(named: bool) -> None:
    document = complete("PASS") if named else evidence("PASS")
    blocks = section_verdict.sign_off(document)
    frames = [block for block in blocks if isinstance(block, SignOff)]
    assert [frame.anchor for frame in frames] == ["reviewer-field"]
    assert ("R. Reviewer" in text_of(frames)) == named
    assert ("No reviewer was named" in text_of(blocks)) == (not named)


def test_how_to_run_it_again_is_said_with_all_digests() -> None:
    document = complete("PASS")
    text = text_of(section_governance.reproducibility(document, DIGEST))
    for digest in (*document["digests"].values(), document["tool"]["source_digest"], DIGEST):
        assert digest in text
    assert "forget-audit certify plan.toml" in text
    assert "total" not in text


def test_attempts_and_what_was_fixed_before_the_start_are_told() -> None:
    document = complete("PASS")
    begun = document["seeds"]["begun"]
    text = text_of(section_governance.reproducibility(document, DIGEST))
    assert "number 2 at this request; the ledger knew 2 by then, this one included" in text
    assert "held to the level 0.025, which is 0.05 / 2" in text
    assert "before anything was trained: method, plan, rows, and the seeds of 45 models" in text
    assert begun["ledger"] in text
    assert begun["commitment"] in text
    assert begun["nonce"] in text
    begun["seeds"] = {group: [] for group in begun["seeds"]}
    document["method"] = None
    text = text_of(section_governance.reproducibility(document, DIGEST))
    assert "audited model, plan, rows, and the seed." in text


def test_an_audit_that_no_ledger_knows_says_so_wherever_attempts_are_spoken_of() -> None:
    """Those made in Python said "audit number 1 of this request", which nobody had counted."""
    document = complete("PASS")
    del document["seeds"]["begun"]
    text = text_of(sections.body(document, DIGEST))
    assert text.count("no ledger counted") == 2
    assert "no: nothing was committed to in a ledger" in text
    assert "trying again may have made the verdict" in text
    assert "audit number" not in text
    assert "may have made the verdict" not in text_of(body_of("complete", "PASS"))


def test_duties_point_at_sections_that_exist_and_promise_nothing() -> None:
    section = next(s for s in body_of("plain", "PASS") if s.anchor == "obligations")
    table = next(all_tables([section]))
    assert len(table.rows) == len(obligations.OBLIGATIONS) > 12
    for item in obligations.OBLIGATIONS:
        assert set(item.places) <= {"page-one", *ORDER}, item.source
        assert item.places
    assert "13\N{NO-BREAK SPACE}Reviewer sign-off" in " ".join(said(table))
    text = text_of(section.blocks)
    assert not re.search(r"compl(y|ies|iant|iance)|guarantee|ensures|satisf|fulfil|proves", text)
    assert text.endswith("It is not legal advice.")
    assert table.columns[2].text == "What may help to show it"


def test_days_are_written_out_and_other_text_is_left_alone() -> None:
    assert numbers.day("2026-11-05") == "5 November 2026"
    assert numbers.day("soon") == "soon"
    assert numbers.day(None) == numbers.DASH
    assert numbers.confidence(0.975) == "97.5 %"
    assert numbers.rough(1 / 7) == "0.1"
    assert numbers.rough(0.04) == "0.0"
    assert numbers.beside(997, small=True) == "about 990"
