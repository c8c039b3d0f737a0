"""A cohort without labels and boxes: what samplers see in pretraining."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbtssl.data.records import Cohort, Label, Volume
from dbtssl.errors import PluginError

if TYPE_CHECKING:
    from dbtssl.data.records import Rect, Window

HIDDEN = ("label", "boxes")


class UnlabelledVolume(Volume):
    """A volume whose label and boxes are not there; reading one is a `PluginError`, not an `AttributeError`.

    Else ``getattr(volume, "label", None)`` would go on with nothing in silence.
    """

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name in HIDDEN:
            raise PluginError(
                f"Volume.{name} was read in pretraining, which has no labels and no boxes",
                hint="pair by patient, study, view and n_slices alone; labels are for fine-tuning",
            )
        return super().__getattribute__(name)

    def _known(self) -> tuple[str, str, str, int, int, int, Window, Rect]:
        return (
            self.patient,
            self.study,
            self.view,
            self.n_slices,
            self.rows,
            self.columns,
            self.window,
            self.crop,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UnlabelledVolume):
            return NotImplemented
        return self._known() == other._known()

    def __hash__(self) -> int:
        return hash(self._known())

    def __repr__(self) -> str:
        return f"UnlabelledVolume{self._known()}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _volume, self._known()


def unlabelled(cohort: Cohort) -> Cohort:
    """The same volumes in the same order, without what they are labelled with."""
    return Cohort(
        _volume(v.patient, v.study, v.view, v.n_slices, v.rows, v.columns, v.window, v.crop)
        for v in cohort
    )


def with_slices(cohort: Cohort, n_slices: int) -> Cohort:
    """The same unlabelled volumes with ``n_slices`` slices each: what a sampler would do if there were so many."""
    return Cohort(
        _volume(v.patient, v.study, v.view, n_slices, v.rows, v.columns, v.window, v.crop)
        for v in cohort
    )


def _volume(
    patient: str,
    study: str,
    view: str,
    n_slices: int,
    rows: int,
    columns: int,
    window: Window,
    crop: Rect,
) -> UnlabelledVolume:
    return UnlabelledVolume(
        patient, study, view, n_slices, rows, columns, Label.NORMAL, (), window, crop
    )
