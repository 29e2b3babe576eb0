"""What the page says of a run before anything is asked: its network, layers, regions, and what its results know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xinc.canvas.methods import METHODS
from xinc.canvas.trace import Canvas
from xinc.findings.fidelity.compare import FINDING as FIDELITY
from xinc.findings.fidelity.compare import Fidelity
from xinc.findings.fidelity.trust import conclusion, rows
from xinc.findings.results import FOLDER, Results
from xinc.findings.section4.regions import instances, segment_names
from xinc.findings.together.together import FINDING as TOGETHER
from xinc.models.families import title_of
from xinc.run import Run
from xinc.show.subjects import signal_name

REGION_WORDS = {"instances": "object", "rgb": "colour", "gabor": "texture", "grid": "place"}
"""What the page calls regions of a grouping."""


@dataclass(frozen=True)
class Facts:
    """A run's description for the page.

    Attributes:
        run: the run.
        canvas: of its first frame, by any method.
    """

    run: Run
    canvas: Canvas

    def describe(self) -> dict[str, Any]:
        """Everything but pictures, ready for JSON."""
        run, clip = self.run, self.run.clip
        psnr = run.settings.get("psnr") or (run.epochs[-1].psnr if run.epochs else None)
        return {
            "title": f"{title_of(run.family)} of {signal_name(clip.source)}",
            "folder": str(run.path) if run.path is not None else "",
            "family": run.family,
            "parameters": run.parameters,
            "psnr": psnr,
            "size": list(clip.size),
            "frames": len(clip),
            "names": list(clip.names),
            "fps": clip.fps,
            "layers": layer_rows(self.canvas),
            "methods": list(METHODS),
            "segments": list(segment_names(clip.segments)) if clip.segments is not None else [],
            "annotated": self.annotated(),
            "groupings": self.groupings(),
            "trust": self.trust(),
            "positions": self.layouts(),
            "unique": self.unique_known(),
        }

    def annotated(self) -> list[int]:
        """Frames whose segments somebody drew."""
        return list(self.run.clip.segments.frames) if self.run.clip.segments is not None else []

    def groupings(self) -> list[dict[str, Any]]:
        """Label maps that the results keep: which grouping, of which frames, and each layer's scores by method."""
        regions = self._group("regions")
        if regions is None:
            return []
        found = []
        for name in regions["grouping"].values.tolist():
            frames = [
                int(t) for t in regions["frame"].values if (regions["labels"].sel(frame=t, grouping=name) >= 0).any()
            ]
            word = REGION_WORDS.get(str(name), str(name))
            found.append({"name": str(name), "word": word, "frames": frames, "scores": self._scores(str(name))})
        return found

    def labels(self, grouping: str, frame: int) -> tuple[NDArray[np.int32], list[str]] | None:
        """A frame's label map ``(H, W)``, -1 for none, and the regions' names; None where there is none."""
        segments = self.run.clip.segments
        if grouping == "segments":
            if segments is None or frame not in segments.labels:
                return None
            regions = instances(segments, frame)
            return regions.labels.astype(np.int32), list(regions.names)
        kept = self._group("regions")
        if kept is None or grouping not in kept["grouping"].values or frame not in kept["frame"].values:
            return None
        labels = kept["labels"].sel(frame=frame, grouping=grouping).values.astype(np.int32)
        word = REGION_WORDS.get(grouping, grouping)
        return labels, [f"{word} {n}" for n in range(int(labels.max()) + 1)]

    def trust(self) -> dict[str, Any]:
        """What ``xinc verify`` measured: the table, and the sentences that it comes to."""
        tree = {
            name: data for name in self.canvas.layers if (data := self._group(f"{FIDELITY.name}/{name}")) is not None
        }
        if not tree:
            return {"rows": [], "says": []}
        held = Fidelity(tree)
        return {"rows": rows(held), "says": conclusion(held)}

    def layouts(self) -> list[dict[str, Any]]:
        """Neurons in two dimensions as the results keep them, all layers together before single ones."""
        found = []
        for method in METHODS:
            single = [f"{kind}/{method}/{name}" for kind in ("embedding", "embedding_networks") for name in self.canvas]
            for group in (f"embedding_layers/{method}", *single):
                data = self._group(group)
                if data is not None and "position" in data:
                    found.append(_layout(group, method, data) | self._clusters(method, data))
        return sorted(found, key=lambda one: (one["method"] != "exact", len(one["layers"]) < 2))

    def unique_known(self) -> dict[str, list[int]]:
        """Frames of which the results keep each neuron's unique part, by layer."""
        return {
            name: [int(t) for t in data["frame"].values]
            for name in self.canvas
            if (data := self._group(f"{TOGETHER.name}/exact/{name}")) is not None and "unique" in data
        }

    def unique(self, layer: str, frame: int) -> NDArray[np.float32] | None:
        """Share of each neuron's energy that no others make up for ``(K,)``; None where the results do not keep it."""
        data = self._group(f"{TOGETHER.name}/exact/{layer}")
        if data is None or "unique" not in data or frame not in data["frame"].values:
            return None
        here = data.sel(frame=frame)
        return share_of(here["unique"].values, here["energy"].values)

    def _clusters(self, method: str, data: Any) -> dict[str, list[int]]:
        """The texture cluster that each neuron of a layout serves most, -1 where nobody knows."""
        first = data.isel(frame=0)
        names, index = first["layer"].values, first["index"].values.astype(int)
        found = np.full(len(index), -1)
        for name in dict.fromkeys(names.tolist()):
            kept = self._group(f"clusters/{method}/{name}")
            frame = data["frame"].values[0]
            if kept is None or "vector" not in kept or frame not in kept["frame"].values:
                continue
            most = kept["vector"].sel(frame=frame).values.argmax(1)
            own = np.flatnonzero((names == name) & (index < len(most)))
            found[own] = most[index[own]]
        return {"cluster": found.tolist()} if (found >= 0).any() else {}

    def _scores(self, grouping: str) -> list[dict[str, Any]]:
        """Median over neurons of the grouping finding's score, by method and layer."""
        found = []
        for method in METHODS:
            for name in self.canvas.layers:
                data = self._group(f"grouping/{method}/{name}")
                if data is None or "score" not in data or grouping not in data["grouping"].values:
                    continue
                values = data["score"].sel(grouping=grouping).values
                if np.isfinite(values).any():
                    found.append({"method": method, "layer": name, "score": float(np.nanmedian(values))})
        return found

    def _group(self, name: str) -> Any:
        results = Results(self.run.path / FOLDER) if self.run.path is not None else None
        return None if results is None else results.get(name)


def share_of(unique: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.float32]:
    """Unique parts as shares of energies, 0 where there is none."""
    return np.divide(unique, energy, out=np.zeros_like(energy), where=energy > 0).astype(np.float32)


def layer_rows(canvas: Canvas) -> list[dict[str, Any]]:
    """Name, module, number and kind of neurons of each layer of a canvas, in the order of the forward pass."""
    return [
        {
            "name": layer.name,
            "module": layer.module,
            "kind": layer.kind,
            "neurons": layer.neurons,
            "outputs": 1 if layer.kind == "linear" else layer.neurons // (int(layer.pairs()[0].max()) + 1),
        }
        for layer in canvas.plan.layers
    ]


def _layout(group: str, method: str, data: Any) -> dict[str, Any]:
    first = data.isel(frame=0)
    position = first["position"].values.astype(np.float32)
    layers: Mapping[str, int] = {name: n for n, name in enumerate(dict.fromkeys(first["layer"].values.tolist()))}
    member = first["member"].values if "member" in first.coords else first["layer"].values
    members: Mapping[str, int] = {str(name): n for n, name in enumerate(dict.fromkeys(member.tolist()))}
    seeds = {"members": list(members), "member": [members[str(name)] for name in member.tolist()]}
    return {
        **(seeds if group.startswith("embedding_networks") else {}),
        "group": group,
        "method": method,
        "frame": int(data["frame"].values[0]),
        "layers": list(layers),
        "layer": [layers[name] for name in first["layer"].values.tolist()],
        "index": first["index"].values.astype(int).tolist(),
        "x": [round(float(value), 4) for value in position[:, 0]],
        "y": [round(float(value), 4) for value in position[:, 1]],
    }
