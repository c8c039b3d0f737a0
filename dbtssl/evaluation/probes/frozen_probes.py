"""What frozen features are good for beside detection: breast density, and finding a breast's other view.

Features are standardised by mean and standard deviation of the training volumes. The patient is the unit of every
interval; the candidates of the retrieval are fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, ValidationError
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from dbtssl.config import Config, canonical_json
from dbtssl.errors import DataError
from dbtssl.evaluation.probes.frozen_metrics import DENSITY, RECALL
from dbtssl.evaluation.probes.representation import NOT_FINITE, cross_view_hits
from dbtssl.evaluation.statistics.clustered import (
    logit_draws_interval,
    patient_draws,
    proportion_interval,
)
from dbtssl.evaluation.statistics.intervals import MIN_PATIENTS
from dbtssl.evaluation.statistics.spearman import spearman_draws
from dbtssl.evaluation.values import Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

K = 10  # nearest volumes of the other view that count
MIN_CANDIDATES = 20  # with fewer, chance alone finds more than half
MIN_VALUES = 3  # distinct densities in training and in test
DECIMALS = 9  # of an error or a prediction, in units of the densities' standard deviation; what is closer is a tie
PENALTIES = tuple(10.0**power for power in range(-2, 7))  # of the ridge regression


@dataclass(frozen=True)
class VolumeEmbeddings:
    """The volumes of one part of the split: ``features`` ``(V, D)``; the others ``(V,)``.

    ``patients`` and ``breasts`` are ids, of (patient) and (patient, study, side); ``density`` is nan where unknown.
    """

    features: NDArray[np.float64]
    patients: NDArray[np.int64]
    breasts: NDArray[np.int64]
    mlo: NDArray[np.bool_]
    density: NDArray[np.float64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which volumes have a density."""
        return np.isfinite(self.density)


class FrozenTasks(Config):
    """The tasks of one encoder, and what they were measured on."""

    values: dict[str, Value] = Field(
        description="density-rho, where densities are known; recall@10"
    )
    penalty: float | None = Field(
        default=None, description="of the ridge regression, by validation"
    )
    n_known: tuple[int, int, int] = Field(
        description="training, validation and test volumes of known density"
    )
    no_density: str = Field(default="", description="why no density is known")
    queries: int = Field(description="test volumes whose other view is looked for")
    candidates: tuple[int, int] = Field(description="CC and MLO volumes of the test split")
    chance: float | None = Field(default=None, description="recall@10 of a random order")
    n_volumes: int = Field(description="test volumes")
    n_patients: int = Field(description="test patients")
    evaluation_set: str = Field(description="hash of the sorted ids of the test volumes")
    rule: str = Field(description="hash of what decides the places of patches and the densities")
    slices: int = Field(description="slices of a volume that are looked at")
    patches: int = Field(description="patches of such a slice")

    def to_json(self) -> str:
        """One text for equal results."""
        return canonical_json(self)

    @classmethod
    def from_json(cls, text: str) -> FrozenTasks:
        """Read what `to_json` wrote; `DataError` for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            raise DataError(
                f"not a result of frozen features: {first['msg']}",
                hint="remove the stage's folder and run again",
            ) from None

    def words(self) -> tuple[str, ...]:
        """How it was measured, and what chance gives."""
        said = [
            f"Frozen features: the mean over {self.patches} patches of each of {self.slices} evenly spaced slices of a "
            "volume, of the encoder before fine-tuning, standardised on training volumes. Intervals have the patient "
            "as the unit."
        ]
        if self.no_density:
            said.append(f"No breast density beside the frozen features: {self.no_density}.")
        else:
            train, val, test = self.n_known
            said.append(
                f"Density ρ: Spearman's correlation of breast density with what a ridge regression on {train:,} "
                f"training volumes says of {test:,} test volumes, its penalty chosen on {val:,} validation volumes; "
                "from -1 to 1, chance 0."
            )
        if self.chance is not None:
            cc, mlo = self.candidates
            said.append(
                f"R@10: fraction of {self.queries:,} test volumes whose other view of that breast and study is among "
                f"the 10 nearest by cosine, CC among {mlo:,} MLO volumes and MLO among {cc:,} CC volumes, those of the "
                f"patient's other breast and other studies included; chance {100 * self.chance:.1f} %."
            )
        return tuple(said)


def frozen_tasks(
    train: VolumeEmbeddings,
    val: VolumeEmbeddings,
    test: VolumeEmbeddings,
    *,
    confidence: float,
    no_density: str,
    **about: Any,
) -> FrozenTasks:
    """Both tasks; ``no_density`` says why there is no density, ``about`` are the other fields of the result.

    The test volumes' densities are compared with and nothing else.
    """
    values: dict[str, Value] = {}
    penalty = chance = None
    queries = 0
    parts = (train, val, test)
    if all(np.isfinite(part.features).all() for part in parts):
        scaler = StandardScaler().fit(train.features)
        x_train, x_val, x_test = (scaler.transform(part.features) for part in parts)
        if not no_density:
            values[DENSITY], penalty = _density(
                (x_train, train), (x_val, val), (x_test, test), confidence
            )
        values[RECALL], queries, chance = _retrieval(x_test, test, confidence)
    else:
        names = (RECALL,) if no_density else (DENSITY, RECALL)
        values = {name: Value(reason=NOT_FINITE) for name in names}
    return FrozenTasks(
        values=values,
        penalty=penalty,
        n_known=(int(train.known.sum()), int(val.known.sum()), int(test.known.sum())),
        no_density=no_density,
        queries=queries,
        candidates=(int((~test.mlo).sum()), int(test.mlo.sum())),
        chance=chance,
        n_volumes=len(test.mlo),
        n_patients=len(np.unique(test.patients)),
        **about,
    )


def _density(
    train: tuple[NDArray[np.float64], VolumeEmbeddings],
    val: tuple[NDArray[np.float64], VolumeEmbeddings],
    test: tuple[NDArray[np.float64], VolumeEmbeddings],
    confidence: float,
) -> tuple[Value, float | None]:
    """Spearman's rho on the test volumes, and the penalty of least squared error on the validation volumes."""
    (x, y), (x_val, y_val), (x_test, y_test) = (
        (features[part.known], part.density[part.known]) for features, part in (train, val, test)
    )
    for name, known in (("training", y), ("test", y_test)):
        if (count := len(np.unique(known))) < MIN_VALUES:
            return Value(
                reason=f"different densities among {name} volumes: {count}; {MIN_VALUES} are needed"
            ), None
    if not len(y_val):
        return Value(reason="no validation volume has a density to choose the penalty by"), None
    spread = float(np.var(y_val)) or 1.0
    model = min(  # of equal errors the greatest penalty
        (Ridge(alpha=penalty).fit(x, y) for penalty in reversed(PENALTIES)),
        key=lambda ridge: _settled(np.mean((ridge.predict(x_val) - y_val) ** 2) / spread),
    )
    said = _settled(model.predict(x_test) / np.sqrt(spread))
    if np.ptp(said) == 0:
        return Value(reason="the features say the same of every test volume"), float(model.alpha)
    rho = float(spearmanr(said, y_test).statistic)
    owners = test[1].patients[test[1].known]
    return _rho_value(rho, said, y_test, owners, confidence), float(model.alpha)


def _settled(numbers: Any) -> Any:
    """Without the last bits of sums and products: what differs in them alone ties."""
    return np.round(numbers, DECIMALS)


def _rho_value(
    rho: float,
    said: NDArray[np.float64],
    density: NDArray[np.float64],
    patients: NDArray[np.int64],
    confidence: float,
) -> Value:
    """``rho`` with the standard deviation of the draws on Fisher's scale, t with patients - 1 degrees of freedom."""
    count = len(np.unique(patients))
    if reason := _too_few(count):
        return Value(value=rho, reason=reason)
    weights = patient_draws(np.zeros(len(patients), dtype=np.bool_), patients)
    draws = spearman_draws(said, density, patients, weights)
    known = draws[np.isfinite(draws)]
    if len(known) < 2 or np.ptp(known) < 1e-12:
        return Value(value=rho, reason="every draw of patients gives the same value")
    # Fisher's z is half the logit of (1 + rho) / 2
    low, high = logit_draws_interval((1 + rho) / 2, (1 + known) / 2, count, count - 1, confidence)
    return Value(value=rho, low=2 * low - 1, high=2 * high - 1)


def _retrieval(
    features: NDArray[np.float64], test: VolumeEmbeddings, confidence: float
) -> tuple[Value, int, float | None]:
    """recall@10 of both directions together, the number of queries, and what chance gives."""
    fewest = min(int(test.mlo.sum()), int((~test.mlo).sum()))
    if fewest < MIN_CANDIDATES:
        return (
            Value(reason=f"test volumes of a view: {fewest}; {MIN_CANDIDATES} are needed"),
            0,
            None,
        )
    hits = cross_view_hits(features, test.breasts, test.mlo, K)
    if not len(hits.queries):
        return Value(reason="no test breast has both a CC and an MLO volume"), 0, None
    codes = np.unique(test.patients[hits.queries], return_inverse=True)[1]
    fraction = float(np.mean(hits.found))
    found, asked = (
        np.bincount(codes, counted).astype(np.float64)
        for counted in (hits.found, np.ones(len(codes)))
    )
    if reason := _too_few(len(asked)):
        value = Value(value=fraction, reason=reason)
    else:
        low, high = proportion_interval(found, asked, len(asked) - 1, confidence)
        value = Value(value=fraction, low=low, high=high)
    return value, len(hits.queries), float(np.mean(hits.chance))


def _too_few(patients: int) -> str:
    """Why there is no interval; empty if there is one."""
    enough = patients >= MIN_PATIENTS
    return "" if enough else f"interval needs {MIN_PATIENTS} patients, has {patients}"
