"""What is no lesion: as often in ill breasts as in healthy ones, and where both views show it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from dbtssl.data.records import Label
from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume, grid_of, plan
from dbtssl.phantom.findings import benign as innocent
from dbtssl.phantom.findings import calcifications, lymph_nodes, vessels
from dbtssl.phantom.findings.inclusions import Dust, Frame, balls, ellipsoid, thread
from dbtssl.phantom.findings.lesion_shapes import pull
from dbtssl.phantom.findings.placing import ON_SKIN, centre
from dbtssl.phantom.imaging.anatomy import Slab
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.compression import compress
from dbtssl.phantom.model.pattern import draw_pattern, draw_pose
from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.model.subject import Breast, Inclusion, Innocent, Lesion, Positioning, Technique
from dbtssl.phantom.output.truth import outlined

KINDS = {
    "lymph-node", "axillary-node", "cyst", "gland-island", "fat-island", "calcification", "mole",
    "marker-ring",
}  # fmt: skip


@pytest.fixture(scope="module")
def large():
    """The ill breast of each ill woman, and the breast where a lesion would be of each other."""
    volumes = plan(PhantomConfig(patients=500, seed=2, repeat_study=0, missing_view=0))
    ill = {v.patient: v for v in volumes if v.label.abnormal}
    rest = {v.patient: v for v in volumes if v.patient not in ill}
    return list(ill.values()), list(rest.values())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_ill_and_healthy_have_as_many_of_each_kind_and_as_large(large, kind):
    number, size = [], []
    for group in large:
        things = [[t for t in v.innocent.inclusions if t.kind == kind] for v in group]
        number.append([len(x) for x in things])
        size.append([t.radius for x in things for t in x])
    assert sum(number[0]) > 10
    assert ks_2samp(*number).pvalue > 0.001
    assert ks_2samp(*size).pvalue > 0.001
    error = np.hypot(*(np.std(n) / np.sqrt(len(n)) for n in number))
    assert abs(np.mean(number[0]) - np.mean(number[1])) < 3.5 * error


@pytest.mark.parametrize(
    "name",
    ["stretch", "skin", "nipple", "uneven", "tilt", "neck", "fold", "muscle_fat", "pectoral"],
)
def test_ill_and_healthy_are_built_alike(large, name):
    def value(v):
        pose = v.positioning.pose
        found = [getattr(x, name, None) for x in (v.breast.pattern, pose, v.positioning)]
        return next(x for x in found if x is not None)

    assert ks_2samp(*([value(v) for v in group] for group in large)).pvalue > 0.001


def test_views_and_years_of_a_breast_have_the_same_things():
    volumes = plan(PhantomConfig(patients=6, seed=1, repeat_study=1))
    kept = {}
    for v in volumes:
        assert kept.setdefault((v.patient, v.view[0]), v.innocent) == v.innocent
    assert len(set(kept.values())) == 12


def test_a_healthy_twin_keeps_everything_but_the_lesion():
    volume = next(v for v in plan(PhantomConfig(patients=4, seed=1)) if v.lesion)
    assert volume.without_lesion().innocent == volume.innocent


def test_the_plain_anatomy_has_none_of_it():
    for v in plan(PhantomConfig(patients=5, anatomy="plain")):
        assert v.innocent is v.breast.pattern is v.positioning.pose is None
        assert v.lesion is None or v.lesion.kind != "lobulated"


def with_things(projection, *things, left=True, seed=None):
    """A volume at 192 rows whose breast holds ``things`` and nothing else (vessels by ``seed``)."""
    config = PhantomConfig(rows=192)
    rng = np.random.default_rng(1)
    breast = Breast(seed=3, twin=4, density=0.1, thickness=50.0, pattern=draw_pattern(rng))
    pose = draw_pose(projection, rng)
    positioning = Positioning(projection, left, pectoral=0.35, pose=pose)
    grid, shape = grid_of(config, breast, positioning)
    volume = PlannedVolume(
        patient="DBT-P00001", study="DBT-S00001", view=("l" if left else "r") + projection,
        label=Label.NORMAL, n_slices=grid.n_slices, rows=grid.rows, columns=grid.columns,
        thickness=shape.thickness, boxes=(), breast=breast, lesion=None, positioning=positioning,
        technique=Technique(seed=6, photons=1e9), rotated=False,
        innocent=Innocent(tuple(things), vessels=seed or 0),
    )  # fmt: skip
    return config, volume


SOLID = [
    Inclusion("cyst", (0.5, 0.1, 0.1), 6.0, 1),
    Inclusion("lymph-node", (0.5, 0.1, -0.1), 6.0, 2),
    Inclusion("gland-island", (0.6, -0.1, 0.0), 9.0, 3),
    Inclusion("fat-island", (0.5, -0.05, 0.0), 12.0, 4),
    Inclusion("calcification", (0.5, 0.2, 0.0), 0.8, 5),
    Inclusion("calcification", (0.5, 0.0, 0.1), 3.5, 6),
    Inclusion("mole", (0.5, 0.3, 0.95), 4.0, 7),
    Inclusion("marker-ring", (0.5, -0.3, 0.95), 5.0, 8),
]


@pytest.mark.parametrize("thing", SOLID, ids=lambda t: f"{t.kind}-{t.radius:g}")
@pytest.mark.parametrize(("projection", "left"), [("cc", True), ("mlo", False)])
def test_what_is_drawn_is_where_the_truth_says(thing, projection, left):
    config, planned = with_things(projection, thing, left=left)
    ((kind, box),) = outlined(config, planned)
    assert kind == thing.kind
    found, _ = render(config, planned)
    empty, _ = render(config, replace(planned, innocent=Innocent()))
    change = (found[box.z].astype(float) - empty[box.z]) * (-1 if kind == "fat-island" else 1)
    change = change.clip(5) - 5
    y, x = (np.average(np.arange(n), weights=change.sum(a)) for n, a in ((192, 1), (156, 0)))
    assert y == pytest.approx(box.y + box.height / 2 - 0.5, abs=3)
    assert x == pytest.approx(box.x + box.width / 2 - 0.5, abs=3)
    rows, columns = (
        slice(max(low - 2, 0), low + n + 2)
        for low, n in ((int(box.y), int(box.height)), (int(box.x), int(box.width)))
    )
    assert change[rows, columns].sum() > 0.8 * change.sum()


@pytest.mark.parametrize("thing", SOLID, ids=lambda t: f"{t.kind}-{t.radius:g}")
def test_both_views_see_a_thing_as_far_behind_the_nipple(thing):
    places = []
    for projection in ("cc", "mlo"):
        config, planned = with_things(projection, thing)
        _, shape = grid_of(config, planned.breast, planned.positioning)
        places.append(centre(thing, shape)[0] / shape.length)
    assert places[0] == pytest.approx(places[1], abs=1e-6 if thing.kind not in ON_SKIN else 0.1)


def test_axillary_nodes_are_seen_in_mlo_views_alone():
    node = Inclusion("axillary-node", (0.2, 30.0, 0.1), 7.0, 1)
    for projection, boxes in (("cc", 0), ("mlo", 1)):
        config, planned = with_things(projection, node)
        assert len(list(outlined(config, planned))) == boxes


def test_marks_lie_on_the_skin():
    rng = np.random.default_rng(0)
    config, planned = with_things("mlo")
    _, shape = grid_of(config, planned.breast, planned.positioning)
    for angle in rng.uniform(-np.pi, np.pi, 50):
        at = float(rng.uniform(0.1, 0.9)), float(np.cos(angle)), float(np.sin(angle))
        u, v, z = centre(Inclusion("mole", at, 3.0), shape)
        assert shape.depth(u, v, z) == pytest.approx(0, abs=1.0)
        assert shape.depth(u, v, shape.mid) > 3


def test_a_lymph_node_has_a_notch_of_fat():
    frame = frame_of(0.3, 0.5)
    cortex, hilum = lymph_nodes.stamps(
        Inclusion("lymph-node", (0, 0, 0), 5.0, 3), (40, 0, 30), frame
    )
    assert hilum.mu < cortex.mu
    assert 0.03 < hilum.share.sum() / cortex.share.sum() < 0.5
    assert (hilum.share <= cortex.share + 1e-6).all()


def frame_of(pixel, spacing):
    config = PhantomConfig(rows=round(245 / pixel), spacing=spacing)
    breast = Breast(seed=1, twin=2, thickness=54.0)
    grid, shape = grid_of(config, breast, Positioning("cc", left=True))
    return Frame(grid.u(), grid.v(), grid.z(), grid, shape)


def volume_of(dust, frame):
    planes = [dust.share(k) for k in range(frame.grid.n_slices)]
    scales = [frame.grid.scale(z) for z in frame.z.tolist()]
    voxel = frame.grid.pixel**2 * frame.grid.spacing
    return sum(
        float(p.sum()) * voxel / s**2 for p, s in zip(planes, scales, strict=True) if p is not None
    )


@pytest.mark.parametrize(("pixel", "spacing"), [(0.3, 0.5), (0.96, 2.0), (1.9, 4.0)])
def test_thin_things_keep_their_volume_at_every_pixel(pixel, spacing):
    frame = frame_of(pixel, spacing)
    t = torch.linspace(0, 1, 120)[:, None]
    path = torch.tensor([10.0, -20, 20]) + t * torch.tensor([60.0, 30, 15])
    tube = Dust(thread(path, torch.full((120,), 0.5)), frame)
    assert volume_of(tube, frame) == pytest.approx(np.pi * 0.25 * np.sqrt(4725), rel=0.06)
    ball = Dust(balls(torch.tensor([[40.0, 5, 31]]), torch.tensor([0.4])), frame)
    assert volume_of(ball, frame) == pytest.approx(4 / 3 * np.pi * 0.064, rel=0.06)


def test_a_ball_is_inside_by_its_radius_less_the_distance():
    place = tuple(torch.randn(3, 500, generator=torch.Generator().manual_seed(0)) * 3)
    distance = torch.stack(place).norm(dim=0)
    inside = ellipsoid(place, (4.0, 4.0, 4.0), torch.eye(3).tolist())
    far = distance > 1
    torch.testing.assert_close(inside[far], 4 - distance[far], atol=1e-4, rtol=0)


def test_the_axes_of_an_ellipsoid_end_at_its_surface():
    axes = (6.0, 3.0, 2.0)
    ends = torch.diag(torch.tensor(axes))
    inside = ellipsoid(tuple(ends), axes, torch.eye(3).tolist())
    torch.testing.assert_close(inside, torch.zeros(3), atol=1e-5, rtol=0)


def test_vessels_branch_thinner_from_where_their_parent_is():
    breast = Breast(seed=1, twin=2)
    paths = vessels.tree(7, breast)
    assert len(paths) > 8
    starts = 0
    for i, (points, radius) in enumerate(paths):
        parents = [p for p in paths[:i] if np.abs(p[0] - points[0]).sum(1).min() < 1e-9]
        starts += bool(parents)
        assert all(radius <= vessels.MURRAY * p[1] for p in parents[:1])
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        assert steps.max() < 4 * vessels.STEP
    assert starts >= len(paths) - vessels.TRUNKS[1]


def test_vessels_are_seen():
    config, planned = with_things("cc", seed=5)
    found, _ = render(config, planned)
    empty, _ = render(config, replace(planned, innocent=Innocent()))
    assert (found.astype(float) - empty).max() > 25


def test_many_points_are_placed_as_one():
    shape = compress(Breast(seed=1, twin=2), Positioning("mlo", left=False, roll=3.0), 66.0)
    at = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3))
    expected = torch.tensor([shape.place(tuple(row)) for row in at.tolist()])
    found = shape.place_all(torch.tensor(at))
    torch.testing.assert_close(found.float(), expected, atol=1e-4, rtol=0)


def test_tissue_is_placed_where_it_is_looked_up_in_a_leaning_breast():
    rng = np.random.default_rng(3)
    breast = Breast(seed=1, twin=2, pattern=draw_pattern(rng))
    positioning = Positioning("mlo", left=True, pose=draw_pose("mlo", rng))
    shape = compress(breast, positioning, 66.0)
    assert shape.tilt > 0
    at = (0.4, 0.2, -0.3)
    u, v, z = (torch.tensor([x]) for x in shape.place(at))
    s, t, zeta = shape.unit(u, v, z)
    p, q = shape.disc(s, t, zeta)
    assert [float(x) for x in (s, p, q)] == pytest.approx(at, abs=1e-5)


def test_a_distortion_draws_vessels_to_where_tissue_is_looked_up():
    shape = compress(Breast(seed=1, twin=2), Positioning("cc", left=True), 66.0)
    lesion = Lesion("distortion", (0.5, 0.0, 0.0), 8.0, drag=1.9)
    middle = torch.tensor(shape.place(lesion.at))
    places = middle + torch.randn(200, 3, generator=torch.Generator().manual_seed(1)) * 10
    moved = vessels.drawn_in(places, lesion, shape)
    away = moved - middle
    looked_up = middle + away * (1 + pull(lesion, away.square().sum(1)))[:, None]
    assert (looked_up - places).norm(dim=1).max() < 0.02
    assert (away.norm(dim=1) <= (places - middle).norm(dim=1) + 1e-4).all()


def test_a_calcified_wall_lies_at_the_radius():
    path = torch.linspace(0, 40, 60)[:, None] * torch.tensor([[1.0, 0, 0]])
    vessel = thread(path, torch.full((60,), 1.2))
    found = calcifications.wall(vessel, np.random.default_rng(0))
    assert 20 <= len(found.places) <= 60
    torch.testing.assert_close(found.places[:, 1].abs(), torch.full((len(found.places),), 1.2))


def test_calcified_arteries_are_as_common_as_in_women():
    volumes = plan(PhantomConfig(patients=800, seed=1, repeat_study=0, missing_view=0))
    women = {v.patient: v.innocent.calcified for v in volumes}
    assert np.mean(list(women.values())) == pytest.approx(calcifications.VASCULAR, abs=0.035)


def test_every_kind_is_drawn():
    rng = np.random.default_rng(0)
    found = Counter(
        t.kind for _ in range(60) for t in innocent.draw(rng, 0.2, True, False).inclusions
    )
    assert set(found) == KINDS


def test_a_vessel_has_no_gaps_on_fine_pixels():
    breast = Breast(seed=1, twin=2)
    shape = compress(breast, Positioning("cc", left=True), 66.0)
    path = (np.array([[10.0, 0, 0], [10.8, 0, 0], [11.6, 0, 0]]), 0.6)
    coarse, fine = (
        next(iter(vessels.tubes([path], breast, shape, None, pixel))) for pixel in (0.96, 0.1)
    )
    assert (len(coarse.places), len(fine.places)) == (3, 9)
    assert float(fine.volume.sum()) == pytest.approx(float(coarse.volume.sum()), rel=0.05)
    torch.testing.assert_close(fine.places[::4], coarse.places)


class Everywhere:
    """Something hard in every voxel."""

    def share(self, k):
        return torch.ones(())


def test_calcium_ends_at_the_skin_and_a_wire_does_not():
    config = PhantomConfig(patients=4, seed=1, rows=64)
    volume = next(v for v in plan(config) if v.innocent is not None)
    grid, shape = grid_of(config, volume.breast, volume.positioning)
    slab = Slab(volume.breast, volume.lesion, shape, grid, volume.positioning.pose, volume.innocent)
    k = len(slab.z) // 2
    scale = grid.scale(float(slab.z[k]))
    depth = shape.depth(slab.u[None] / scale, slab.v[:, None] / scale, slab.z[k])
    air = depth < -20 * grid.pixel
    assert air.any()
    slab.things.outside = []
    slab.things.hard = [(Everywhere(), 1.0, True)]
    mu = slab.attenuation(k)
    assert mu[air].max() < 1e-4
    assert mu[depth > 10].min() > 1.0
    slab.things.hard = [(Everywhere(), 1.0, False)]
    assert slab.attenuation(k)[air].min() > 0.99
