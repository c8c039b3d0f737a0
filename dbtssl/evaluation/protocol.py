"""A protocol: everything that decides a number and is not the method, with a name and a version.

`STRICT` is what a benchmark should do. `AS_PUBLISHED` is what the released SIFT-DBT code does (XYPB/SIFT_DBT at
bcc16a5b), for setting a number beside the paper's and for nothing else: test patches are placed with the annotated box
and thresholds are chosen on the test set, so its rows are a diagnostic and are never ranked.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, field_validator

from dbtssl.config import Config, did_you_mean, digest, result_fields
from dbtssl.errors import ConfigError
from dbtssl.evaluation.operating_points.roc import SpecificityRule
from dbtssl.evaluation.operating_points.threshold_rules import placed_rule, threshold_words

RELEASED_NORMALS = {"train": Fraction(3067, 12680), "val": Fraction(438, 1816)}
"""Share of the normal volumes in ``BCS-DBT_{split}_subset_idx_5.00.json``; all benign and cancer volumes are there."""

NOT_AS_RELEASED = (
    "The head is one logit, not two: it begins as the difference of two outputs of PyTorch's default initialisation, "
    "and moves half as far at the same learning rate.",
    "Which normal volumes are in the quarter that fine-tuning sees is drawn here: the released list of the training "
    "split cannot be read without the order of its table.",
    "Validation patches are the same in every epoch, and all are scored; the released code draws them in each epoch, "
    "and drops the last partial batch.",
    "Test is scored once, with the epoch that validation chose; the released training prints the highest test AUC of "
    "any epoch so far.",
    "Batches are half abnormal exactly, and go through the slices of each class; the released code draws with "
    "replacement and is balanced in expectation.",
    "The learning rate falls step by step to 0; released: epoch by epoch to 1e-6.",
    "Batch norm sees the whole batch; released: 32 patches on each of 4 devices.",
    "Linear fine-tuning keeps the batch-norm statistics of the encoder; the released code lets them move.",
    "Pixels have their full bit depth, in [0, 1]; released: 8 bits, minus 0.1550, divided by 0.1521.",
    "Flip, crop, rotation and translation are one resampling; released: one after the other.",
    "Pretraining leaves out Actionable volumes, as fine-tuning and test do; the released code pretrains on them too.",
    "Test patches and the order of training have random numbers of their own.",
)
"""Of the released SIFT-DBT code, XYPB/SIFT_DBT at bcc16a5b."""


class Protocol(Config):
    """The rules of one evaluation. A changed default is a new ``version``."""

    name: str = Field(description="what the user types")
    version: int = Field(ge=1, description="raised whenever a rule changes")
    lesion_window: tuple[int, int] = Field(
        default=(4, 4),
        description="slices before and after a box's annotated slice that count as abnormal, ends included",
    )
    actionable: Literal["drop", "normal"] = Field(
        default="drop",
        description="volumes recalled but not biopsied: left out, or counted as normal",
    )
    test_patches: Literal["blind", "oracle"] = Field(
        default="blind",
        description="where test patches lie: placed without knowing the lesion, or on abnormal slices over its box",
    )
    slice_threshold: str = Field(
        default="validation-balanced",
        description="where NPV, NR and AR of slices are taken: validation-balanced is least |NR - AR| on the "
        "validation split; else validation-youden, validation-sensitivity-0.9, validation-cost-20, or one-half, a "
        "probability",
    )
    threshold: str = Field(
        default="validation-balanced",
        description="the same for volumes, breasts and patients; test-balanced-grid is least |NR - AR| on the test "
        "split itself among the probabilities 0, 0.01, ... 1",
    )
    specificity_rule: SpecificityRule = Field(
        default="at-least", description="which ROC vertex gives the specificity at a sensitivity"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="level of every interval")
    fine_tuning: Literal["own", "as-released"] = Field(
        default="own",
        description="as-released: validation patches of abnormal slices lie over the lesion, a quarter of the normal "
        "volumes is seen, and a new head begins as PyTorch's",
    )

    @property
    def digest(self) -> str:
        """SHA-256 of all rules, in hex; rows of different digests are never ranked together."""
        return digest(self.rules)

    @property
    def rules(self) -> dict[str, Any]:
        """All rules as plain data. One that is younger than digests that are known stands there only where it holds."""
        fields = result_fields(self)
        return {k: v for k, v in fields.items() if (k, v) != ("fine_tuning", "own")}

    def fine_tuning_notes(self) -> tuple[str, ...]:
        """How fine-tuning differs from other protocols', and what is not as in the released code all the same."""
        if self.fine_tuning == "own":
            return ()
        train, val = (f"{100 * float(RELEASED_NORMALS[part]):.1f} %" for part in ("train", "val"))
        return (
            f"Fine-tuning as released: it sees {train} of the normal training and {val} of the normal validation "
            "volumes, drawn by a hash; its epoch is chosen on patches that lie over the lesion in abnormal slices; a "
            "new head begins as PyTorch's.",
            *(f"Not as released: {said}" for said in NOT_AS_RELEASED),
        )

    @property
    def diagnostic(self) -> bool:
        """Whether rows may not be ranked at all: the lesion's box has placed the patches that are scored."""
        return self.test_patches == "oracle"

    def with_window(self, window: tuple[int, int]) -> Protocol:
        """The same rules with another window of abnormal slices: another name and digest unless it is the same."""
        if window == self.lesion_window:
            return self
        before, after = window
        name = f"{self.name}-window-{before}-{after}"
        return self.model_copy(update={"name": name, "lesion_window": window})

    def words(self) -> str:
        """The rules in plain words, for the foot of a table."""
        before, after = self.lesion_window
        actionable = {
            "drop": "Volumes labelled Actionable (recalled, not biopsied) are left out.",
            "normal": "Volumes labelled Actionable (recalled, not biopsied) count as normal.",
        }[self.actionable]
        patches = {
            "blind": "Test patches are placed by one rule for both classes, without knowing the lesion.",
            "oracle": "DIAGNOSTIC, NEVER RANKED: every test patch of an abnormal slice is placed over the annotated "
            "lesion, as in the released SIFT-DBT code; patches of other slices are drawn at random.",
        }[self.test_patches]
        specificity = {
            "at-least": "the best specificity at a sensitivity of at least 87 % (80 %)",
            "interpolated": "the specificity at a sensitivity of 87 % (80 %), linear between ROC vertices",
            "nearest": "the specificity at the vertex of scikit-learn's ROC curve nearest to a sensitivity of 87 % "
            "(80 %), which may lie below it",
        }[self.specificity_rule]
        return " ".join(
            (
                f"Protocol {self.name}, version {self.version}.",
                actionable,
                f"A slice is abnormal from {before} slices before to {after} slices after a lesion box's "
                "annotated slice, ends included; a volume is abnormal if its breast was biopsied, "
                "benign or cancer.",
                patches,
                "NR and AR are the recalls of normals and abnormals, NPV the share of normals among those "
                f"called normal; {self._thresholds()} (a score above it is called abnormal).",
                f"SP@87 (SP@80) is {specificity}, on the test set's own ROC curve.",
                f"Intervals are {100 * self.confidence:g} % intervals with the patient as the unit: AUC by "
                "Obuchowski's clustered variance, logit scale, t; NPV, NR and AR by Wilson with the effective "
                "sample size, widened to what a nested patient bootstrap says, which draws the patients that the "
                "threshold is chosen on as well; SP@ by the spread of a patient bootstrap, logit scale, t.",
            )
        )

    def _thresholds(self) -> str:
        of_slices, of_others = (threshold_words(t) for t in (self.slice_threshold, self.threshold))
        if of_slices == of_others:
            return f"all three at {of_others}"
        return (
            f"all three for slices at {of_slices}, for volumes, breasts and patients at {of_others}"
        )

    @field_validator("slice_threshold", "threshold")
    @classmethod
    def _known_threshold(cls, value: str) -> str:
        try:
            placed_rule(value)
        except ConfigError as exc:
            raise ValueError(f"{exc.message}; {exc.hint}") from None
        return value


# version 2: intervals of NPV, NR and AR hold the uncertainty of the threshold as well
STRICT = Protocol(name="strict", version=2)

STRICT_ACTIONABLE_NORMAL = Protocol(name="strict-actionable-normal", version=2, actionable="normal")
"""As `STRICT`, with all that was recalled and not biopsied among the normals: 716 of BCS-DBT's training volumes."""

AS_PUBLISHED = Protocol(
    name="as-published",
    # 1 took the specificity at any vertex, 2 as scikit-learn's roc_curve gives them; 3 fine-tunes as released
    version=3,
    fine_tuning="as-released",
    lesion_window=(4, 3),
    test_patches="oracle",
    slice_threshold="one-half",
    threshold="test-balanced-grid",
    specificity_rule="nearest",
)
"""The released SIFT-DBT evaluation and fine-tuning: ``main_cls.py:211-216, 328-345``,
``BCS_DBT_cls_dataset.py:396-400, 459-486``, ``test.py:86``,
``volume_eval.py:84-129``, ``utils.py:141-145``."""

_PROTOCOLS = {p.name: p for p in (STRICT, STRICT_ACTIONABLE_NORMAL, AS_PUBLISHED)}


def protocol(name: str) -> Protocol:
    """The protocol called ``name``; `ConfigError` for an unknown one."""
    try:
        return _PROTOCOLS[name]
    except KeyError:
        known = sorted(_PROTOCOLS)
        raise ConfigError(
            f"unknown protocol {name!r}.{did_you_mean(name, known)}",
            hint=f"known protocols: {', '.join(known)}",
        ) from None
