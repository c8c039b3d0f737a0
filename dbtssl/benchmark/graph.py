"""The stages of a benchmark as data: which there are, and who needs whom, from the specification alone.

One walk over the graph serves a run and a plan. A stage that is added is one `StageKind`, one line of `graph`, and one
of `dbtssl.benchmark.run.MAKERS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dbtssl.benchmark.resolve import Row
    from dbtssl.benchmark.spec.specification import Spec
    from dbtssl.engine.store import Output


@dataclass(frozen=True)
class StageKind:
    """A kind of stage: ``reads_labels`` of patients, so that it is made for each fraction of the labels."""

    name: str
    reads_labels: bool


PRETRAIN = StageKind("pretrain", reads_labels=False)
FEATURES = StageKind("features", reads_labels=False)
TASKS = StageKind("tasks", reads_labels=False)
FINETUNE = StageKind("finetune", reads_labels=True)
PREDICT = StageKind("predict", reads_labels=True)
SCORE = StageKind("score", reads_labels=True)
COMPARE = StageKind("compare", reads_labels=True)
KINDS = (PRETRAIN, FEATURES, TASKS, FINETUNE, PREDICT, SCORE, COMPARE)


@dataclass(frozen=True)
class Node:
    """One stage of a benchmark. Equal nodes are the same stage, also of two fractions of the labels that share it.

    ``row`` is empty for the stage that compares all rows; ``labels`` is 1 for a kind that reads none.
    """

    kind: StageKind
    row: str = ""
    seed: int = 0
    labels: float = 1.0

    @property
    def label(self) -> str:
        """What people read: row and seed, and the fraction of the labels if it is not all of them."""
        of = f"{self.row}, seed {self.seed}" if self.row else "all rows"
        return of if self.labels == 1 else f"{of}, {100 * self.labels:g} % of the labels"

    def __str__(self) -> str:
        return f"{self.kind.name} {self.label}"


Graph = dict[Node, tuple[Node, ...]]
"""Each node with the nodes that it needs, which stand before it."""


def graph(spec: Spec, rows: Sequence[Row]) -> Graph:
    """The stages of ``rows`` for every seed and the first fraction of the labels of ``spec``."""
    found: Graph = {}

    def add(kind: StageKind, row: Row, seed: int, *needs: Node) -> Node:
        node = Node(kind, row.name, seed, spec.share if kind.reads_labels else 1.0)
        found[node] = needs
        return node

    for row in rows:
        for seed in spec.seeds:
            start = (add(PRETRAIN, row, seed),) if row.objective is not None else ()
            if spec.tasks is not None:
                add(TASKS, row, seed, add(FEATURES, row, seed, *start))
            predicted = add(PREDICT, row, seed, add(FINETUNE, row, seed, *start))
            add(SCORE, row, seed, predicted)
    if len(rows) > 1:
        scored = tuple(node for node in found if node.kind in (PREDICT, SCORE))
        found[Node(COMPARE, labels=spec.share)] = scored
    return found


def walk(
    nodes: Graph, make: Callable[[Node, Mapping[Node, Output]], Output | None]
) -> Iterator[tuple[Node, Output | None]]:
    """Every node in order, with what ``make`` gave for it and the outputs so far; None if it gave none."""
    outputs: dict[Node, Output] = {}
    for node in nodes:
        output = make(node, outputs)
        if output is not None:
            outputs[node] = output
        yield node, output
