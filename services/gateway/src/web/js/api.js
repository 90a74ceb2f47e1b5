// Talking to the server; what goes wrong comes back as a sentence.

import { sentence } from "./words.js";

/** What the server, or the way to it, had against a request. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const UNREACHABLE = "The server cannot be reached. Is the connection all right?";

/** The refusal that an answer stands for. */
export function refusal(status, contentType, text) {
  let detail = text;
  if (contentType?.includes("json")) {
    try { detail = JSON.parse(text).detail ?? text; } catch { /* the text as it is */ }
  }
  // A proxy's own page of HTML says nothing to anybody.
  if (!detail || detail.length > 300 || detail.includes("<")) detail = `the server answered with an error (${status})`;
  return new Refusal(status, sentence(detail));
}

/** Tells the page that nobody is logged in (any more). */
export function loggedOut() {
  document.dispatchEvent(new Event("loggedout"));
}

/** One request; the answer's JSON, or null if there is none. */
export async function call(method, path, { json, keepalive = false, anonymous = false } = {}) {
  const headers = json === undefined ? {} : { "content-type": "application/json" };
  let answer;
  try {
    const body = json === undefined ? undefined : JSON.stringify(json);
    answer = await fetch(path, { method, headers, body, keepalive, credentials: "same-origin" });
  } catch {
    throw new Refusal(0, UNREACHABLE);
  }
  const contentType = answer.headers.get("content-type");
  if (!answer.ok) {
    if (!anonymous && (answer.status === 401 || answer.status === 403)) loggedOut();
    throw refusal(answer.status, contentType, await answer.text());
  }
  return contentType?.includes("json") ? answer.json() : null;
}

export const downloadPath = (conversion) => `/download?fid=${encodeURIComponent(conversion.mp3_fid)}`;
