from types import SimpleNamespace

import pytest

from dbtssl.benchmark.graph import (
    COMPARE,
    FEATURES,
    FINETUNE,
    KINDS,
    PRETRAIN,
    SCORE,
    TASKS,
    Node,
    graph,
    walk,
)
from dbtssl.benchmark.run import MAKERS
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.config import validate
from dbtssl.testing.stage_code import KINDS as GUARDED


def spec(**given):
    return validate(Spec, {"name": "x", "methods": ["a", "b"], "seeds": [0, 1]} | given)


def rows():
    """A row that pretrains and one that does not; the graph looks at nothing else of them."""
    return [SimpleNamespace(name="a", objective="x"), SimpleNamespace(name="b", objective=None)]


def named(nodes):
    return [str(node) for node in nodes]


def test_each_row_and_seed_has_its_chain_and_one_stage_compares_them():
    nodes = graph(spec(seeds=[3]), rows())
    assert {str(node): named(needs) for node, needs in nodes.items()} == {
        "pretrain a, seed 3": [],
        "finetune a, seed 3": ["pretrain a, seed 3"],
        "predict a, seed 3": ["finetune a, seed 3"],
        "score a, seed 3": ["predict a, seed 3"],
        "finetune b, seed 3": [],
        "predict b, seed 3": ["finetune b, seed 3"],
        "score b, seed 3": ["predict b, seed 3"],
        "compare all rows": [
            "predict a, seed 3",
            "score a, seed 3",
            "predict b, seed 3",
            "score b, seed 3",
        ],
    }


def test_tasks_add_the_features_of_the_frozen_encoder():
    nodes = graph(spec(tasks={}, seeds=[0]), rows())
    assert nodes[Node(TASKS, "a", 0)] == (Node(FEATURES, "a", 0),)
    assert nodes[Node(FEATURES, "a", 0)] == (Node(PRETRAIN, "a", 0),)
    assert nodes[Node(FEATURES, "b", 0)] == ()


def test_what_a_node_needs_stands_before_it():
    order = list(graph(spec(tasks={}), rows()).items())
    at = {node: i for i, (node, _) in enumerate(order)}
    assert all(at[need] < at[node] for node, needs in order for need in needs)


def test_fractions_of_the_labels_share_the_stages_that_read_none():
    few = graph(spec(labels=[0.1], tasks={}), rows())
    whole = graph(spec(labels=[1.0], tasks={}), rows())
    shared = {node.kind for node in few if node in whole}
    assert shared == {kind for kind in KINDS if not kind.reads_labels}
    assert str(Node(FINETUNE, "a", 0, 0.1)) == "finetune a, seed 0, 10 % of the labels"


def test_a_single_row_is_not_compared():
    assert [n for n in graph(spec(), rows()[:1]) if n.kind is COMPARE] == []


def test_every_kind_can_be_made_and_its_code_is_guarded():
    assert set(MAKERS) == set(KINDS) - {COMPARE}
    assert {kind.name for kind in KINDS} == set(GUARDED) - {"phantom", "prepare"}


@pytest.mark.parametrize("missing", [PRETRAIN, FINETUNE])
def test_a_walk_hands_each_node_what_was_made_before(missing):
    nodes = graph(spec(seeds=[0]), rows()[:1])

    def make(node, have):
        if node.kind is missing or any(need not in have for need in nodes[node]):
            return None
        return f"output of {node}"

    found = dict(walk(nodes, make))
    assert list(found) == list(nodes)
    assert (found[Node(PRETRAIN, "a", 0)] is None) is (missing is PRETRAIN)
    assert found[Node(SCORE, "a", 0)] is None
