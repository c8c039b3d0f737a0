"""Does a row know a lesion when it is shown one, or only the place where lesions lie?

Each fine-tuned network of a run scores patches with the lesions of the test patients, drawn as in
training, and patches of healthy test volumes: some placed blindly, by the rule of tissue, and some
where a lesion of another test volume lies, in its slice. A network that has learned the place tells
the first from lesions, and not the second. AUC, mean over seeds, patients as units:

    python benchmarks/phantom_places.py runs/phantom-cpu/labels-0.25

No grid is laid and no maximum taken, so this is easier than what the run's own table asks for.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from phantom_run import CONFIDENCE, open_phantom, script, shown, table

from dbtssl.benchmark.stages.train_stages import fine_tuned
from dbtssl.data.records import Label, SliceRef
from dbtssl.evaluation.statistics.clustered import clustered_covariance, logit_t_interval
from dbtssl.evaluation.statistics.intervals import MIN_PATIENTS
from dbtssl.evaluation.statistics.placements import placements
from dbtssl.patches.matched_patches import MatchedPlaces
from dbtssl.patches.patch_rule import lesion_corner, places, random_corner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from phantom_run import PhantomRun
    from torch import nn

    from dbtssl.benchmark.results.run_record import RowRecord


LESION, BLIND, MATCHED = "lesion", "blind", "matched"
EACH = 2  # patches of each sort of a healthy volume


class Patches(NamedTuple):
    """Patches ``(N, S, S)``, what each is, the kind of its lesion, and whose it is."""

    pixels: NDArray[np.float32]
    what: NDArray[np.str_]
    kind: NDArray[np.str_]
    patient: NDArray[np.int64]


def cut(phantom: PhantomRun, seed: int = 0) -> Patches:
    """The patches of the test volumes; every row of the run is shown the same."""
    data, size = phantom.data, phantom.size
    slices = data.dataset.slices(data.split.test)
    matched = MatchedPlaces(slices, [np.zeros(v.n_slices, dtype=np.bool_) for v in slices.cohort])
    rng = np.random.default_rng(seed)
    rows: list[tuple[Any, str, str, str]] = []
    rule = phantom.rule
    for i, volume in enumerate(slices.cohort):
        shape = (volume.rows, volume.columns)
        found: list[tuple[SliceRef, tuple[int, int], str, str]] = []
        for box in volume.boxes:
            corner = lesion_corner(size, (box,), box.z, shape, rng)
            lesion = phantom.planned[volume.id].lesion
            found.append((SliceRef(i, box.z), corner, LESION, lesion.kind if lesion else ""))
        if volume.label is Label.NORMAL:
            anywhere = places(rule, slices.tissue(i))
            for _ in range(EACH):
                blind = SliceRef(i, int(rng.integers(volume.n_slices)))
                found.append((blind, random_corner(anywhere, rng), BLIND, ""))
                found.append((*matched.draw(i, size, rng), MATCHED, ""))
        for ref, (y, x), what, kind in found:
            rows.append((slices.read(ref, rule.rect(y, x)), what, kind, volume.patient))
    pixels, what, kind, patient = zip(*rows, strict=True)
    codes = np.unique(patient, return_inverse=True)[1]
    return Patches(np.stack(pixels), np.array(what), np.array(kind), codes.astype(np.int64))


def tuned(phantom: PhantomRun, record: RowRecord) -> nn.Module:
    """The fine-tuned network of a row."""
    folder = phantom.run.folder_of(record, "finetune")
    return fine_tuned(phantom.rows[record.method], record.seed, folder).eval()


def scores(network: nn.Module, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits of patches ``(N, S, S)``."""
    with torch.inference_mode():
        parts = [network(part[:, None]) for part in torch.from_numpy(pixels).split(256)]
    return torch.cat(parts).flatten().double().numpy()


def auc(
    score: Sequence[NDArray[np.float64]], lesion: NDArray[np.bool_], patient: NDArray[np.int64]
) -> dict[str, Any]:
    """Mean over seeds of the AUC of ``lesion``; patients as clusters, no interval for too few of them."""
    each = [placements(lesion, s).auc for s in score]
    found: dict[str, Any] = {
        "value": float(np.mean(each)),
        "low": None,
        "high": None,
        "seeds": each,
    }
    ill, healthy = (len(np.unique(patient[part])) for part in (lesion, ~lesion))
    if min(ill, healthy) < MIN_PATIENTS or not 0 < found["value"] < 1:
        return found
    _, covariance = clustered_covariance(lesion, score, patient)
    low, high = logit_t_interval(found["value"], float(covariance.mean()), ill - 1, CONFIDENCE)
    return found | {"low": low, "high": high}


def measured(patches: Patches, score: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """Lesions against each sort of healthy patch; and each kind of lesion against the matched ones."""
    lesion = patches.what == LESION
    sorts = {
        f"against {other}": (lesion, lesion | (patches.what == other)) for other in (BLIND, MATCHED)
    }
    for kind in np.unique(patches.kind[lesion]):
        mine = patches.kind == kind
        sorts[str(kind)] = (mine, mine | (patches.what == MATCHED))
    return {
        name: auc([s[part] for s in score], ill[part], patches.patient[part])
        for name, (ill, part) in sorts.items()
    }


def text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each method, a column for each question."""
    columns = list(next(iter(found.values())))
    rows = [[m, *(shown(of[c]) for c in columns)] for m, of in found.items()]
    return table([["AUC of patches", *columns], *rows])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folders of finished runs"
    )
    parser.add_argument("--out", type=Path, help="write the numbers to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    record: dict[str, Any] = {"phantom": True, "runs": {}}
    for folder in options.runs:
        phantom = open_phantom(folder)
        patches = cut(phantom)
        found: dict[str, Any] = {}
        for method in dict.fromkeys(r.method for r in phantom.run.record.rows):
            own = [r for r in phantom.records(method) if "finetune" in r.stages]
            if own:
                networks = (tuned(phantom, r) for r in own)
                score = [scores(network, patches.pixels) for network in networks]
                found[method] = measured(patches, score)
        counts = {str(w): int((patches.what == w).sum()) for w in (LESION, BLIND, MATCHED)}
        record["runs"][folder.name] = {"patches": counts, "rows": found}
        print(f"PHANTOM, {folder.name}, {counts}\n\n{text(found)}\n")
    record["seconds"] = round(time.monotonic() - began)
    print(f"{record['seconds']} s")
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    script(main)
