"""Sections on what went in: data, derived artefacts, the method, and the models compared with."""

from forget_audit.reports import body_words, numbers, words
from forget_audit.reports.view import Cell, Fact, Facts, Points, Row, Table, Text
from forget_audit.types import Json

COMMITMENT = (
    "The commitment is a fingerprint of the list of deleted records, made with a secret that is "
    "kept apart: it fixes which records were meant without naming them, and as long as the secret "
    "exists the controller can show one person that theirs was among them."
)
ROUGHLY = (
    "Sizes that would tell how few people this request is about are given as a band, or roughly."
)
NOT_DECLARED = (
    "No derived artefacts were declared. Nobody said which checkpoints, averaged weights, "
    "adapters, distilled or fine-tuned models, caches, embeddings, backups or copies there are, "
    "or what became of them. They are NOT covered by this report, and the deleted records may "
    "live on in them."
)
DECLARED = (
    "This list was declared by the controller. The audit tested the audited model alone: it did "
    "not look for artefacts, nor check what is said of them here."
)
NO_RECIPIENTS = (
    "No recipients of the deleted records, or of models trained on them, were declared. Whether "
    "there are any, and whether they were told, is not covered."
)
EXPECTED = {"checkpoint": "checkpoints", "backup": "backups"}
NOT_OBSERVED = (
    "The audited model was handed in ready-made. How it was made was not observed, so nothing is "
    "said here of method, parameters or effort; the tests do not depend on it."
)
WHY_RETRAINED = (
    "The yardstick is models that never saw the deleted records: each was trained from scratch by "
    "the recipe of the original, with a random seed of its own. Two such models differ already, "
    "so one of them would raise false alarms; how much they differ among themselves is what the "
    "audited model is held against."
)


def identity(evidence: Json) -> list[Facts | Text]:
    """Return which records the audit is about, by digest and not by name."""
    data, counts = evidence["data"], evidence["counts"]
    small = numbers.is_small(counts)
    facts = [
        Fact(label="Data set", text=f"{data['title']} ({data['source']})"),
        Fact(label="Digest of all rows", text=data["digest"], code=True),
        Fact(label="Commitment to the deleted records", text=data["forget_commitment"], code=True),
        Fact(label="Deleted records", text=numbers.people(counts["forget"])),
        Fact(label="How they were selected", text=_selection(evidence)),
        Fact(label="Kept records", text=numbers.beside(counts["retain"], small=small)),
        Fact(label="Unseen records", text=f"{numbers.count(counts['test'])} to compare with"
             f"{_others(counts)}, {numbers.count(counts['auxiliary'])} to fit attacks on"),
        *_people(counts),
        Fact(label="Shape", text=f"{' × '.join(map(str, data['shape']))} features, "
             f"{data['n_classes']} {_kind_of_labels(data)}"),
        Fact(label="Duplicates", text=_duplicates(data)),
    ]  # fmt: skip
    if data["label_noise"]:
        noise = f"{numbers.percent(data['label_noise'])} of labels drawn at random"
        facts.append(Fact(label="Label noise", text=noise))
    paragraphs = (COMMITMENT, ROUGHLY) if small else (COMMITMENT,)
    return [Facts(items=tuple(facts)), Text(paragraphs=paragraphs)]


def _size(model: Json) -> str:
    if model["parameters"] is None:
        return "of a library that does not tell the number of parameters"
    return f"{numbers.count(model['parameters'])} parameters"


def _people(counts: Json) -> list[Fact]:
    """Return how many people are behind the records, where one can have several."""
    found = counts.get("people")
    if not found:
        return []
    deleted = numbers.people(found["forget"])
    text = (
        f"{deleted} deleted, {numbers.count(found['test'])} unseen to compare with; a person is "
        "the unit of all statistics, by the mean over that person's records"
    )
    return [Fact(label="People behind the records", text=text)]


def _kind_of_labels(data: Json) -> str:
    several = data.get("labels") == "several a row"
    return "yes-or-no labels of each record" if several else "classes"


def _others(counts: Json) -> str:
    others = counts["others"]
    return f", {numbers.count(others)} of other classes" if others else ""


def _selection(evidence: Json) -> str:
    """Say by what rule records were chosen, without file names or ids."""
    request, plan = evidence["request"], evidence["plan"].get("request") or {}
    if request["scope"] == "attribute":
        return f"the label “{request['attribute']}” of every record in training"
    if request["scope"] in ("class", "subclass"):
        kind = "class" if request["scope"] == "class" else "sub-class"
        return f"every record of {kind} {numbers.value(request['classes'])}"
    if plan.get("random"):
        return "drawn at random by the audit, not named by anybody"
    if plan.get("forget"):
        return "a list handed in by the controller"
    return "handed in by the controller"


def _duplicates(data: Json) -> str:
    text = f"{data['duplicates']} ({numbers.count(data['duplicates_dropped'])} dropped)"
    if "near-duplicate" not in data["duplicates"]:
        text += "; whether near-duplicates were looked for is not stated"
    return text


def lineage(evidence: Json) -> list[Text | Table | Points]:
    """Return every derived artefact with its fate, those of unknown fate first; and recipients."""
    items, told = evidence.get("lineage") or [], evidence.get("recipients") or []
    blocks: list[Text | Table | Points] = []
    if items:
        blocks += [Text(paragraphs=(*_open_fates(items), DECLARED)), _artefacts(items)]
        named = {item["kind"] for item in items}
        silent = [name for kind, name in EXPECTED.items() if kind not in named]
        if silent:
            text = f"Nothing was declared about {' or '.join(silent)}; they are not covered."
            blocks.append(Text(paragraphs=(text,)))
    else:
        blocks.append(Text(paragraphs=(NOT_DECLARED,)))
    if told:
        blocks.append(_recipients(told))
    else:
        blocks.append(Text(paragraphs=(NO_RECIPIENTS,)))
    return blocks


def _open_fates(items: list[Json]) -> tuple[str, ...]:
    """Say how many artefacts may still carry the records, before the table is read."""
    unknown = sum(item["fate"] == "unknown" for item in items)
    kept = sum(item["fate"] == "kept" for item in items)
    if not unknown and not kept:
        return ()
    text = f"Of {len(items)} derived artefacts, {unknown} are of unknown fate and {kept} were kept"
    return (f"{text}: the deleted records may live on in these.",)


def _artefacts(items: list[Json]) -> Table:
    order = list(body_words.FATES)
    rows = []
    for item in sorted(items, key=lambda item: order.index(item["fate"])):
        symbol, word, kind = body_words.FATES[item["fate"]]
        cells = (
            Cell(text=body_words.KINDS[item["kind"]]),
            Cell(text=item["name"]),
            Cell(text=word, symbol=symbol, kind=kind),
            Cell(text=item["detail"] or numbers.DASH),
        )
        rows.append(Row(cells=cells))
    return Table(
        columns=tuple(Cell(text=text) for text in ("Kind", "Name", "Fate", "Detail")),
        rows=tuple(rows), caption="Artefacts derived from the model or the records",
        name="lineage",
    )  # fmt: skip


def _recipients(items: list[Json]) -> Table:
    rows = []
    for item in items:
        informed = Cell(text="not stated", symbol="?", kind="outcome-error")
        if item["informed"] is not None:
            informed = Cell(text=numbers.day(item["informed"]))
        detail = Cell(text=item["detail"] or numbers.DASH)
        rows.append(Row(cells=(Cell(text=item["name"]), informed, detail)))
    return Table(
        columns=tuple(Cell(text=text) for text in ("Recipient", "Told on", "Detail")),
        rows=tuple(rows), caption="Who had received the records or models trained on them",
        name="recipients",
    )  # fmt: skip


def method(evidence: Json) -> list[Text | Facts]:
    """Return what was done to the model."""
    method = evidence["method"]
    if method is None:
        return [Text(paragraphs=(NOT_OBSERVED,))]
    report = method["report"]
    rows = report["rows_touched"]
    touched = "" if rows is None else f"{numbers.count(rows)} rows touched, "
    facts = Facts(
        items=(
            Fact(label="Method", text=f"{method['title']} ({method['name']}), {method['paper']}"),
            Fact(label="Claimed guarantee", text=words.GUARANTEES.get(method["guarantee"],
                                                                      method["guarantee"])),
            *_reservations(method),
            Fact(label="Parameters", text=settings(method["parameters"])),
            Fact(label="Deviation from the plan", text=_deviation(evidence)),
            Fact(label="Effort", text=f"{numbers.count(report['steps'])} steps, {touched}"
                 f"{numbers.seconds(report['seconds'])}; ended: {report['stop_reason']}"),
            *_changed(report),
            *(Fact(label="Note", text=note) for note in report["notes"]),
        )
    )  # fmt: skip
    return [Text(paragraphs=(method["summary"],)), facts]


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


def _deviation(evidence: Json) -> str:
    """Compare method and parameters with those the plan asked for."""
    planned, method = evidence["plan"].get("method"), evidence["method"]
    if not isinstance(planned, dict) or "name" not in planned:
        return "the plan names no method to compare with"
    found = []
    if planned["name"] != method["name"]:
        found.append(f"planned was {planned['name']}")
    options = planned.get("options")
    for name, wanted in (options if isinstance(options, dict) else {}).items():
        if name in method["parameters"] and method["parameters"][name] != wanted:
            found.append(f"planned was {name.replace('_', ' ')} {numbers.value(wanted)}")
    return "; ".join(found) or "none: method and options are those of the plan"


def _changed(report: Json) -> list[Fact]:
    """Return in how many tensors anything was changed at all."""
    changed = report.get("changed")
    if not changed:
        return []
    touched = sum(share > 0 for share in changed.values())
    text = f"{touched} of {len(changed)} tensors of weights"
    untouched = [name for name, share in changed.items() if share == 0]
    if untouched and len(untouched) <= 6:
        text += f"; as before: {', '.join(untouched)}"
    return [Fact(label="Changed", text=text)]


def reference(evidence: Json) -> list[Text | Facts]:
    """Return the models the audited one is held against."""
    counts, model = evidence["counts"], evidence["model"]
    needed = evidence["battery"]["settings"].get("references")
    enough = "" if needed is None else f" (the rule asks for {numbers.count(needed)})"
    main = next((item for item in evidence["statistics"] if item["role"] == "primary"), None)
    facts = [
        Fact(label="Retrained without the records", text=f"{counts['retrained']} models{enough}, "
             "same recipe, one seed each"),
        Fact(label="Originals, with the records", text=f"{counts['originals']} models "
             f"{_trained_by(evidence)}"),
        Fact(label="Identity controls", text=f"{counts['identity']} further retrained models, used "
             "only to be judged"),
        Fact(label="Shadow models for attacks", text=numbers.count(counts["shadows"])),
        Fact(label="Copies of the audited model", text=numbers.count(counts["copies"])),
        Fact(label="Architecture", text=f"{model['architecture']}, {_size(model)}"),
        Fact(label="Recipe", text=settings(evidence["training"])),
    ]  # fmt: skip
    if main is not None:
        text = f"residual influence {numbers.number(main['reference_mean'])} ± "
        text += f"{numbers.number(main['reference_sd'])} (mean ± standard deviation over seeds)"
        facts.insert(1, Fact(label="Spread among them", text=text))
    if model["original"]:
        text = f"{model['original']['name']}, {_maker(model['original'])}"
        facts.append(Fact(label="Original model", text=text))
        facts.append(Fact(label="its SHA-256", text=model["original"]["sha256"], code=True))
    return [Text(paragraphs=(WHY_RETRAINED,)), Facts(items=tuple(facts))]


def _maker(model: Json) -> str:
    return model["made_by"] if model["made_by"] == "handed in" else f"made by {model['made_by']}"


def _trained_by(evidence: Json) -> str:
    who = evidence["training"].get("trained_by")
    return "trained by the auditor" if who is None else f"trained by {who}"


def settings(items: Json) -> str:
    """Return settings as one line."""
    return (
        ", ".join(f"{name.replace('_', ' ')} {numbers.value(item)}" for name, item in items.items())
        or numbers.DASH
    )
