from __future__ import annotations

import numpy as np
import pytest
import torch

from dbtssl.phantom.model.noise import TILE, TWIN_SHARE, lookup, tissue_tile


def fields(seed=1, twin=2, beta=3.0, lobule=11.0, n=64):
    return tissue_tile(seed, twin, beta, lobule, n)


def spectrum(field):
    """Frequencies in 1/mm and power, both flat, of a field without its wrapped cell."""
    n = field.shape[-1] - 1
    f = np.fft.fftfreq(n, TILE / n)
    f = np.sqrt(f[:, None, None] ** 2 + f[:, None] ** 2 + f**2)
    power = np.abs(np.fft.fftn(field[:-1, :-1, :-1].numpy())) ** 2
    return f.ravel(), power.ravel()


@pytest.mark.parametrize("beta", [2.3, 3.3])
def test_gland_field_has_its_power_law(beta):
    f, power = spectrum(fields(beta=beta)[0])
    bins = np.digitize(f, np.linspace(0.05, 0.25, 11))
    points = [(f[bins == b].mean(), power[bins == b].mean()) for b in range(1, 11)]
    assert -np.polyfit(*np.log(points).T, 1)[0] == pytest.approx(beta, abs=0.15)


@pytest.mark.parametrize("lobule", [9.0, 17.0])
def test_lobule_field_has_its_wavelength(lobule):
    f, power = spectrum(fields(lobule=lobule)[1])
    bins = np.digitize(f, np.arange(0, 0.2, 0.01))
    mean = [power[bins == b].mean() for b in range(1, 19)]
    assert (np.argmax(mean) + 0.5) * 0.01 == pytest.approx(1 / (1.6 * lobule), abs=0.012)


def test_fields_have_unit_variance_and_wrap():
    tile = fields()
    torch.testing.assert_close(tile[:, :-1, :-1, :-1].flatten(1).std(1), torch.ones(2))
    for side in (1, 2, 3):
        torch.testing.assert_close(tile.select(side, 0), tile.select(side, 64))


def test_the_breasts_of_a_woman_are_alike_and_those_of_two_are_not():
    def correlation(a, b):
        return float(np.corrcoef(a[1].flatten(), b[1].flatten())[0, 1])

    assert correlation(fields(1, 9), fields(2, 9)) == pytest.approx(TWIN_SHARE, abs=0.1)
    assert correlation(fields(1, 9), fields(2, 8)) == pytest.approx(0, abs=0.1)


def test_lookup_interpolates_and_repeats():
    tile = fields()
    cell = TILE / 64
    at = torch.tensor([5.0 * cell]), torch.tensor([7.0 * cell]), torch.tensor([63.0 * cell])
    torch.testing.assert_close(lookup(tile, *at)[:, 0], tile[:, 5, 7, 63], atol=1e-4, rtol=0)
    half = (at[0] + cell / 2, *at[1:])
    mean = (tile[:, 5, 7, 63] + tile[:, 6, 7, 63]) / 2
    torch.testing.assert_close(lookup(tile, *half)[:, 0], mean, atol=1e-4, rtol=0)
    again = [x + 3 * TILE for x in half]
    torch.testing.assert_close(lookup(tile, *again)[:, 0], mean, atol=1e-3, rtol=0)
