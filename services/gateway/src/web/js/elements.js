// Making elements, and the few pictures that buttons wear.

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (`class`, `on…`, ARIA and data attributes too) and children. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

const PATHS = {
  play: "M8 5.5v13l11-6.5z",
  pause: "M7 5.5h3.5v13H7zM13.5 5.5H17v13h-3.5z",
  download: "M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 19.5h14",
  trash: "M5 7h14M10 7V4.5h4V7m-7 0 .8 12.5h8.4L17 7",
  retry: "M19 12a7 7 0 1 1-2.2-5.1M19.5 4v4h-4",
  cross: "M6.5 6.5l11 11m0-11l-11 11",
  alert: "M12 6.5v7M12 17v.5",
  moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  sun: "M12 8.2a3.8 3.8 0 1 0 0 7.6 3.8 3.8 0 0 0 0-7.6zM12 3v1.8M12 19.2V21M3 12h1.8M19.2 12H21M5.6 5.6l1.3 1.3M17.1 17.1l1.3 1.3M18.4 5.6l-1.3 1.3M6.9 17.1l-1.3 1.3",
};
const FILLED = new Set(["play", "pause"]);

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", FILLED.has(name) ? "icon filled" : "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows a picture and says a word to those who do not see it. */
export function iconButton(name, label, onclick, more = "") {
  return el("button", { type: "button", class: `round ${more}`, "aria-label": label, title: label, onclick }, icon(name));
}

/** Fills a wide picture with bars like those of a sound; returns what colours a part of them. */
export function bars(svg, count = 96) {
  svg.setAttribute("viewBox", `0 0 ${count * 10 - 5} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  const made = Array.from({ length: count }, (_, i) => {
    const x = i / count;
    const swell = Math.sin(Math.PI * x) ** 0.6;
    const beat = Math.abs(Math.sin(i * 0.47) * 0.55 + Math.sin(i * 1.31 + 1) * 0.3 + Math.sin(i * 2.9) * 0.15);
    const height = 6 + 90 * swell * (0.16 + 0.84 * beat);
    const bar = document.createElementNS(SVG, "rect");
    for (const [name, value] of Object.entries({ x: i * 10, y: 50 - height / 2, width: 5, height, rx: 2.5 })) {
      bar.setAttribute(name, value);
    }
    return bar;
  });
  svg.replaceChildren(...made);
  return (part) => made.forEach((bar, i) => bar.classList.toggle("on", part !== null && i < part * count));
}
