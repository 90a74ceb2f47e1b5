// The page, driven in Chromium. Started by the Rust test `page`, which runs the services and tells
// by the environment: GATEWAY, its address; FILMS, a folder with `long.mp4`, `short.mp4` and
// `silent.mp4`; SCREENSHOTS, a folder for pictures; CHROMIUM, the browser, if it is not the system's.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import http from "node:http";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const { GATEWAY, FILMS, SCREENSHOTS, CHROMIUM = "/usr/bin/chromium" } = process.env;
const ACCOUNT = { email: "grace@example.com", password: "correct horse battery" };
const film = (name) => `${FILMS}/${name}`;
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 360, height: 740 };

let browser;
let page;
const complaints = [];

async function open(options) {
  const context = await browser.newContext({ viewport: DESKTOP, ...options });
  const opened = await context.newPage();
  // A blocked script, a missing file, a thrown error: none of it may happen unseen.
  opened.on("console", (message) => { if (message.type() === "error") complaints.push(message.text()); });
  opened.on("pageerror", (error) => complaints.push(String(error)));
  opened.on("request", (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(`${GATEWAY}/`)) complaints.push(`a request to ${request.url()}`);
  });
  opened.setDefaultTimeout(60_000);
  return opened;
}

const shot = (name, from = page) => from.screenshot({ path: `${SCREENSHOTS}/${name}.png` });
const row = (name, from = page) => from.locator(`.row[aria-label="${name}"]`);
const inState = (name, state, from = page) => from.locator(`.row[aria-label="${name}"][data-state="${state}"]`).waitFor();
const bar = async (name, label) => Number(await row(name).getByRole("progressbar", { name: label }).getAttribute("aria-valuenow"));

/** Asks until the answer is right. */
async function eventually(what, ask) {
  const until = Date.now() + 30_000;
  while (!(await ask())) {
    assert.ok(Date.now() < until, `never: ${what}`);
    await new Promise((resume) => setTimeout(resume, 50));
  }
}

async function uploadSpeed(bytesPerSecond) {
  const tools = await page.context().newCDPSession(page);
  await tools.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: bytesPerSecond });
}

/** Drops files on the page as a hand does. */
async function drop(...names) {
  const files = names.map((name) => ({ name, content: readFileSync(film(name)).toString("base64") }));
  const transfer = await page.evaluateHandle((dropped) => {
    const data = new DataTransfer();
    for (const { name, content } of dropped) {
      data.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name, { type: "video/mp4" }));
    }
    return data;
  }, files);
  for (const event of ["dragenter", "dragover"]) await page.dispatchEvent("#desk", event, { dataTransfer: transfer });
  await page.locator("body.dropping").waitFor();
  await shot("dropping");
  await page.dispatchEvent("#desk", "drop", { dataTransfer: transfer });
  assert.equal(await page.locator("body.dropping").count(), 0);
}

before(async () => {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"];
  browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args });
  page = await open();
});
after(() => browser?.close());

test("registering, with mistakes on the way", async () => {
  await page.goto(GATEWAY);
  await page.locator("#login-form").waitFor();
  await shot("login");
  assert.equal(await page.evaluate(() => document.activeElement.id), "email");
  await page.getByRole("button", { name: "Create an account" }).click();
  await page.getByLabel("E-mail").fill(ACCOUNT.email);
  await page.getByLabel("Password").fill("short");
  await page.keyboard.press("Enter");
  assert.equal(await page.getByRole("alert").textContent(), "The password needs at least 8 characters.");
  await page.getByLabel("Password").fill(ACCOUNT.password);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Your conversions" }).waitFor();
  await page.getByText("Nothing here yet.").waitFor();
  await shot("empty");
  // A script cannot get at what the session is.
  assert.equal(await page.evaluate(() => document.cookie), "");
});

test("two films dropped: both bars of each move, live", async () => {
  const speed = statSync(film("long.mp4")).size / 4;
  await uploadSpeed(speed);
  await drop("long.mp4", "short.mp4");
  await eventually("the upload's bar stands in the middle", async () => {
    const part = await bar("long.mp4", "Upload");
    return part > 5 && part < 95;
  });
  assert.match(await row("long.mp4").textContent(), /Uploading · .* of /);
  await shot("uploading");
  assert.match(await page.title(), /^\d+% – /);
  const seen = { "long.mp4": new Set(), "short.mp4": new Set() };
  await inState("long.mp4", "converting");
  await uploadSpeed(-1);
  await eventually("the conversion's bar stands in the middle", async () => {
    const part = await bar("long.mp4", "Conversion");
    seen["long.mp4"].add(part);
    return part > 5 && part < 100;
  });
  assert.match(await row("long.mp4").textContent(), /Converting/);
  await shot("converting");
  for (const name of ["long.mp4", "short.mp4"]) await inState(name, "done");
  assert.equal(await page.title(), "mp3converter");
});

test("playing, by mouse and by keyboard, one at a time", async () => {
  await row("short.mp4").getByRole("button", { name: "Play" }).click();
  const slider = row("short.mp4").getByRole("slider");
  await eventually("it plays", async () => Number(await slider.getAttribute("aria-valuenow")) > 0);
  await eventually("its picture is drawn", () => slider.evaluate((canvas) => {
    // Off the middle line, where there are dots without a picture too.
    const { data } = canvas.getContext("2d").getImageData(0, canvas.height / 2 - 6, canvas.width, 1);
    return data.some((value) => value > 0);
  }));
  await shot("playing");
  const { x, y, width, height } = await slider.boundingBox();
  await page.mouse.click(x + width / 2, y + height / 2);
  const half = Number(await slider.getAttribute("aria-valuemax")) / 2;
  await eventually("a click seeks", async () => Math.abs(Number(await slider.getAttribute("aria-valuenow")) - half) <= 3);
  const other = row("long.mp4").getByRole("button", { name: "Play" });
  await other.focus();
  await page.keyboard.press("Enter");
  await row("long.mp4").getByRole("button", { name: "Pause" }).waitFor();
  await row("short.mp4").getByRole("button", { name: "Play" }).waitFor();
  await row("long.mp4").getByRole("slider").focus();
  await page.keyboard.press("PageUp");
  await eventually("a key seeks", async () => Number(await row("long.mp4").getByRole("slider").getAttribute("aria-valuenow")) >= 30);
  await page.keyboard.press("Space");
  await row("long.mp4").getByRole("button", { name: "Play" }).waitFor();
});

test("a picture of the sound, by the server", async () => {
  await row("short.mp4").scrollIntoViewIfNeeded();
  await page.waitForFunction(() => Object.keys(localStorage).some((key) => key.startsWith("peaks:")));
  const asked = await page.evaluate(() => performance.getEntriesByType("resource").map((entry) => new URL(entry.name).pathname));
  assert.ok(asked.some((path) => path.endsWith("/waveform")), asked.join(" "));
});

test("downloading, under the film's name", async () => {
  const [download] = await Promise.all([page.waitForEvent("download"), row("short.mp4").getByRole("link", { name: "Download" }).click()]);
  assert.equal(download.suggestedFilename(), "short.mp3");
  const path = `${SCREENSHOTS}/../page-download.mp3`;
  await download.saveAs(path);
  const bytes = readFileSync(path);
  assert.equal(bytes.subarray(0, 3).toString(), "ID3");
  assert.ok(bytes.length > 10_000, `${bytes.length} bytes`);
});

test("options, by keyboard: a part of a film, in mono", async () => {
  const quality = page.getByLabel("MP3 quality");
  await quality.focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByLabel("Channels").waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowDown");
  assert.equal(await page.getByLabel("Channels").inputValue(), "mono");
  await page.keyboard.press("Tab");
  await page.getByLabel("Sample rate").selectOption("24000");
  await page.keyboard.press("Tab");
  await page.getByLabel("Loudness").selectOption("-16");
  await page.keyboard.press("Tab");
  await page.keyboard.type("7th");
  await page.getByRole("button", { name: "Choose videos" }).click();
  assert.equal(await page.evaluate(() => document.activeElement.id), "stream");
  assert.match(await page.getByLabel("Sound track").evaluate((input) => input.validationMessage), /number, counting from 1/);
  await page.keyboard.press("Control+A");
  await page.keyboard.type("1");
  await page.keyboard.press("Tab");
  await page.keyboard.type("0:05");
  await page.keyboard.press("Tab");
  await page.keyboard.type("2.5");
  // What cannot be is told before anything is sent.
  await page.getByRole("button", { name: "Choose videos" }).click();
  assert.equal(await page.evaluate(() => document.activeElement.id), "end");
  assert.match(await page.getByLabel("End at").evaluate((input) => input.validationMessage), /after the beginning/);
  await page.keyboard.press("Control+A");
  await page.keyboard.type("00:00:07.5");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "split");
  await page.keyboard.press("Tab");
  await page.keyboard.type("Ein Stück & mehr");
  await page.getByLabel("Album artist").fill("Alle");
  await page.getByLabel("Year").fill("1999");
  await page.getByLabel("Genre").fill("Speech");
  await page.getByLabel("Track number").fill("3/12");
  await page.getByLabel("Comment").fill("kurz");
  await shot("options");
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.request().method() === "POST" && response.url().includes("/v1/conversions?")),
    page.locator("#files").setInputFiles({ name: "part.mp4", mimeType: "video/mp4", buffer: readFileSync(film("short.mp4")) }),
  ]);
  const { channels, sample_rate, stream, start, end, title, split, ...tags } = await answer.json();
  assert.deepEqual({ channels, sample_rate, stream, start, end, title, split }, { channels: "mono", sample_rate: 24000, stream: "1", start: 5, end: 7.5, title: "Ein Stück & mehr", split: null });
  const { album_artist, year, genre, track, comment } = tags;
  assert.deepEqual({ album_artist, year, genre, track, comment }, { album_artist: "Alle", year: "1999", genre: "Speech", track: "3/12", comment: "kurz" });
  await inState("part.mp4", "done");
  const { conversions } = await page.evaluate(async () => (await fetch("/v1/conversions")).json());
  assert.equal(conversions.find((one) => one.filename === "part.mp4").duration_s, 2.5);
  // A part is one film's; how many channels there are is a matter of taste, and stays.
  assert.equal(await page.getByLabel("Begin at").inputValue(), "");
  await page.reload();
  await row("part.mp4").waitFor();
  assert.equal(await page.locator("#channels").inputValue(), "mono");
});

test("a film without sound says so, and can be tried again", async () => {
  await page.locator("#files").setInputFiles(film("silent.mp4"));
  await inState("silent.mp4", "failed");
  await row("silent.mp4").getByText("This video has no sound track.").waitFor();
  await shot("failed");
  const [answer] = await Promise.all([page.waitForResponse(/\/retry$/), row("silent.mp4").getByRole("button", { name: "Try again" }).click()]);
  assert.equal(answer.status(), 202);
  await inState("silent.mp4", "failed");
});

test("a server with its hands full is waited for", async () => {
  const login = await fetch(`${GATEWAY}/login`, { method: "POST", headers: { authorization: `Basic ${btoa(`${ACCOUNT.email}:${ACCOUNT.password}`)}` } });
  const token = await login.text();
  // Two uploads that never end, which is as many as this one takes; it asks for a body that has its place.
  const full = await Promise.all([1, 2].map(async () => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "multipart/form-data; boundary=b", expect: "100-continue" };
    const upload = http.request(`${GATEWAY}/upload`, { method: "POST", headers });
    upload.on("error", () => {});
    upload.flushHeaders();
    await once(upload, "continue");
    upload.write('--b\r\ncontent-disposition: form-data; name="file"; filename="endless.mp4"\r\n\r\n');
    return upload;
  }));
  const refused = page.waitForResponse((answer) => answer.status() === 503);
  await page.locator("#files").setInputFiles({ name: "patient.mp4", mimeType: "video/mp4", buffer: readFileSync(film("short.mp4")) });
  await refused;
  const waiting = page.locator('.row[data-state="waiting"]');
  await waiting.getByText("Waiting to upload").waitFor();
  const wouldWarn = () => page.evaluate(() => !dispatchEvent(new Event("beforeunload", { cancelable: true })));
  assert.ok(await wouldWarn(), "closing the page would lose it");
  const accepted = page.waitForResponse((answer) => answer.request().method() === "POST" && answer.status() === 202);
  for (const upload of full) upload.destroy();
  await accepted;
  await inState("patient.mp4", "done");
  assert.ok(!(await wouldWarn()));
  // The browser speaks of each refusal.
  assert.ok(complaints.splice(0).every((complaint) => complaint.includes("503")));
});

test("cancelling an upload, and a conversion", async () => {
  await uploadSpeed(200_000);
  await page.locator("#files").setInputFiles(film("long.mp4"));
  const sending = page.locator('.row[data-state="sending"]');
  await sending.getByRole("button", { name: "Cancel" }).click();
  await sending.waitFor({ state: "detached" });
  await uploadSpeed(-1);
  await page.locator("#files").setInputFiles(film("long.mp4"));
  await page.locator('.row[data-state="converting"]').getByRole("button", { name: "Cancel" }).click();
  const cancelled = page.locator('.row[data-state="cancelled"]');
  await cancelled.waitFor();
  await cancelled.getByRole("button", { name: "Delete" }).click();
  await cancelled.waitFor({ state: "hidden" });
});

test("deleting can be undone, for a moment", async () => {
  await row("silent.mp4").getByRole("button", { name: "Delete" }).click();
  await row("silent.mp4").waitFor({ state: "hidden" });
  await page.locator(".toast", { hasText: "silent.mp4" }).getByRole("button", { name: "Undo" }).click();
  await row("silent.mp4").waitFor();
  const gone = page.waitForResponse((answer) => answer.request().method() === "DELETE" && answer.status() === 204);
  await row("silent.mp4").getByRole("button", { name: "Delete" }).click();
  await shot("deleted");
  await gone;
  await row("silent.mp4").waitFor({ state: "detached" });
  await page.reload();
  await inState("long.mp4", "done");
  assert.equal(await row("silent.mp4").count(), 0);
});

test("a lost connection is told of, until it is back", async () => {
  await page.route("**/v1/**", (route) => route.abort("connectionrefused"));
  await page.reload();
  const lost = page.getByText("Connection lost");
  await lost.waitFor();
  await shot("offline");
  await page.unroute("**/v1/**");
  await lost.waitFor({ state: "hidden" });
  await inState("long.mp4", "done");
  // The browser speaks of each try.
  assert.ok(complaints.splice(0).every((complaint) => complaint.includes("ERR_CONNECTION_REFUSED")));
});

test("dark, by the system and by the button", async () => {
  await page.emulateMedia({ colorScheme: "dark" });
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await paper();
  await shot("dark");
  await page.getByRole("button", { name: "Light colours" }).click();
  const light = await paper();
  assert.notEqual(light, dark);
  await page.reload();
  await page.locator(".row").first().waitFor();
  assert.equal(await paper(), light, "what was chosen stays");
  await page.getByRole("button", { name: "Dark colours" }).click();
  assert.equal(await paper(), dark);
  await page.emulateMedia({ colorScheme: "light" });
  await page.evaluate(() => localStorage.removeItem("theme"));
});

test("a phone of 360 pixels, with what a finger can hit", async () => {
  const storageState = await page.context().storageState();
  const phone = await open({ viewport: PHONE, isMobile: true, hasTouch: true, storageState });
  await phone.goto(GATEWAY);
  await inState("short.mp4", "done", phone);
  const over = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(over <= 0, `${over} pixels too wide`);
  // A box that lies between two pixels may come to 39.99997.
  const size = async (node) => {
    const { width, height } = await node.boundingBox();
    return { width: Math.round(width), height: Math.round(height) };
  };
  for (const button of await phone.locator(".row button:visible, .row a:visible, #pick").all()) {
    const { width, height } = await size(button);
    assert.ok(width >= 40 && height >= 40, `${await button.getAttribute("aria-label")}: ${width} × ${height}`);
  }
  await shot("phone", phone);
  await phone.getByText("Options", { exact: true }).tap();
  await phone.getByLabel("End at").waitFor();
  assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the options fit");
  for (const field of await phone.locator(".options summary, .field select, .field input").all()) {
    const { width, height } = await size(field);
    assert.ok(width >= 40 && height >= 40, `${await field.evaluate((node) => node.outerHTML)}: ${width} × ${height}`);
  }
  await shot("phone-options", phone);
  await phone.emulateMedia({ colorScheme: "dark" });
  await shot("phone-dark", phone);
  await phone.context().close();
});

test("the API's description is there to be read", async () => {
  const docs = await open();
  await docs.goto(`${GATEWAY}/v1/docs`);
  await docs.getByRole("heading", { name: "Convert a video" }).waitFor();
  await docs.getByText("/v1/conversions/{id}/retry").first().waitFor();
  await shot("docs", docs);
  await docs.context().close();
});

test("logging out, and in again", async () => {
  // There is no undoing this later, so it is done before the session ends.
  await row("part.mp4").getByRole("button", { name: "Delete" }).click();
  await row("part.mp4").waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("E-mail").fill(ACCOUNT.email);
  await page.getByLabel("Password").fill("another password");
  await page.keyboard.press("Enter");
  await page.getByText("do not belong together").waitFor();
  // A wrong password is an answer that browsers complain of by themselves.
  assert.match(complaints.pop(), /401/);
  await page.getByLabel("Password").fill(ACCOUNT.password);
  await page.keyboard.press("Enter");
  await inState("short.mp4", "done");
  assert.equal(await row("part.mp4").count(), 0);
  // A session that ends elsewhere sends the page back to its door, with a word.
  await page.context().clearCookies();
  await row("short.mp4").getByRole("button", { name: "Delete" }).click();
  await page.getByText("You have been logged out.").waitFor();
  assert.match(complaints.pop(), /401/);
});

test("nothing was complained of, and nothing fetched from elsewhere", () => {
  assert.deepEqual(complaints, []);
});
