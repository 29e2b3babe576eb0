// What the page says of itself on first open, and what it remembers of its reader.

import { make } from "./dom.js";

export function tour() {
  const steps = [
    ["This network is the picture", "It was fitted to it and to nothing else. Everything you see under Network is painted by its neurons, and this page asks which of them paints what."],
    ["Point", "Move over the picture: Here lists the neurons that paint that pixel, with what each adds to red, green and blue. The bars add up to what stands there. Click to keep the pixel; drag for a box."],
    ["Follow one neuron", "Click its name: what else does it paint, which neurons repeat or cancel it, and how does it behave over time?"],
    ["Switch it off", "The network is run without it: the true picture, what is lost, and what the maps had predicted."],
    ["Keep what you found", "The address holds everything: Link copies it, Python gives the lines that make the same view. Keys: arrows move the point, , and . the frame, n and p the neuron, o switches it off, u undoes, 1 to 6 choose the tab."],
  ];
  let at = 0;
  const title = make("h2", {}), text = make("p", {}), count = make("span", { class: "quiet" }), back = make("button", { type: "button", text: "Back" }), next = make("button", { type: "button" });
  const dialog = make("dialog", { "aria-label": "Tour" }, title, text, make("div", { class: "row" }, make("button", { type: "button", text: "Close", onclick: () => dialog.close() }), count, make("span", { class: "row" }, back, next)));
  const show = () => {
    [title.textContent, text.textContent] = steps[at];
    count.textContent = `${at + 1} of ${steps.length}`;
    back.disabled = !at;
    next.textContent = at === steps.length - 1 ? "Start" : "Next";
  };
  back.addEventListener("click", () => { at -= 1; show(); });
  next.addEventListener("click", () => { at += 1; if (at < steps.length) show(); else dialog.close(); });
  dialog.addEventListener("close", () => { kept("xinc-toured", "yes"); dialog.remove(); });
  document.body.append(dialog);
  show();
  dialog.showModal();
  next.focus();
}

export function recalled(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

export function kept(key, value) {
  try { localStorage.setItem(key, value); } catch { /* a private window, or a file */ }
}
