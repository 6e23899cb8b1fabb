"""The verdict of every combination of outcomes, as docs/verdict.md tells it, and the words for it.

The rule is written here once more, step by step from the table of that page, and must agree.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from forget_audit.cli import CODES
from forget_audit.findings import Gate
from forget_audit.reports import headlines, page_one, plain_words
from forget_audit.reports.languages import catalogue
from forget_audit.types import Json, Scope
from forget_audit.verdict.policy import decide, weigh
from forget_audit.verdict.profiles import PROFILES
from forget_audit.verdict.weighing import Family
from forget_audit.verdict.yardstick import INSTANCE_FAMILY
from tests.fixtures.evidence import evidence
from tests.unit.test_policy import comparison, world

DOCUMENT = Path(__file__).parents[2] / "docs" / "verdict.md"
REQUIRED = ("rho_p", "probe")
WATCHED = "zauc"
GATES = (
    "HARNESS", "NO_SIGNAL", "UNDERPOWERED", "YARDSTICK", "SHIFT", "ACCESS", "UTILITY",
    "REHEARSED", "EPSILON", "TEST_ROWS", "COPIES",
)  # fmt: skip
STANDARD = PROFILES["standard"]


@dataclass(frozen=True)
class Found:
    """What was found of one statistic: whether it differs, and whether it was shown not to."""

    differs: bool
    equivalent: bool

    @property
    def outcome(self) -> str:
        """As it stands in the report."""
        if self.equivalent:
            return "pass"
        return "fail" if self.differs else "inconclusive"


ANY = tuple(Found(*pair) for pair in itertools.product([True, False], repeat=2))
PASSED, FAILED, UNDECIDED = Found(False, True), Found(True, False), Found(False, False)


def decided(
    required: Sequence[Found], watched: bool, failed: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """What the product says."""
    names = REQUIRED[: len(required)]
    attributed = [name for name, found in zip(names, required, strict=True) if found.differs]
    attributed += [WATCHED] if watched else []
    every = (*INSTANCE_FAMILY, "probe")
    family = Family(
        comparisons=tuple(comparison(name, 0.5 if name in attributed else 0.0) for name in every),
        p_value=0.5,
        leader="rho_p",
    )
    gates = [
        Gate(code=code, outcome="fail" if code in failed else "pass", detail="") for code in GATES
    ]
    equivalent = {name: found.equivalent for name, found in zip(names, required, strict=True)}
    return decide(equivalent, attributed, gates, family)


def documented(required: Sequence[Found], watched: bool, failed: Sequence[str]) -> str:
    """What docs/verdict.md says, step by step."""
    if {"HARNESS", "YARDSTICK"} & set(failed):
        return "FAIL" if "EPSILON" in failed else "INCONCLUSIVE"
    differing = [found for found in required if found.differs]
    within = not watched and all(found.equivalent for found in differing)
    if (watched or differing) and not within:
        return "FAIL"
    if {"UTILITY", "REHEARSED", "EPSILON", "COPIES"} & set(failed):
        return "FAIL"
    if failed:
        return "INCONCLUSIVE"
    return "PASS" if all(found.equivalent for found in required) else "INCONCLUSIVE"


def combinations() -> Iterator[tuple[tuple[Found, ...], bool, tuple[str, ...]]]:
    """One or two required tests, a further measure, and every set of failed gates."""
    for size in (1, 2):
        for required in itertools.product(ANY, repeat=size):
            for watched in (False, True):
                for mask in itertools.product([False, True], repeat=len(GATES)):
                    failed = tuple(itertools.compress(GATES, mask))
                    yield required, watched, failed


def test_every_combination_gives_the_documented_verdict() -> None:
    seen = {"PASS": 0, "FAIL": 0, "INCONCLUSIVE": 0}
    for required, watched, failed in combinations():
        outcome, reasons = decided(required, watched, failed)
        assert outcome == documented(required, watched, failed), (required, watched, failed)
        assert set(reasons) <= set(plain_words.REASONS)
        assert reasons or outcome == "PASS"
        if outcome == "PASS":
            assert not failed
            assert not watched
            assert all(found.outcome == "pass" for found in required)
        seen[outcome] += 1
    assert sum(seen.values()) == (4 + 16) * 2 * 2048
    assert min(seen.values()) > 0


@pytest.mark.parametrize("other", [PASSED, UNDECIDED])
def test_one_inconclusive_required_test_makes_the_whole_inconclusive(other: Found) -> None:
    for required in ((UNDECIDED, other), (other, UNDECIDED)):
        assert decided(required, False, ()) == ("INCONCLUSIVE", ("NOT_SHOWN",))


def test_a_difference_within_the_margin_neither_fails_nor_hides_what_was_not_shown() -> None:
    """Two required tests, one of which differs within its margin: the other one decides."""
    within = Found(True, True)
    assert decided((within, PASSED), False, ()) == ("PASS", ("TRIVIAL",))
    assert decided((within, UNDECIDED), False, ())[0] == "INCONCLUSIVE"
    assert decided((within, FAILED), False, ())[0] == "FAIL"


def test_the_steps_of_the_page_are_those_tested_here() -> None:
    """If the table of the page changes, the rule above must be read again."""
    table = DOCUMENT.read_text(encoding="utf-8").split("## The rule")[1].split("*A difference")[0]
    steps = [line.split("|")[2:4] for line in table.splitlines() if line.startswith("| ")][2:]
    words = [" ".join(" ".join(step).split()) for step in steps]
    starts = (
        "gate `HARNESS` or `YARDSTICK` fails INCONCLUSIVE",
        "a difference is found in any privacy statistic, except when all primary",
        "a loss of accuracy, a change of the second answers, a difference of one of several "
        "copies, or an epsilon, beyond the limit is "
        "proven FAIL",
        "any other gate fails INCONCLUSIVE",
        "every primary statistic is shown equivalent PASS",
        "otherwise INCONCLUSIVE, `NOT_SHOWN`",
    )
    assert len(words) == len(starts)
    for word, start in zip(words, starts, strict=True):
        assert word.startswith(start)


def shown(required: Sequence[Found], watched: bool, failed: Sequence[str]) -> Json:
    """Evidence of such an audit."""
    outcome, reasons = decided(required, watched, failed)
    document = evidence(outcome)
    main = next(item for item in document["statistics"] if item["name"] == "rho_p")
    others = [item for item in document["statistics"] if item["role"] != "primary"]
    tests = [
        {**main, "name": name, "outcome": found.outcome}
        for name, found in zip(REQUIRED, required, strict=False)
    ]
    measures = [
        {**item, "outcome": "fail" if watched and item["name"] == WATCHED else "informative"}
        for item in others
    ]
    document["statistics"] = [*tests, *measures]
    document["battery"]["required"] = [item["name"] for item in tests]
    document["gates"] = [
        {"code": code, "outcome": "fail" if code in failed else "pass", "detail": ""}
        for code in GATES
    ]
    document["verdict"] |= {"outcome": outcome, "reasons": list(reasons)}
    return document


CASES = [
    *((pair, False, ()) for pair in itertools.product([PASSED, FAILED, UNDECIDED], repeat=2)),
    *(((PASSED,), True, ()), ((UNDECIDED,), True, ("SHIFT",))),
    *(((PASSED,), False, (code,)) for code in GATES),
    ((FAILED,), False, ("NO_SIGNAL", "UTILITY")),
]


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_the_report_says_that_verdict_its_counts_and_its_reasons(language: str) -> None:
    t = catalogue(language)
    for required, watched, failed in CASES:
        document = shown(required, watched, failed)
        outcome = documented(required, watched, failed)
        banner = page_one.banner(document, t)
        assert banner.outcome == outcome
        assert banner.style == outcome.lower()
        assert outcome in (banner.word, banner.code.strip("()"))
        numbers = [word for word in banner.counts.replace("·", " ").split() if word.isdigit()]
        passed = sum(found.outcome == "pass" for found in required)
        assert numbers == list(
            map(str, (passed, len(required), len(GATES) - len(failed), len(GATES), int(watched),
                      sum(item["role"] == "secondary" for item in document["statistics"])))
        )  # fmt: skip
        reasons = headlines.found(document, t)[1:]
        assert [text.rpartition("(")[2].strip(")") for text in reasons] == document["verdict"][
            "reasons"
        ]


def test_banners_of_different_verdicts_share_neither_word_symbol_nor_style() -> None:
    for language in ("en", "de", "fr"):
        banners = [page_one.banner(evidence(outcome), catalogue(language)) for outcome in CODES]
        for name in ("word", "symbol", "style", "sentence"):
            assert len({getattr(banner, name) for banner in banners}) == 3


def judged(scope: Scope = "instance", **settings: object) -> tuple[str, tuple[str, ...]]:
    models = world(**settings)  # type: ignore[arg-type]
    verdict = weigh(models, profile=STANDARD, scope=scope).verdict
    return verdict.outcome, verdict.reasons


@pytest.mark.parametrize("seed", range(4))
def test_an_original_passed_off_as_unlearned_fails(seed: int) -> None:
    assert judged(seed=seed, lean=1.0)[0] == "FAIL"


@pytest.mark.parametrize("lean", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("taught", [0.0, 0.02])
def test_where_originals_do_not_fail_nothing_passes(lean: float, taught: float) -> None:
    """The positive control: what cannot be seen before cannot be shown to be gone.

    docs/verdict.md and the table of profiles call this INCONCLUSIVE (NO_SIGNAL), exit code 3.
    """
    outcome, reasons = judged(lean=lean, taught=taught)
    assert outcome in ("INCONCLUSIVE", "FAIL")
    if lean == 0.0:
        assert (outcome, "NO_SIGNAL" in reasons) == ("INCONCLUSIVE", True)
        assert CODES[outcome] == 3


@pytest.mark.parametrize("lean", [0.0, 1.0])
def test_where_retrained_models_are_accused_there_is_no_verdict(lean: float) -> None:
    """The negative control, in both directions: neither PASS nor FAIL."""
    outcome, reasons = judged(lean=lean, identity_lean=1.0)
    assert (outcome, "HARNESS" in reasons) == ("INCONCLUSIVE", True)


def test_exit_codes_are_those_of_the_page() -> None:
    text = (DOCUMENT.parent / "exit-codes.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| `certify` |"))
    cells: Mapping[str, int] = {
        cell.strip(): number for number, cell in enumerate(row.split("|")[2:-1])
    }
    assert {name: cells[name] for name in CODES} == dict(CODES)
