from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dbtssl.benchmark.resolve import resolve
from dbtssl.benchmark.spec.spec_files import builtin_spec, load_spec
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.config import validate
from dbtssl.errors import ConfigError
from dbtssl.evaluation.protocol import protocol

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = 'name = "toy"\nmethods = ["random-init"]\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "spec.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["quick", "smoke", "phantom", "phantom-cpu"])
def test_the_specifications_that_the_project_carries_are_valid(name):
    spec = load_spec(builtin_spec(name))
    assert spec.name == name
    assert {"random-init", "moco-v2", "sift-dbt"} <= set(spec.methods)
    assert spec.data.source == "phantom"


def test_the_quick_benchmark_has_every_row_of_sift_dbts_first_table():
    """Random init., MoCo v2, MedAug, inter-slice and SIFT-DBT, then SimCLR and a MammoDINO-style method."""
    table = ("random-init", "moco-v2", "medaug", "inter-slice", "sift-dbt", "simclr", "mammodino")
    assert load_spec(builtin_spec("quick")).methods[:7] == table


@pytest.mark.parametrize("name", ["quick", "phantom", "phantom-cpu"])
def test_simclr_has_the_schedule_and_the_views_of_moco_where_phantoms_are_compared(name):
    """The rows then differ in the loss and its temperature, and in the queue and its encoder that MoCo has besides."""
    rows = {row.name: row for row in resolve(load_spec(builtin_spec(name))).rows}
    simclr, moco = rows["simclr"], rows["moco-v2"]
    assert simclr.pretrain == moco.pretrain
    assert (simclr.finetuner, simclr.backbone) == (moco.finetuner, moco.backbone)
    ours, theirs = (row.objective.config.model_dump() for row in (simclr, moco))
    assert {k for k in ours.keys() & theirs.keys() if ours[k] != theirs[k]} == {
        "hidden",
        "temperature",
    }


def test_set_changes_one_key(tmp_path):
    spec = load_spec(
        write(tmp_path, MINIMAL), assignments=("predict.patches=5", "split.seed=3", "title=A b")
    )
    assert (spec.predict.patches, spec.split.seed, spec.title) == (5, 3, "A b")


def test_data_replaces_the_source(tmp_path):
    text = MINIMAL + "[data]\nsource = 'phantom'\n[data.phantom]\npatients = 4\n"
    spec = load_spec(write(tmp_path, text), data="bcs-dbt:/some/where:else")
    assert (spec.data.source, spec.data.root) == ("bcs-dbt", "/some/where:else")
    assert spec.data.phantom == {}


@pytest.mark.parametrize("data", ["", ":x", "bcs-dbt:"])
def test_data_needs_a_source_and_a_root(tmp_path, data):
    with pytest.raises(ConfigError, match="SOURCE:ROOT"):
        load_spec(write(tmp_path, MINIMAL), data=data)


def test_all_errors_at_once_with_a_suggestion(tmp_path):
    text = (
        'name = "Not kebab"\nmethods = []\nseed = [1]\n[predict]\npatchs = 3\npatches = 0\n'
        "[split]\nseed = -1\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_spec(write(tmp_path, text))
    message = caught.value.message
    assert "6 errors" in message
    for part in (
        'name: got "Not kebab"',
        "methods: ",
        "seed: unknown key. Did you mean 'seeds'?",
        "predict.patchs: unknown key. Did you mean 'patches'?",
        "predict.patches: got 0, expected a number >= 1",
        "split.seed: got -1",
    ):
        assert part in message


def test_broken_toml_names_the_line(tmp_path):
    with pytest.raises(ConfigError, match="line 2"):
        load_spec(write(tmp_path, 'name = "toy"\nmethods = [\n"a"'.replace('[\n"a"', "= 1")))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file: .*gone\.toml"):
        load_spec(tmp_path / "gone.toml")


def test_a_table_of_no_row_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\[method\.moco-v2\] belongs to no row"):
        load_spec(write(tmp_path, MINIMAL + "[method.moco-v2]\npreset = 'default'\n"))


def test_a_row_that_set_invents_is_refused_with_a_suggestion(tmp_path):
    path = write(tmp_path, 'name = "toy"\nmethods = ["moco-v2"]\n')
    with pytest.raises(ConfigError, match=r"method\.moco_v2: no such row\. Did you mean 'moco-v2'"):
        load_spec(path, assignments=("method.moco_v2.preset=default",))


def test_tables_of_rows_that_set_leaves_out_may_stay(tmp_path):
    text = 'name = "toy"\nmethods = ["a", "b"]\n[method.b]\nmethod = "a"\n'
    spec = load_spec(write(tmp_path, text), assignments=('methods=["a"]',))
    assert spec.methods == ("a",)


@pytest.mark.parametrize("ratios", [[0.7, 0.2, 0.2], [0.8, 0.0, 0.2], [0.5, 0.5]])
def test_split_ratios_must_add_up(ratios):
    data = {"name": "toy", "methods": ["a"], "split": {"ratios": ratios}}
    with pytest.raises(ConfigError, match=r"split\.ratios"):
        validate(Spec, data)


@pytest.mark.parametrize("key", ["methods", "seeds"])
def test_repeats_are_refused(key):
    values = {"methods": ["a", "a"], "seeds": [1, 1]}
    data = {"name": "toy", "methods": ["a"], key: values[key]}
    with pytest.raises(ConfigError, match=f"{key}: .*different entries"):
        validate(Spec, data)


def test_a_lesion_window_goes_into_the_rules():
    given = {"name": "toy", "methods": ["random-init"]}
    assert validate(Spec, given).rules == protocol("strict")
    narrow = validate(Spec, given | {"lesion_window": [1, 0]}).rules
    assert narrow == protocol("strict").with_window((1, 0))


@pytest.mark.parametrize("window", [[-1, 1], [1], [1.5, 1]])
def test_a_lesion_window_is_two_whole_numbers_from_zero(window):
    with pytest.raises(ConfigError, match="lesion_window"):
        validate(Spec, {"name": "toy", "methods": ["random-init"], "lesion_window": window})


BIG = 10**30


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("seeds = [-1]", "seeds.0: got -1, expected a number >= 0"),
        ("seeds = [4294967296]", "seeds.0: got 4294967296, expected a number <= 4294967295"),
        ("seeds = [true]", "seeds.0: got true, expected an integer"),
        ("seeds = [1.5]", "seeds.0: got 1.5, expected an integer"),
        ("seeds = []", "seeds: got [], expected at least 1 items"),
        ("seeds = [1, 1]", "seeds: got [1, 1], different entries"),
        (f"seeds = [{BIG}]", f"seeds.0: got {BIG}, expected a whole number of at most"),
        (
            f"pretrain.epochs = {BIG}",
            f"pretrain.epochs: got {BIG}, expected a whole number of at most",
        ),
        ("split.seed = -1", "split.seed: got -1, expected a number >= 0"),
        ("predict.seed = 5000000000", "predict.seed: got 5000000000, expected a number <="),
        ("labels = [nan]", "labels.0: got NaN, expected a finite number"),
        ("labels = []", "labels: got [], expected a share above 0"),
        ("labels = [1, 1.0]", "labels: got [1, 1.0], different entries"),
        ("predict.overlap = nan", "predict.overlap: got NaN, expected a finite number"),
        ("lesion_window = [-1, 4]", "lesion_window.0: got -1, expected a number >= 0"),
        (f'title = "{chr(92)}u0000"', "title: got"),
        ("methods = []", "methods: got [], expected at least 1 items"),
        ('methods = [""]', 'methods.0: got "", expected a text of at least 1 characters'),
        (f'methods = ["{"x" * 300}"]', "of at most 100 characters"),
        (f'methods = ["{"é" * 60}/"]', "methods.0: got"),
        (f'methods = ["{"中" * 99}"]', "of at most 200 bytes"),
        ('methods = ["../x"]', "without / and"),
        (f'name = "{"x" * 300}"', "of at most 100 characters"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(line, said, tmp_path):
    key = line.partition(" ")[0]
    kept = "".join(f"{x}\n" for x in MINIMAL.splitlines() if not x.startswith(f"{key} "))
    with pytest.raises(ConfigError) as caught:
        load_spec(write(tmp_path, f"{line}\n{kept}"))
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("epochs = 0", "epochs"),
        ("epochs = -3", "epochs"),
        ("lr = nan", "lr"),
        ("lr = inf", "lr"),
        ("batch_size = true", "batch_size"),
        ("weight_decay = -0.1", "weight_decay"),
    ],
)
@pytest.mark.parametrize("table", ["pretrain", "finetune"])
def test_a_table_out_of_range_is_refused_before_any_work(table, line, key, tmp_path):
    spec = load_spec(write(tmp_path, f'name = "toy"\nmethods = ["moco-v2"]\n[{table}]\n{line}\n'))
    with pytest.raises(ConfigError, match=rf"{table}.*\.{key}: got"):
        resolve(spec)


def test_a_file_that_windows_wrote_is_read(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_spec(path).name == "toy"


def test_a_folder_that_is_not_named_in_utf_8_is_refused_by_its_key(tmp_path):
    path = write(tmp_path, MINIMAL)
    with pytest.raises(ConfigError, match=r"data\.root: got .*rename what is not named in UTF-8"):
        load_spec(path, "bcs-dbt:/data/\udcff")
