"""All that is no lesion in a breast: drawn once, and put into the slices of a view.

The draw knows no label, so ill and healthy breasts have the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbtssl.phantom.findings import calcifications, cysts, islands, lymph_nodes, skin, vessels
from dbtssl.phantom.findings.inclusions import Chain, Dust, Frame, Stamp, joined
from dbtssl.phantom.findings.placing import centre, seed, upwards
from dbtssl.phantom.model.subject import Breast, Innocent, Lesion

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor


def draw(rng: Generator, density: float, left: bool, calcified: bool) -> Innocent:
    """Draw what a breast of a share ``density`` of gland holds; ``calcified`` are its vessels."""
    return Innocent(
        inclusions=(
            *islands.draw(rng),
            *cysts.draw(rng, density),
            *lymph_nodes.draw(rng, upwards(left)),
            *calcifications.draw(rng),
            *skin.draw(rng),
        ),
        vessels=seed(rng),
        calcified=calcified,
    )


class Drawn:
    """The things of a breast in the slices of one view."""

    def __init__(
        self, things: Innocent, breast: Breast, lesion: Lesion | None, frame: Frame, tile: Tensor
    ) -> None:
        self.within: list[Stamp] = []
        self.over: list[Stamp] = []
        self.outside: list[Stamp] = []
        hard: list[Chain] = []
        wires: list[Chain] = []
        for thing in things.inclusions:
            at = centre(thing, frame.shape)
            if at is None:
                continue
            match thing.kind:
                case "fat-island" | "gland-island":
                    self.within += islands.stamps(thing, at, frame, tile)
                case "cyst":
                    self.within += cysts.stamps(thing, at, frame)
                case "lymph-node" | "axillary-node":
                    self.over += lymph_nodes.stamps(thing, at, frame)
                case "mole":
                    self.outside += skin.stamps(thing, at, frame)
                case "calcification":
                    hard.append(calcifications.grains(thing, at))
                case "marker-ring":
                    wires.append(skin.wire(thing, at))
        paths = vessels.tree(things.vessels, breast)
        tubes = list(vessels.tubes(paths, breast, frame.shape, lesion, frame.grid.pixel))
        if things.calcified:
            rng = np.random.default_rng(things.vessels)
            hard += [calcifications.wall(tube, rng) for tube in tubes[:4]]
        self.vessels = Dust(joined(tubes), frame)
        self.hard = [
            (Dust(joined(chains), frame), mu, inside)
            for chains, mu, inside in (
                (hard, calcifications.CALCIUM, True),
                (wires, skin.WIRE, False),
            )
            if chains
        ]

    def in_tissue(self, mu: Tensor, k: int) -> None:
        """Draw what lies in the tissue into slice ``k``, in place."""
        for stamp in self.within:
            stamp.draw(mu, k)
        share = self.vessels.share(k)
        if share is not None:
            mu += share * (vessels.BLOOD - mu).clamp_min(0)

    def over_muscle(self, mu: Tensor, k: int) -> None:
        """Draw what is seen over the muscle too."""
        for stamp in self.over:
            stamp.draw(mu, k)

    def hard_and_outside(self, mu: Tensor, k: int, breast: Tensor) -> None:
        """Draw what is on the skin, and what is hard: calcium in the ``breast`` (1 there, 0 in air), wires on it."""
        for stamp in self.outside:
            stamp.draw(mu, k)
        for dust, hardness, inside in self.hard:
            share = dust.share(k)
            if share is not None:
                mu += share * hardness * (breast if inside else 1.0)
