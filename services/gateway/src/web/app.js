// The page: who is there, what they drop, and how it goes on.

import { call } from "./js/api.js";
import { bars, byId, icon } from "./js/elements.js";
import { follow } from "./js/events.js";
import { list } from "./js/list.js";
import { login } from "./js/login.js";
import { options } from "./js/options.js";
import { toast } from "./js/toast.js";
import { uploads } from "./js/uploads.js";
import { bytes } from "./js/words.js";

let user = null;
let unfollow = null;

const wishes = options();
const paint = Array.from(document.querySelectorAll("[data-bars]"), (svg) => bars(svg)).at(-1);
const entrance = login((who) => {
  enter(who);
  // The form that had the focus is gone.
  byId("pick").focus({ preventScroll: true });
});
const conversions = list({ onchange: showWhole, sender: () => sender });
const sender = uploads({
  onchange: conversions.touched,
  ondone: (upload, conversion) => conversions.take(conversion),
});

function enter(who) {
  user = who;
  byId("who").textContent = who.email;
  byId("who").title = who.email;
  byId("login").hidden = true;
  byId("desk").hidden = byId("logout").hidden = false;
  unfollow = follow({
    fresh: conversions.fresh,
    progress: conversions.take,
    removed: conversions.removed,
    connected: (yes) => { byId("offline").hidden = yes; },
    busy: () => sender.busy() || conversions.busy(),
  });
}

function leave(why = "") {
  unfollow?.();
  unfollow = user = null;
  sender.stop();
  conversions.clear();
  byId("who").textContent = "";
  byId("desk").hidden = byId("logout").hidden = true;
  byId("login").hidden = false;
  entrance.fault(why);
  entrance.focus();
}

/** All that is under way, in the picture and in the tab's title. */
function showWhole(rows) {
  const active = rows.filter((row) => row.active);
  const whole = active.length > 0 ? active.reduce((sum, row) => sum + row.part, 0) / active.length : null;
  paint(whole);
  document.title = whole === null ? "mp3converter" : `${Math.floor(whole * 100)}% – mp3converter`;
}

function choose(files) {
  const limit = user?.max_upload_bytes ?? Infinity;
  const [fit, large] = [[], []];
  for (const file of files) (file.size > limit ? large : fit).push(file);
  for (const file of large) toast(`“${file.name}” is larger than ${bytes(limit)}, which is the most this server takes.`);
  if (fit.length > 0 && wishes.good()) conversions.begin(sender.add(fit, wishes.take()));
}

function dropped(transfer) {
  const items = Array.from(transfer.items ?? []);
  if (items.some((item) => item.webkitGetAsEntry?.()?.isDirectory)) toast("Folders cannot be dropped, only the videos in them.");
  const files = items.filter((item) => item.kind === "file" && !item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile());
  choose(files.filter(Boolean));
}

function receiveDrops() {
  let inside = 0;
  const holdsFiles = (event) => user !== null && event.dataTransfer?.types.includes("Files");
  const dropping = (yes) => document.body.classList.toggle("dropping", yes);
  document.addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    inside += 1;
    dropping(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!holdsFiles(event)) return;
    inside = Math.max(0, inside - 1);
    dropping(inside > 0);
  });
  document.addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    inside = 0;
    dropping(false);
    dropped(event.dataTransfer);
  });
}

function themes() {
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    button.replaceChildren(icon(isDark() ? "sun" : "moon"));
    button.setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
    button.title = button.getAttribute("aria-label");
    conversions.redraw();
  };
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem("theme", theme); } catch { /* for this visit, then */ }
    show();
  });
  system.addEventListener("change", show);
  show();
}

byId("pick").addEventListener("click", () => { if (wishes.good()) byId("files").click(); });
byId("files").addEventListener("change", (event) => {
  choose(event.target.files);
  // So that the same file can be chosen once more.
  event.target.value = "";
});
byId("logout").addEventListener("click", async () => {
  try {
    // Without the session nothing could be deleted any more.
    await conversions.settle();
    await call("DELETE", "/session", { anonymous: true });
    leave();
  } catch (error) {
    toast(error.message);
  }
});
document.addEventListener("loggedout", () => { if (user) leave("You have been logged out. Please log in again."); });
window.addEventListener("beforeunload", (event) => { if (sender.busy()) event.preventDefault(); });
receiveDrops();
themes();
call("GET", "/session", { anonymous: true }).then(
  (who) => (who ? enter(who) : leave()),
  (error) => leave(error.status === 401 || error.status === 403 ? "" : error.message),
);
