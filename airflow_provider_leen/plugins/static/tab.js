// The tab's page: asks for a page of rows at a time, and again while the tasks are at work.
// All that comes from a ticket goes into the page as text, never as markup.

const PAGE = 100;
const COLUMNS = [
  ["status", "Status"], ["row", "Row"], ["key", "Key"], ["title", "Title"], ["identifier", "Identifier"], ["error", "Error"],
];
const place = new URLSearchParams(location.search);
const wanted = { status: "", text: "", task: "", sort: "status", descending: false };
const $ = (id) => document.getElementById(id);
let offset = 0;
let version = null; // of what is shown
let asked = 0; // numbers the questions, so that a late answer to an earlier one is dropped
let timer;

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
        403: "You may not see this: it takes the right to read the XComs of this Dag.",
      }[reply.status] ?? (typeof detail === "string" ? detail : `Airflow answered with status ${reply.status}.`));
      version = null;
      if (reply.status < 500) return;
    }
    if (mayChange) wait = 2_000;
  } catch {
    if (mine !== asked) return;
    if (version === null) say("Airflow can't be reached. This page asks again every few seconds.");
    wait = 5_000;
  }
  timer = setTimeout(() => (document.hidden ? undefined : load({ keep: true })), wait);
}

function change(what) {
  Object.assign(wanted, what);
  offset = 0;
  load();
}

document.addEventListener("visibilitychange", () => document.hidden || load({ keep: true }));

// Showing

let mayChange = true;

function say(text) {
  $("page").hidden = false;
  for (const part of $("page").children) part.hidden = part.id !== "message";
  $("message").textContent = text;
}

function show(shown) {
  mayChange = shown.may_change;
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
  showRemarks(shown);
  showTools(shown);
  for (const button of $("chips").children) button.disabled = !(listed || filtered);
  $("rows").replaceChildren(...shown.rows.map((row) => line(row, shown.tasks.length > 1)));
  showPager(shown);
}

function showOverview({ total, counts, progress, tasks, may_change }) {
  const failed = sum(counts, isFailure);
  const parts = [];
  if (progress) {
    parts.push(`${number(progress.done)} of ${tickets(progress.total)} done${may_change ? " so far" : ""}, ${number(progress.failed)} failed`);
  }
  if (total) parts.push(failed ? `${number(failed)} of ${tickets(total)} failed` : `${tickets(total)}, none failed`);
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

const FAILURES = ["unknown", "rejected", "invalid", "unsent", "unreadable"];
const isFailure = (status) => FAILURES.includes(status);
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
    cell("identifier", row.identifier && clamped(row.identifier)),
    cell("error", row.error && clamped(row.error)),
  );
}

function clamped(text) {
  if (text.length <= 140) return element("span", "", text);
  const node = element("span", "clamped", text);
  node.title = "Click to see all of it, or less";
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
    const button = element("button", "", label);
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
  $("first").onclick = () => turn(-offset);
  $("previous").onclick = () => turn(-PAGE);
  $("next").onclick = () => turn(PAGE);
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
    const follow = () => { own.dataset.theme = dark.matches ? "dark" : "light"; };
    dark.addEventListener("change", follow);
    follow();
  }
}

followTheme();
setUp();
load();
