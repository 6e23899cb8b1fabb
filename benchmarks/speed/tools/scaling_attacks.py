"""One point of an attack curve: all attacks that only ask models, on some references and rows."""

from statistics import median

import numpy as np

from benchmarks.speed import clock
from benchmarks.speed.clock import Json
from forget_audit import registry
from forget_audit.architectures import Architecture
from forget_audit.attack_metrics import measured
from forget_audit.audits.scoring import score_groups
from forget_audit.pools import Pool, Shadow
from forget_audit.seeds import derive, generator
from forget_audit.targets import Target
from forget_audit.training.loop import Index, Recipe
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Rows

PIXELS, CLASSES, OTHERS, SHADOWS, ORIGINALS = 64, 10, 300, 8, 4
ATTACKS = (
    "entropy_logistic",
    "jensen_shannon",
    "lira",
    "loss_threshold",
    "metric_thresholds",
    "prediction_distribution",
    "residual_influence",
    "rmia",
    "shadow",
    "weight_distance",
    "wilcoxon_entropy",
    "zrf",
)


def made(rows: int, references: int) -> tuple[Case, Pool, RecipeTrainer]:
    """Return a case of random rows and models trained for one pass: speed is all that counts."""
    rng = generator(0, "scaling")

    def some(role: str, n: int) -> Rows:
        return Rows(
            x=rng.random((n, PIXELS), dtype=np.float32),
            y=rng.integers(0, CLASSES, n),
            ids=np.char.add(f"{role}-", np.arange(n).astype(np.str_)),
        )

    trainer = RecipeTrainer(
        architecture=Architecture(name="mlp", shape=(PIXELS,), n_classes=CLASSES),
        recipe=Recipe(epochs=1, steps_per_epoch=4),
    )
    case = Case(
        name="random",
        n_classes=CLASSES,
        retain=some("retain", OTHERS),
        forget=some("forget", rows),
        test=some("test", rows),
        auxiliary=some("auxiliary", OTHERS),
        trainer=trainer,
    )

    def trained(role: Rows, group: str, parts: list[Index]) -> list[Target]:
        seeds = [derive(0, group, k) for k in range(len(parts))]
        return [Target(model) for model in trainer.many(role.x, role.y, parts, seeds)]

    everyone = np.arange(OTHERS)
    masks = [rng.permutation(OTHERS) < OTHERS // 2 for _ in range(SHADOWS)]
    shadows = trained(case.auxiliary, "shadows", [np.flatnonzero(mask) for mask in masks])
    pool = Pool(
        retrained=tuple(trained(case.retain, "retrained", [everyone] * references)),
        originals=tuple(
            trained(case.training, "originals", [np.arange(OTHERS + rows)] * ORIGINALS)
        ),
        parent=trained(case.training, "parent", [np.arange(OTHERS + rows)])[0],
        shadows=tuple(
            Shadow(target=target, members=mask) for target, mask in zip(shadows, masks, strict=True)
        ),
    )
    return case, pool, trainer


def measure(options: Json) -> Json:
    """Return processor seconds of all attacks with their metrics, and the peak memory."""
    names = options.get("attacks") or ATTACKS
    spent = []
    for _ in range(options["repeats"]):
        case, pool, trainer = made(options["rows"], options["references"])
        audited = Target(trainer(case.retain.x, case.retain.y, 7))

        def attack(audited: Target = audited, pool: Pool = pool, case: Case = case) -> None:
            for name in names:
                one = registry.attacks()[name]()
                measured(one.info, score_groups(one, audited, pool, case, 0), 0.0)

        spent.append(clock.timed(attack))
    return {"cpu": median(spent), "peak_mb": clock.peak_megabytes()}


if __name__ == "__main__":
    clock.tell(measure(clock.asked()))
