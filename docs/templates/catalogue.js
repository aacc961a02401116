"use strict";
const form = document.getElementById("filters");
const table = document.querySelector("table");
const bodies = [...table.tBodies];
const TEXT = ["name", "family", "linear", "qkv", "positions", "exports"];
const words = new Map(bodies.map((body) => [body, body.textContent.toLowerCase()]));

/* What the form says, without what is left at its default. */
function state() {
  const values = new FormData(form);
  const found = new Map();
  for (const name of new Set(values.keys())) {
    const value = values.getAll(name).join(",").trim();
    if (value) found.set(name, value);
  }
  if (!found.has("max")) found.delete("at");
  if (!found.has("sort")) found.delete("down");
  return found;
}

function matches(body, wanted) {
  for (const [name, value] of wanted) {
    const own = body.dataset[name] ?? "";
    if (name === "family" && !value.split(",").includes(own)) return false;
    if (["linear", "qkv", "exports"].includes(name) && own !== value) return false;
    if (name === "positions" && !own.split(" ").includes(value)) return false;
    if (name === "max" && !(Number(body.dataset[wanted.get("at")] ?? Infinity) <= Number(value))) return false;
    if (name === "q" && !value.toLowerCase().split(/\s+/).every((word) => words.get(body).includes(word))) return false;
  }
  return true;
}

/* Order of two modules; those without a value come last in both directions. */
function compare(a, b, key, sign) {
  const [x, y] = [a.dataset[key] ?? "", b.dataset[key] ?? ""];
  if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1);
  return sign * (TEXT.includes(key) ? x.localeCompare(y) : Number(x) - Number(y));
}

function show() {
  const wanted = state();
  let count = 0;
  for (const body of bodies) {
    body.hidden = !matches(body, wanted);
    count += body.hidden ? 0 : 1;
  }
  const [key, sign] = [wanted.get("sort"), wanted.has("down") ? -1 : 1];
  const order = key ? [...bodies].sort((a, b) => compare(a, b, key, sign)) : bodies;
  table.append(...order);
  for (const heading of table.tHead.rows[0].cells) {
    if (heading.dataset.key === key) heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    else heading.removeAttribute("aria-sort");
  }
  const status = document.getElementById("count");
  const told = count ? status.dataset.some : status.dataset.none;
  status.textContent = told.replace("{count}", count).replace("{all}", bodies.length);
  return wanted;
}

function remember(wanted) {
  const hash = new URLSearchParams([...wanted]).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

/* Set the form from the address; what it does not know stays at its default. */
function recall() {
  form.reset();
  const hash = location.hash.slice(1);
  if (document.getElementById(hash)?.tagName === "TBODY") return show();
  for (const [name, value] of new URLSearchParams(hash)) {
    const field = form.elements.namedItem(name);
    if (!field) continue;
    if (name === "family") for (const box of field) box.checked = value.split(",").includes(box.value);
    else if (field.type === "checkbox") field.checked = value === field.value;
    else if (field.tagName !== "SELECT" || [...field.options].some((o) => o.value === value)) field.value = value;
  }
  return show();
}

form.addEventListener("input", () => remember(show()));
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(() => remember(show())));
table.tHead.addEventListener("click", (event) => {
  const key = event.target.closest("th")?.dataset.key;
  if (!key) return;
  const again = form.elements.sort.value === key;
  form.elements.down.checked = again && !form.elements.down.checked;
  form.elements.sort.value = key;
  remember(show());
});
addEventListener("hashchange", recall);
form.hidden = false;
recall();
