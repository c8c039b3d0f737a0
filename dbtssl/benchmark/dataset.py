"""The first stages: the phantom where no data is given, and the prepared data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from filelock import FileLock

from dbtssl.benchmark.store import Stage, file_hash
from dbtssl.config import digest, result_fields, validate
from dbtssl.data.deidentify import PUBLIC, prepared_privacy
from dbtssl.data.phantom_source import MARKER, is_phantom
from dbtssl.data.split import Split, split_from_lists, split_patients
from dbtssl.data.split_lists import read_lists
from dbtssl.data.store import PreparedDataset, plain_volume
from dbtssl.errors import ConfigError, DataError, system_error
from dbtssl.evaluation.evaluation_sets import read_subset
from dbtssl.plugins.registry import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbtssl.benchmark.spec import Spec
    from dbtssl.benchmark.store import Output
    from dbtssl.interfaces import RawVolume

PREPARE_VERSION = 2  # 2: files are held against the tables, and headers that change pixels refused


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
    from dbtssl.phantom.config import FORMAT, PhantomConfig

    config = validate(PhantomConfig, spec.data.phantom, "data.phantom")
    name = digest([FORMAT, result_fields(config)])[:16]
    return platformdirs.user_cache_path("dbtssl") / "phantom" / name


def find_volumes(spec: Spec) -> tuple[Path, Sequence[RawVolume]]:
    """The volumes below the source's root; a phantom that is not there yet is made first."""
    source = registry().build("source", spec.data.source, spec.data.options)
    if spec.data.root:
        if spec.data.phantom:
            raise ConfigError(
                "data.root and data.phantom are both given",
                hint="remove data.root to make the phantom, or data.phantom to read the folder",
            )
        root = Path(spec.data.root).expanduser()
    elif spec.data.source == "phantom":
        from dbtssl.phantom.config import PhantomConfig
        from dbtssl.phantom.write import write_cohort

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
    return root, source.volumes(root)


def prepare_stage(spec: Spec, root: Path, raws: Sequence[RawVolume]) -> Stage:
    """The stage that turns DICOM files into the prepared store."""
    from dbtssl.data.prepare import PrepareConfig, prepare

    config = validate(PrepareConfig, spec.prepare, "prepare")

    def run(folder: Path) -> None:
        prepare(
            spec.data.source,
            raws,
            folder,
            config,
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
        },
        parents={"files": listing(root, raws, spec.data.source in PUBLIC)},
        outputs=("dataset.json", "volumes.parquet", "boxes.parquet"),
        run=run,
    )


def open_data(spec: Spec, get: Callable[[Stage], Output | None]) -> Data | None:
    """The prepared data set and its split; None where ``get`` only looks and the data set is not there yet."""
    root = Path(spec.data.root).expanduser() if spec.data.root else None
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
    return read_subset(Path(spec.split.lists.removeprefix("sift-dbt:")).expanduser())


def _files_state(spec: Spec) -> str:
    root = Path(spec.data.root).expanduser() if spec.data.root else phantom_root(spec)
    if spec.data.root and (root / "dataset.json").is_file():
        return file_hash(root / "dataset.json")
    if must_make_phantom(spec) or not (spec.data.root or spec.data.source == "phantom"):
        return ""
    source = registry().build("source", spec.data.source, spec.data.options)
    return listing(root, source.volumes(root), spec.data.source in PUBLIC)


def make_split(spec: Spec, dataset: PreparedDataset) -> Split:
    """The patient-wise split, refused where a part cannot be trained on or scored."""
    actionable = spec.rules.actionable
    if spec.split.lists:
        privacy = prepared_privacy(dataset.source, dataset.config, phantom=dataset.phantom)
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
