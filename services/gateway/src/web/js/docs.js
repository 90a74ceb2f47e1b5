// Makes /v1/openapi.json readable.

import { byId, el } from "./elements.js";

const HERE = window.location.origin;

/** Text in which `backticks` mark code, and an empty line a new paragraph. */
function paragraphs(text = "") {
  return text.split(/\n{2,}/).filter(Boolean).map((paragraph) => el("p", {}, ...code(paragraph)));
}

function code(text = "") {
  return text.split("`").map((piece, i) => (i % 2 === 1 ? el("code", {}, piece) : piece));
}

/** "string, integer or null", "List", "array of Conversion" */
function kind(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  const either = schema.oneOf ?? schema.anyOf;
  if (either) return either.map(kind).join(" or ");
  const types = [schema.type ?? "anything"].flat();
  const named = types.map((type) => (type === "array" ? `array of ${kind(schema.items)}` : schema.format && type === "string" ? `${type} (${schema.format})` : type));
  const limits = [["from", schema.minimum], ["to", schema.maximum], ["at most this long:", schema.maxLength]];
  return [named.join(" or "), ...limits.filter(([, n]) => n !== undefined).map(([word, n]) => `${word} ${n}`)].join(", ");
}

function table(rows) {
  const line = ([name, note, text]) => el("tr", {}, el("td", {}, el("code", {}, name), el("small", {}, note)), el("td", {}, ...code(text)));
  return el("table", {}, el("tbody", {}, ...rows.map(line)));
}

/** A shape's rows, those of the shapes that it is made of included. */
function rows(api, schema) {
  if (schema.$ref) return rows(api, api.components.schemas[schema.$ref.split("/").at(-1)]);
  const required = new Set(schema.required);
  const own = Object.entries(schema.properties ?? {}).map(([name, value]) =>
    [name, [kind(value), required.has(name) ? null : "optional"].filter(Boolean).join(" · "), value.description ?? ""]);
  return [...(schema.allOf ?? []).flatMap((part) => rows(api, part)), ...own];
}

function example(method, path, operation) {
  const lines = [`curl -H "Authorization: Bearer $TOKEN"`];
  if (method !== "get") lines[0] += ` -X ${method.toUpperCase()}`;
  if (operation.requestBody?.content["multipart/form-data"]) lines[0] += " -F file=@film.mp4";
  if (JSON.stringify(operation.responses).includes("event-stream")) lines[0] += " -N";
  return el("pre", {}, `${lines[0]} \\\n  ${HERE}${path}`);
}

function operation(api, path, method, described) {
  const parameters = (described.parameters ?? []).map((one) =>
    [one.name, `${one.in} · ${kind(one.schema)}${one.required ? "" : " · optional"}`, one.description ?? ""]);
  const answers = Object.entries(described.responses).map(([status, answer]) => {
    const shape = Object.values(answer.content ?? {})[0]?.schema;
    return [status, shape?.$ref ? kind(shape) : Object.keys(answer.content ?? {})[0] ?? "nothing", answer.description];
  });
  const form = Object.values(described.requestBody?.content ?? {})[0]?.schema.$ref?.split("/").at(-1);
  return el("section", { class: "operation", id: described.operationId },
    el("h3", {}, described.summary ?? described.operationId),
    el("p", { class: "call" }, el("b", {}, method.toUpperCase()), ` ${path}`),
    ...paragraphs(described.description),
    example(method, path, described),
    ...(parameters.length > 0 ? [el("h4", {}, "Parameters"), table(parameters)] : []),
    ...(form ? [el("h4", {}, "Form"), table(rows(api, api.components.schemas[form]))] : []),
    el("h4", {}, "Answers"), table(answers));
}

async function show() {
  const api = await (await fetch("/v1/openapi.json")).json();
  const docs = byId("docs");
  docs.append(...paragraphs(api.info.description), el("pre", {}, `TOKEN=$(curl -sX POST -u you@example.com:password ${HERE}/login)`));
  const operations = Object.entries(api.paths).flatMap(([path, item]) => Object.entries(item).map(([method, one]) => [path, method, one]));
  for (const tag of api.tags) {
    docs.append(el("h2", {}, tag.name), ...paragraphs(tag.description));
    docs.append(...operations.filter(([, , one]) => one.tags?.includes(tag.name)).map(([path, method, one]) => operation(api, path, method, one)));
  }
  docs.append(el("h2", {}, "Shapes"));
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    docs.append(el("section", { class: "operation", id: name }, el("h3", {}, name), ...paragraphs(schema.description), table(rows(api, schema))));
  }
  if (window.location.hash) byId(window.location.hash.slice(1))?.scrollIntoView();
}

show().catch(() => byId("docs").append(el("p", {}, "The description cannot be fetched just now.")));
