"use strict";
// The page at /: everything that it shows comes from /v1, with the token that was typed in. Nothing outlives the tab.
const $ = (id) => document.getElementById(id);
let chosen = null, timer = null;

async function call(path, method = "GET", body = null) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem("token")}` };
  if (method !== "GET") headers["Content-Type"] = "application/json";
  const answer = await fetch(`v1/runs${path}`, { method, headers, body: method === "GET" ? null : JSON.stringify(body ?? {}) });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(typeof told.detail === "string" ? told.detail : `${answer.status} ${answer.statusText}`);
}

function say(text) { $("said").textContent = text; }

async function showRuns() {
  const runs = await (await call("")).json();
  $("runs").replaceChildren(...runs.map((run) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.textContent = `${run.run}: ${run.status}`;
    if (run.run === chosen) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => choose(run.run));
    item.append(button);
    return item;
  }));
}

async function showRun() {
  const name = chosen, text = await (await call(`/${name}/panel`)).text();
  if (name === chosen) $("panel").innerHTML = text;  // made by the server, which escapes what models and users wrote
}

async function choose(name) {
  chosen = name;
  $("run").hidden = false;
  $("name").textContent = name;
  $("panel").replaceChildren();
  await refresh();
}

async function refresh() {
  clearTimeout(timer);
  try {
    await showRuns();
    if (chosen) await showRun();
  } catch (error) { say(error.message); }
  timer = setTimeout(refresh, 3000);
}

async function ask(what) {
  const numbers = {};
  if (what === "scale") for (const kind of ["rollout", "reward"]) if ($(kind).value) numbers[kind] = Number($(kind).value);
  if (what === "stop" && !confirm(`Stop ${chosen}? It commits first, and can be resumed.`)) return;
  try {
    const told = await (await call(`/${chosen}/${what}`, "POST", numbers)).json();
    say(`${told.run}: asked to ${told.asked}; it is done after the step that the run is at`);
  } catch (error) { say(error.message); }
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  $("token").value = "";
  say("");
  refresh();
});
$("controls").addEventListener("submit", (event) => { event.preventDefault(); ask("scale"); });
for (const button of $("controls").querySelectorAll("button[type=button]")) button.addEventListener("click", () => ask(button.value));
if (sessionStorage.getItem("token")) refresh();
