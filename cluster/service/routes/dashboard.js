"use strict";
// The page at /: everything it shows comes from /v1, with the token the user typed in. Nothing outlives the tab.
const $ = (id) => document.getElementById(id);
const GOING = ["starting", "waiting", "running", "paused", "stopping"];
const ALLOWED = { scale: ["running", "paused"], pause: ["running"], checkpoint: ["running", "paused"], stop: GOING };
let chosen = null, timer = null;

async function call(path, method = "GET", body = null) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem("token")}` };
  if (method !== "GET") headers["Content-Type"] = "application/json";
  const answer = await fetch(`v1/runs${path}`, { method, headers, body: method === "GET" ? null : JSON.stringify(body ?? {}) });
  if (answer.ok) return answer;
  if (answer.status === 401) {
    signOut();
    throw new Error("this token is not known here; curlvpr token makes one for the tokens file of the service");
  }
  const refusal = await answer.json().catch(() => ({}));
  throw new Error(typeof refusal.detail === "string" ? refusal.detail : `${answer.status} ${answer.statusText}`);
}

function show(text) { $("said").textContent = text; }

function signOut() {
  clearTimeout(timer);
  sessionStorage.removeItem("token");
  chosen = null;
  $("runs").replaceChildren();
  $("run").hidden = $("away").hidden = true;
  $("login").hidden = false;
}

function setControls(run) {
  for (const button of $("controls").querySelectorAll("button[value]")) {
    const action = button.value;
    if (action === "resume") button.disabled = GOING.includes(run.status) ? run.status !== "paused" : run.status === "finished";
    else if (action in ALLOWED) button.disabled = !ALLOWED[action].includes(run.status);
  }
  for (const kind of ["rollout", "reward"]) {
    const states = Object.values(run.workers?.[kind] ?? {});
    $(kind).placeholder = states.length ? states.reduce((sum, count) => sum + count) : "";
  }
}

async function showRuns() {
  const runs = await (await call("")).json(), shown = runs.find((run) => run.run === chosen);
  $("login").hidden = true;
  $("away").hidden = false;
  if (!runs.length) show("no runs yet; POST v1/runs starts one");
  if (shown) setControls(shown);
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
  if (name === chosen) $("panel").innerHTML = text;  // the server escapes what models and users wrote
}

async function choose(name) {
  chosen = name;
  $("run").hidden = false;
  $("name").textContent = name;
  $("panel").replaceChildren();
  $("rollout").value = $("reward").value = "";
  show("");
  await refresh();
}

async function refresh() {
  clearTimeout(timer);
  try {
    await showRuns();
    if (chosen) await showRun();
  } catch (error) { show(error.message); }
  if (sessionStorage.getItem("token")) timer = setTimeout(refresh, 3000);
}

async function request(action) {
  const numbers = {};
  if (action === "scale") for (const kind of ["rollout", "reward"]) if ($(kind).value) numbers[kind] = Number($(kind).value);
  if (action === "stop" && !confirm(`Stop ${chosen}? It commits first, and can be resumed.`)) return;
  try {
    const { run, asked } = await (await call(`/${chosen}/${action}`, "POST", numbers)).json();
    const effect = asked.includes("as job") ? "the run reports it after a while" : "takes effect after the current step";
    show(`${run}: ${asked} requested; ${effect}`);
  } catch (error) { show(error.message); }
}

async function showReport() {
  show(`${chosen}: making its report`);
  try {
    const text = await (await call(`/${chosen}/report`)).text();
    open(URL.createObjectURL(new Blob([text], { type: "text/html" })), "_blank");  // a link could not carry the token
    show("");
  } catch (error) { show(error.message); }
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  $("token").value = "";
  show("");
  refresh();
});
$("controls").addEventListener("submit", (event) => { event.preventDefault(); request("scale"); });
for (const button of $("controls").querySelectorAll("button[type=button]")) {
  button.addEventListener("click", () => button.value === "report" ? showReport() : request(button.value));
}
$("away").addEventListener("click", () => { signOut(); show(""); });
if (sessionStorage.getItem("token")) refresh();
