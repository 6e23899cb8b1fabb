"""How often does the command pass a model that really was retrained?

Runs `forget-audit certify` once a seed on a model retrained by the plan's own recipe, on the
original passed off as unlearned, and on a request of eight rows; counts the exit codes.

    python benchmarks/true_retrains.py --seeds 40 --workers 2
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from joblib import Parallel, delayed

DATA = {"digits": 'source = "digits"\nlabel_noise = 0.15', "randhie": 'source = "randhie"'}
STORIES = {
    "retrained": (100, 'name = "retrain"'),
    "not unlearned": (100, 'name = "finetune"\noptions = { epochs = 0 }'),
    "eight rows": (8, 'name = "retrain"'),
}
PLAN = """\
[request]
reference = "BENCH"
random = {random}
[data]
{data}
[method]
{method}
[references]
seed = {seed}
shadows = 0
[battery]
attacks = []
[report]
formats = ["html"]
"""


def certify(data: str, story: str, seed: int) -> tuple[str, str, int, list[str]]:
    """Run one audit in a folder of its own and return its exit code and reasons."""
    random, method = STORIES[story]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.toml"
        text = PLAN.format(random=random, data=DATA[data], method=method, seed=seed)
        path.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "forget_audit", "certify", str(path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1, 3):
            raise RuntimeError(f"{data} {story} {seed}: {done.returncode}\n{done.stderr}")
        return data, story, done.returncode, json.loads(done.stdout)["verdict"]["reasons"]


def main() -> None:
    """Print one line a data set and story."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--others", type=int, default=5, help="seeds of the other two stories")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    jobs = []
    for data in DATA:
        for story in STORIES:
            count = options.seeds if story == "retrained" else options.others
            jobs += [(data, story, options.first + seed) for seed in range(count)]
    results = []
    run = Parallel(n_jobs=options.workers, prefer="threads", return_as="generator_unordered")
    for data, story, code, reasons in run(delayed(certify)(*job) for job in jobs):
        results.append((data, story, code, reasons))
        print(f"{len(results)}/{len(jobs)} {data} {story}: {code}", file=sys.stderr, flush=True)
    for data in DATA:
        for story in STORIES:
            chosen = [(code, why) for d, s, code, why in results if (d, s) == (data, story)]
            codes = Counter(code for code, _ in chosen)
            reasons = Counter(reason for code, why in chosen if code for reason in why)
            print(
                f"{data:<8} {story:<14} of {len(chosen)}: {codes[0]} PASS, {codes[1]} FAIL, "
                f"{codes[3]} INCONCLUSIVE  {dict(reasons)}"
            )


if __name__ == "__main__":
    main()
