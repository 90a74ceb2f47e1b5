// One line of the list: an upload, a conversion, and in the end a sound to listen to.

import { downloadPath } from "./api.js";
import { el, icon, iconButton } from "./elements.js";
import * as player from "./player.js";
import * as waveform from "./waveform.js";
import { bytes, clock, left, place, sentence, spokenClock, stem, when } from "./words.js";

const ACTIVE = new Set(["waiting", "sending", "uploading", "stored", "queued", "converting"]);

export class Row {
  /** `acts`: what can be done with a row: retry, cancel, remove. */
  constructor(acts, { upload = null, data = null }) {
    Object.assign(this, { upload, data, leaving: false, points: null, looked: 0, heard: performance.now() });
    this.track = { path: null, duration: 0, onplayer: () => this.paintPlayer(), onfault: () => acts.unplayable(this) };
    this.play = iconButton("play", "Play", () => this.listen(), "play");
    this.glyph = el("span", { class: "glyph", "aria-hidden": "true" });
    this.name = el("p", { class: "name" });
    this.meta = el("p", { class: "meta" });
    this.bars = { upload: bar("Upload"), conversion: bar("Conversion") };
    this.progress = el("div", { class: "progress" }, this.bars.upload, this.bars.conversion);
    this.canvas = el("canvas", { class: "wave", role: "slider", tabIndex: 0, "aria-valuemin": "0" });
    this.note = el("p", { class: "note" });
    this.download = el("a", { class: "pill" }, icon("download"), el("span", {}, "Download"));
    this.retry = el("button", { type: "button", class: "pill", onclick: () => acts.retry(this) }, icon("retry"), el("span", {}, "Try again"));
    this.cancel = iconButton("cross", "Cancel", () => acts.cancel(this));
    this.trash = iconButton("trash", "Delete", () => acts.remove(this));
    this.element = el("li", { class: "row" },
      el("div", { class: "lead" }, this.play, this.glyph),
      el("div", { class: "text" }, this.name, this.meta),
      el("div", { class: "body" }, this.progress, this.canvas, this.note),
      el("div", { class: "actions" }, this.download, this.retry, this.cancel, this.trash));
    this.canvas.addEventListener("pointerdown", (event) => this.drag(event));
    this.canvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) this.drag(event); });
    this.canvas.addEventListener("keydown", (event) => this.steer(event));
    this.update();
  }

  get id() { return this.data?.id ?? null; }
  get key() { return this.upload?.key ?? this.data?.idempotency_key ?? null; }
  get title() { return this.data?.filename ?? this.upload?.file.name ?? "Untitled"; }
  get time() { return this.data ? Date.parse(this.data.created_at) : Infinity; }

  /** The upload's own state while there is one, then the server's. */
  get state() {
    if (this.upload && this.upload.phase !== "sent") return this.upload.phase;
    return this.data?.state ?? "stored";
  }

  /** Several MP3s in one file: nothing to be played here. */
  get zipped() { return Boolean(this.data?.split); }

  get active() { return !this.leaving && ACTIVE.has(this.state); }

  /** How much of the whole way is done, from 0 to 1; an upload counts for a third. */
  get part() {
    const { state } = this;
    if (state === "sending") return this.upload.part / 3;
    if (state === "converting") return 1 / 3 + (this.data.percent / 100) * (2 / 3);
    return ["waiting", "uploading"].includes(state) ? 0 : 1 / 3;
  }

  update() {
    const { state, data } = this;
    const done = state === "done";
    const sound = done && !this.zipped;
    this.element.dataset.state = state;
    if (this.id) this.element.dataset.id = this.id;
    if (this.name.textContent !== this.title) {
      this.name.textContent = this.name.title = this.title;
      this.element.setAttribute("aria-label", this.title);
    }
    this.paintProgress();
    this.note.textContent = this.says();
    show(this.play, sound);
    show(this.glyph, !sound);
    show(this.progress, this.active);
    show(this.canvas, sound);
    show(this.note, !this.active && !done);
    show(this.download, done);
    const again = state === "failed" || (state === "cancelled" && this.id !== null);
    show(this.retry, again && !data?.video_expired);
    show(this.cancel, this.active);
    show(this.trash, !this.active);
    if (done) {
      this.track.path = downloadPath(data);
      this.track.duration = data.duration_s ?? 0;
      this.download.href = this.track.path;
      this.download.download = `${stem(data.filename)}.${this.zipped ? "zip" : "mp3"}`;
      this.canvas.setAttribute("aria-label", `Position in ${this.title}`);
      this.canvas.setAttribute("aria-valuemax", Math.round(this.track.duration));
      this.points ??= waveform.known(data.mp3_fid);
      this.paintPlayer();
    }
  }

  paintProgress() {
    const { state, data, upload } = this;
    const sent = state === "sending" ? upload.part : state === "waiting" || state === "uploading" ? 0 : 1;
    const percent = state === "converting" ? data.percent : 0;
    fill(this.bars.upload, sent * 100, state === "sending" || state === "uploading");
    fill(this.bars.conversion, percent, state === "converting");
    const numeral = state === "sending" ? `${Math.floor(sent * 100)}%` : state === "converting" ? `${percent}%` : "";
    if (state === "failed") this.glyph.replaceChildren(icon("alert"));
    else if (state === "done") this.glyph.textContent = "zip";
    else this.glyph.textContent = numeral;
    if (state !== "done") this.meta.textContent = this.phase();
  }

  phase() {
    const { state, data, upload } = this;
    const words = (...parts) => parts.filter(Boolean).join(" · ");
    switch (state) {
      case "waiting": return words("Waiting to upload", bytes(upload.file.size));
      case "sending": return upload.part < 1
        ? words("Uploading", `${bytes(upload.sent)} of ${bytes(upload.file.size)}`, left(upload.left))
        : words("Uploaded", "the server is putting it away");
      case "uploading": return "Uploading";
      case "stored":
      case "queued": return words("Waiting", data?.position ? place(data.position) : null);
      case "converting": return words("Converting", data.eta_s === null ? null : left(data.eta_s));
      case "failed": return words("No MP3", data ? when(data.created_at) : null);
      default: return words("Cancelled", data ? when(data.created_at) : null);
    }
  }

  says() {
    if (this.state === "failed") return sentence(this.upload?.fault ?? this.data?.reason ?? "this video could not be converted");
    return "";
  }

  /** The MP3's facts, or the place in it while it is played. */
  paintPlayer() {
    if (this.state !== "done") return;
    const { data, track } = this;
    const { active, playing, at } = player.state(track);
    const label = playing ? "Pause" : "Play";
    if (this.play.getAttribute("aria-label") !== label) {
      this.play.setAttribute("aria-label", label);
      this.play.title = label;
      this.play.replaceChildren(icon(label.toLowerCase()));
    }
    this.element.classList.toggle("active", active);
    const length = data.duration_s === null ? null : clock(data.duration_s);
    const facts = [active && length ? `${clock(at)} / ${length}` : length, data.mp3_bytes === null ? null : bytes(data.mp3_bytes), active ? null : when(data.created_at)];
    this.meta.textContent = facts.filter(Boolean).join(" · ");
    this.canvas.setAttribute("aria-valuenow", Math.round(at));
    this.canvas.setAttribute("aria-valuetext", `${spokenClock(at)} of ${spokenClock(track.duration)}`);
    this.draw();
  }

  draw() {
    const { at } = player.state(this.track);
    waveform.draw(this.canvas, this.points, this.track.duration > 0 ? at / this.track.duration : 0);
  }

  listen() {
    player.toggle(this.track);
    this.picture(waveform.WHEN_PLAYED);
  }

  /** Gets the picture of the sound, by way of the MP3 only if that has no more than `most` bytes. */
  async picture(most) {
    if (this.state !== "done" || this.zipped || this.points || this.looked >= most) return;
    this.looked = most;
    this.points = await waveform.peaks(this.data, this.track.path, most);
    this.draw();
  }

  drag(event) {
    const { left: start, width } = this.canvas.getBoundingClientRect();
    if (event.type === "pointerdown") this.canvas.setPointerCapture(event.pointerId);
    player.seek(this.track, (event.clientX - start) / width);
    this.picture(waveform.WHEN_PLAYED);
  }

  steer(event) {
    const keys = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -30, PageUp: 30 };
    if (event.key in keys) player.skip(this.track, keys[event.key]);
    else if (event.key === "Home") player.seek(this.track, 0);
    else if (event.key === " " || event.key === "Enter") this.listen();
    else return;
    event.preventDefault();
  }
}

function bar(label) {
  return el("div", { class: "bar", role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" }, el("span"));
}

function fill(element, percent, moving) {
  element.setAttribute("aria-valuenow", Math.round(percent));
  element.style.setProperty("--part", percent / 100);
  element.classList.toggle("moving", moving);
}

function show(element, shown) {
  element.hidden = !shown;
}
