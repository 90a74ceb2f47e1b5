// Short words at the page's edge, and for those who listen.

import { byId, el } from "./elements.js";

/** Says something to screen readers alone. */
export function announce(text) {
  byId("announcer").append(el("p", {}, text));
  // What has been read aloud need not be found by who walks through the page.
  setTimeout(() => byId("announcer").firstChild?.remove(), 4_000);
}

/** Shows a line for some seconds; with `action`, a button beside it. Returns what ends it and gives back what `onend` does. */
export function toast(text, { action, onaction, onend, seconds = 6 } = {}) {
  let timer;
  const end = (acted) => {
    clearTimeout(timer);
    if (!box.isConnected) return;
    box.remove();
    return acted ? onaction?.() : onend?.();
  };
  const box = el("div", { class: "toast", role: "status" }, el("p", {}, text),
    action ? el("button", { type: "button", class: "link", onclick: () => end(true) }, action) : null);
  const wait = () => { timer = setTimeout(() => end(false), seconds * 1_000); };
  // Nobody should have to hurry who has reached it.
  for (const name of ["pointerenter", "focusin"]) box.addEventListener(name, () => clearTimeout(timer));
  for (const name of ["pointerleave", "focusout"]) box.addEventListener(name, () => { clearTimeout(timer); wait(); });
  byId("toasts").append(box);
  wait();
  return () => end(false);
}
