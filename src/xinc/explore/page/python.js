// The lines of Python that make the view again.

import { chosenOf, placeOf } from "./state.js";

export function linesOf(app) {
  const { run, t, layer, method } = app.how(), { state } = app, k = state.get("k"), view = state.get("view");
  const off = chosenOf(state.get("off")), opened = run.reference === false ? ["canvas = xinc.trace(network, x)"]
    : [`run = xinc.load(${JSON.stringify(run.folder || "RUN")})`, `canvas = run.canvas(${t}, method="${method}")`];
  const lines = ["import xinc", "", ...opened, `layer = canvas["${layer}"]`, ...placeLines(placeOf(state.get("place")), t)];
  if (k >= 0) lines.push(`map = layer.maps([${k}]${method === "exact" ? ", signed=True" : ""})[0]`);
  if (state.get("off") && run.reference !== false) lines.push(`smaller = xinc.without(run, ${dictionary(off)}${state.get("only") ? ", only=True" : ""})`, `smaller.psnr([${t}])`);
  else for (const [name, neurons] of Object.entries(off)) lines.push(`lost = canvas["${name}"].sum([${neurons.join(", ")}])  # what the maps predict`);
  if (view === "heat") lines.push("heatmap = layer.heatmap()");
  if (view === "density") lines.push(`density = layer.neurons_per_pixel(${state.get("area")})`);
  if (view === "group") for (const [name, neurons] of Object.entries(chosenOf(state.get("group")))) lines.push(`together = canvas["${name}"].sum([${neurons.join(", ")}])`);
  if (view === "principal") lines.splice(1, 0, "import torch");
  if (view === "principal") lines.push("vectors = torch.linalg.eigh(layer.gram())[1].flip(1)[:, :6]", `principal = layer.mixtures(vectors.float())[${state.get("n")}]`);
  return `${lines.join("\n")}\n`;
}

function placeLines(place, t) {
  if (place?.pixel) return [`here = layer.at(${place.pixel.join(", ")})  # one number a neuron`];
  if (place?.box) {
    const [y0, x0, y1, x1] = place.box.split(",");
    return [`here = layer.line(slice(${y0}, ${y1}), slice(${x0}, ${x1})).mean((1, 2))  # one number a neuron`];
  }
  if (place?.grouping === "segments") return [`here = layer.region_sums(run.clip.segments.labels[${t}])  # neurons x regions`];
  if (!place) return [];
  return ["import xarray", `labels = xarray.open_zarr(run.path / "results.zarr", group="regions", consolidated=False)["labels"].sel(frame=${t}, grouping="${place.grouping}")`,
    `here = layer.region_sums(labels.values)[:, ${place.region}]  # one number a neuron`];
}

const dictionary = (chosen) => `{${Object.entries(chosen).map(([layer, neurons]) => `"${layer}": [${neurons.join(", ")}]`).join(", ")}}`;
