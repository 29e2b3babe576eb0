"""Stems, latents and embeddings: what lies before the canvas has maps too, and all parameters have a place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import xinc
from click_free import xinc as command
from tiny_runs import runs
from xinc import models
from xinc.errors import TraceError

NERV = (("nerv", (16, 32), 3), {"fc_dim": 6, "levels": 4, "strides": (4, 2)})
HNERV = (("hnerv", (16, 32), 3), {"fc_dim": 12, "strides": (4, 2)})


class Decoder(nn.Module):
    """A latent vector through a linear stem to a small grid, with a skip: nothing of it is a plain chain."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.up = nn.Linear(5, 4 * 2 * 3), nn.Conv2d(4, 16, 3, padding=1)
        self.head, self.other = nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(4, 3, 1)

    def forward(self, latent: Tensor) -> Tensor:
        x = torch.sin(self.stem(latent).reshape(-1, 4, 2, 3))
        x = nn.functional.interpolate(x, scale_factor=2.0) + nn.functional.pixel_shuffle(self.up(x), 2)
        return self.head(torch.sin(x))


def built(arguments: tuple, options: dict) -> tuple[nn.Module, Tensor]:  # type: ignore[type-arg]
    torch.manual_seed(0)
    model = models.build(*arguments, **options).eval().double()
    return model, model.frame_input(1).double()


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    return {
        "nerv": built(*NERV),
        "hnerv": built(*HNERV),
        "decoder": (Decoder().double(), torch.randn(1, 5, dtype=torch.float64)),
    }


@pytest.mark.parametrize("name", ["nerv", "hnerv", "decoder"])
def test_what_an_entry_paints_is_the_difference_that_it_makes(name: str) -> None:
    """Central differences of the network by the features that the first layer reads: x_i dy/dx_i."""
    network, given = networks()[name]
    canvas = xinc.trace(network, given)
    first = canvas[canvas.stems[0]]
    assert first.shape[0] == given.numel()
    maps = first.maps(range(first.shape[0]), signed=True)
    step = 1e-5
    for k in range(0, given.numel(), 7):
        sides = []
        for factor in (1 + step, 1 - step):
            moved = given.clone()
            moved.view(-1)[k] *= factor
            with torch.no_grad():
                sides.append(network(moved)[0])
        torch.testing.assert_close(maps[k], ((sides[0] - sides[1]) / (2 * step)).to(maps), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["nerv", "hnerv", "decoder"])
def test_ablation_runs_the_network_without_the_entry(name: str) -> None:
    network, given = networks()[name]
    canvas = xinc.trace(network, given, method="ablation")
    k = given.numel() // 2
    without = given.clone()
    without.view(-1)[k] = 0
    with torch.no_grad():
        wanted = (network(given) - network(without))[0].abs().sum(0)
    torch.testing.assert_close(canvas[canvas.stems[0]].maps([k])[0], wanted.float(), rtol=1e-4, atol=1e-7)


def test_layers_of_the_canvas_stay_as_they_were() -> None:
    network, given = networks()["nerv"]
    canvas = xinc.trace(network, given)
    assert canvas.layers == ["block1", "block2", "head"]
    assert len(canvas.stems) == 1
    hnerv = xinc.trace(*networks()["hnerv"])
    assert hnerv.stems[0] == "embedding"
    assert hnerv["embedding"].shape == (16 * 2 * 4, 16, 32)
    assert not xinc.trace(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1)), torch.randn(1, 2, 6, 6)).stems


@pytest.mark.parametrize("method", ["paper", "official"])
def test_the_paper_s_method_says_why_it_has_none(method: str) -> None:
    canvas = xinc.trace(*networks()["nerv"], method=method)
    with pytest.raises(TraceError, match="before or beside the blocks that the paper traces"):
        canvas[canvas.stems[0]]


@pytest.mark.parametrize("name", ["nerv", "hnerv", "decoder"])
def test_effects_of_all_layers_come_from_one_pass(name: str) -> None:
    network, given = networks()[name]
    canvas = xinc.trace(network, given)
    table = canvas.attribute(lambda picture: picture.square().mean())
    slope = 2 * canvas.output / canvas.output.numel()
    for layer in (*canvas.stems, *canvas.layers):
        terms = canvas[layer].maps(range(canvas[layer].shape[0]), signed=True)
        effects = torch.from_numpy(table[table["layer"] == layer]["effect"].to_numpy().copy())
        torch.testing.assert_close(effects, (terms * slope).sum((1, 2, 3)).to(effects), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["nerv", "hnerv", "decoder"])
def test_probes_of_all_layers_agree_within_their_error(name: str) -> None:
    canvas = xinc.trace(*networks()[name])
    inside = torch.zeros(canvas.size)
    inside[: canvas.size[0] // 2] = 1
    table = canvas.energies({"picture": torch.ones(canvas.size), "top": inside}, probes=256)
    assert set(table["error"]) == {(2 / 256) ** 0.5}
    for layer in (*canvas.stems, *canvas.layers):
        terms = canvas[layer].maps(range(canvas[layer].shape[0]), signed=True)
        for region, plane in (("picture", torch.ones(canvas.size)), ("top", inside)):
            wanted = (terms.square() * plane).sum((1, 2, 3))
            rows = table[(table["layer"] == layer) & (table["region"] == region)]
            seen = torch.from_numpy(rows["energy"].to_numpy().copy()).to(wanted)
            known = wanted > 1e-9 * wanted.max()
            off = ((seen - wanted) / wanted)[known] / (2 / 256) ** 0.5
            assert float(off.abs().max()) < 5
            assert float(off.square().mean().sqrt()) < 1.5
    assert abs(float(table[table["region"] == "top"]["energy"].sum() / table["energy"].sum()) - 1 / 3) < 0.3


def test_a_plain_chain_is_probed_too() -> None:
    network = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.PixelShuffle(2), nn.GELU(), nn.Conv2d(2, 3, 3, padding=1))
    canvas = xinc.trace(network, torch.randn(1, 2, 9, 9))
    table = canvas.energies(probes=256)
    for layer in canvas.layers:
        wanted, seen = canvas[layer].energy(), table[table["layer"] == layer]["energy"].to_numpy()
        assert abs(seen.sum() / float(wanted.sum()) - 1) < 0.1
    with pytest.raises(TraceError, match="at least 1"):
        canvas.energies(probes=0)
    with pytest.raises(TraceError, match="region 'a' has shape"):
        canvas.energies({"a": torch.ones(2, 2)})


@pytest.mark.parametrize("family", ["nerv", "hnerv", "ffn", "siren"])
def test_all_parameters_of_our_families_have_a_place(family: str) -> None:
    options = {"nerv": NERV, "hnerv": HNERV}.get(family, ((family, (8, 8)), {"width": 8}))
    model = models.build(*options[0], **options[1]).eval()
    weights = xinc.trace(model, model.frame_input(0)).plan.weights
    assert sum(weight.values for weight in weights) == sum(p.numel() for p in model.parameters())
    assert [weight.name for weight in weights if weight.layer is None] == []


def test_parameters_in_no_layer_are_named() -> None:
    weights = {weight.name: weight for weight in xinc.trace(*networks()["decoder"]).plan.weights}
    assert {name for name, weight in weights.items() if weight.layer is None} == {"other.weight", "other.bias"}
    assert not weights["other.weight"].used
    assert weights["stem.bias"].layer == "stem"


def test_inspect_says_what_lies_before_and_how_much_is_explained() -> None:
    ran = command("inspect", str(runs()[0].path))
    assert ran.code == 0, ran
    text = " ".join(ran.out.split())
    assert "before the canvas, by exact and ablation:" in text
    assert "100 % of the parameters belong to a layer" in text
