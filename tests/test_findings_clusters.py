from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from fake_layer import FakeLayer
from xinc.errors import FindingError
from xinc.findings.analyses import Settings
from xinc.findings.section4.clusters import (
    Embedding,
    clusters,
    embed,
    likeness,
    mixing,
    neighbour_entropy,
    neighbours_of,
    stack,
)
from xinc.findings.section4.layouts import drawn, of_layer, of_layers, of_networks
from xinc.findings.section4.regions import Regions

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), 32).reshape(8, 16)
GABOR = Regions("gabor", LABELS, ("0", "1", "2", "3", "4"))


def test_vectors_without_maps_are_those_of_normalised_maps():
    maps = RNG.normal(size=(6, 8, 16))
    maps[2], maps[4] = 0, 0.5
    found = clusters(FakeLayer(maps), GABOR)
    assert found.constant.item() == 2
    assert np.isnan(found.vector.values[[2, 4]]).all()
    for k in (0, 1, 3, 5):
        row, absolute = found.vector.values[k], np.abs(maps[k])
        normal = (absolute - absolute.min()) / (absolute.max() - absolute.min())
        np.testing.assert_allclose(row[:4], [normal[g == LABELS].mean() for g in range(4)], rtol=1e-4)
        assert np.isnan(row[4])


def test_neighbours_are_the_papers():
    layers = ["block1", "block2", "block3", "head"]
    assert [neighbours_of(layers, name, pixelwise=False) for name in layers] == [150, 75, 25, 5]
    assert neighbours_of(["layer1", "layer2", "layer3"], "layer1", pixelwise=True) == 5
    assert neighbours_of(["block1", *layers], "block1", pixelwise=False) == 150


def test_stacking_keeps_members_and_leaves_out_what_has_no_vector():
    maps = RNG.random((2, 5, 8, 16))
    maps[1, 3] = 0
    both = stack({f"seed {i}": clusters(FakeLayer(m), GABOR) for i, m in enumerate(maps)})
    assert both.vector.shape == (9, 4)
    assert np.isfinite(both.vector).all()
    assert both.member.values.tolist() == ["seed 0"] * 5 + ["seed 1"] * 4
    assert both["index"].values.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 4]
    assert both.layer.values[0] == "layer2"


def test_vectors_over_other_regions_are_not_comparable():
    here = clusters(FakeLayer(RNG.random((5, 8, 16))), GABOR)
    other = clusters(FakeLayer(RNG.random((5, 8, 16))), Regions("gabor", LABELS // 2, GABOR.names))
    with pytest.raises(FindingError, match="vectors of seed 1 are over other regions"):
        stack({"seed 0": here, "seed 1": other})
    with pytest.raises(FindingError, match="at least one"):
        stack({})


def test_members_mix_when_alike_and_not_when_apart():
    alike = RNG.random((120, 4))
    members = np.repeat(["a", "b", "c"], 40)
    mixed = mixing(alike, members, permutations=50)
    assert mixed is not None
    assert mixed.ratio == pytest.approx(1, abs=0.1)
    apart = mixing(alike + np.repeat([0, 10, 20], 40)[:, None], members, permutations=50)
    assert apart is not None
    assert apart.ratio == 0
    assert apart.p_value == pytest.approx(1 / 51)
    assert mixed.p_value > 0.02
    assert mixing(alike, np.repeat("a", 120)) is None


def test_entropy_of_even_neighbours_is_log_of_members():
    codes = np.array([0, 0, 1, 1])
    entropy = neighbour_entropy(codes, np.array([[0, 2], [0, 1]]))
    np.testing.assert_allclose(entropy, [np.log(2), 0])


def test_embedding_separates_kinds_of_neurons_and_is_reproducible():
    base = np.where(np.arange(20)[:, None, None] < 10, LABELS < 2, LABELS >= 2) + 0.05 * RNG.random((20, 8, 16))
    vectors = stack({"one": clusters(FakeLayer(base), GABOR)})
    found = embed(vectors, Embedding(neighbours=5))
    from umap.umap_ import smooth_knn_dist

    assert smooth_knn_dist.stats.cache_path, "UMAP's loops are compiled anew by every process"
    assert found.position.shape == (20, 2)
    centres = found.position.values[:10].mean(0), found.position.values[10:].mean(0)
    spread = found.position.values[:10].std() + found.position.values[10:].std()
    assert np.linalg.norm(centres[0] - centres[1]) > 0.5 * spread
    assert np.array_equal(found.position, embed(vectors, Embedding(neighbours=5)).position)


def test_too_few_neurons_are_refused():
    with pytest.raises(FindingError, match="there are 2"):
        embed(stack({"one": clusters(FakeLayer(RNG.random((2, 8, 16))), GABOR)}))


def kept(layer: FakeLayer, frame: int = 3, key: str = "a") -> xr.Dataset:
    """Vectors as results keep them, at one of their frames."""
    return clusters(layer, GABOR).assign_coords(frame=frame).assign_attrs(digest=key)


def two_layers(apart: bool = True) -> dict[str, xr.Dataset]:
    """Two layers whose maps are bright on different sides, or on the same."""
    return {
        name: kept(FakeLayer((bright + 0.2 * RNG.random((30, 8, 16))).astype(np.float32), name))
        for name, bright in (("block1", LABELS < 2), ("head", (LABELS < 2) ^ apart))
    }


def test_layers_are_laid_out_apart_where_their_vectors_are():
    found = of_layers(two_layers()).make(replace(Settings(), embedded=40))
    assert found.position.shape == (1, 40, 2)
    assert found.frame.values.tolist() == [3]
    assert found.member.values.tolist() == ["block1"] * 20 + ["head"] * 20
    assert found.mixing.item() < 0.1
    assert found.mixing_p.item() == pytest.approx(1 / 201)
    assert found.attrs["neighbours"] == 25
    assert "layer" not in found.attrs
    position = found.position.values[0]
    centres = position[:20].mean(0), position[20:].mean(0)
    assert np.linalg.norm(centres[0] - centres[1]) > position[:20].std() + position[20:].std()


def test_layers_of_one_kind_mix():
    found = of_layers(two_layers(apart=False)).make()
    assert found.mixing.item() > 0.8
    assert found.mixing_p.item() > 0.01


@pytest.mark.parametrize(("most", "counts"), [(100, (30, 8, 20)), (58, (30, 8, 20)), (57, (19, 8, 19)), (4, (1, 1, 1))])
def test_beyond_a_number_each_member_gets_at_most_its_share(most: int, counts: tuple[int, ...]):
    names = np.repeat(["a", "b", "c"], [30, 8, 20])
    vectors = xr.Dataset({"vector": (("neuron", "region"), RNG.random((58, 4)))}, coords={"member": ("neuron", names)})
    found = drawn(vectors, most, 0)
    assert tuple(int((found["member"] == name).sum()) for name in "abc") == counts
    assert found.identical(drawn(vectors, most, 0))
    if most == 57:
        assert not found["vector"].equals(drawn(vectors, most, 1)["vector"])


def test_a_layout_fits_the_vectors_that_it_was_made_of():
    members = two_layers()
    layout = of_layers(members)
    few, all_ = Settings(embedded=4), Settings()
    attrs = layout.make(few).attrs
    assert layout.fits(attrs)
    assert layout.key(few) == attrs["digest"] != layout.key(all_)
    assert not layout.fits({})
    for other in (
        of_layers(dict(reversed(members.items()))),
        of_layers({**members, "head": members["head"].assign_attrs(digest="b")}),
        of_layers({name: data.assign_coords(frame=4) for name, data in members.items()}),
        of_networks(members, ["block1", "head"]),
    ):
        assert not other.fits(attrs)


def test_layouts_lie_where_their_members_say():
    members = two_layers()
    order = ["block1", "head"]
    assert of_layer(members["head"], order).group == "embedding/paper/head"
    assert of_networks({"seed 0": members["head"], "seed 1": members["head"]}, order).group == (
        "embedding_networks/paper/head"
    )
    assert of_layers(members).group == "embedding_layers/paper"
    with pytest.raises(FindingError, match="give at least two"):
        of_layers({"head": members["head"]})


def test_neurons_of_one_channel_are_found_alike():
    """Sixty neurons: their vectors follow the channel that they read, with a little noise."""
    inputs, outputs = np.arange(60) // 6, np.arange(60) % 6
    vectors = np.random.default_rng(1).random((10, 12))[inputs] + 0.01 * np.random.default_rng(2).random((60, 12))
    data = xr.Dataset(
        {"vector": (("neuron", "region"), vectors)},
        coords={"input": ("neuron", inputs), "output": ("neuron", outputs)},
    )
    found = likeness(data)
    assert found.near > 0.99
    assert found.random < 0.6
    assert found.shared["input"] == (1.0, pytest.approx(5 / 59))
    assert found.shared["output"][0] == 0  # the nearest reads the same channel, and so writes to another
    data["output"][:] = -1
    assert np.isnan(likeness(data).shared["output"]).all()
    assert likeness(data.isel(neuron=[0, 1])) is None


def test_loops_that_cannot_be_kept_are_compiled(monkeypatch):
    from numba.core.dispatcher import Dispatcher

    def nowhere(_: Dispatcher) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    vectors = stack({"one": clusters(FakeLayer(RNG.random((20, 8, 16))), GABOR)})
    monkeypatch.setattr(Dispatcher, "enable_caching", nowhere)
    assert embed(vectors, Embedding(neighbours=5)).position.shape == (20, 2)
