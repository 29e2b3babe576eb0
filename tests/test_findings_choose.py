from __future__ import annotations

import numpy as np
import pytest

from fake_layer import FakeLayer
from xinc.errors import FindingError
from xinc.findings.section4.choose import RULES, choose, choose_by, gallery, profiles

AREAS = np.array([2, 2, 0])


def test_profiles_are_shares_of_means():
    shares = profiles(np.array([[2.0, 6.0, 0.0], [0.0, 0.0, 0.0]]), np.array([1, 2, 0]))
    np.testing.assert_allclose(shares[0, :2], [0.4, 0.6])
    assert np.isnan(shares[0, 2])
    assert np.isnan(shares[1]).all()


def test_each_rule_chooses_what_it_says():
    #        even strong, even weak, left only, right only, dead
    sums = np.array([[50.0, 50, 0], [5, 5, 0], [10, 0, 0], [0, 20, 0], [0, 0, 0]])
    totals = sums.sum(1)
    pick = {rule: choose_by(rule, totals, sums, AREAS, count=3).tolist() for rule in RULES}
    assert pick["strongest"] == [0, 3, 1] or pick["strongest"] == [0, 3, 2]
    assert set(pick["typical"][:2]) == {0, 1}
    assert pick["different"][0] == 0
    assert set(pick["different"][1:]) == {2, 3}
    assert not any(4 in indices for indices in pick.values())


def test_random_follows_its_seed_and_count_is_capped_by_the_living():
    sums = np.random.default_rng(0).random((20, 3))
    first = choose_by("random", sums.sum(1), sums, np.array([1, 1, 1]), count=5, seed=1)
    assert (first == choose_by("random", sums.sum(1), sums, np.array([1, 1, 1]), count=5, seed=1)).all()
    assert (first != choose_by("random", sums.sum(1), sums, np.array([1, 1, 1]), count=5, seed=2)).any()
    for rule in RULES:
        assert len(set(choose_by(rule, sums.sum(1), sums, np.array([1, 1, 1]), count=99))) in (19, 20)
        assert choose_by(rule, np.zeros(20), sums, np.array([1, 1, 1])).size == 0


def test_choose_of_a_layer_needs_no_regions_and_names_its_rules():
    maps = np.zeros((3, 8, 16))
    maps[1], maps[2, :, :8] = 2.0, 1.0
    assert choose(FakeLayer(maps), "strongest", 5).tolist() == [1, 2]
    assert choose(FakeLayer(maps), "different", 2).tolist() == [1, 2]
    with pytest.raises(FindingError, match="strongest, typical, different, random"):
        choose(FakeLayer(maps), "prettiest")


def test_a_gallery_holds_the_chosen_maps_in_order():
    maps = np.zeros((3, 8, 16))
    maps[1], maps[2] = -1.0, 3.0
    found = gallery(FakeLayer(maps), "strongest", 5)
    assert found.neuron.values.tolist() == [2, 1]
    np.testing.assert_allclose(found["map"].values[:, 0, 0], [3, -1])
    assert found.total.values.tolist() == [384, 128]
    assert gallery(FakeLayer(np.zeros((3, 8, 16)))).sizes["neuron"] == 0
