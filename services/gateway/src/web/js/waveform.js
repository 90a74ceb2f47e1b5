// Pictures of sounds, from the server or else made here from the MP3s themselves, and kept.

const POINTS = 240;
/** Larger MP3s are not fetched for a picture alone, */
export const AT_SIGHT = 8e6;
/** and larger ones than this not at all: decoded they fill the memory. */
export const WHEN_PLAYED = 20e6;
/** So low a rate keeps what is decoded small; for a picture it will do. */
const RATE = 8_000;

const key = (fid) => `peaks:${fid}`;
let line = Promise.resolve();

export function known(fid) {
  try {
    const text = localStorage.getItem(key(fid));
    return text ? Uint8Array.from(atob(text), (c) => c.charCodeAt(0)) : null;
  } catch {
    return null;
  }
}

export function forget(fid) {
  try { localStorage.removeItem(key(fid)); } catch { /* then there is nothing kept */ }
}

/** The loudness of a conversion's MP3 in 240 points from 0 to 255, or null. One is asked for or made at a time. */
export function peaks({ id, mp3_fid: fid, mp3_bytes: size }, path, most) {
  const found = known(fid);
  if (found) return Promise.resolve(found);
  const made = line.then(async () => await ask(id) ?? (size <= most ? await make(path) : null)).catch(() => null);
  line = made;
  return made.then((points) => {
    if (points) keep(fid, points);
    return points;
  });
}

const unknown = new Set();

/** From the server, which saw the sound when it was converted. */
async function ask(id) {
  if (unknown.has(id)) return null;
  const answer = await fetch(`/v1/conversions/${id}/waveform`, { credentials: "same-origin" });
  if (answer.status === 404) unknown.add(id);
  if (!answer.ok) return null;
  const { points } = await answer.json();
  return Uint8Array.from(points, (point) => shape(point / 255));
}

/** From the MP3 itself, where another program converted. */
async function make(path) {
  const answer = await fetch(path, { credentials: "same-origin" });
  if (!answer.ok) return null;
  const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await answer.arrayBuffer());
  return loudness(sound.getChannelData(0));
}

function keep(fid, points) {
  try {
    localStorage.setItem(key(fid), btoa(String.fromCharCode(...points)));
  } catch { /* full or forbidden: asked for again next time */ }
}

/** What is quiet looks a little smaller yet. */
const shape = (part) => Math.round(255 * part ** 1.15);

function loudness(samples) {
  const raw = new Float32Array(POINTS);
  for (let point = 0; point < POINTS; point += 1) {
    const [from, to] = [point, point + 1].map((p) => Math.floor((p * samples.length) / POINTS));
    let sum = 0;
    for (let i = from; i < to; i += 1) sum += samples[i] * samples[i];
    raw[point] = Math.sqrt(sum / Math.max(1, to - from));
  }
  const most = Math.max(...raw, 1e-6);
  return Uint8Array.from(raw, (value) => shape(value / most));
}

const BAR = 3;
const GAP = 2;

/** Draws points (or none yet) on a canvas, played up to `part`. */
export function draw(canvas, points, part) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (width === 0) return;
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const style = getComputedStyle(canvas);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const count = Math.max(1, Math.floor((width + GAP) / (BAR + GAP)));
  for (let bar = 0; bar < count; bar += 1) {
    let value = 0;
    if (points) {
      const [from, to] = [bar, bar + 1].map((b) => Math.floor((b * points.length) / count));
      const end = Math.max(to, from + 1);
      for (let i = from; i < end; i += 1) value += points[i] / (end - from);
    }
    const tall = Math.max(BAR, (value / 255) * (height - 2));
    const x = bar * (BAR + GAP);
    pen.fillStyle = style.getPropertyValue((bar + 0.5) / count <= part ? "--accent" : "--wave");
    pen.beginPath();
    pen.roundRect(x, (height - tall) / 2, BAR, tall, BAR / 2);
    pen.fill();
  }
}
