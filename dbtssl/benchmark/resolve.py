"""From a row of the specification to resolved, checked components."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from dbtssl.benchmark.inputs.breast_density import check_density
from dbtssl.benchmark.inputs.starting_weights import initial
from dbtssl.benchmark.spec.preset_layers import Layers
from dbtssl.config import Config, config_class, did_you_mean, result_fields, validate
from dbtssl.errors import ConfigError, DbtsslError, PluginError
from dbtssl.evaluation.aggregation.checked_aggregator import broken_promise
from dbtssl.interfaces.abilities import Trainable, able
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtssl.benchmark.inputs.starting_weights import Initial
    from dbtssl.benchmark.spec.specification import BackboneSpec, RowSpec, Spec
    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.interfaces import Level, Method, Reported
    from dbtssl.interfaces.schedule import PretrainConfig


Place = Literal["patch", "slice", "breast", "patient"]
AGGREGATORS: dict[Place, Level] = {
    "patch": "slice",
    "slice": "volume",
    "breast": "breast",
    "patient": "patient",
}
"""What is aggregated, in the words of the specification, and the level that it gives."""


@dataclass(frozen=True)
class Part:
    """A component and its resolved configuration."""

    kind: str
    name: str
    config: Config

    def build(self, *args: Any) -> Any:
        """Construct the component: ``Cls(*args, **config)``."""
        return registry().build(self.kind, self.name, self.config, *args)

    def key(self) -> dict[str, Any]:
        """What decides the result: name, resolved configuration, and the plugin's own code."""
        return {
            "name": self.name,
            "config": result_fields(self.config),
            "code": registry().component(self.kind, self.name).fingerprint(),
        }


@dataclass(frozen=True)
class Row:
    """One method of the table, resolved: every default filled in, every key checked."""

    name: str
    method: Method
    preset: str
    backbone: BackboneSpec
    objective: Part | None
    sampler: Part | None
    pretrain: PretrainConfig | None
    finetuner: Part
    initial: Initial | None
    told: tuple[str, ...] = ()
    """What changes its preset, and what its method brings that does not count."""

    @property
    def finetuning(self) -> str:
        """The strategy of the fine-tuner, or its name."""
        return str(getattr(self.finetuner.config, "strategy", self.finetuner.name))

    @property
    def reported(self) -> tuple[Reported, ...]:
        """The paper's own rows."""
        return self.method.reported

    @property
    def planned_epochs(self) -> int | None:
        """Pretraining epochs of the method's paper, or of the row's preset."""
        return _planned(self.method, self.preset).get("epochs")


@dataclass(frozen=True)
class BrokenRow:
    """A row whose plugin cannot be used, which was found before any work; the others go on."""

    name: str
    backbone: BackboneSpec
    error: DbtsslError
    finetuning: str = ""
    reported: tuple[Reported, ...] = ()
    planned_epochs: int | None = None


@dataclass(frozen=True)
class Resolved:
    """Everything that a specification names, found and checked. ``broken`` are rows that cannot be run."""

    rows: tuple[Row, ...]
    broken: tuple[BrokenRow, ...]
    patch: Part
    slice: Part
    protocol: Protocol


def resolve(spec: Spec) -> Resolved:
    """Check everything that ``spec`` names before any work is done; all errors in one `ConfigError`.

    A row that fails for its plugin alone (a `PluginError`) is broken and stops no other, unless all rows are. A
    mistake of the specification stops everything.
    """
    from dbtssl.benchmark.networks import check_networks
    from dbtssl.data.preparation.prepare import PrepareConfig
    from dbtssl.phantom.model.phantom_config import PhantomConfig

    errors: list[DbtsslError] = []

    def attempt(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except DbtsslError as exc:
            errors.append(exc)
            return None

    rows: list[Row] = []
    broken: list[BrokenRow] = []
    for name in spec.methods:
        made, faults = _attempted(name, spec)
        if made is not None and not faults:
            rows.append(made)
        elif all(isinstance(exc, PluginError) for exc in faults):
            broken.append(_broken(name, spec, faults))
        else:
            errors += faults
    parts = {place: attempt(partial(aggregator, spec, place)) for place in AGGREGATORS}
    chosen = attempt(lambda: spec.rules)
    if chosen is not None and chosen.diagnostic:
        attempt(partial(_refuse_grid, spec))
    for name in spec.objective:
        attempt(partial(registry().component, "objective", name))
    attempt(lambda: _part("source", spec.data.source, spec.data.options))
    attempt(lambda: validate(PrepareConfig, spec.prepare, "prepare"))
    attempt(spec.monitor.check)
    attempt(partial(check_density, spec))
    attempt(lambda: validate(PhantomConfig, spec.data.phantom, "data.phantom"))
    for row in rows if not errors else ():
        try:
            check_networks(row, spec.predict.patch_size)
        except PluginError as exc:
            broken.append(_broken(row.name, spec, [exc]))
        except DbtsslError as exc:
            errors.append(exc)
    if len(broken) == len(spec.methods):
        errors += [row.error for row in broken]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        messages = dict.fromkeys(exc.message for exc in errors)
        raise ConfigError("\n".join(messages), hint=errors[0].hint)
    whole = [row for row in rows if row.name not in {x.name for x in broken}]
    return Resolved(tuple(whole), tuple(broken), parts["patch"], parts["slice"], chosen)


def _attempted(name: str, spec: Spec) -> tuple[Row | None, list[DbtsslError]]:
    """A row, and all that is wrong with it."""
    faults: list[DbtsslError] = []

    def attempt(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except DbtsslError as exc:
            faults.append(exc)
            return None

    return attempt(partial(_row, name, spec.method.get(name), spec, attempt)), faults


def _broken(name: str, spec: Spec, faults: list[DbtsslError]) -> BrokenRow:
    own = spec.method.get(name)
    messages = "; ".join(dict.fromkeys(exc.message for exc in faults))
    error = PluginError(messages, hint=faults[0].hint)
    error.__cause__ = faults[0]
    return BrokenRow(name, (own.backbone if own else None) or spec.backbone, error)


def aggregator(spec: Spec, place: Place) -> Part:
    """The aggregator over patches, slices, or the volumes of a breast or patient, as ``spec`` names it."""
    name = getattr(spec.aggregate, place)
    part = _part(
        "aggregator",
        name,
        spec.aggregate.options.get(place, {}),
        f"aggregate.options.{place}",
        f"aggregate.{place}",
    )
    cls = registry().load("aggregator", name)
    if wrong := broken_promise(cls):
        component = registry().component("aggregator", name)
        raise PluginError(f"aggregate.{place}: {component}: {wrong[0]}", hint=wrong[1])
    if cls.level not in ("any", AGGREGATORS[place]):
        raise ConfigError(
            f"aggregate.{place}: aggregator {name!r} works at level {cls.level}, not {AGGREGATORS[place]}",
            hint="`dbtssl plugins` lists the aggregators",
        )
    if place in ("breast", "patient") and (cls.needs == "features" or able(cls, Trainable)):
        raise ConfigError(
            f"aggregate.{place}: aggregator {name!r} learns or needs features; volumes have scores alone",
            hint="use it as aggregate.patch or aggregate.slice",
        )
    return part


def _refuse_grid(spec: Spec) -> None:
    if spec.predict.inference == "grid":
        raise ConfigError(
            f"protocol {spec.protocol!r} places the patches itself; predict.inference is grid",
            hint='leave predict.inference out, or take protocol = "strict"',
        )


def _part(
    kind: str, name: str, config: dict[str, Any], where: str = "", asked_by: str = ""
) -> Part:
    cls = _load(kind, name, asked_by)
    return Part(kind, name, validate(config_class(cls), config, where or f"{kind}.{name}"))


def _load(kind: str, name: str, asked_by: str = "") -> Any:
    """The target, named with who asks for it if it is not there.

    A name that nobody knows is a mistake of the specification, unless a plugin failed to load.
    """
    unknown = name not in registry().names(kind)
    try:
        return registry().load(kind, name)
    except PluginError as exc:
        message = f"{asked_by}: {exc.message}" if asked_by else exc.message
        if unknown and all(plugin.status != "failed" for plugin in registry().plugins):
            raise ConfigError(message, hint=exc.hint) from None
        raise PluginError(message, hint=exc.hint) from exc


def _row(
    name: str,
    row: RowSpec | None,
    spec: Spec,
    attempt: Callable[[Callable[[], Any]], Any],
) -> Row:
    from dbtssl.training.pretraining.pretrain import PretrainConfig

    method_name = (row.method if row else "") or name
    asked_by = f"row {name!r}, method {method_name!r}"
    method: Method = _load("method", method_name, f"row {name!r}")
    preset_name = row.preset if row else ""
    preset = _preset(method_name, method, preset_name)

    layers = Layers(name, method_name, method, row, preset)

    def part(kind: str, what: str, keys: Callable[[type[Config]], dict[str, Any]], by: str) -> Part:
        where = f"{name}: {kind}.{what}"
        return _part(kind, what, keys(config_class(_load(kind, what, by))), where)

    objective = sampler = pretrain = None
    if method.objective is not None:
        objective_name = method.objective
        sampler_name = (row.pairs if row else "") or method.sampler
        objective = attempt(
            lambda: part(
                "objective",
                objective_name,
                lambda config: layers.merged(
                    "objective",
                    method.objective_config,
                    spec.objective.get(objective_name, {}),
                    f"objective.{objective_name}",
                    config,
                ),
                asked_by,
            )
        )
        if sampler_name is None:
            raise ConfigError(f"method {method_name!r} has an objective and no sampler")

        def pair_keys(config: type[Config]) -> dict[str, Any]:
            if sampler_name != method.sampler:  # those of method and preset are of another Config
                layers.other_pairs(sampler_name)
                return row.sampler if row else {}
            return layers.merged("sampler", method.sampler_config, {}, "sampler", config)

        sampler = attempt(
            lambda: part(
                "sampler",
                sampler_name,
                pair_keys,
                f"row {name!r}: pairs" if row and row.pairs else asked_by,
            )
        )
        pretrain = attempt(
            lambda: validate(
                PretrainConfig,
                _in_proportion(
                    _planned(method, preset_name),
                    layers.merged(
                        "pretrain", method.pretrain, spec.pretrain, "pretrain", PretrainConfig
                    ),
                ),
                f"{name}: pretrain",
            )
        )
    elif row and (row.objective or row.sampler or row.pretrain or row.pairs):
        raise ConfigError(
            f"row {name!r}: method {method_name!r} does no pretraining",
            hint="remove its pairs and its objective, sampler and pretrain tables",
        )
    finetuner = attempt(
        lambda: part(
            "finetuner",
            method.finetuner,
            partial(layers.finetune, spec.finetune),
            asked_by,
        )
    )
    backbone = (row.backbone if row else None) or spec.backbone
    source = (row.weights if row else "") or method.weights
    begin = None if source is None else attempt(partial(initial, source, name))
    told = tuple(layers.told)
    parts = (objective, sampler, pretrain, finetuner)
    return Row(name, method, preset_name, backbone, *parts, begin, told)


def _planned(method: Method, preset: str) -> dict[str, Any]:
    """The pretraining schedule of the method's paper with the changes of a preset, which must be known."""
    return method.pretrain | method.presets.get(preset, {}).get("pretrain", {})


def _in_proportion(paper: dict[str, Any], schedule: dict[str, Any]) -> dict[str, Any]:
    """The paper's warm-up, left as it was, over the same share of a training of other length."""
    warmup, planned, epochs = (
        paper.get("warmup_epochs"),
        paper.get("epochs"),
        schedule.get("epochs"),
    )
    if not (warmup and planned) or schedule["warmup_epochs"] != warmup or type(epochs) is not int:
        return schedule
    return schedule | {"warmup_epochs": warmup * epochs / planned}


def _preset(method: str, definition: Method, name: str) -> dict[str, dict[str, Any]]:
    if not name:
        return {}
    if name not in definition.presets:
        known = sorted(definition.presets)
        raise ConfigError(
            f"method {method!r} has no preset {name!r}.{did_you_mean(name, known)} "
            f"Known: {', '.join(known) or 'none'}.",
            hint="choose one of these, or leave preset out",
        )
    return definition.presets[name]
