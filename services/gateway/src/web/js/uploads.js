// Files on their way to the server: two at a time, the others wait.

import { Refusal, UNREACHABLE, loggedOut, refusal } from "./api.js";

const AT_ONCE = 2;
/** Refusals that a little waiting may end: to the server an upload that broke off may look as if it went on; it is busy. */
const PASSING = [409, 429, 503];
/** How long to wait where the server does not say, and the longest that it may ask for, in seconds. */
const SHORTLY = 2;
const SOON = 30;
const PATIENCE = 10;

/** One file, from when it was chosen until the server has it. */
class Upload {
  constructor(file, settings) {
    this.file = file;
    this.settings = settings;
    // The same for every try, so that a try whose answer was lost does no harm.
    this.key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
    this.phase = "waiting";
    this.sent = 0;
    this.tries = 0;
    this.fault = null;
  }

  get part() {
    return this.file.size > 0 ? Math.min(1, this.sent / this.file.size) : 0;
  }

  /** Seconds that are left, by the speed so far. */
  get left() {
    const taken = (performance.now() - this.since) / 1_000;
    return taken > 1 && this.sent > 0 ? ((this.file.size - this.sent) * taken) / this.sent : NaN;
  }
}

/** `onchange(upload)` after each step, `ondone(upload, conversion)` when the server has accepted it. */
export function uploads({ onchange, ondone }) {
  const waiting = [];
  const running = new Set();
  /** Refused for the time being, each with the timer after which it is tried again. */
  const resting = new Map();

  function pump() {
    while (running.size < AT_ONCE && waiting.length > 0) send(waiting.shift());
  }

  function add(files, settings) {
    const added = Array.from(files, (file) => new Upload(file, settings));
    waiting.push(...added);
    // Whoever shows them must know of them before they change.
    queueMicrotask(pump);
    return added;
  }

  function send(upload) {
    running.add(upload);
    Object.assign(upload, { phase: "sending", sent: 0, since: performance.now(), tries: upload.tries + 1 });
    onchange(upload);
    const request = (upload.request = new XMLHttpRequest());
    const form = new FormData();
    form.append("file", upload.file);
    request.open("POST", `/v1/conversions?${upload.settings}`);
    request.setRequestHeader("idempotency-key", upload.key);
    request.setRequestHeader("accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      // The form around the file is a few bytes that nobody asked about.
      upload.sent = event.lengthComputable ? (event.loaded / event.total) * upload.file.size : event.loaded;
      onchange(upload);
    });
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) {
        over(upload, "sent");
        ondone(upload, JSON.parse(request.responseText));
        return;
      }
      const after = Number(request.getResponseHeader("retry-after")) || SHORTLY;
      if (PASSING.includes(request.status) && after <= SOON && upload.tries < PATIENCE) {
        resting.set(upload, setTimeout(() => again(upload), after * 1_000));
        return over(upload, "waiting");
      }
      if (request.status === 401 || request.status === 403) loggedOut();
      failed(upload, refusal(request.status, request.getResponseHeader("content-type"), request.responseText));
    });
    request.addEventListener("error", () => failed(upload, new Refusal(0, UNREACHABLE)));
    request.addEventListener("abort", () => over(upload, "cancelled"));
    request.send(form);
  }

  function failed(upload, error) {
    upload.fault = error.message;
    over(upload, "failed");
  }

  function over(upload, phase) {
    upload.phase = phase;
    running.delete(upload);
    pump();
    onchange(upload);
  }

  function again(upload) {
    resting.delete(upload);
    Object.assign(upload, { phase: "waiting", fault: null, sent: 0 });
    waiting.push(upload);
    onchange(upload);
    pump();
  }

  function cancel(upload) {
    const at = waiting.indexOf(upload);
    if (at >= 0) waiting.splice(at, 1);
    clearTimeout(resting.get(upload));
    resting.delete(upload);
    if (running.has(upload)) upload.request.abort();
    else upload.phase = "cancelled";
  }

  /** Ends all of them, for whoever logs out. */
  function stop() {
    // Those under way last: each that ends makes room for one that waits.
    for (const upload of [...resting.keys(), ...waiting, ...running]) cancel(upload);
  }

  return { add, cancel, stop, retry: (upload) => { upload.tries = 0; again(upload); }, busy: () => running.size + waiting.length + resting.size > 0 };
}
