// The tab's page: asks for a page of rows at a time, and again while the tasks are at work.
// All that comes from a ticket goes into the page as text, never as markup.

const PAGE = 100;
const COLUMNS = [
  ["status", "Status"], ["row", "Row"], ["key", "Key"], ["title", "Title"], ["identifier", "Identifier"], ["error", "Error or reason"],
];
const GENERATED = /^airflow-[0-9a-f]{24}$/;
const place = new URLSearchParams(location.search);
const wanted = { status: "", text: "", task: "", sort: "status", descending: false };
const $ = (id) => document.getElementById(id);
let offset = 0;
let version = null; // of what is shown
let asked = 0; // numbers the questions, so that a late answer to an earlier one is dropped
let timer;
let began = null; // the first progress seen, and when

function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

const number = (value) => value.toLocaleString("en-US");
const tickets = (count) => `${number(count)} ${count === 1 ? "ticket" : "tickets"}`;

function address(path, more = {}) {
  const query = new URLSearchParams(place);
  for (const [name, value] of Object.entries({ ...wanted, ...more })) if (value !== "") query.set(name, value);
  return `tickets/${path}?${query}`;
}

// Asking

async function load({ keep = false } = {}) {
  clearTimeout(timer);
  const mine = ++asked;
  let wait = 15_000; // A task that has ended may be cleared and run again; the question is cheap when nothing changed.
  try {
    const headers = keep && version ? { "If-None-Match": version } : {};
    const reply = await fetch(address("data", { offset, limit: PAGE }), { headers, cache: "no-store" });
    if (mine !== asked) return;
    if (reply.ok) {
      const shown = await reply.json();
      if (mine !== asked) return;
      version = reply.headers.get("ETag");
      show(shown);
    } else if (reply.status !== 304) {
      const detail = (await reply.json().catch(() => ({}))).detail;
      say({
        401: "You are no longer logged in to Airflow: reload the page.",
        403: "You need the right to read the XComs of this Dag.",
      }[reply.status] ?? (typeof detail === "string" ? detail : `Airflow answered with status ${reply.status}.`));
      version = null;
      if (reply.status < 500) return;
    }
    if (mayChange) wait = 2_000;
  } catch {
    if (mine !== asked) return;
    if (version === null) say("Airflow can't be reached. This page retries every few seconds.");
    wait = 5_000;
  }
  timer = setTimeout(() => (document.hidden ? undefined : load({ keep: true })), wait);
}

function change(what) {
  Object.assign(wanted, what);
  offset = 0;
  $("page").ariaBusy = "true";
  load();
}

document.addEventListener("visibilitychange", () => document.hidden || load({ keep: true }));

// Showing

let mayChange = true;
let failures = []; // the statuses of tickets that failed

function say(text) {
  $("page").hidden = false;
  for (const part of $("page").children) part.hidden = !["message", "where", "title"].includes(part.id);
  $("message").textContent = text;
}

function show(shown) {
  mayChange = shown.may_change;
  failures = shown.failures;
  $("page").ariaBusy = "false";
  if (shown.message) return say(shown.message);
  if (offset && !shown.rows.length) return turn(-offset); // the list has become shorter
  const counted = shown.total > 0;
  const filtered = wanted.status || wanted.text || wanted.task;
  const listed = shown.rows.length > 0;
  $("page").hidden = false;
  $("message").hidden = true;
  $("overview").hidden = !counted && !shown.progress && shown.tasks.every((task) => task.remark);
  // Where nothing is filtered and yet nothing listed, the results can't be read: a remark says why.
  $("tools").hidden = !counted || !(listed || filtered);
  $("table").hidden = !listed;
  $("nothing").hidden = !counted || listed || !filtered;
  showOverview(shown);
  showGates(shown);
  showCauses(shown);
  showRemarks(shown);
  showTools(shown);
  showIdentifiers(shown);
  for (const button of $("chips").children) button.disabled = !(listed || filtered);
  $("rows").replaceChildren(...shown.rows.map((row) => line(row, shown.tasks.length > 1)));
  showPager(shown);
}

function showOverview({ total, counts, progress, tasks, may_change }) {
  const failed = sum(counts, isFailure);
  const parts = [];
  if (progress) {
    parts.push(`${number(progress.done)} of ${tickets(progress.total)} done${may_change ? " so far" : ""}, ${number(progress.failed)} failed${may_change ? speed(progress) : ""}`);
  }
  if (total) parts.push(failed ? `${number(failed)} of ${tickets(total)} failed (${share(failed, total)})` : `${tickets(total)}, none failed`);
  parts.push(...tasks.filter((task) => task.state === "failed").slice(0, 3).map((task) => `${task.name} failed`));
  if (!parts.length && tasks.some((task) => task.total === 0 && !task.remark)) parts.push("The list was empty: no tickets");
  $("headline").textContent = `${parts.join(" · ")}${parts.length ? "." : ""}`;
  const pieces = Object.entries(counts);
  if (progress) {
    pieces.push(["failed", progress.failed], ["done", progress.done - progress.failed], ["", progress.total - progress.done]);
  }
  $("bar").hidden = !pieces.length;
  $("bar").ariaLabel = pieces.filter(([name]) => name).map(([name, count]) => `${count} ${name}`).join(", ");
  $("bar").replaceChildren(...pieces.filter(([name, count]) => name && count > 0).map(([name, count]) => piece(name, count)), rest(pieces));
  $("chips").hidden = !total;
  const chips = [["", "all", total], ...(failed ? [["failed", "failed", failed]] : [])];
  const several = pieces.filter(([name]) => name in counts && isFailure(name)).length > 1;
  for (const [name, count] of Object.entries(counts)) if (!isFailure(name) || several || !failed) chips.push([name, name, count]);
  const focused = $("chips").contains(document.activeElement) ? document.activeElement.value : null;
  $("chips").replaceChildren(...chips.map(([value, name, count]) => chip(value, name, count)));
  [...$("chips").children].find((button) => button.value === focused)?.focus(); // a keyboard stays where it was
}

// One decimal below 10 %, and never "0 %" or "100 %" where that is not all of it.
function share(part, whole) {
  const percent = (100 * part) / whole;
  if (part && percent < 0.1) return "under 0.1 %";
  if (part < whole && percent > 99) return "over 99 %";
  return `${percent < 10 ? Number(percent.toFixed(1)) : Math.round(percent)} %`;
}

// Measured while the page is open: what was done before says nothing of how fast it goes now.
function speed({ done, total }) {
  const now = performance.now();
  if (!began || done < began.done) began = { done, now };
  const seconds = (now - began.now) / 1000;
  if (seconds < 5 || done === began.done) return "";
  const rate = (done - began.done) / seconds;
  const left = (total - done) / rate;
  return `, ${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a second, about ${left < 90 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`} left`;
}

const isFailure = (status) => failures.includes(status);
const sum = (counts, fits) => Object.entries(counts).reduce((all, [name, count]) => all + (fits(name) ? count : 0), 0);

function piece(name, count) {
  const node = element("span", name);
  node.style.flexGrow = count;
  return node;
}

function rest(pieces) {
  const left = pieces.find(([name]) => !name)?.[1] ?? 0;
  const node = element("i");
  node.hidden = left <= 0;
  node.style.flexGrow = left;
  return node;
}

function chip(value, name, count) {
  const node = element("button", value, ...(value && value !== "failed" ? [element("span", "dot")] : []), name, element("span", "number", number(count)));
  node.type = "button";
  node.value = value;
  node.ariaPressed = String(wanted.status === value);
  node.onclick = () => change({ status: wanted.status === value ? "" : value });
  return node;
}

const DECISIONS = { success: "passed", failed: "failed", skipped: "skipped", upstream_failed: "did not run" };

function showGates({ gates, is_run }) {
  const lines = gates.slice(0, 20).map(({ name, state, verdict }) => {
    const decision = DECISIONS[state] ?? "has not decided yet";
    const kind = state === "success" || state === "failed" ? state : "waiting";
    const says = state in DECISIONS && verdict ? `: ${verdict}` : "";
    return element("li", kind, element("span", "dot"), element("b", "", name), ` ${decision}${says}`);
  });
  if (gates.length && !is_run) {
    const all = element("a", "", "All tickets of the run");
    all.href = `tickets?${new URLSearchParams({ dag_id: place.get("dag_id"), run_id: place.get("run_id") })}`;
    lines.push(element("li", "", all));
  }
  $("gates").replaceChildren(...lines);
  $("gates").hidden = !lines.length;
}

// The errors that several tickets share; where it is one for all that failed, it is why the task failed.
function showCauses({ causes, counts }) {
  const failed = sum(counts, isFailure);
  const [first] = causes;
  const isOnly = Boolean(first) && first.count === failed;
  $("banner").hidden = !isOnly;
  if (isOnly) $("banner").replaceChildren(element("b", "", `All ${number(failed)} failures have the same cause: `), first.error);
  $("causes").replaceChildren(...(isOnly ? [] : causes.map(cause)));
  $("causes").hidden = isOnly || !causes.length;
}

function cause({ error, count, sought }) {
  const text = error.length > 300 ? `${error.slice(0, 300)}…` : error;
  const button = element("button", "", element("b", "", `${number(count)} \u00d7 `), text);
  button.type = "button";
  button.title = "Show these tickets";
  button.onclick = () => { $("text").value = sought; change({ text: sought, status: "" }); };
  return element("li", "", button);
}

// Generated identifiers say nothing to a person: the room is for titles and errors.
function showIdentifiers({ rows }) {
  const generated = rows.some((row) => GENERATED.test(row.identifier ?? ""));
  const own = rows.some((row) => row.identifier && !GENERATED.test(row.identifier));
  $("generated-choice").hidden = !generated;
  $("table").classList.toggle("without-identifiers", !own && !$("generated").checked);
}

function showRemarks({ tasks }) {
  const remarks = tasks.filter((task) => task.remark);
  const lines = remarks.slice(0, 20).map((task) => element("li", "", element("b", "", task.name), ` ${task.remark}`));
  if (remarks.length > 20) lines.push(element("li", "", `… and ${number(remarks.length - 20)} tasks more.`));
  $("remarks").replaceChildren(...lines);
  $("remarks").hidden = !lines.length;
}

function showTools({ tasks }) {
  $("task-choice").hidden = tasks.length < 2;
  const names = ["", ...tasks.map((task) => task.name)];
  if ($("task").length !== names.length) $("task").replaceChildren(...names.map((name) => new Option(name || "All tasks", name)));
  $("task").value = wanted.task;
  $("sort").value = `${wanted.sort} ${wanted.descending}`;
  $("csv").href = address("download", { format: "csv" });
  $("json").href = address("download", { format: "json" });
  for (const head of $("head").children) {
    const isIt = head.dataset.column === wanted.sort;
    head.ariaSort = isIt ? (wanted.descending ? "descending" : "ascending") : "none";
  }
}

function showPager({ rows, matched, reachable, offset: from }) {
  $("pager").hidden = matched <= PAGE && from === 0;
  $("range").textContent = `${number(from + 1)}–${number(from + rows.length)} of ${number(matched)}${reachable < matched ? " (filter or download to see those after " + number(reachable) + ")" : ""}`;
  // Set only when it differs: a screen reader reads it aloud each time.
  const found = `${tickets(matched)} listed${matched > rows.length ? `, ${$("range").textContent} on this page` : ""}.`;
  if ($("found").textContent !== found) $("found").textContent = found;
  $("first").disabled = $("previous").disabled = from === 0;
  $("next").disabled = $("last").disabled = from + rows.length >= reachable;
  $("last").onclick = () => turn(Math.floor((reachable - 1) / PAGE) * PAGE - from);
}

function line(row, named) {
  const cell = (name, ...children) => element("td", name, ...children.filter(Boolean));
  const title = cell("title", clamped(row.title ?? ""), named && element("small", "", row.task));
  return element(
    "tr",
    row.status,
    cell("status", element("span", "dot"), row.status),
    cell("row", row.row === null ? "" : `#${row.row}`),
    cell(row.key?.length > 24 ? "key long" : "key", row.url ? link(row.url, row.key ?? "open") : row.key),
    title,
    cell(GENERATED.test(row.identifier ?? "") && !$("generated").checked ? "identifier generated" : "identifier", row.identifier && clamped(row.identifier)),
    cell("error", row.error && clamped(row.error)),
  );
}

function clamped(text) {
  if (text.length <= 140) return element("span", "", text);
  const node = element("span", "clamped", text);
  node.title = "Click to show all of it, or less";
  node.tabIndex = 0;
  node.role = "button";
  node.ariaExpanded = "false";
  node.onclick = () => { node.ariaExpanded = String(!node.classList.toggle("clamped")); };
  node.onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    node.click();
  };
  return node;
}

function link(url, text) {
  const node = element("a", "", text);
  leadTo(node, url);
  return node;
}

function leadTo(node, url) {
  node.href = url;
  node.rel = "noopener noreferrer";
  node.target = "_blank";
  // Airflow's frame lets no tab be opened from within it: the window around it opens one.
  node.onclick = (event) => {
    if (parent === window || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    parent.open(url, "_blank", "noopener,noreferrer");
  };
}

// Once

function setUp() {
  for (const [column, label] of COLUMNS) {
    const arrow = element("span", "arrow");
    arrow.ariaHidden = "true";
    const button = element("button", "", label, arrow);
    button.type = "button";
    button.onclick = () => change({ sort: column, descending: wanted.sort === column && !wanted.descending });
    const head = element("th", "", button);
    head.scope = "col";
    head.dataset.column = column;
    $("head").append(head);
    $("sort").append(new Option(`By ${label.toLowerCase()}`, `${column} false`), new Option(`By ${label.toLowerCase()}, reversed`, `${column} true`));
  }
  $("sort").onchange = () => {
    const [sort, descending] = $("sort").value.split(" ");
    change({ sort, descending: descending === "true" });
  };
  $("task").onchange = () => change({ task: $("task").value });
  $("generated").onchange = () => load();
  let typed;
  $("text").oninput = () => {
    clearTimeout(typed);
    typed = setTimeout(() => change({ text: $("text").value.trim() }), 200);
  };
  $("clear").onclick = () => {
    $("text").value = "";
    $("text").focus(); // the button pressed is about to go
    change({ status: "", text: "", task: "" });
  };
  // Airflow's own pages need a wide screen; this one does not.
  $("alone").hidden = parent === window;
  leadTo($("alone"), location.href);
  if (parent === window) sayWhere();
  $("first").onclick = () => turn(-offset);
  $("previous").onclick = () => turn(-PAGE);
  $("next").onclick = () => turn(PAGE);
}

// Alone, the page has nothing of Airflow's around it that says what it shows.
function sayWhere() {
  const [dag, run, task, index] = ["dag_id", "run_id", "task_id", "map_index"].map((name) => place.get(name) ?? "");
  const airflow = location.pathname.replace(/leen\/tickets$/, "");
  let way = `${airflow}dags/${encodeURIComponent(dag)}/runs/${encodeURIComponent(run)}`;
  const names = [dag, run];
  if (task) {
    const mapped = /^\d+$/.test(index);
    way += `/tasks/${encodeURIComponent(task)}${mapped ? `/mapped/${index}` : ""}`;
    names.push(mapped ? `${task}[${index}]` : task);
  }
  const back = element("a", "", "← Airflow");
  back.href = way;
  $("where").replaceChildren(back, ` \u00b7 ${names.join(" \u203a ")}`);
  $("where").hidden = false;
  document.documentElement.classList.add("alone");
  document.title = `Leen tickets: ${names.join(" \u203a ")}`;
}

function turn(by) {
  offset = Math.max(0, offset + by);
  load().then(() => $("tools").scrollIntoView());
}

function followTheme() {
  const own = document.documentElement;
  try {
    const around = parent.document.documentElement;
    if (around === own) throw new Error("opened on its own");
    const follow = () => { own.dataset.theme = around.classList.contains("dark") ? "dark" : "light"; };
    new MutationObserver(follow).observe(around, { attributeFilter: ["class"] });
    follow();
  } catch {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => {
      let chosen;
      try { chosen = localStorage.getItem("theme"); } catch { /* kept from pages by the browser */ }
      own.dataset.theme = ["dark", "light"].includes(chosen) ? chosen : dark.matches ? "dark" : "light";
    };
    dark.addEventListener("change", follow);
    follow();
  }
}

followTheme();
setUp();
load();
