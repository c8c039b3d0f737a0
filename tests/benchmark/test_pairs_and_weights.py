"""From a row of the specification to components: which sampler a row has, and which weights it begins with."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from dbtssl.benchmark.inputs.starting_weights import initial
from dbtssl.benchmark.resolve import resolve
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.benchmark.stages.train_stages import finetune_stage, pretrain_stage
from dbtssl.config import validate
from dbtssl.data.splits.label_fraction import LabelBudget
from dbtssl.errors import ConfigError, DbtsslError
from dbtssl.evaluation.protocol import STRICT
from dbtssl.nn.backbones import create_encoder
from dbtssl.plugins import registry

TINY = {"name": "cnn7", "args": {"base_channels": 2}}
TRANSFORMER = {
    "name": "vit_tiny_patch16_224",
    "args": {"img_size": 64, "embed_dim": 12, "depth": 1, "num_heads": 2},
}
OBJECTIVES = registry().names("objective")
SAMPLERS = registry().names("sampler")


def rows(methods, **method):
    spec = {"name": "toy", "methods": methods, "backbone": TINY, "method": method}
    spec["predict"] = {"patch_size": 64}
    return resolve(validate(Spec, spec)).rows


def row(name, **keys):
    return rows([name], **{name: keys})[0]


class Context:
    """As much of a benchmark as the keys of the stages read."""

    class data:  # noqa: N801
        @staticmethod
        def key():
            return {"data": "0"}

    class rule:  # noqa: N801
        size, min_tissue = 64, 0.01

    class spec:  # noqa: N801
        share = 1.0
        rules = STRICT

    @staticmethod
    def budget(seed):
        return LabelBudget((0,), "", 1, 1)

    @staticmethod
    def label_key():
        return {}


def keys(found):
    made = [finetune_stage(Context(), found, 0, None).key]
    return made + ([pretrain_stage(Context(), found, 0).key] if found.objective else [])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_any_sampler_goes_with_any_objective(objective, sampler):
    own = {"backbone": TRANSFORMER} if objective == "mammodino" else {}
    found = row(objective, pairs=sampler, **own)
    assert (found.objective.name, found.sampler.name) == (objective, sampler)
    found.sampler.build()


def test_without_pairs_the_sampler_is_the_methods():
    assert row("moco-v2").sampler.name == "same-slice"
    assert row("sift-dbt").sampler.name == "metadata-pairs"


def test_another_sampler_is_another_pretraining():
    plain, named = row("simclr"), row("simclr", pairs="same-slice")
    assert keys(plain) == keys(named)
    assert keys(row("simclr", pairs="metadata-pairs"))[1] != keys(plain)[1]


def test_two_rows_of_one_method_may_differ_in_their_pairs():
    other = {"method": "simclr", "pairs": "metadata-pairs", "sampler": {"reach": 2}}
    one, two = rows(["simclr", "simclr-sift"], **{"simclr-sift": other})
    assert (one.sampler.name, two.sampler.name) == ("same-slice", "metadata-pairs")
    assert two.sampler.config.reach == 2
    assert one.objective == two.objective


def test_keys_of_the_methods_own_sampler_stay_with_it():
    """The preset as-released of sift-dbt sets half_open, which same-slice does not know."""
    assert row("sift-dbt", preset="as-released").sampler.config.half_open
    assert row("sift-dbt", preset="as-released", pairs="same-slice").sampler.name == "same-slice"
    named = row("sift-dbt", preset="as-released", pairs="metadata-pairs")
    assert named.sampler.config.half_open


def test_an_unknown_sampler_is_refused_with_a_suggestion():
    with pytest.raises(DbtsslError, match=r"named 'metadata-pair'\. Did you mean 'metadata-pairs'"):
        row("simclr", pairs="metadata-pair")


def test_keys_of_another_sampler_are_refused():
    with pytest.raises(ConfigError, match=r"simclr: sampler\.same-slice\.reach: unknown key"):
        row("simclr", sampler={"reach": 2})


def test_pairs_without_pretraining_are_refused():
    with pytest.raises(ConfigError, match="'random-init' does no pretraining") as caught:
        row("random-init", pairs="same-slice")
    assert "remove its pairs" in caught.value.hint


def test_a_shorter_training_keeps_the_share_of_the_warm_up():
    def schedule(name, **pretrain):
        return row(name, pretrain=pretrain).pretrain

    assert (schedule("dino").epochs, schedule("dino").warmup_epochs) == (100, 10.0)
    assert schedule("dino", epochs=2).warmup_epochs == pytest.approx(0.2)
    assert schedule("dino", epochs=2, warmup_epochs=1).warmup_epochs == 1.0
    assert schedule("moco-v2", epochs=2).warmup_epochs == 0.0
    with pytest.raises(ConfigError, match=r"dino: pretrain\.epochs: got 0, expected a number >= 1"):
        schedule("dino", epochs=0)
    with pytest.raises(ConfigError, match=r'dino: pretrain\.epochs: got "2", expected an integer'):
        schedule("dino", epochs="2")


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(5)
    save_file(create_encoder(**flat(TINY)).state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def flat(backbone):
    return {"name": backbone["name"], **backbone["args"]}


def test_weights_come_from_the_row_or_the_method(file):
    assert row("random-init").initial is None
    assert row("moco-v2").initial is None
    assert row("imagenet").initial.source == "imagenet"
    assert row("from-weights", weights=str(file)).initial.source == str(file)
    assert row("moco-v2", weights="imagenet").initial.source == "imagenet"
    assert row("imagenet", weights="timm").initial.source == "timm"


def test_the_content_of_the_file_is_in_the_keys_and_its_path_is_not(file, tmp_path):
    copy, other = tmp_path / "copy.safetensors", tmp_path / "other.safetensors"
    copy.write_bytes(file.read_bytes())
    save_file({k: v + 1 for k, v in load_file(file).items()}, other)
    for name in ("from-weights", "moco-v2"):
        first, second, third = (keys(row(name, weights=str(p))) for p in (file, copy, other))
        assert first == second
        assert all(a != b for a, b in zip(first, third, strict=True))
    assert keys(row("moco-v2", weights=str(file))) != keys(row("moco-v2"))


def test_random_weights_leave_the_keys_as_they_were():
    config = finetune_stage(Context(), row("random-init"), 0, None).config
    assert "initial" not in config["backbone"]


def test_the_three_kinds_of_weights_have_three_keys(file):
    found = [row("from-weights", weights=w) for w in ("imagenet", "timm", str(file))]
    assert len({keys(x)[0] for x in found}) == 3


def test_weights_are_loaded_into_the_encoder(file):
    found = row("from-weights", weights=str(file))
    encoder = create_encoder(**flat(TINY))
    found.initial.load(encoder, found.backbone)
    stored = load_file(file)
    assert all(torch.equal(value, stored[name]) for name, value in encoder.state_dict().items())


def test_a_row_without_its_file_is_refused():
    with pytest.raises(ConfigError, match="row 'from-weights' has no weights to begin") as caught:
        row("from-weights")
    assert "below [method.from-weights]" in caught.value.hint


def test_a_missing_file_is_refused_before_any_work(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file of weights: .*gone\.safetensors"):
        row("moco-v2", weights=str(tmp_path / "gone.safetensors"))


def test_the_home_folder_is_understood(file, monkeypatch):
    monkeypatch.setenv("HOME", str(file.parent))
    assert initial("~/weights.safetensors", "x") == initial(str(file), "x")
