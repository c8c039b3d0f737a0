"""How long the statistics of a table take, against scikit-learn in a loop. Run it from the repository:

    python benchmarks/perf/score.py [--repeat 5] [--write]

250,000 slices of 843 patients, 21 of them positive with 320 abnormal slices, as in SIFT-DBT's test split; 9 methods;
2,000 draws of patients. Ours: AUC, AP, SP@87 and SP@80 of every draw and method, the spread of the 36 differences
between methods for each of them, and the paired clustered tests of 8 methods against a baseline. scikit-learn: the
same four numbers of a few of the same draws, by resampling, in a loop; its time is extrapolated to 2,000 draws, and
its numbers must be ours. `--write` writes benchmarks/results/score.md and .json.
Every case runs in a process of its own, with two threads. Wall time decides; processor time stands beside it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import scipy
import sklearn

RESULTS = Path(__file__).parents[1] / "results" / "score"
SLICES, PATIENTS, POSITIVE_PATIENTS, ABNORMAL = 250_000, 843, 21, 320
METHODS, DRAWS, TRIED = 9, 2000, 3
METRICS = ("auc", "ap", "sp@87", "sp@80")
SECONDS, GIGABYTES = 60.0, 2.0
AGREE = 1e-9
QUIET = 0.04  # of the machine's processor time


def score_sets() -> dict[str, list]:
    """One `ScoreSet` a method: normal scores with an effect of the patient, the methods correlated."""
    from dbtssl.evaluation.score_set import ScoreSet

    rng = np.random.default_rng(0)
    patients = np.sort(rng.integers(PATIENTS, size=SLICES))
    abnormal = np.zeros(SLICES, dtype=bool)
    of_positive = np.flatnonzero(patients < POSITIVE_PATIENTS)
    abnormal[rng.choice(of_positive, ABNORMAL, replace=False)] = True
    common = rng.normal(size=PATIENTS)[patients] + rng.normal(size=SLICES)
    ids = tuple(f"v:{i:06d}" for i in range(SLICES))
    out = {}
    for k in range(METHODS):
        scores = common + rng.normal(size=SLICES) + (1.5 + 0.2 * k) * abnormal
        out[f"method-{k}"] = [ScoreSet("slice", ids, patients, abnormal, scores)]
    return out


def ours(sets: dict[str, list]) -> dict[str, list]:
    """All draws, the intervals of all differences, and the tests; the first draws are given back."""
    from dbtssl.evaluation.catalogue import CATALOGUE
    from dbtssl.evaluation.comparison.compare_methods import compare
    from dbtssl.evaluation.metrics.curve_draws import curve_draws
    from dbtssl.evaluation.statistics.clustered import patient_draws

    first = next(iter(sets.values()))[0]
    weights = patient_draws(first.abnormal, first.patients, DRAWS)
    metrics = [CATALOGUE[name] for name in METRICS]
    drawn = [curve_draws(s, weights, "at-least", metrics) for (s,) in sets.values()]
    errors = {
        metric: [np.std(a[metric] - b[metric]) for a, b in itertools.combinations(drawn, 2)]
        for metric in METRICS
    }
    assert all(len(of) == METHODS * (METHODS - 1) // 2 and min(of) > 0 for of in errors.values())
    assert len(compare(sets, "method-0")) == METHODS - 1
    return {m: [d[m][:TRIED].tolist() for d in drawn] for m in METRICS}


def scikit_learn(sets: dict[str, list], weights: np.ndarray) -> dict[str, list]:
    """The draws of ``weights``, every patient's slices repeated as often as she is drawn."""
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    out: dict[str, list] = {metric: [] for metric in METRICS}
    for (units,) in sets.values():
        found: dict[str, list] = {metric: [] for metric in METRICS}
        for w in weights:
            drawn = np.repeat(np.arange(SLICES), w[units.patients].astype(int))
            y, s = units.abnormal[drawn], units.scores[drawn]
            fpr, tpr, _ = roc_curve(y, s, drop_intermediate=False)
            found["auc"].append(float(roc_auc_score(y, s)))
            found["ap"].append(float(average_precision_score(y, s)))
            found["sp@87"].append(float(1 - fpr[tpr >= 0.87 - 1e-12].min()))
            found["sp@80"].append(float(1 - fpr[tpr >= 0.80 - 1e-12].min()))
        for metric in METRICS:
            out[metric].append(found[metric])
    return out


def case(way: str) -> None:
    """Run one case in this process and print what it took, and its first draws, as JSON."""
    from dbtssl.evaluation.statistics.clustered import patient_draws

    sets = score_sets()
    units = sets["method-0"][0]
    same = patient_draws(units.abnormal, units.patients, DRAWS)[:TRIED]
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    first = ours(sets) if way == "ours" else scikit_learn(sets, same)
    wall = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    times = 1 if way == "ours" else DRAWS / TRIED
    print(
        json.dumps(
            {
                "seconds": wall * times,
                "cpu_seconds": cpu * times,
                "peak_gb": used.ru_maxrss * 1024 / 1e9,
                "first": first,
            }
        )
    )


def measure(way: str) -> dict:
    """Run one case; ``others`` is the share of the machine's processor time that other programs took meanwhile."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    start, busy, own = time.perf_counter(), busy_seconds(), child_seconds()
    done = subprocess.run(
        [sys.executable, __file__, "--case", way],
        stdout=subprocess.PIPE,
        check=True,
        env=environment,
    )
    busy, own = busy_seconds() - busy, child_seconds() - own
    wall = time.perf_counter() - start
    found = json.loads(done.stdout)
    found["others"] = round(max(0.0, busy - own) / wall / (os.cpu_count() or 1), 3)
    print(f"{way}: { {k: v for k, v in found.items() if k != 'first'} }", file=sys.stderr)
    return found


def busy_seconds() -> float:
    """Processor time that the whole machine has spent; 0 where the system does not say."""
    try:
        user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    except OSError:
        return 0.0
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def run(repeat: int) -> dict:
    """Both cases, each until the machine did nothing else meanwhile, at most `repeat` times; the quietest counts."""
    load = os.getloadavg()
    cases: dict[str, dict] = {}
    for way in ("ours", "scikit-learn"):
        tries: list[dict] = []
        while len(tries) < repeat and not any(t["others"] < QUIET for t in tries):
            tries.append(measure(way))
        cases[way] = min(tries, key=lambda t: t["others"])
    first = [cases[way].pop("first") for way in ("ours", "scikit-learn")]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {processor()}, {platform.system()}",
        "versions": f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"scikit-learn {sklearn.__version__}",
        "load_before": round(load[0], 2),
        "load_after": round(os.getloadavg()[0], 2),
        "repeats": repeat,
        "largest_difference": float(
            max(np.abs(np.subtract(*(f[m] for f in first))).max() for m in METRICS)
        ),
        "cases": cases,
    }


def table(found: dict) -> str:
    """The result as Markdown, with every goal and whether it was met."""
    mine, theirs = (found["cases"][way] for way in ("ours", "scikit-learn"))
    others = max(mine["others"], theirs["others"])
    agree = found["largest_difference"]
    goals = [
        (f"seconds, at most {SECONDS:.0f}", f"{mine['seconds']:.1f}", mine["seconds"] <= SECONDS),
        (
            f"peak memory in GB, at most {GIGABYTES:.0f}",
            f"{mine['peak_gb']:.2f}",
            mine["peak_gb"] <= GIGABYTES,
        ),
        (
            f"largest difference from scikit-learn on the {TRIED} draws, at most {AGREE:g}",
            f"{agree:.1g}",
            agree <= AGREE,
        ),
    ]
    ratios = [theirs[key] / mine[key] for key in ("seconds", "cpu_seconds")]
    rows = {
        "ours, with all 36 differences and 8 paired tests": mine,
        f"scikit-learn in a loop, {TRIED} draws extrapolated to {DRAWS:,}": theirs,
    }
    lines = [
        "# Statistics of a table: `python benchmarks/perf/score.py`",
        "",
        f"{found['date']}; {found['machine']}; {found['versions']}. Load average {found['load_before']} "
        f"before, {found['load_after']} after (this benchmark included); other programs took at most {others:.1%} "
        f"of the machine while a case ran, the quietest of at most {found['repeats']} runs.",
        "",
        f"{SLICES:,} slices, {METHODS} methods, {DRAWS:,} draws of patients; {', '.join(METRICS)} of every draw.",
        "",
        "| | seconds | by processor time | peak GB |",
        "|---|--:|--:|--:|",
        *(
            f"| {name} | {c['seconds']:,.1f} | {c['cpu_seconds']:,.1f} | {c['peak_gb']:.2f} |"
            for name, c in rows.items()
        ),
        f"| ratio | {ratios[0]:.0f} | {ratios[1]:.0f} | |",
        "",
        "| goal | measured | |",
        "|---|--:|---|",
        *(f"| {goal} | {value} | {'met' if met else 'MISSED'} |" for goal, value, met in goals),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--write", action="store_true", help="write benchmarks/results/score.md and .json"
    )
    parser.add_argument("--case", choices=("ours", "scikit-learn"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        case(arguments.case)
        return
    found = run(arguments.repeat)
    print(table(found))
    if arguments.write:
        RESULTS.with_suffix(".md").write_text(table(found), encoding="utf-8")
        RESULTS.with_suffix(".json").write_text(
            json.dumps(found, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
