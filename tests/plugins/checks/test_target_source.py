"""What `dbtssl plugins` tells of targets without importing them."""

from __future__ import annotations

import ast
import importlib
import json
import sys

import pytest

from dbtssl.cli.main import main
from dbtssl.errors import PluginError
from dbtssl.plugins import add_plugin_file, registry
from dbtssl.plugins.checks.method_names import timm_models
from dbtssl.plugins.checks.target_source import defined, find_module, near_misses
from dbtssl.plugins.files import module_name

from ..broken import hook

TARGETS = """
import json as other
from pathlib import Path, PurePath as Pure

if len(other.__name__) > 3:
    Inside = 1
try:
    with open(__file__) as handle:
        (a, b), *rest = (1, 2), 3
except OSError:
    pass
for item in ():
    pass
typed: int = 3


def function():
    global Late
    local = 1


class Class:
    member = 1
"""


def listing(capsys, *args):
    with pytest.raises(SystemExit) as left:
        main([*args])
    assert not left.value.code
    return capsys.readouterr().out


def test_the_names_of_a_module_are_those_that_it_has_once_imported(imported_site):
    imported_site.module("p_names", TARGETS + "function()\nLate = item = 1\n")
    module = importlib.import_module("p_names")
    found = defined(ast.parse(TARGETS))
    expected = {name for name in vars(module) if not name.startswith("__")}
    assert found == expected
    assert {"local", "member"} & found == set()


@pytest.mark.parametrize(
    "text", ["from os.path import *", "globals()['X'] = 1", "def __getattr__(name): return 1"]
)
def test_names_that_are_made_when_it_runs_are_taken_on_trust(text):
    assert defined(ast.parse(text)) is None


def test_what_is_imported_for_types_alone_is_not_there():
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from x import Y\n"
    assert defined(ast.parse(text)) == {"TYPE_CHECKING"}


def test_a_module_is_found_without_importing_the_package_above_it(imported_site):
    folder = imported_site.path / "p_deep"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError", encoding="utf-8")
    (folder / "inner.py").write_text("X = 1\n", encoding="utf-8")
    assert find_module("p_deep.inner").origin == str(folder / "inner.py")
    assert "p_deep" not in sys.modules
    for absent in ("p_deep.outer", "p_nowhere", "p_nowhere.inner", "p_deep.inner.more", ""):
        assert find_module(absent) is None


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("p_real:Samm", "module 'p_real' has no 'Samm'. Did you mean 'Sam'?"),
        ("p_absent:Sam", "there is no module 'p_absent'"),
        ("p_real.inner:Sam", "there is no module 'p_real.inner'"),
    ],
)
def test_a_target_that_is_not_there_is_a_fault_in_the_listing(target, words, imported_site, capsys):
    imported_site.module("p_real", "import torch_is_not_imported_here\nclass Sam: pass\n")
    lines = [
        f"register('sampler', 'bad', '{target}', 'x')",
        "register('sampler', 'good', 'p_real:Sam', 'x')",
    ]
    imported_site.plugin("p-test", "test", hook(*lines))
    rows = {p["name"]: p for p in json.loads(listing(capsys, "plugins", "--json"))}
    assert rows["test"]["status"] == "faulty"
    assert f"sampler 'bad': {words}" in rows["test"]["detail"]
    assert "'good'" not in rows["test"]["detail"]
    assert "test (p-test 0.1) has faults: sampler 'bad': " in listing(capsys, "plugins")
    assert {p["status"] for name, p in rows.items() if name != "test"} == {"ok"}


NEAR = """
from dbtssl.api import Config

class Base:
    class Config(Config):
        pass
    {base}

class Target(Base):
    def positive(self, anchor, cohort, rng): return anchor
    def __call__(self, *args): return self.used_name()
    def after_step(self, progress): pass
    def encoder(self): return self.heads
    views = ()
    def fit(self, *args): pass
    def volumes(self, root): return ()
    {own}
"""


def test_a_class_that_is_nearly_config_is_noted():
    """Without its ``Config`` a component would be taken for one that has no settings."""
    tree = ast.parse("class T:\n    class Confg: pass\n    def positive(self): pass\n")
    (note,) = near_misses("sampler", tree, "T")
    assert note == "class T has 'Confg', which nothing calls. Did you mean 'Config'?"


@pytest.mark.parametrize(
    ("kind", "own", "near"),
    [
        ("objective", "def colapsed(self, means): return ''", "collapsed"),
        ("objective", "def Collapsed(self, means): return ''", "collapsed"),
        ("finetuner", "def classifer(self, encoder): return encoder", "classifier"),
        ("sampler", "def hasPartner(self, volume, cohort): return True", "has_partner"),
        ("sampler", "has_partners = None", "has_partner"),
        ("source", "publik = True", "public"),
        ("objective", "def _colapsed(self): return ''", None),  # private
        ("objective", "def heads(self): return ''", None),  # the class uses it itself
        ("sampler", "def colapsed(self): return ''", None),  # of another kind
        ("objective", "def collapsed(self, means): return ''", None),
        ("finetuner", "def optimizer(self): return ''", None),
    ],
)
@pytest.mark.parametrize("where", ["own", "base"])
def test_a_name_that_is_nearly_an_ability_is_said_in_the_listing_and_before_a_run(
    tmp_path, capsys, monkeypatch, kind, own, near, where
):
    monkeypatch.setenv("DBTSSL_PLUGINS", "")
    text = NEAR.format(**({"own": "", "base": ""} | {where: own}))
    path = tmp_path / "near.py"
    path.write_text(hook(f"register('{kind}', 'near', f'{{__name__}}:Target', 'x')") + text)
    add_plugin_file(path)
    row = json.loads(listing(capsys, "plugins", "--json"))[-1]
    assert (row["status"], len(row["notes"])) == ("ok", int(near is not None))
    registry.cache_clear()
    for _ in range(2):
        registry().load(kind, "near")
    said = capsys.readouterr().err
    if near is None:
        assert said == ""
    else:
        assert f"Did you mean '{near}'?" in row["notes"][0]
        assert row["notes"][0] in said.splitlines()[0].replace("note: ", "").replace(
            f" of {path}", ""
        )
        assert said.count("nothing calls") == 1, "once a process"
    sys.modules.pop(module_name(path), None)


def test_no_component_of_the_project_has_such_a_name(capsys):
    rows = json.loads(listing(capsys, "plugins", "--json"))
    assert [(r["name"], r["notes"]) for r in rows if r["notes"]] == []
    assert {r["status"] for r in rows} == {"ok"}


@pytest.mark.parametrize(
    ("kind", "own", "words"),
    [
        ("objective", "head = 3", "Target.head must be a method"),
        ("objective", "collapsed = 'no'", "Target.collapsed must be a method"),
        ("sampler", "has_partner = True", "Target.has_partner must be a method"),
    ],
)
def test_an_ability_that_is_no_method_is_refused(tmp_path, monkeypatch, kind, own, words):
    monkeypatch.setenv("DBTSSL_PLUGINS", "")
    path = tmp_path / "near.py"
    text = NEAR.format(own=own, base="")
    path.write_text(hook(f"register('{kind}', 'near', f'{{__name__}}:Target', 'x')") + text)
    add_plugin_file(path)
    with pytest.raises(PluginError, match=words):
        registry().load(kind, "near")
    sys.modules.pop(module_name(path), None)


@pytest.mark.parametrize("missing", ["state", "load"])
def test_an_aggregator_that_learns_and_cannot_keep_it_is_refused(tmp_path, monkeypatch, missing):
    monkeypatch.setenv("DBTSSL_PLUGINS", "")
    other = {"state": "load", "load": "state"}[missing]
    own = f"level, needs = 'slice', 'logits'\n    def {other}(self, *args): pass"
    path = tmp_path / "near.py"
    text = NEAR.format(own=own, base="")
    path.write_text(hook("register('aggregator', 'near', f'{__name__}:Target', 'x')") + text)
    add_plugin_file(path)
    with pytest.raises(PluginError, match=rf"class Target has fit\(\) and no {missing}\(\)"):
        registry().load("aggregator", "near")
    sys.modules.pop(module_name(path), None)


METHODS = """
from dbtssl.api import Method, Reported
from pathlib import Path as Absent

ROW = dict(level="slice", patches=1, values={}, protocol="strict", evaluation_set="x", source="x")
METHOD = Method(
    summary="x", objective="moco-v2", sampler="SAMPLER",
    reported=(Reported(backbone="BACKBONE", **ROW),),
)
"""


@pytest.mark.parametrize(
    ("sampler", "backbone", "words"),
    [
        (
            "same-slices",
            "cnn7",
            "sampler: no sampler named 'same-slices'. Did you mean 'same-slice'",
        ),
        ("same-slice", "cnn77", "reported: no backbone named 'cnn77'. Did you mean 'cnn7'"),
        ("same-slice", "resnet5O", "reported: no backbone named 'resnet5O'. Did you mean 'resnet5"),
        ("same-slice", "cnn7", ""),
        ("same-slice", "resnet50.a1_in1k", ""),
        ("same-slice", "vit_small_patch16_224", ""),
    ],
)
def test_what_a_method_names_and_nobody_has_is_a_fault_in_the_listing(
    imported_site, capsys, sampler, backbone, words
):
    """Also in a module that the listing does not import."""
    text = METHODS.replace("SAMPLER", sampler).replace("BACKBONE", backbone)
    imported_site.module("p_methods", text)
    imported_site.plugin("p-test", "test", hook("register('method', 'm', 'p_methods:METHOD', 'x')"))
    row = {p["name"]: p for p in json.loads(listing(capsys, "plugins", "--json"))}["test"]
    assert row["status"] == ("faulty" if words else "ok")
    assert words in row["detail"]
    assert "p_methods" not in sys.modules


def test_timms_models_are_found_in_its_source():
    import timm

    its_own = {
        name
        for name in timm.list_models()
        if timm.model_entrypoint(name).__module__.startswith("timm.")
    }
    assert len(its_own) > 500
    assert its_own <= timm_models()
