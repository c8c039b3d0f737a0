from __future__ import annotations

import pytest

from dbtssl.errors import ConfigError, PluginError
from dbtssl.plugins import API_VERSION, KINDS, registry

from .broken import hook

SAMPLERS = """
from dbtssl.config import Config

class Good:
    class Config(Config):
        reach: int = 2
        name: str = "x"
    def __init__(self, *args, reach, name):
        self.args, self.reach, self.name = args, reach, name
    def positive(self, anchor, cohort, rng): return anchor

class NoPositive:
    Config = Good.Config

class NoConfig:
    def positive(self, anchor, cohort, rng): return anchor

class TakesConfig(Good):
    def __init__(self, *args, config): self.args, self.config = args, config

class TakesConfigByPlace:
    Config = Good.Config
    def __init__(self, config): self.config = config
    def positive(self, anchor, cohort, rng): return anchor

class NamesItsKeywordsConfig(Good):
    def __init__(self, **config): self.config = config

class HasAFieldOfThatName(Good):
    class Config(Config):
        config: str = "mine"
        reach: int = 2
    def __init__(self, *, config, reach): self.config, self.reach = config, reach

class OwnConfig(NoConfig):
    class Config: pass

class NotAMethod:
    Config = Good.Config
    positive = 3

class Raises(Good):
    def __init__(self, *args, reach, name): raise ValueError("reach is odd")

class Refuses(Good):
    def __init__(self, *args, reach, name):
        from dbtssl.errors import DataError
        raise DataError("no neighbours", hint="other data")

class OtherKeywords(Good):
    def __init__(self, reach): pass

class Objective:
    Config = Good.Config
    def __init__(self, encoder, **fields): pass
    def __call__(self, batch): pass
    def after_step(self, progress): pass
    def encoder(self): pass

class Aggregator:
    Config = Good.Config
    level = "slice"
    def fit(self, train, val): pass
    def __call__(self, groups): pass

class NoCall:
    level, needs = "slice", "logits"
    Config = Good.Config
    def fit(self, train, val): pass

instance = Good(reach=1, name="y")
"""

REGISTERED = {
    "good": ("sampler", "Good"),
    "takes-config": ("sampler", "TakesConfig"),
    "takes-config-by-place": ("sampler", "TakesConfigByPlace"),
    "names-its-keywords-config": ("sampler", "NamesItsKeywordsConfig"),
    "has-a-field-of-that-name": ("sampler", "HasAFieldOfThatName"),
    "no-positive": ("sampler", "NoPositive"),
    "no-config": ("sampler", "NoConfig"),
    "own-config": ("sampler", "OwnConfig"),
    "not-a-method": ("sampler", "NotAMethod"),
    "raises": ("sampler", "Raises"),
    "refuses": ("sampler", "Refuses"),
    "other-keywords": ("sampler", "OtherKeywords"),
    "instance": ("sampler", "instance"),
    "missing": ("sampler", "Godo"),
    "no-views": ("objective", "Objective"),
    "no-needs": ("aggregator", "Aggregator"),
    "no-call": ("aggregator", "NoCall"),
    "no-method": ("method", "Good"),
    "no-callable": ("backbone", "instance"),
}


@pytest.fixture
def samplers(imported_site, monkeypatch):
    """A registry with a plugin of good and of faulty components."""
    imported_site.module("p_samplers", SAMPLERS)
    lines = [
        f"register({kind!r}, {name!r}, 'p_samplers:{attribute}', 'for a test')"
        for name, (kind, attribute) in REGISTERED.items()
    ]
    lines += ["register('sampler', 'no-module', 'p_absent:S', 'its module is missing')"]
    imported_site.plugin("p-test", "test", hook(*lines))
    monkeypatch.setenv("DBTSSL_PLUGINS", "test")
    return registry()


def test_a_component_is_built_from_plain_keywords(samplers):
    built = samplers.build("sampler", "good", {"reach": 5}, "first")
    assert (built.args, built.reach, built.name) == (("first",), 5, "x")


def test_a_constructor_that_asks_for_config_gets_it_whole(samplers):
    built = samplers.build("sampler", "takes-config", {"reach": 5}, "first")
    assert (built.args, built.config.reach, built.config.name) == (("first",), 5, "x")
    settings = built.config
    assert samplers.build("sampler", "takes-config-by-place", settings).config is settings


def test_the_keyword_form_of_the_first_plugins_stays(samplers):
    built = samplers.build("sampler", "names-its-keywords-config", {"reach": 5})
    assert built.config == {"reach": 5, "name": "x"}
    built = samplers.build("sampler", "has-a-field-of-that-name", {"reach": 5})
    assert (built.config, built.reach) == ("mine", 5)


def test_a_component_without_settings_needs_no_config_and_no_constructor(samplers):
    assert samplers.build("sampler", "no-config", {}).positive(1, None, None) == 1
    with pytest.raises(ConfigError, match=r"sampler\.no-config\.reach: unknown key"):
        samplers.build("sampler", "no-config", {"reach": 5})


def test_its_configuration_is_checked_first(samplers):
    with pytest.raises(
        ConfigError, match=r"sampler\.good\.raech: unknown key\. Did you mean 'reach'"
    ):
        samplers.build("sampler", "good", {"raech": 5})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-positive", r"class NoPositive has no positive\(\)"),
        ("own-config", "OwnConfig.Config must be a subclass of dbtssl.api.Config"),
        ("not-a-method", "NotAMethod.positive must be a method"),
        ("instance", "expected a class"),
        ("missing", "has no attribute 'Godo'. Did you mean 'Good'"),
        ("no-module", "No module named 'p_absent'"),
        ("no-needs", "class Aggregator has no needs"),
        ("no-call", r"class NoCall has no __call__\(\)"),
        ("no-method", "expected a dbtssl.api.Method"),
        ("no-callable", "expected a callable"),
    ],
)
def test_a_target_that_does_not_fit_is_refused_on_first_use(samplers, name, words):
    kind, attribute = REGISTERED.get(name, ("sampler", "S"))
    with pytest.raises(PluginError, match=words) as refusal:
        samplers.load(kind, name)
    for part in (kind, repr(name), "p-test 0.1", f":{attribute}"):
        assert part in refusal.value.message


@pytest.mark.parametrize(
    ("name", "words"),
    [("raises", "ValueError: reach is odd"), ("other-keywords", "TypeError: ")],
)
def test_a_constructor_that_raises_is_reported_with_its_context(samplers, name, words):
    with pytest.raises(PluginError, match=words) as refusal:
        samplers.build("sampler", name, {"reach": 7})
    assert f"sampler {name!r} of p-test 0.1" in refusal.value.message
    assert "reach=7, name='x'" in refusal.value.message
    assert isinstance(refusal.value.__cause__, ValueError | TypeError)


def test_a_refusal_of_the_constructor_stays_as_it_is(samplers):
    with pytest.raises(Exception, match="no neighbours") as refusal:
        samplers.build("sampler", "refuses", {})
    assert refusal.value.hint == "other data"


def test_an_attribute_that_the_constructor_should_have_set_is_missed(samplers):
    assert samplers.load("objective", "no-views").__name__ == "Objective"
    with pytest.raises(PluginError, match="an instance has no views"):
        samplers.build("objective", "no-views", {}, None)


def test_an_unknown_name_suggests_the_nearest_and_tells_what_failed(
    samplers, imported_site, monkeypatch
):
    with pytest.raises(PluginError) as refusal:
        samplers.component("sampler", "goood")
    assert "no sampler named 'goood'. Did you mean 'good'? Known: " in refusal.value.message
    assert refusal.value.hint == "`dbtssl plugins` lists what is installed"
    registry.cache_clear()
    imported_site.plugin("p-bad", "bad", "1 / 0")
    monkeypatch.setenv("DBTSSL_PLUGINS", "test,bad")
    with pytest.raises(PluginError) as refusal:
        registry().component("sampler", "goood")
    assert refusal.value.hint == "1 plugin failed to load (bad); see `dbtssl plugins`"


def test_an_unknown_kind_names_the_known_ones():
    for ask in (registry().names, lambda kind: registry().load(kind, "x")):
        with pytest.raises(PluginError, match="unknown kind 'loss'") as refusal:
            ask("loss")
        assert refusal.value.hint == f"use one of {', '.join(KINDS)}"


def test_the_registry_is_filled_once():
    assert registry() is registry()
    assert API_VERSION == 1
