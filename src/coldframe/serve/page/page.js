"use strict";
// The page asks /page/models for what there is, once a second, and draws it anew only where it changed.

const drawn = new Map(); // what was drawn of each model, as text, to tell whether it changed
const before = new Map(); // counts of the last look, to tell the rate

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") element.addEventListener("click", value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function headers(more = {}) {
  const token = document.getElementById("token").value;
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

const LISTED = 64; // elements that a snippet spells out
const FILLED = 65536; // elements that a form is filled with; beyond, lists are cut short

function elements(signature) {
  return Object.values(signature.inputs).reduce((sum, { shape }) => sum + shape.reduce((n, d) => n * (d ?? 1), 1), 0);
}

function sample(spec, most, level = 0) {
  if (level === spec.shape.length) {
    if (spec.dtype === "string") return "";
    return spec.dtype === "bool" ? false : 0;
  }
  const row = sample(spec, most, level + 1);
  return Array(Math.min(spec.shape[level] ?? 1, most)).fill(row);
}

function body(name, signature) {
  const out = name === "serving_default" ? {} : { signature_name: name };
  if (signature.method !== "predict") return { ...out, examples: [{ feature: 0.0 }] };
  const most = elements(signature) > FILLED ? 4 : Infinity;
  const inputs = Object.fromEntries(Object.entries(signature.inputs).map(([key, spec]) => [key, sample(spec, most)]));
  return { ...out, inputs };
}

function generated(name, signature) { // a command that writes the body
  const zero = { string: '""', bool: "False" };
  const inputs = Object.entries(signature.inputs).map(([key, { dtype, shape }]) =>
    `${JSON.stringify(key)}: z(${[zero[dtype] ?? "0", ...shape.map((n) => n ?? 1)].join(", ")})`);
  const chosen = name === "serving_default" ? "" : `"signature_name": ${JSON.stringify(name)}, `;
  const repeat = "z = lambda v, *s: [z(v, *s[1:])] * s[0] if s else v";
  return `python3 -c 'import json; ${repeat}; print(json.dumps({${chosen}"inputs": {${inputs.join(", ")}}}))'`;
}

function address(model, signature) {
  return `${location.origin}/v1/models/${encodeURIComponent(model)}:${signature.method}`;
}

function curl(model, name, signature) {
  const token = document.getElementById("token").value ? '-H "Authorization: Bearer $TOKEN" ' : "";
  const at = address(model, signature);
  if (signature.method === "predict" && elements(signature) > LISTED) {
    return `${generated(name, signature)} |\n  curl ${token}-d @- ${at}`;
  }
  return `curl ${token}-d '${JSON.stringify(body(name, signature))}' \\\n  ${at}`;
}

function python(model, name, signature) {
  const chosen = name === "serving_default" ? "" : `, signature="${name}"`;
  const token = document.getElementById("token").value ? ', token="TOKEN"' : "";
  const head = `from coldframe.serve.client import connect\n\nclient = connect("${location.origin}"${token})\n`;
  if (signature.method !== "predict") return `${head}client.${signature.method}("${model}", [{"feature": 0.0}]${chosen})`;
  const given = Object.entries(signature.inputs).map(([key, spec]) => {
    const shape = `(${spec.shape.map((n) => n ?? 1).join(", ")}${spec.shape.length === 1 ? "," : ""})`;
    const array = spec.dtype === "string" ? `np.full(${shape}, b"", object)` : `np.zeros(${shape}, "${spec.dtype}")`;
    return `"${key}": ${array}`;
  });
  return `import numpy as np\n${head}client.predict("${model}", {${given.join(", ")}}${chosen})`;
}

function tensors(what, specs) {
  return Object.entries(specs).map(([key, spec]) =>
    make("tr", {}, make("td", { class: "dim" }, what), make("td", {}, key), make("td", {}, spec.dtype),
      make("td", {}, `[${spec.shape.map((n) => n ?? "?").join(", ")}]`)));
}

function form(model, name, signature) {
  const text = make("textarea", { "aria-label": `request for ${name}`, spellcheck: "false" });
  text.value = JSON.stringify(body(name, signature));
  const reply = make("pre", { class: "reply", hidden: "" });
  const send = async () => {
    const started = performance.now();
    let shown;
    try {
      const options = { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: text.value };
      const answer = await fetch(address(model, signature), options);
      const took = (performance.now() - started).toFixed(1);
      shown = `${answer.status}, ${took} ms\n${await answer.text()}`;
    } catch (error) {
      shown = `no reply: ${error.message}`;
    }
    reply.textContent = shown;
    reply.hidden = false;
  };
  return make("div", {}, text, make("button", { onclick: send }, "Send"), reply);
}

function drawSignature(model, name, signature, isOpen) {
  const details = make("details", { "data-signature": name });
  details.open = isOpen;
  details.append(
    make("summary", {}, name, make("span", { class: "dim" }, `  ${signature.method}`)),
    make("table", {}, ...tensors("input", signature.inputs), ...tensors("output", signature.outputs)),
    make("p", { class: "dim" }, "curl"), make("pre", {}, curl(model, name, signature)),
    make("p", { class: "dim" }, "Python"), make("pre", {}, python(model, name, signature)),
    make("p", { class: "dim" }, "try it"), form(model, name, signature));
  return details;
}

function drawModel(model) {
  const versions = model.versions.map((v) => make("tr", {}, make("td", {}, `version ${v.version}`),
    make("td", { class: v.state }, v.state), make("td", { class: "dim" }, v.labels.join(", ")),
    make("td", { class: "bad" }, v.message)));
  if (!versions.length) versions.push(make("tr", {}, make("td", { class: "bad" }, "no versions in its base path")));
  const signatures = Object.entries(model.signatures);
  return make("section", { "data-model": model.name }, make("h2", {}, model.name), make("table", {}, ...versions),
    make("p", { class: "dim latency" }, "no requests yet"),
    ...signatures.map(([name, s]) => drawSignature(model.name, name, s, signatures.length === 1 || name === "serving_default")));
}

function latency(model) {
  const now = performance.now();
  const last = before.get(model.name);
  before.set(model.name, { at: now, count: model.requests, seconds: model.seconds });
  if (!model.requests) return "no requests yet";
  const mean = ((model.seconds / model.requests) * 1000).toFixed(2);
  const all = `${model.requests} requests, ${mean} ms on average`;
  if (!last || model.requests === last.count) return all;
  const count = model.requests - last.count;
  const recent = (((model.seconds - last.seconds) / count) * 1000).toFixed(2);
  return `${all}; now ${((count * 1000) / (now - last.at)).toFixed(0)} a second, ${recent} ms each`;
}

function show(models) {
  const main = document.getElementById("models");
  for (const model of models) {
    const text = JSON.stringify([model.versions, model.signatures]);
    let section = main.querySelector(`[data-model="${CSS.escape(model.name)}"]`);
    if (drawn.get(model.name) !== text) {
      const fresh = drawModel(model);
      if (section) section.replaceWith(fresh);
      else main.append(fresh);
      section = fresh;
      drawn.set(model.name, text);
    }
    section.querySelector(".latency").textContent = latency(model);
  }
  for (const section of main.querySelectorAll("[data-model]")) {
    if (!models.some((m) => m.name === section.dataset.model)) {
      drawn.delete(section.dataset.model);
      section.remove();
    }
  }
  const ready = models.filter((m) => m.versions.some((v) => v.state === "AVAILABLE")).length;
  document.getElementById("summary").textContent = `${ready} of ${models.length} models are available`;
}

async function look() {
  try {
    const reply = await fetch("page/models", { headers: headers() });
    document.getElementById("token-row").hidden = reply.status !== 401 && !document.getElementById("token").value;
    if (reply.ok) show(await reply.json());
    else document.getElementById("summary").textContent = (await reply.json()).error;
  } catch (error) {
    document.getElementById("summary").textContent = `no connection: ${error.message}`;
  }
  setTimeout(look, 1000);
}

look();
