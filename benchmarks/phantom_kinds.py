"""Which kinds of lesion does each row of a run find, and which can be distinguished from the baseline?

The abnormal slices of one kind of lesion (and, as "all", of every kind) against all normal slices of
the test patients: AUC, mean over seeds, and the paired difference to the baseline with an interval,
patients as units. Kinds come from the plan of the phantom; nothing else is read from it:

    python benchmarks/phantom_kinds.py runs/phantom-cpu/labels-0.1 runs/phantom-cpu/labels-0.25

With --equal-depth a slice is compared with normal slices of its depth alone (`dbtssl.evaluation.metrics.equal_depth`):
lesions lie near the middle of the stack, and what merely knows that is then worth nothing.
Intervals are not corrected for the number of comparisons: they describe, and the table of the run tests.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from phantom_run import CONFIDENCE, open_phantom, script, shown, table
from scipy.stats import t as student

from dbtssl.errors import DataError
from dbtssl.evaluation.comparison.paired import auc_differences
from dbtssl.evaluation.metrics.equal_depth import at_equal_depth
from dbtssl.evaluation.statistics.placements import placements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from phantom_run import PhantomRun

    from dbtssl.evaluation.comparison.paired import Paired
    from dbtssl.evaluation.score_set import ScoreSet

ALL = "all"


def kinds_of(phantom: PhantomRun, units: ScoreSet) -> NDArray[np.str_]:
    """The kind of lesion of the volume of each slice, ``(n,)``; empty where there is none."""
    planned = (phantom.planned[name.rpartition(":")[0]].lesion for name in units.ids)
    return np.array([lesion.kind if lesion else "" for lesion in planned])


def by_kind(
    family: Mapping[str, Sequence[ScoreSet]], kinds: NDArray[np.str_], baseline: str
) -> dict[str, Any]:
    """``{kind: {row: {"auc": ..., "difference": ...}}}`` of the rows of ``family``, seeds of each in a list.

    A difference is row minus baseline; its interval is that of `auc_differences`.
    """
    first = next(iter(family.values()))[0]
    found: dict[str, Any] = {}
    for kind in [ALL, *sorted(set(kinds[first.abnormal]))]:
        keep = ~first.abnormal | (kinds == kind) if kind != ALL else np.ones(len(kinds), bool)
        part = {name: [s.only(keep) for s in seeds] for name, seeds in family.items()}
        gaps = auc_differences(part, baseline)
        patients = len(np.unique(first.patients[keep & first.abnormal]))
        found[kind] = {"slices": int((keep & first.abnormal).sum()), "patients": patients}
        found[kind]["rows"] = {
            name: {
                "auc": float(np.mean([placements(s.abnormal, s.scores).auc for s in seeds])),
                "difference": interval(gaps[name]) if name in gaps else None,
            }
            for name, seeds in part.items()
        }
    return found


def interval(gap: Paired) -> dict[str, Any]:
    """A difference with its 95 % interval, or the reason why there is none."""
    found: dict[str, Any] = {"value": gap.difference, "low": None, "high": None}
    if gap.error is None or gap.df is None or gap.difference is None:
        return found | {"reason": gap.reason}
    half = float(student.ppf(0.5 + CONFIDENCE / 2, gap.df)) * gap.error
    return found | {"low": gap.difference - half, "high": gap.difference + half}


def measured(folder: Path, against: str, *, equal_depth: bool = False) -> dict[str, Any]:
    """The numbers of one run, against the row ``against`` or the run's own baseline."""
    phantom = open_phantom(folder)
    rows = phantom.run.record.rows
    names = list(dict.fromkeys(row.method for row in rows if row.score))
    baseline = against or phantom.run.spec.baseline or "random-init"
    if baseline not in names:
        raise DataError(
            f"{folder}: got baseline {baseline!r}; its rows are {', '.join(names)}",
            hint="name one of them with --against",
        )
    family = {
        name: [phantom.run.units(r).sets[0] for r in rows if r.method == name and r.score]
        for name in names
    }
    if equal_depth:
        family = {m: [at_equal_depth(s) for s in seeds] for m, seeds in family.items()}
    kinds = kinds_of(phantom, family[baseline][0])
    share = phantom.run.spec.share
    return {"share": share, "baseline": baseline, "kinds": by_kind(family, kinds, baseline)}


def text(found: Mapping[str, Any]) -> str:
    """The tables of one run."""
    parts = []
    for kind, of_kind in found["kinds"].items():
        head = [f"{kind}: {of_kind['slices']} slices of {of_kind['patients']} patients", "AUC"]
        lines = [[*head, f"less {found['baseline']}"]]
        for name, row in of_kind["rows"].items():
            gap = shown(row["difference"], "+") if row["difference"] else ""
            lines.append([name, f"{row['auc']:.3f}", gap])
        parts.append(table(lines))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folders of finished runs"
    )
    parser.add_argument(
        "--against", default="", help="the row to subtract; default: the run's baseline"
    )
    parser.add_argument(
        "--equal-depth", action="store_true", help="compare slices of equal depth alone"
    )
    parser.add_argument("--out", type=Path, help="write the numbers to this JSON file")
    options = parser.parse_args()
    began = time.monotonic()
    found = {}
    for folder in options.runs:
        found[folder.name] = measured(folder, options.against, equal_depth=options.equal_depth)
        how = ", slices of equal depth" if options.equal_depth else ""
        print(f"PHANTOM, {100 * found[folder.name]['share']:g} % of the labels{how}\n")
        print(text(found[folder.name]) + "\n")
    seconds = round(time.monotonic() - began)
    print(f"{seconds} s")
    if options.out:
        record = {
            "phantom": True, "equal_depth": options.equal_depth, "runs": found, "seconds": seconds,
        }  # fmt: skip
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    script(main)
