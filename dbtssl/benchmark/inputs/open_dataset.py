"""The first stages: the phantom where no data is given, and the prepared data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from dbtssl.config import digest, result_fields, validate
from dbtssl.data.deidentify import privacy_by
from dbtssl.data.prepared.prepared_dataset import PreparedDataset, plain_volume
from dbtssl.data.sources.phantom_source import MARKER, is_phantom
from dbtssl.data.splits.patient_split import Split, split_from_lists, split_patients
from dbtssl.data.splits.split_lists import read_lists
from dbtssl.engine.store import Stage, file_hash
from dbtssl.errors import ConfigError, DataError, system_error
from dbtssl.evaluation.predictions.evaluation_sets import read_subset
from dbtssl.folders import expanded, user_folder
from dbtssl.interfaces.abilities import has_public_ids
from dbtssl.plugins.code.locate import is_core
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.engine.store import Output
    from dbtssl.interfaces import RawVolume, Source

PREPARE_VERSION = 2
"""2: sources say whether their ids are public; files must agree with the tables; headers that change pixels."""


@dataclass(frozen=True)
class Data:
    """A prepared data set and its split: what every later stage reads."""

    dataset: PreparedDataset
    split: Split

    def key(self) -> dict[str, str]:
        """The content hashes that later stages depend on."""
        return {"data": self.dataset.digest, "split": self.split.digest}


def phantom_root(spec: Spec) -> Path:
    """The folder of the phantom that ``spec`` asks for, in the user's cache; not made here."""
    from dbtssl.phantom.model.phantom_config import FORMAT, PhantomConfig

    config = validate(PhantomConfig, spec.data.phantom, "data.phantom")
    name = digest([FORMAT, result_fields(config)])[:16]
    return user_folder("cache") / "phantom" / name


def find_volumes(spec: Spec) -> tuple[Source, Path, Sequence[RawVolume]]:
    """The source, and the volumes below its root; a phantom that is not there yet is made first."""
    source: Source = registry().build("source", spec.data.source, spec.data.options)
    if spec.data.root:
        if spec.data.phantom:
            raise ConfigError(
                "data.root and data.phantom are both given",
                hint="remove data.root to make the phantom, or data.phantom to read the folder",
            )
        root = expanded(spec.data.root)
    elif spec.data.source == "phantom":
        from dbtssl.phantom.model.phantom_config import PhantomConfig
        from dbtssl.phantom.output.write_cohort import write_cohort

        root = phantom_root(spec)
        config = validate(PhantomConfig, spec.data.phantom, "data.phantom")
        root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(root.with_suffix(".wait")):  # another benchmark may be making it just now
            write_cohort(config, root, spec.run.jobs or None)
    else:
        raise ConfigError(
            f"source {spec.data.source!r} needs a folder",
            hint=f"dbtssl benchmark --data {spec.data.source}:FOLDER",
        )
    return source, root, source.volumes(root)


def prepare_stage(spec: Spec, source: Source, root: Path, raws: Sequence[RawVolume]) -> Stage:
    """The stage that turns DICOM files into the prepared store."""
    from dbtssl.data.preparation.prepare import PrepareConfig, prepare

    config = validate(PrepareConfig, spec.prepare, "prepare")

    def run(folder: Path) -> None:
        prepare(
            source,
            raws,
            folder,
            config,
            name=spec.data.source,
            phantom=is_phantom(root),
            jobs=spec.run.jobs or None,
        )

    return Stage(
        name="prepare",
        label=spec.data.source,
        version=PREPARE_VERSION,
        config={
            "source": spec.data.source,
            # hashed: they may hold paths, and the stage's manifest lies in the prepared data set
            "options": spec.data.options and digest(spec.data.options),
            "prepare": config.settings(),
        }
        | source_code(spec.data.source),
        parents={"files": listing(root, raws, has_public_ids(source))},
        outputs=("dataset.json", "volumes.parquet", "boxes.parquet"),
        run=run,
    )


def source_code(name: str) -> dict[str, str]:
    """The code of a plugin's source; of those of dbtssl itself the version of the stage stands for it."""
    source = registry().component("source", name)
    return {} if is_core(source.target) else {"code": source.fingerprint()}


def open_data(spec: Spec, get: Callable[[Stage], Output | None]) -> Data | None:
    """The prepared data set and its split; None where ``get`` only looks and the data set is not there yet."""
    root = expanded(spec.data.root) if spec.data.root else None
    if root is not None and (root / "dataset.json").is_file():
        dataset = PreparedDataset.open(root)
        _refuse_other_settings(spec, dataset, root)
    else:
        output = get(prepare_stage(spec, *find_volumes(spec)))
        if output is None:
            return None
        dataset = PreparedDataset.open(output.folder)
    return Data(dataset, make_split(spec, dataset))


def _refuse_other_settings(spec: Spec, dataset: PreparedDataset, root: Path) -> None:
    """A prepared data set is used as it is: settings that it was not made with would do nothing."""
    differs = {k: v for k, v in spec.prepare.items() if dataset.config.get(k) != v}
    if spec.data.source != dataset.source or differs or spec.data.options:
        made = ", ".join(f"{k} = {v}" for k, v in dataset.config.items())
        raise ConfigError(
            f"{root} is a prepared data set of source {dataset.source} ({made}); asked for was source "
            f"{spec.data.source}" + "".join(f", {k} = {v}" for k, v in differs.items()),
            hint="leave out prepare.* and data.options, or name the folder of the original files",
        )


def must_make_phantom(spec: Spec) -> bool:
    """Whether ``spec`` asks for a phantom that is not in the cache yet."""
    made = spec.data.source == "phantom" and not spec.data.root
    return made and not is_phantom(phantom_root(spec))


def source_state(spec: Spec) -> str:
    """A hash of what the source and the lists of the split hold now; of no file before a phantom is made."""
    files = _files_state(spec)
    if not spec.split.lists:
        return files
    subset = published_subset(spec)
    parts = [files, read_lists(spec.split.lists).digest]
    return digest(parts if subset is None else [*parts, sorted(subset)])


def published_subset(spec: Spec) -> frozenset[str] | None:
    """SIFT-DBT's subset of its test list, where its protocol is asked for and the lists of the split have it."""
    if not spec.split.lists or not spec.rules.diagnostic:
        return None
    return read_subset(expanded(spec.split.lists.removeprefix("sift-dbt:")))


def _files_state(spec: Spec) -> str:
    root = expanded(spec.data.root) if spec.data.root else phantom_root(spec)
    if spec.data.root and (root / "dataset.json").is_file():
        return file_hash(root / "dataset.json")
    if must_make_phantom(spec) or not (spec.data.root or spec.data.source == "phantom"):
        return ""
    source = registry().build("source", spec.data.source, spec.data.options)
    return listing(root, source.volumes(root), has_public_ids(source))


def make_split(spec: Spec, dataset: PreparedDataset) -> Split:
    """The patient-wise split, refused where a part cannot be trained on or scored."""
    actionable = spec.rules.actionable
    if spec.split.lists:
        privacy = privacy_by(dataset.ids)
        lists = privacy.lists(read_lists(spec.split.lists))
        split = split_from_lists(dataset.cohort, lists, actionable)
    else:
        split = split_patients(dataset.cohort, spec.split.ratios, spec.split.seed, actionable)
    split.check()
    return split


def listing(root: Path, raws: Sequence[RawVolume], public: bool = True) -> str:
    """A hash of what is below ``root``: the records, and name, size and time of every file.

    The `DataError` for a file that cannot be read names it and its volume where the source is ``public``.
    """
    rows: list[Any] = []
    for raw in raws:
        try:
            stats = [(file.name, file.stat()) for file in raw.files]
        except OSError as exc:
            where = f"volume {raw.volume.id}: {exc.filename}" if public else "a file of the source"
            error = system_error(exc, f"{where} cannot be read")
            raise error or DataError(f"{where} cannot be read", hint="check the disk") from None
        rows.append(
            [
                plain_volume(raw.volume),
                *(x for name, stat in stats for x in (name, stat.st_size, stat.st_mtime_ns)),
            ]
        )
    marker = file_hash(root / MARKER) if is_phantom(root) else ""
    return digest([sorted(rows), marker])
