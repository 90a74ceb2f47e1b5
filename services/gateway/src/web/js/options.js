// What the next videos' MP3s shall be like.

import { byId } from "./elements.js";

/** Seconds, `MM:SS` or `HH:MM:SS`, with a fraction or without; NaN for anything else. */
function seconds(text) {
  if (!/^\d+(:[0-5]?\d){0,2}(\.\d+)?$/.test(text)) return NaN;
  return text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}

/** Remembers a choice for the next visit. */
function remembered(select) {
  const usual = select.value;
  try { select.value = localStorage.getItem(select.id) ?? usual; } catch { /* the usual, then */ }
  if (select.selectedIndex < 0) select.value = usual;
  select.addEventListener("change", () => {
    try { localStorage.setItem(select.id, select.value); } catch { /* for this visit, then */ }
  });
}

export function options() {
  const tastes = ["channels", "sample_rate", "normalize"].map(byId);
  const quality = byId("quality");
  const times = ["start", "end"].map(byId);
  const [start, end] = times;
  const stream = byId("stream");
  const shaped = [stream, ...["year", "track"].map(byId)];
  const tags = ["title", "artist", "album", "album_artist", "genre", "comment"].map(byId);
  // About one film, so they are not kept for the next.
  const split = byId("split");
  const texts = [...shaped, ...times, ...tags];

  function judge() {
    const [from, to] = times.map((input) => (input.value.trim() === "" ? null : seconds(input.value.trim())));
    const form = "Seconds or minutes:seconds, for example 90 or 1:30.";
    for (const input of shaped) input.setCustomValidity(input.validity.patternMismatch ? `${input.title}.` : "");
    start.setCustomValidity(Number.isNaN(from) ? form : "");
    end.setCustomValidity(Number.isNaN(to) ? form : to !== null && to <= (from ?? 0) ? "This must come after the beginning." : "");
  }

  /** Whether they can be fulfilled; shows what cannot. */
  function good() {
    judge();
    const wrong = texts.find((input) => !input.validity.valid);
    if (!wrong) return true;
    byId("options").open = true;
    wrong.reportValidity();
    return false;
  }

  /** The options as a query. */
  function take() {
    const query = new URLSearchParams(quality.value);
    for (const input of [...tastes, split, ...texts]) {
      if (input.value.trim() !== "") query.set(input.id, input.value.trim());
    }
    for (const input of [split, ...texts]) input.value = "";
    return query.toString();
  }

  [quality, ...tastes].forEach(remembered);
  for (const input of texts) {
    input.addEventListener("input", judge);
    input.addEventListener("change", () => input.reportValidity());
  }
  return { good, take };
}
