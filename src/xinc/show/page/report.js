"use strict";
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const remember = (value) => { try { localStorage.setItem("xinc-theme", value); } catch { /* private window or file */ } };
  const recall = () => { try { return localStorage.getItem("xinc-theme"); } catch { return null; } };
  const shown = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const label = () => {
    button.textContent = shown() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${button.textContent.toLowerCase()} theme`);
  };
  if (recall()) root.dataset.theme = recall();
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = shown() === "dark" ? "light" : "dark";
    remember(root.dataset.theme);
    label();
  });
  dark.addEventListener("change", label);
  label();

  for (const viewer of document.querySelectorAll(".viewer")) {
    const stage = viewer.querySelector(".stage");
    const [left, right] = stage.querySelectorAll("img");
    const slider = stage.querySelector("input");
    slider.addEventListener("input", () => stage.style.setProperty("--cut", `${slider.value}%`));
    for (const choice of viewer.querySelectorAll(".choices input")) {
      choice.addEventListener("change", () => {
        const source = document.getElementById(choice.value);
        right.src = source.src;
        right.alt = source.alt;
        left.src = document.getElementById(choice.dataset.left).src;
        stage.querySelector(".tag.right").textContent = choice.dataset.tag;
        viewer.querySelector("figcaption").textContent = choice.dataset.caption;
      });
    }
  }

  for (const choices of document.querySelectorAll(".switch")) {
    choices.hidden = false;
    choices.addEventListener("change", (event) => {
      for (const variant of choices.parentElement.querySelectorAll(".variant"))
        variant.hidden = variant.id !== `${event.target.value}-variant`;
    });
  }

  const details = document.querySelectorAll("details");
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...details].filter((d) => !d.open);
    opened.forEach((d) => { d.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((d) => { d.open = false; }));
})();
