from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from skimage.feature import blob_log, peak_local_max

from dbtssl.data.records import Box, Label, Volume
from dbtssl.phantom.cohort.phantom_cohort import plan
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.phantom_config import PhantomConfig


def lesion_slice(
    localisation, boxes, things=(), rows=192, columns=156, kind="spiculated", vessels=()
):
    volume = Volume("p", "s", "lcc", 20, rows, columns, Label.CANCER, tuple(boxes))
    mask = np.ones((rows, columns), bool)
    return localisation.LesionSlice(
        volume,
        kind,
        9,
        np.zeros((rows, columns), np.float32),
        mask,
        tuple(boxes),
        tuple(things),
        2.5,
        np.array(vessels, dtype=float).reshape(-1, 3),
    )


def test_spots_are_the_peaks_that_skimage_finds(localisation):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:120, :100]
    values = np.zeros((120, 100))
    for row, column, height in ((20, 30, 1.0), (70, 60, 0.8), (100, 20, 0.6), (40, 80, 0.4)):
        values += height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 50)
    values += 1e-4 * rng.random(values.shape)
    expected = peak_local_max(values, min_distance=15, num_peaks=3, exclude_border=False)
    assert localisation.spots(values, np.ones(values.shape, bool), 15.0) == [
        tuple(p) for p in expected.tolist()
    ]


def test_spots_lie_within_the_mask_and_apart(localisation):
    values = np.random.default_rng(0).random((40, 40))
    mask = np.zeros((40, 40), bool)
    mask[5:15, 5:30] = True
    found = localisation.spots(values, mask, 12.0)
    assert len(found) >= 2
    assert all(mask[spot] for spot in found)
    gaps = [np.hypot(*np.subtract(a, b)) for i, a in enumerate(found) for b in found[:i]]
    assert min(gaps) >= 12
    mask[:] = False
    assert localisation.spots(values, mask, 12.0) == []


def test_a_gaussian_spot_gives_the_blob_filter_its_closed_form(localisation, maps):
    s, pixel = 6.0, 0.5  # pixels, mm
    y, x = np.mgrid[:101, :101]
    image = np.exp(-((y - 55) ** 2 + (x - 44) ** 2) / (2 * s**2)).astype(np.float32)
    mask = np.ones(image.shape, bool)
    radii = (3.0, 4.0, 8.0)
    found = maps.blob(image, mask, pixel, radii=radii)
    sigmas = np.array(radii) / np.sqrt(2) / pixel
    assert found.max() == pytest.approx(
        max(2 * s**2 * sigmas**2 / (s**2 + sigmas**2) ** 2), rel=0.01
    )
    spot = localisation.spots(found, mask, 20.0)[0]
    assert spot == tuple(blob_log(image, min_sigma=4, max_sigma=8)[0, :2].astype(int))


def test_the_skin_is_left_out_and_the_edge_of_the_frame_is_no_skin(localisation):
    mask = np.zeros((30, 30), bool)
    mask[:, :20] = True  # the chest wall at the left edge
    assert np.array_equal(
        localisation.eroded(mask, 3.0), np.arange(30)[None] < np.full((30, 1), 17)
    )
    assert localisation.eroded(np.ones((4, 4), bool), 3.0).all()


def test_a_hit_is_within_100_pixels_of_a_full_slice(localisation):
    of = lesion_slice(localisation, [Box(9, 48, 98, 4, 4, Label.CANCER)])
    reach = 100 * 192 / 2457  # 7.8 pixels here
    spots = [(99, 49), (99, 49 + int(reach)), (99, 49 + int(reach) + 2)]
    assert localisation.hits(spots, of) == [True, True, False]
    assert localisation.inside(spots, of) == [True, False, False]
    large = lesion_slice(localisation, [Box(9, 30, 80, 40, 40, Label.CANCER)])
    # half the diagonal is 28.3 pixels, more than 100 at full size; the middles of these are 27.5 and 28.5 away
    assert localisation.hits([(100, 77), (100, 78)], large) == [True, False]


def test_a_spot_lies_on_the_nearest_thing_of_its_depth(localisation):
    node, grain = Box(9, 40, 40, 10, 10, Label.NORMAL), Box(9, 47, 45, 1, 1, Label.NORMAL)
    deep = Box(19, 100, 100, 4, 4, Label.NORMAL)  # 25 mm away in depth
    of = lesion_slice(
        localisation, [], [("lymph-node", node), ("calcification", grain), ("cyst", deep)]
    )
    assert localisation.thing_at((44, 41), of) == "lymph-node"
    assert localisation.thing_at((45, 47), of) == "calcification"
    assert localisation.thing_at((102, 102), of) == localisation.OTHER


def test_a_spot_on_nothing_else_may_lie_on_a_vessel(localisation):
    node = Box(9, 40, 40, 10, 10, Label.NORMAL)
    line = [(y, 100.5, 1.0) for y in range(30, 60)]
    of = lesion_slice(localisation, [], [("cyst", node)], vessels=[*line, (45.5, 45.5, 1.0)])
    assert localisation.thing_at((45, 102), of) == "vessel"  # 2 pixels, 1.3 mm from the wall
    assert localisation.thing_at((45, 104), of) == localisation.OTHER  # 3.8 mm
    assert localisation.thing_at((45, 45), of) == "cyst"


def test_vessels_are_where_a_slice_changes_with_another_tree(localisation):
    """Two renderings that differ by their vessels alone; left and right breasts, whose frames are mirrored."""
    config = PhantomConfig(patients=3, rows=128, seed=4)
    for planned in plan(config)[0:3:2]:
        other = replace(planned, innocent=replace(planned.innocent, vessels=7))
        gap = render(config, planned)[0].astype(float) - render(config, other)[0]
        for volume, sign in ((planned, 1), (other, -1)):
            found = []
            for z in range(4, planned.n_slices - 4, 4):
                points = localisation.vessels_at(config, volume, z)
                y, x = points[points[:, 2] * config.pixel > 0.8, :2].astype(int).T
                inside = (y >= 0) & (y < planned.rows) & (x >= 0) & (x < planned.columns)
                found += gap[z, y[inside], x[inside]].tolist()
            assert len(found) > 50
            assert sign * np.mean(found) > 20 * np.abs(gap).mean()


def test_chance_is_the_share_of_the_tissue_that_hits(localisation):
    of = lesion_slice(localisation, [Box(9, 60, 80, 40, 40, Label.CANCER)])
    every = [(y, x) for y in range(0, 192, 4) for x in range(0, 156, 4)]
    expected = np.mean(localisation.hits(every, of))
    found = localisation.chance([of], draws=100)
    error = np.sqrt(expected * (1 - expected) / 100)
    assert found.hit[0, 0] == pytest.approx(expected, abs=4 * error)
    assert found.hit[0, 0] < found.hit[0, 1] < found.hit[0, 2]


def test_the_report_counts_hits_and_differences(localisation):
    slices = [
        lesion_slice(localisation, [Box(9, 60, 80, 10, 10, Label.CANCER)], kind=kind)
        for kind in ("distortion", "spiculated")
    ]
    on, off = (85, 65), (20, 20)
    good = localisation.judged([[on, off], [off, on]], slices)
    bad = localisation.judged([[off], [off]], slices)
    assert good.hit.tolist() == [[1, 1, 1], [0, 1, 1]]
    assert good.order == (0.5, 1.0)
    text, numbers = localisation.report({"good": good, "bad": bad}, slices)
    assert numbers["methods"]["good"]["all"]["hit top 1"]["value"] == 0.5
    assert numbers["methods"]["good"]["spiculated"]["hit top 1"]["value"] == 0
    assert numbers["methods"]["bad"]["false spots"] == {
        "number": 2,
        "on": {localisation.OTHER: 1.0},
    }
    assert numbers["differences"]["bad"]["top 2"]["value"] == 1.0
    assert "good minus bad" in text
    assert localisation.mean_of([good, bad]).hit.tolist() == [[0.5, 0.5, 0.5], [0, 0.5, 0.5]]


def test_validation_chooses_the_map_that_finds_more(localisation):
    of = lesion_slice(localisation, [Box(9, 60, 80, 10, 10, Label.CANCER)])

    def at(y, x):
        def values(image, mask, pixel):
            out = np.zeros(image.shape)
            out[y, x] = 1
            return out

        return values

    chosen, tried = localisation.best(
        {"off": at(10, 10), "on": at(85, 65), "on too": at(85, 65)}, [of]
    )
    assert (chosen, tried["on"], tried["off"][0]) == ("on", [1.0, 1.0], 0.0)
    assert localisation.best({"one": at(10, 10)}, []) == ("one", {})


def test_the_picture_takes_every_kind_and_the_first_of_each(localisation):
    slices = [SimpleNamespace(kind=k, n=i) for i, k in enumerate("aaaaabc")]
    assert [(s.kind, s.n) for s in localisation.pictured(slices, 4)] == [
        ("a", 0), ("a", 1), ("b", 5), ("c", 6),
    ]  # fmt: skip
