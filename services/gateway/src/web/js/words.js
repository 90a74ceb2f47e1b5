// Numbers and states as a person would say them.

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

export function bytes(n) {
  let unit = 0;
  while (n >= 999.5 && unit < UNITS.length - 1) { n /= 1000; unit += 1; }
  return `${unit === 0 || n >= 99.5 ? Math.round(n) : n.toFixed(1)} ${UNITS[unit]}`;
}

/** 75 → 1:15, 3675 → 1:01:15. */
export function clock(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const [h, m] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

/** The same for ears. */
export function spokenClock(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const parts = [[Math.floor(s / 3600), "hour"], [Math.floor(s / 60) % 60, "minute"], [s % 60, "second"]];
  const said = parts.filter(([n]) => n > 0).map(([n, word]) => `${n} ${word}${n === 1 ? "" : "s"}`);
  return said.join(" ") || "0 seconds";
}

export function when(text) {
  const at = new Date(text);
  const now = new Date();
  const day = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const days = Math.round((day(now) - day(at)) / 86_400_000);
  if (days === 0) return `today, ${time}`;
  if (days === 1) return `yesterday, ${time}`;
  const year = at.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return at.toLocaleDateString("en-GB", { day: "numeric", month: "long", year });
}

export function left(seconds) {
  if (!Number.isFinite(seconds)) return null;
  if (seconds < 8) return "a few seconds left";
  if (seconds < 55) return `about ${Math.ceil(seconds / 10) * 10} seconds left`;
  if (seconds < 90) return "about a minute left";
  if (seconds < 3570) return `about ${Math.round(seconds / 60)} minutes left`;
  const hours = Math.round(seconds / 3600);
  return hours === 1 ? "about an hour left" : `about ${hours} hours left`;
}

export function place(n) {
  if (n === 1) return "next in line";
  const tens = n % 100;
  const suffix = tens > 10 && tens < 14 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[n % 10] ?? "th";
  return `${n}${suffix} in line`;
}

/** "no such thing" → "No such thing." */
export function sentence(text) {
  const trimmed = text.trim();
  const capital = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}

/** The name of the MP3 that comes of a video. */
export function stem(name) {
  if (!name) return "Untitled";
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(0, dot) : name;
}
