"""Gated attention: a learned mean of features (Ilse, Tomczak and Welling, ICML 2018, equations 8 and 9).

A member with features h has the weight softmax(w . (tanh(V h) * sigmoid(U h))) within its group, and the group's logit
is linear in the weighted mean of h. Trained by L-BFGS on balanced cross-entropy with weight decay: there is no learning
rate and no order of batches, and with its seed it is the same again wherever the numerical libraries are.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from dbtssl.config import Config as BaseConfig
from dbtssl.errors import DataError
from dbtssl.evaluation.aggregation.simple import settled
from dbtssl.evaluation.quantity import EQUAL_DECIMALS
from dbtssl.evaluation.statistics.placements import placements
from dbtssl.interfaces import Groups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dbtssl.interfaces import Level

    Array = NDArray[np.float64]

CHECK = 10  # steps of L-BFGS, restarted, between looks at the validation groups
BLOCK = 2**23  # numbers that are worked on at once


class Attention:
    """Gated attention on the features of a group's members; for patches of a slice or slices of a volume.

    Training takes all abnormal groups and at most ``normals`` of the others, drawn by ``seed``. Each weight decay is
    tried, and stopped where the validation AUC is best; the best of all is kept.
    """

    class Config(BaseConfig):
        """Size and search."""

        hidden: int = Field(default=32, ge=1, description="units of V and U")
        decays: tuple[NonNegativeFloat, ...] = Field(
            default=(1e-4, 1e-2, 1.0),
            min_length=1,
            description="weight decays that are tried; validation chooses",
        )
        steps: int = Field(default=100, ge=1, description="most steps of L-BFGS for each")
        normals: int = Field(default=3000, ge=1, description="most normal groups of training")
        seed: int = Field(
            default=0, ge=0, description="of the first weights and the draw of normals"
        )

    level: ClassVar[Level | Literal["any"]] = "any"
    needs: ClassVar[Literal["logits", "features"]] = "features"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._state: dict[str, Array] = {}

    def fit(self, train: Groups, val: Groups) -> None:
        """Learn from ``train``; ``val`` chooses the weight decay and the step. Both classes must be in both."""
        for groups, name in ((train, "training"), (val, "validation")):
            _features(groups)
            if groups.labels is None or groups.labels.all() or not groups.labels.any():
                raise DataError(
                    f"attention: the {name} predictions lack a class",
                    hint="split with more patients, or choose an aggregator that learns nothing",
                )
        rng = np.random.default_rng(self.config.seed)
        few = _drawn(train, self.config.normals, rng)
        x = _features(few)
        mean, sd = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        sd[sd == 0] = 1.0
        net = _Net(mean, sd, self.config.hidden)
        start = net.start(rng)
        best, kept = -np.inf, start
        assert val.labels is not None
        for decay in self.config.decays:
            at = start
            for done in range(0, self.config.steps, CHECK):
                found = minimize(
                    net.loss,
                    at,
                    args=(few, decay),
                    jac=True,
                    method="L-BFGS-B",
                    options={"maxiter": min(CHECK, self.config.steps - done)},
                )
                at = found.x
                scores = settled(net.logits(at, val))
                auc = round(placements(val.labels, scores).auc, EQUAL_DECIMALS)
                if auc > best:
                    best, kept = auc, at
                if found.success:
                    break
        self._state = {"mean": mean, "sd": sd, "weights": kept}

    def state(self) -> dict[str, Array]:
        """What was learnt: the scale of the features and all weights."""
        return dict(self._state)

    def load(self, state: Mapping[str, Array]) -> None:
        """Take what `state` gave; `DataError` where it is of another size."""
        known = {name: np.asarray(a, dtype=np.float64) for name, a in state.items()}
        empty = np.zeros(0)
        net = _Net(known.get("mean", empty), known.get("sd", empty), self.config.hidden)
        if len(known.get("weights", empty)) != net.size:
            raise DataError(
                f"attention: {len(known.get('weights', empty))} weights, expected {net.size}",
                hint="give the options that it was trained with",
            )
        self._state = known

    def __call__(self, groups: Groups) -> Array:
        """Logits of the groups, shape ``(len(groups),)``."""
        if not self._state:
            raise DataError("attention has not been trained", hint="call fit or load first")
        mean, sd, weights = (self._state[name] for name in ("mean", "sd", "weights"))
        if (got := _features(groups).shape[1]) != len(mean):
            raise DataError(
                f"attention was trained on {len(mean)} features, got {got}",
                hint="score with the aggregators that belong to these predictions",
            )
        return _Net(mean, sd, self.config.hidden).logits(weights, groups)


class _Net:
    """The function of one vector of weights: V ``(H, D)``, U ``(H, D)``, w ``(H,)``, c ``(D,)`` and b.

    Features are brought to mean 0 and deviation 1. Groups are worked on in blocks, so that memory stays bounded.
    """

    def __init__(self, mean: Array, sd: Array, hidden: int) -> None:
        self.mean, self.sd, self.hidden, self.features = mean, sd, hidden, len(mean)
        self.size = 2 * hidden * self.features + hidden + self.features + 1

    def start(self, rng: np.random.Generator) -> Array:
        """Small random V, U and w; the plain mean of the features and a logit of 0 to begin with."""
        out = np.zeros(self.size)
        attention = 2 * self.hidden * self.features + self.hidden
        out[:attention] = rng.normal(size=attention) / np.sqrt(self.features)
        return out

    def logits(self, weights: Array, groups: Groups) -> Array:
        """Logits of all groups, ``(G,)``."""
        blocks = (self._forward(weights, *self._block(groups, part))[0] for part in _parts(groups))
        return np.concatenate(list(blocks))

    def loss(self, weights: Array, groups: Groups, decay: float) -> tuple[float, Array]:
        """Cross-entropy, each class of weight one half, with weight decay on all but b; and its gradient."""
        assert groups.labels is not None
        positive = groups.labels.sum()
        fraction = np.where(groups.labels, 0.5 / positive, 0.5 / (len(groups) - positive))
        w = self._split(weights)[2]
        loss = decay / 2 * float(weights[:-1] @ weights[:-1])
        gradient = np.r_[decay * weights[:-1], 0.0]
        for part in _parts(groups):
            x, offsets = self._block(groups, part)
            logits, (t, s, a, y) = self._forward(weights, x, offsets)
            labels = groups.labels[part]
            loss -= float((fraction[part] * log_expit(np.where(labels, logits, -logits))).sum())
            of_logit = fraction[part] * (expit(logits) - labels)
            sizes = np.diff(offsets)
            of_y = np.repeat(of_logit, sizes) * a
            of_e = of_y * (y - np.repeat(logits - weights[-1], sizes))  # through the softmax
            of_t = of_e[:, None] * w * s * (1 - t**2)
            of_s = of_e[:, None] * w * t * s * (1 - s)
            gradient += np.concatenate(
                [
                    (of_t.T @ x).ravel(),
                    (of_s.T @ x).ravel(),
                    of_e @ (t * s),
                    of_y @ x,
                    [of_logit.sum()],
                ]
            )
        return loss, gradient

    def _split(self, weights: Array) -> tuple[Array, Array, Array, Array]:
        h, d = self.hidden, self.features
        v, u, w, c, _ = np.split(weights, np.cumsum([h * d, h * d, h, d]))
        return v.reshape(h, d), u.reshape(h, d), w, c

    def _block(self, groups: Groups, part: slice) -> tuple[Array, NDArray[np.int64]]:
        offsets = groups.offsets[part.start : part.stop + 1]
        x = _features(groups)[offsets[0] : offsets[-1]]
        return (x - self.mean) / self.sd, offsets - offsets[0]

    def _forward(
        self, weights: Array, x: Array, offsets: NDArray[np.int64]
    ) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        """Logits ``(G,)``, and what the gradient needs: tanh, sigmoid, attention, and a member's own logit minus b."""
        v, u, w, c = self._split(weights)
        t, s = np.tanh(x @ v.T), expit(x @ u.T)  # N x H
        e = (t * s) @ w
        starts, sizes = offsets[:-1], np.diff(offsets)
        e = np.exp(e - np.repeat(np.maximum.reduceat(e, starts), sizes))
        a = e / np.repeat(np.add.reduceat(e, starts), sizes)
        y = x @ c
        return np.add.reduceat(a * y, starts) + weights[-1], (t, s, a, y)


def _parts(groups: Groups) -> list[slice]:
    """Runs of groups with at most `BLOCK` numbers together, one group at least."""
    width = _features(groups).shape[1]
    block = (groups.offsets[1:] * width - 1) // BLOCK
    edges = np.flatnonzero(np.r_[True, np.diff(block) > 0, True])
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def _features(groups: Groups) -> NDArray[np.float32]:
    if groups.features is None:
        raise DataError("attention needs features", hint="predict with this aggregator named")
    return groups.features


def _drawn(groups: Groups, normals: int, rng: np.random.Generator) -> Groups:
    """All abnormal groups and at most ``normals`` others."""
    features = _features(groups)
    assert groups.labels is not None
    others = np.flatnonzero(~groups.labels)
    if len(others) <= normals:
        return groups
    keep = groups.labels.copy()
    keep[rng.choice(others, normals, replace=False)] = True
    sizes = np.diff(groups.offsets)
    members = np.repeat(keep, sizes)
    return Groups(
        groups.values[members],
        np.cumsum([0, *sizes[keep]]).astype(np.int64),
        features[members],
        groups.labels[keep],
    )
