"""Finished runs side by side: paired differences from their stored predictions, what was changed, who moved."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from dbtssl.benchmark.results.provenance import environment_of
from dbtssl.benchmark.results.report_content import without_folders
from dbtssl.config import canonical_json
from dbtssl.errors import ConfigError
from dbtssl.evaluation.comparison.compare_methods import compare
from dbtssl.evaluation.statistics.placements import placements
from dbtssl.evaluation.values import Value
from dbtssl.report.runs_compared import Change, Pair, RankChange, RunsCompared, letters
from dbtssl.report.table_model import PHANTOM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from dbtssl.benchmark.results.finished_run import Run
    from dbtssl.evaluation.score_set import ScoreSet
    from dbtssl.interfaces import Level

MOST_MOVED = 10  # patients that are listed for each method and run
Sets = dict[str, dict["Level", list["ScoreSet"]]]


def compare_runs(runs: Sequence[Run]) -> RunsCompared:
    """Every later run against the first, for the rows that have one name in both.

    Where both have one row alone these are compared whatever they are called. Rows of different protocols or evaluation
    sets, and those of a diagnostic protocol, are not subtracted; the pair says so. `ConfigError` for fewer than two
    runs.
    """
    if len(runs) < 2:
        raise ConfigError(
            "one run alone cannot be compared", hint="give the folders of two or more"
        )
    sets = [_sets(run) for run in runs]
    patients = _patients(runs[0])
    pairs: list[Pair] = []
    moved: list[RankChange] = []
    notes: list[str] = []
    for letter, run, later in list(zip(letters(len(runs)), runs, sets, strict=True))[1:]:
        names = _names(sets[0], later)
        if not names:
            notes.append(
                f"run {letter} and run A have no row of one name, so nothing is subtracted: {_list(later)}; in A "
                f"{_list(sets[0])}"
            )
        pairs += _pairs(letter, runs[0], run, sets[0], later, names)
        for name, other in names.items():
            moved += _moved(letter, name, sets[0][name], later[other], patients)
        left = [n for n in later if n not in names.values()]
        left += [f"{n} of A" for n in sets[0] if n not in names]
        if names and left:
            notes.append(f"run {letter}: not in both runs: {', '.join(left)}")
    return RunsCompared(
        runs=tuple(f"{r.name} ({PHANTOM})" if r.record.phantom else r.name for r in runs),
        pairs=tuple(pairs),
        config=_changes([_flat(run.record.spec) for run in runs]),
        environment=_changes([environment_of(run.record) for run in runs]),
        components=_code(runs),
        data=_changes([_hashes(run, s) for run, s in zip(runs, sets, strict=True)]),
        moved=tuple(moved),
        notes=tuple(notes),
    )


def _sets(run: Run) -> Sets:
    """The test units of every row that has a score, a `ScoreSet` a seed, by method and level."""
    out: Sets = {}
    for row in run.record.rows:
        if row.score:
            levels = out.setdefault(row.method, {})
            for units in run.units(row).sets:
                levels.setdefault(units.level, []).append(units)
    return out


def _names(first: Sets, later: Sets) -> dict[str, str]:
    """Rows that are compared: name in the first run, name in the later one."""
    if len(first) == len(later) == 1:
        return {next(iter(first)): next(iter(later))}
    return {name: name for name in first if name in later}


def _list(sets: Sets) -> str:
    return ", ".join(sets) or "none"


def _pairs(
    letter: str, a: Run, b: Run, first: Sets, later: Sets, names: Mapping[str, str]
) -> list[Pair]:
    """Differences by level; Holm's correction is over the methods of one level."""
    out: list[Pair] = []
    levels = [level for name in names for level in first[name]]
    for level in dict.fromkeys(levels):
        found: list[Pair] = []
        for name, other in names.items():
            before, after = first[name].get(level, []), later[other].get(level, [])
            if not before or not after:
                continue
            shown = name if name == other else f"{other} less {name}"
            pair = Pair(
                run=letter, method=shown, level=level, before=_mean(before), after=_mean(after)
            )
            refusal = _refusal(a, b, before[0], after[0])
            if refusal:
                found.append(pair.model_copy(update={"refusal": refusal}))
                continue
            confidence = a.spec.rules.confidence
            (difference,) = compare(
                {f"{name} of A": before, shown: after}, f"{name} of A", confidence=confidence
            )
            found.append(pair.model_copy(update={"difference": difference}))
        out += _holm(found)
    return out


def _refusal(a: Run, b: Run, before: ScoreSet, after: ScoreSet) -> str:
    """Why two rows may not be subtracted; empty where they may."""
    ours, theirs = a.spec.rules, b.spec.rules
    if ours.digest != theirs.digest:
        return (
            f"the protocols differ: {ours.name} {ours.version} and {theirs.name} {theirs.version}"
        )
    if ours.diagnostic:
        return f"rows of {ours.name} are a diagnostic: the lesion's box has placed their patches"
    if before.evaluation_set != after.evaluation_set:
        counts = [f"{len(s.ids):,} ({int(s.abnormal.sum()):,} abnormal)" for s in (before, after)]
        return (
            f"the evaluation sets differ: {before.evaluation_set[:8]} with {counts[0]} {before.level}s and "
            f"{after.evaluation_set[:8]} with {counts[1]}"
        )
    return ""


def _holm(pairs: Sequence[Pair]) -> list[Pair]:
    from dbtssl.evaluation.comparison.compare_methods import holm

    corrected = holm([pair.difference.p if pair.difference else None for pair in pairs])
    return [
        pair
        if pair.difference is None
        else pair.model_copy(
            update={"difference": pair.difference.model_copy(update={"p_holm": p})}
        )
        for pair, p in zip(pairs, corrected, strict=True)
    ]


def _mean(seeds: Sequence[ScoreSet]) -> Value:
    first = seeds[0].abnormal
    if first.all() or not first.any():
        return Value(reason=f"the {seeds[0].level}s are of one class")
    return Value(value=float(np.mean([placements(s.abnormal, s.scores).auc for s in seeds])))


def _moved(
    letter: str,
    name: str,
    first: Mapping[Level, Sequence[ScoreSet]],
    later: Mapping[Level, Sequence[ScoreSet]],
    patients: Mapping[str, str],
) -> list[RankChange]:
    """The patients of both runs whose rank by the highest volume score moved most; nothing where the sets differ."""
    before, after = first.get("volume", ()), later.get("volume", ())
    if not before or not after or before[0].evaluation_set != after[0].evaluation_set:
        return []
    ranks_before, ranks_after = _ranks(before, patients), _ranks(after, patients)
    abnormal = {patients[i] for i, a in zip(before[0].ids, before[0].abnormal, strict=True) if a}
    by_move = sorted(ranks_before, key=lambda p: (-abs(ranks_after[p] - ranks_before[p]), p))
    return [
        RankChange(
            run=letter,
            method=name,
            patient=p,
            abnormal=p in abnormal,
            before=ranks_before[p],
            after=ranks_after[p],
            patients=len(ranks_before),
        )
        for p in by_move[:MOST_MOVED]
        if ranks_after[p] != ranks_before[p]
    ]


def _patients(run: Run) -> dict[str, str]:
    """The patient of every test volume."""
    row = next((row for row in run.record.rows if row.score), None)
    if row is None:
        return {}
    found = run.units(row).predictions
    return dict(zip(found.volumes, found.patients, strict=True))


def _ranks(seeds: Sequence[ScoreSet], patients: Mapping[str, str]) -> dict[str, float]:
    """Rank of each patient, 1 the most suspicious, mean over seeds; ties share their mean rank."""
    total: dict[str, list[float]] = defaultdict(list)
    for units in seeds:
        highest: dict[str, float] = {}
        for volume, score in zip(units.ids, units.scores, strict=True):
            patient = patients[volume]
            highest[patient] = max(float(score), highest.get(patient, -np.inf))
        names = sorted(highest)
        ranks: NDArray[np.float64] = rankdata([-highest[n] for n in names])
        for patient, rank in zip(names, ranks, strict=True):
            total[patient].append(float(rank))
    return {patient: float(np.mean(ranks)) for patient, ranks in total.items()}


def _code(runs: Sequence[Run]) -> tuple[Change, ...]:
    """Components of several runs whose distribution, version or code is not the same in all of these."""
    found = [
        {f"{c.kind} {c.name}": c.words() for row in run.record.rows for c in row.components}
        for run in runs
    ]
    return tuple(change for change in _changes(found) if len({*change.values} - {None}) > 1)


def _hashes(run: Run, sets: Sets) -> dict[str, str]:
    chosen = run.spec.rules
    out = {
        "data": run.record.data[:16],
        "split": run.record.split[:16],
        "protocol": f"{chosen.name} {chosen.version} {chosen.digest[:8]}",
    }
    for levels in list(sets.values())[:1]:
        out |= {f"evaluation set, {k}s": s[0].evaluation_set[:16] for k, s in levels.items()}
    return out


def _flat(spec: Any, prefix: str = "") -> dict[str, str]:
    """Dotted keys of a specification; of a key that names a folder, only that it differs is shown."""
    out: dict[str, str] = {}
    for key, value in spec.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            out |= _flat(value, f"{name}.")
        else:
            out[name] = canonical_json(value)
    return out


def _changes(of_runs: Sequence[Mapping[str, str]]) -> tuple[Change, ...]:
    keys = dict.fromkeys(key for one in of_runs for key in one)
    return tuple(
        Change(name=key, values=tuple(_shown(key, one.get(key)) for one in of_runs))
        for key in keys
        if len({one.get(key) for one in of_runs}) > 1
    )


def _shown(key: str, value: str | None) -> str | None:
    """A value as it is shown: words without quotes, folders hidden."""
    if value is None or not value.startswith('"'):
        return value
    shown: Callable[[Any, str], Any] = without_folders
    return str(shown(json.loads(value), key.rpartition(".")[2]))
