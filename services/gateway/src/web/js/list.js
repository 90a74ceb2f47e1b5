// The list of uploads and conversions, newest first, kept in step with the server.

import { call } from "./api.js";
import { byId } from "./elements.js";
import * as player from "./player.js";
import { Row } from "./row.js";
import { announce, toast } from "./toast.js";
import { AT_SIGHT, forget } from "./waveform.js";
import { sentence } from "./words.js";

const PAGE = 20;
/** No answer, or one that says that the server, or one behind it, is away. */
const AWAY = [0, 502, 503, 504];

/** `onchange` after every change; `sender` is told what to do with uploads. */
export function list({ onchange, sender }) {
  const rows = [];
  const element = byId("list");
  let next = null;
  let loaded = false;

  const acts = {
    async retry(row) {
      if (row.upload?.phase === "failed") return sender().retry(row.upload);
      await attempt(async () => take(await call("POST", `/v1/conversions/${row.id}/retry`)));
      row.cancel.focus();
    },
    async cancel(row) {
      if (row.upload && row.upload.phase !== "sent") {
        sender().cancel(row.upload);
        return drop(row);
      }
      await attempt(async () => take(await call("POST", `/v1/conversions/${row.id}/cancel`)));
    },
    remove,
    unplayable(row) { toast(`“${row.title}” cannot be played just now.`); },
  };

  async function attempt(action) {
    try {
      await action();
    } catch (error) {
      // Somebody was quicker: another page, or the worker.
      if (error.status === 404 || error.status === 409) fresh();
      if (error.status !== 404) toast(error.message);
    }
  }

  const seen = new IntersectionObserver((entries) => {
    if (navigator.connection?.saveData) return;
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) rows.find((row) => row.element === target)?.picture(AT_SIGHT);
    }
  });
  const resized = new ResizeObserver(redraw);
  resized.observe(element);

  function redraw() {
    for (const row of rows) if (row.state === "done") row.draw();
  }

  function insert(row) {
    const at = rows.findIndex((other) => other.time <= row.time);
    const index = at < 0 ? rows.length : at;
    element.insertBefore(row.element, rows[index]?.element ?? null);
    rows.splice(index, 0, row);
    seen.observe(row.element);
    row.update();
  }

  function drop(row) {
    const at = rows.indexOf(row);
    if (at < 0) return;
    player.stop(row.track);
    rows.splice(at, 1);
    row.element.remove();
    changed();
  }

  function changed() {
    const shown = rows.filter((row) => !row.leaving);
    byId("desk").classList.toggle("filled", shown.length > 0);
    byId("empty").hidden = !loaded || shown.length > 0;
    byId("more").hidden = next === null;
    onchange(rows);
  }

  /** Files that were just chosen. */
  function begin(uploads) {
    // The first chosen comes first.
    for (const upload of [...uploads].reverse()) insert(new Row(acts, { upload }));
    changed();
  }

  /** What the server says of a conversion. */
  function take(data) {
    let row = rows.find((one) => one.id === data.id) ?? rows.find((one) => one.key !== null && one.key === data.idempotency_key);
    if (!row) {
      row = new Row(acts, { data });
      insert(row);
    } else {
      // An answer may be overtaken by an event.
      if (row.data && Date.parse(row.data.updated_at) > Date.parse(data.updated_at)) return;
      const before = row.state;
      row.data = data;
      row.heard = performance.now();
      if (row.upload?.phase === "failed" && data.state !== "uploading") row.upload.phase = "sent";
      row.update();
      if (before !== row.state) tell(row);
    }
    changed();
  }

  function tell(row) {
    if (row.state === "done") {
      announce(`${row.title} is ready.`);
      // It may be in sight already.
      seen.unobserve(row.element);
      seen.observe(row.element);
    }
    if (row.state === "failed") announce(`${row.title}: ${row.says()}`);
  }

  function removed({ id }) {
    const row = rows.find((one) => one.id === id);
    if (!row) return;
    // An upload that broke off is gone over there; here it can still be sent again.
    if (row.upload && row.upload.phase !== "sent") row.data = null;
    else drop(row);
  }

  /** Asks how one conversion stands. */
  async function look(id) {
    try {
      const data = await call("GET", `/v1/conversions/${id}`);
      // Its row may have gone meanwhile.
      if (rows.some((row) => row.id === id)) take(data);
    } catch (error) {
      if (error.status !== 404) throw error;
      removed({ id });
    }
  }

  /** Asks for the first page again, and for what is under way beyond it. Whether the server answered. */
  async function fresh() {
    const asked = performance.now();
    try {
      const page = await call("GET", `/v1/conversions?limit=${PAGE}`);
      const since = page.next ? Date.parse(page.conversions.at(-1).created_at) : -Infinity;
      const ids = new Set(page.conversions.map((one) => one.id));
      // What came by an event after the question is not missing in the answer.
      const gone = (row) => row.id && row.time > since && !ids.has(row.id) && row.heard < asked;
      for (const row of rows.filter(gone)) removed(row);
      for (const data of page.conversions.reverse()) take(data);
      if (!loaded) next = page.next;
      loaded = true;
      changed();
      for (const row of rows.filter((one) => one.active && !ids.has(one.id))) {
        if (row.id && row.heard < asked) await look(row.id);
      }
      return true;
    } catch (error) {
      return !AWAY.includes(error.status);
    }
  }

  async function more() {
    byId("more").disabled = true;
    await attempt(async () => {
      const page = await call("GET", `/v1/conversions?limit=${PAGE}&cursor=${encodeURIComponent(next)}`);
      next = page.next;
      page.conversions.forEach(take);
      changed();
    });
    byId("more").disabled = false;
  }

  const leaving = new Map();

  function remove(row) {
    if (!row.id) return drop(row);
    const neighbour = rows[rows.indexOf(row) + 1] ?? rows[rows.indexOf(row) - 1];
    row.leaving = true;
    row.element.hidden = true;
    player.stop(row.track);
    changed();
    (neighbour?.element.querySelector(".actions :is(a, button):not([hidden])") ?? byId("pick")).focus();
    const stay = () => {
      leaving.delete(row);
      row.leaving = false;
      row.element.hidden = false;
      row.update();
      changed();
    };
    leaving.set(row, toast(`“${row.title}” is deleted.`, { action: "Undo", onaction: () => { stay(); row.trash.focus(); }, onend: () => erase(row, stay) }));
  }

  async function erase(row, stay) {
    leaving.delete(row);
    try {
      await call("DELETE", `/v1/conversions/${row.id}`, { keepalive: true });
    } catch (error) {
      if (error.status !== 404) {
        stay();
        toast(sentence(error.message));
        return;
      }
    }
    if (row.data?.mp3_fid) forget(row.data.mp3_fid);
    drop(row);
  }

  /** Deletes at once what could still be undone; over when the server has answered. */
  const settle = () => Promise.all(Array.from(leaving.values(), (end) => end()));

  // Who leaves the page has made up their mind.
  window.addEventListener("pagehide", settle);
  byId("more").addEventListener("click", more);

  function clear() {
    settle();
    player.stop();
    rows.splice(0).forEach((row) => row.element.remove());
    [next, loaded] = [null, false];
    changed();
  }

  const touched = (upload) => {
    rows.find((row) => row.upload === upload)?.update();
    onchange(rows);
  };
  return { begin, take, removed, fresh, settle, clear, touched, redraw, busy: () => rows.some((row) => row.active) };
}
