// The one player: whoever starts, the one before stops.

const audio = new Audio();
audio.preload = "none";
let current = null;

const tell = () => current?.onplayer();

for (const name of ["play", "playing", "pause", "timeupdate", "durationchange", "seeked", "waiting"]) {
  audio.addEventListener(name, tell);
}
audio.addEventListener("ended", () => { audio.currentTime = 0; tell(); });
audio.addEventListener("error", () => {
  if (audio.getAttribute("src") === null) return;
  const failed = current;
  stop();
  failed?.onfault();
});

/** `track`: {path, duration, onplayer(), onfault()} */
export function toggle(track) {
  if (current !== track) take(track);
  if (audio.paused) audio.play().catch(() => {});
  else audio.pause();
}

/** Plays from `part` of the whole on. */
export function seek(track, part) {
  if (current !== track) take(track);
  const length = Number.isFinite(audio.duration) ? audio.duration : track.duration;
  audio.currentTime = Math.min(Math.max(0, part), 1) * (length || 0);
  if (audio.paused) audio.play().catch(() => {});
  tell();
}

export function skip(track, seconds) {
  if (current !== track || !track.duration) return;
  audio.currentTime = Math.min(Math.max(0, audio.currentTime + seconds), track.duration);
  tell();
}

function take(track) {
  const before = current;
  audio.pause();
  current = track;
  audio.src = track.path;
  before?.onplayer();
}

/** Stops `track`, or whatever plays. */
export function stop(track = current) {
  if (track !== current || current === null) return;
  audio.pause();
  audio.removeAttribute("src");
  audio.load();
  current = null;
  track.onplayer();
}

/** How `track` stands: is it taken up, does it play, where is it. */
export function state(track) {
  if (current !== track) return { active: false, playing: false, at: 0 };
  return { active: true, playing: !audio.paused, at: audio.currentTime };
}
