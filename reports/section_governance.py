"""Sections on the paper itself: running it again, what is kept, duties, and earlier versions."""

from forget_audit.reports import numbers
from forget_audit.reports.section_data import settings
from forget_audit.reports.view import Cell, Fact, Facts, Points, Row, Table, Text
from forget_audit.types import Json

AGAIN = (
    "The verdict alone: forget-audit verify FOLDER computes every measure and the verdict again "
    "from scores.npz, and compares the files with what was signed. It needs neither model nor "
    "data, and takes seconds.",
    "The whole audit: install the same version of the tool, check that its sources, the plan and "
    "the rows have the digests above, and run the command above. On the same hardware and with "
    "the same libraries the numbers should come out the same; elsewhere they may differ in the "
    "last digits, and the verdict should not.",
    "By hand: the commands on page one need none of our tools.",
)
PURGE = (
    "The command “forget-audit purge FOLDER” destroys what can still be linked to a person: "
    "models that were trained on the deleted records, the scores by record, and the secret behind "
    "pseudonyms and commitment. What was destroyed is written into the signed file purge.dsse.json "
    "and into the ledger, whose entry is the proof of deletion.",
    "Afterwards the report still verifies. The numbers can then no longer be computed again, and "
    "verification says so; without the secret the pseudonyms cannot be linked to anybody.",
)
UNCOUNTED = (
    "not known: no ledger counted this audit. How often the request was tried before it, and with "
    "which seeds, only those know who made it."
)
UNCOMMITTED = (
    "no: nothing was committed to in a ledger, as in audits made in Python and in reports of early "
    "versions. That model and seeds were not chosen after a result rests on the word of those who "
    "made it."
)
NOT_SET = "No date was set in the plan. The controller decides, and answers for it."
SUPERSESSION = (
    "A report is never changed after it was signed. If something has to be corrected, a new report "
    "with an id of its own supersedes this one, says why, and leaves an entry in the ledger. "
    "Whether that has happened is not in this file: “forget-audit verify” and “forget-audit gate” "
    "look it up in the ledger they are given."
)


def reproducibility(evidence: Json, digest: str) -> list[Facts | Points]:
    """Return everything that is needed to run the audit again."""
    tool, environment, digests = evidence["tool"], evidence["environment"], evidence["digests"]
    versions = {
        k: v for k, v in environment.items() if k not in ("libraries", "device", "platform")
    }
    stages = ", ".join(
        f"{k} {numbers.seconds(v)}" for k, v in evidence["timings"].items() if k != "total"
    )
    facts = [
        Fact(label="Command", text=evidence.get("command", "not recorded"), code=True),
        Fact(label="Tool", text=f"{tool['name']} {tool['version']}"),
        Fact(label="Sources of the tool", text=tool["source_digest"], code=True),
        Fact(label="Evidence", text=digest, code=True),
        Fact(label="Scores", text=digests["scores"], code=True),
        Fact(label="Plan", text=digests["plan"], code=True),
        Fact(label="Rows", text=digests["case"], code=True),
        Fact(label="Seeds", text=f"root {evidence['seeds']['root']}; all others are derived"),
        Fact(label="Commitment to the seeds", text=evidence["seeds"]["commitment"], code=True),
        *_beginning(evidence),
        Fact(label="Environment", text=f"{environment['platform']}, {environment['device']}; "
             f"{settings({**versions, **environment['libraries']})}"),
        Fact(label="Wall time", text=f"{numbers.seconds(evidence['duration_s'])}"
             f"{f' ({stages})' * bool(stages)}"),
    ]  # fmt: skip
    return [Facts(items=tuple(facts)), Points(items=AGAIN)]


def _beginning(evidence: Json) -> list[Fact]:
    """Say which attempt this was, and whether everything was fixed before it, in which ledger."""
    begun, attempt = evidence["seeds"].get("begun"), evidence["battery"].get("attempt")
    if begun is None:
        return [
            Fact(label="Attempt", text=UNCOUNTED),
            Fact(label="Fixed before the start", text=UNCOMMITTED),
        ]
    level, share = numbers.error_level(evidence), 2 ** (attempt - 1)
    spent = "" if attempt == 1 else f", which is {numbers.value(level * share)} / {share}"
    seeds = sum(len(found) for found in begun["seeds"].values())
    drawn = f"the seeds of {numbers.count(seeds)} models for comparison" if seeds else "the seed"
    made = "method" if evidence["method"] else "audited model"
    return [
        Fact(label="Attempt", text=f"number {numbers.count(attempt)} at this request; the ledger "
             f"knew {numbers.count(begun['attempts'])} by then, this one included; held to the "
             f"level {numbers.value(level)}{spent}"),
        Fact(label="Fixed before the start", text="yes, by an entry in the ledger before anything "
             f"was trained: {made}, plan, rows, and {drawn}. Given that ledger, “forget-audit "
             "verify” looks whether the entry is there, whether it came before the report, and "
             "whether more attempts are known"),
        Fact(label="Entry of that ledger", text=numbers.count(begun["entry"])),
        Fact(label="That ledger", text=begun["ledger"], code=True),
        Fact(label="Commitment there", text=begun["commitment"], code=True),
        Fact(label="Opened by the nonce", text=begun["nonce"], code=True),
    ]  # fmt: skip


def retention(evidence: Json) -> list[Table | Facts | Text]:
    """Return what the audit itself holds of the deleted records, until when, and how it goes."""
    until = evidence["report"].get("retain_until")
    columns = tuple(Cell(text=text) for text in ("What", "Where", "Until", "Why, or its fate"))
    rows = tuple(
        Row(cells=tuple(Cell(text=item[key]) for key in ("what", "where", "until", "fate")))
        for item in evidence["retention"]
    )
    who = evidence["report"]["controller"]
    facts = (
        Fact(label="Report kept until", text=numbers.day(until) if until else NOT_SET),
        Fact(label="Who deletes", text=f"the controller ({who})"),
    )
    table = Table(
        columns=columns, rows=rows, name="retention",
        caption="What the audit itself holds of the deleted records",
    )  # fmt: skip
    return [*([table] if rows else []), Facts(items=facts), Text(paragraphs=PURGE)]


def changes(evidence: Json) -> list[Facts | Text]:
    """Return what this version replaces and why, and the place in the ledger."""
    report, ledger = evidence["report"], evidence.get("ledger")
    earlier = report["supersedes"]
    facts = [
        Fact(label="This version", text=f"{report['id']}, {report['status']} "
             f"{numbers.moment(report['issued'])}"),
        Fact(label="Supersedes", text=earlier or "nothing: this is the first version"),
    ]  # fmt: skip
    if earlier:
        facts.append(Fact(label="Why", text=report.get("change") or "not stated"))
    if ledger:
        text = f"{ledger['origin']}, {numbers.count(ledger['size'])} entries"
        facts.append(Fact(label="Ledger before it", text=text))
        facts.append(Fact(label="Root of the ledger", text=ledger["root"], code=True))
    else:
        facts.append(Fact(label="Ledger", text="no position was recorded"))
    return [Facts(items=tuple(facts)), Text(paragraphs=(SUPERSESSION,))]
