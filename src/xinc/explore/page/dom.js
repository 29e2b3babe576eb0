// Elements, words and numbers.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const SPACE = "\u202f";

// A number as the report writes it: the digits that matter, thousands apart.
export function written(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return String(value).replace(/\B(?=(\d{3})+$)/g, SPACE).replace("-", "−");
  const size = Math.abs(value);
  const text = size !== 0 && (size < 10 ** -digits || size >= 1e6) ? value.toExponential(1)
    : value.toFixed(Math.max(0, digits - (size >= 100 ? 3 : size >= 10 ? 2 : size >= 1 ? 1 : 0)));
  return text.replace(/\B(?=(\d{3})+\.)/g, SPACE).replace("-", "−");
}

export const percent = (share) => `${share >= 0.0995 || share === 0 ? Math.round(100 * share) : share >= 0.001 ? (100 * share).toFixed(1) : written(100 * share, 1)}${SPACE}%`;

export function save(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export function csv(columns, rows) {
  const cell = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : value);
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

// What is said to people who do not see the page.
export function announce(text) {
  document.getElementById("said").textContent = text;
}

let hiding = 0;
export function toast(text) {
  const element = document.getElementById("toast");
  element.textContent = text;
  element.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { element.hidden = true; }, 2600);
  announce(text);
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    const area = make("textarea", { readonly: true, class: "copied", "aria-label": what });
    area.value = text;
    const dialog = make("dialog", {}, make("p", { text: `${what}: copy it from here.` }), area,
      make("form", { method: "dialog" }, make("button", { text: "Close" })));
    document.body.append(dialog);
    dialog.addEventListener("close", () => dialog.remove());
    dialog.showModal();
    area.select();
  }
}

let rows = 0;

// A row of choices of which one holds; two rows of one label are two.
export function choices(label, options, chosen, pick) {
  const name = `choice-${rows++}`;
  return make("fieldset", { class: "choices" }, make("legend", { text: label }), options.map(([value, text, why]) =>
    make("label", { title: why }, make("input", { type: "radio", name, value, checked: value === chosen, onchange: () => pick(value) }),
      make("span", { text }))));
}

export function select(label, options, chosen, pick) {
  const box = make("select", { "aria-label": label, onchange: () => pick(box.value) },
    options.map(([value, text]) => make("option", { value, selected: value === chosen, text })));
  return make("label", { class: "select" }, make("span", { text: label }), box);
}

// Words that need some more of them: these open below it.
export function explained(text, why) {
  return make("details", { class: "why" }, make("summary", { text }), make("span", { text: why }));
}

export const empty = (text, ...more) => make("div", { class: "empty" }, make("p", { text }), more);
export const failed = (text, again) => make("div", { class: "failed", role: "alert" }, make("p", { text }),
  again ? make("button", { type: "button", text: "Try again", onclick: again }) : null);
export const waiting = (text = "Working …") => make("p", { class: "waiting", text });

// Replace what is inside, and keep the keyboard's place where an element of that id stands again.
export function fill(parent, ...children) {
  const active = parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  if (active) document.getElementById(active)?.focus({ preventScroll: true });
}
