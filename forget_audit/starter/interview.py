"""What `init` asks, in order, and the files that follow from the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from forget_audit.console import say
from forget_audit.errors import CaseError
from forget_audit.presets.catalogue import Preset, get_preset, plan_for
from forget_audit.presets.plan_file import plan_text
from forget_audit.presets.supplies import missing
from forget_audit.registry import unknown
from forget_audit.starter import answers
from forget_audit.starter import writing as starter
from forget_audit.starter.dialogue import Dialogue
from forget_audit.starter.places import Place, columns_of, find_predictions, find_rows
from forget_audit.starter.writing import KINDS, OURS, PLAN, TRAIN_THEMSELVES, Kind, Start
from forget_audit.types import Scope

ARCHITECTURES: Mapping[str, str] = {
    "torch": f"{OURS}build",
    "function": f"{OURS}build",
    "xgboost": "xgboost",
    "sklearn": "sklearn:ensemble.RandomForestClassifier",
}
SETTINGS: Mapping[str, Mapping[str, object]] = {"xgboost": {"subsample": 0.8}}
SOURCE = "Where are the rows: csv:FILE, npz:FILE, cifar10:FOLDER, package.module:function, ..."
WHO = "Who is to be forgotten: a file of ids, a number to draw, classes 3,5, or attribute NAME"
NOBODY = "none"
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What was said on the command line; nothing where nothing was.

    Args:
        kind: What there is.
        data: Source of the rows, or file of predictions.
        option: Settings of the reader of the rows.
        architecture: Of the model.
        function: Training loop of the user's own.
        who: What is to be forgotten.
        scope: Of the request.
        method: Makes the unlearned model.
        original: Weights before unlearning.
        unlearned: Weights to be audited.
        preset: Name of a paper's experiment.
        controller: Who answers for the model.
    """

    kind: str | None = None
    data: str | None = None
    option: tuple[str, ...] = ()
    architecture: str | None = None
    function: str | None = None
    who: str | None = None
    scope: str | None = None
    method: str | None = None
    original: str | None = None
    unlearned: str | None = None
    preset: str | None = None
    controller: str | None = None

    def any(self) -> bool:
        """Say whether anything was said."""
        return any(value is not None and value != () for value in vars(self).values())

    def implied(self) -> str | None:
        """Return the kind that was said, or that follows from the rest."""
        if self.kind is not None:
            return self.kind
        if self.preset is not None:
            return "preset"
        if self.function is not None:
            return "function"
        start = (self.architecture or "").partition(":")[0]
        return {"xgboost": "xgboost", "sklearn": "sklearn", "hf": "huggingface"}.get(start)


def interview(folder: Path, flags: Flags, dialogue: Dialogue) -> dict[str, str]:
    """Return the files to start from, by name.

    Args:
        folder: Of the plan.
        flags: What was said on the command line.
        dialogue: Answers the rest.
    """
    place = Place(here=Path(), folder=folder)
    listed = "".join(f"\n  {n}  {name}: {what}" for n, (name, what) in enumerate(KINDS.items(), 1))
    question = f"What is there to audit?{listed}\nName or number"
    kind = dialogue.answer("--kind", flags.implied(), question, "torch", _a_kind)
    if kind == "preset":
        return {PLAN: _preset_text(place, flags, dialogue)}
    if kind == "predictions":
        return starter.texts(folder, _predicted(place, flags, dialogue))
    return starter.texts(folder, _trained(kind, place, flags, dialogue))


def _trained(kind: Kind, place: Place, flags: Flags, dialogue: Dialogue) -> Start:
    """Return the start of an audit of models that can be trained here."""
    pairs = [dialogue.checked("--option", pair, answers.read_setting) for pair in flags.option]
    options = dict(pairs)
    found = dialogue.answer(
        "--data",
        flags.data,
        SOURCE,
        f"{OURS}load",
        lambda text: find_rows(text, _with_columns(text, options, place, dialogue), place),
    )
    say(found.sentence())
    if found.dataset is not None and found.dataset.labels and flags.function is None:
        dialogue.checked("--kind", kind, _of_several_labels)
    usual = ARCHITECTURES.get(kind)
    architecture = dialogue.answer(
        "--architecture",
        usual if kind == "xgboost" and flags.architecture is None else flags.architecture,
        "Which folder holds the model: hf:FOLDER" if usual is None else "Which model",
        usual,
        lambda text: answers.find_architecture(text, place),
    )
    if flags.function is not None:
        dialogue.checked("--function", flags.function, lambda text: answers.imported(text, place))
    scope = None if flags.scope is None else dialogue.checked("--scope", flags.scope, _a_scope)
    request = dialogue.answer(
        "the request",
        flags.who,
        WHO,
        answers.usual_request(found),
        lambda text: answers.find_request(text, found, scope, place),
    )

    def file(name: str, given: str | None) -> str | None:
        if given is None:
            return None
        return dialogue.checked(name, given, lambda text: place.locate(text, "file").named)

    unlearned = file("--unlearned", flags.unlearned)
    itself = kind in TRAIN_THEMSELVES
    method = None
    if unlearned is None:
        method = dialogue.answer(
            "--method",
            flags.method,
            "Which method unlearns",
            answers.usual_method(request["scope"], trains_itself=itself),
            lambda text: answers.find_method(text, request["scope"], trains_itself=itself),
        )
    return Start(
        kind=kind,
        source=found.source,
        options=found.options,
        images=found.images,
        n_classes=None if found.dataset is None else found.dataset.n_classes,
        architecture=architecture,
        settings=SETTINGS.get(kind, {}),
        function=flags.function,
        method=method,
        original=file("--original", flags.original),
        unlearned=unlearned,
        controller=_controller(flags, dialogue),
        **request,
    )


def _with_columns(
    text: str, options: Mapping[str, object], place: Place, dialogue: Dialogue
) -> Mapping[str, object]:
    """Return the options of a reader, with the columns of a table that somebody may name."""
    columns = columns_of(text, place)
    if not dialogue.asking or not columns:
        return options
    chosen = dict(options)
    if "label" not in chosen and not any(c == "label" or c.startswith("label:") for c in columns):
        question = f"Which column holds the labels ({', '.join(columns)})"
        chosen["label"] = dialogue.answer("", None, question, columns[-1], _one_of(columns))
    if "unit" not in chosen and "unit" not in columns:
        known = [*(name for name in columns if name != chosen.get("label")), NOBODY]
        question = f"Which column says whose row it is, if people have several ({', '.join(known)})"
        unit = dialogue.answer("", None, question, NOBODY, _one_of(known))
        chosen |= {} if unit == NOBODY else {"unit": unit}
    return chosen


def _predicted(place: Place, flags: Flags, dialogue: Dialogue) -> Start:
    """Return the start of an audit of recorded answers."""
    file = dialogue.answer(
        "--data",
        flags.data,
        "Which file holds the predictions; one that is not there yet gets an example",
        starter.ANSWERS,
        lambda text: find_predictions(text, place),
    )
    say(file.sentence())
    classes = None
    if flags.who is not None:
        classes = dialogue.checked("--classes", flags.who, answers.named_classes)
    return Start(
        kind="predictions",
        predictions=file.name,
        answered=file.content is not None,
        classes=classes or (),
        scope="class" if classes else "instance",
        controller=_controller(flags, dialogue),
    )


def _controller(flags: Flags, dialogue: Dialogue) -> str:
    usual = Start.controller
    return dialogue.answer(
        "--controller", flags.controller, "Who answers for the model", usual, str
    )


def _preset_text(place: Place, flags: Flags, dialogue: Dialogue) -> str:
    """Return the plan of a paper's experiment, with the place of its data."""
    question = "Which experiment; forget-audit list presets shows them"
    preset: Preset = dialogue.answer("--preset", flags.preset, question, None, get_preset)
    _, _, place_of_data = preset.tables["data"]["source"].partition(":")
    data = dialogue.answer(
        "--data",
        flags.data,
        f"Which folder holds {place_of_data}",
        ".",
        lambda text: place.locate(text, "folder"),
    )
    if not (data.path / place_of_data).exists():
        for problem in missing(preset, data.path):
            say(f"note: {problem.message}")
    return plan_text(plan_for(preset, Path(data.named)))


def _of_several_labels(kind: str) -> str:
    if kind in ("function", *TRAIN_THEMSELVES):
        raise CaseError(
            f"the rows bear several labels, and the start for {kind} knows one class a row; take "
            "--kind torch, or a loop of your own with --function"
        )
    return kind


def _one_of(columns: Sequence[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in columns:
            raise CaseError(unknown("column", text, columns))
        return text

    return check


def _a_kind(text: str) -> Kind:
    for number, kind in enumerate(KINDS, start=1):
        if text in (kind, str(number)):
            return kind
    raise CaseError(unknown("kind", text, KINDS))


def _a_scope(text: str) -> Scope:
    for scope in SCOPES:
        if text == scope:
            return scope
    raise CaseError(unknown("scope", text, SCOPES))
