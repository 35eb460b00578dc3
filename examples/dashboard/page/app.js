// The page of the dashboard. It shows what the host says and asks what people want; every rule is the host's.

// ---------------------------------------------------------------------------------------------- small things

const $ = (id) => document.getElementById(id);

/** An element; text is always text, whatever is in it. */
function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "title"].includes(tag) && attributes.svg;
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "svg" || value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(9)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

const fill = (node, ...children) => node.replaceChildren(...children.flat(9).filter((child) => child));
const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
const spinner = (text) => el("p", { role: "status" }, el("span", { class: "spin", "aria-hidden": "true" }), text);
const pill = (text, kind) => el("span", { class: `pill ${kind}` }, text);

function when(time) {
  if (!time) return "never";
  const date = new Date(time);
  const seconds = Math.round((Date.now() - date) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 90) return `${seconds} seconds ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes ago`;
  return date.toLocaleString();
}

let toastTimer;
function toast(text) {
  $("toast").textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($("toast").textContent = ""), 4000);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied.`);
  } catch {
    toast("Your browser does not let this page copy: select the text instead.");
  }
}

/** What a host answers with instead of an answer. */
class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || "The host gave no reason.");
    this.status = status;
    this.problem = problem;
  }
}

async function ask(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers }, credentials: "same-origin" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  const response = await fetch(path, options);
  const kind = response.headers.get("content-type") || "";
  const answer = kind.includes("json") ? await response.json() : {};
  if (response.status === 401 && path !== "/api/login") showLogin();
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

const get = (path) => ask("GET", path);
const post = (path, body, headers) => ask("POST", path, body, headers);

// ---------------------------------------------------------------------------------------------- what is known

const TABS = [
  ["overview", "Overview"],
  ["diagnoses", "AI Diagnoses"],
  ["remediations", "Remediations"],
  ["audit", "Audit"],
  ["settings", "Settings"],
];
const state = { tab: location.hash.slice(1) || "overview", me: null, shown: 50, status: null, scan: null, diagnoses: null, trend: [], plans: [], lost: false };
const mayAct = () => state.me && state.me.role !== "viewer";

async function load() {
  const [status, scan, nodes, diagnoses, trend, plans] = await Promise.all(
    ["/api/status", `/api/scan?limit=${state.shown}`, "/api/nodes", `/api/diagnoses?limit=${state.shown}`, "/api/trend", "/api/plans"].map(get),
  );
  Object.assign(state, { status, scan, nodes, diagnoses, trend: trend.trend, plans: plans.plans, lost: false });
}

let loading = null;
let again = false;
/** Reads everything anew; several calls at once are one or two. */
function refresh() {
  if (loading) {
    again = true;
    return loading;
  }
  loading = load()
    .catch((error) => {
      if (!(error instanceof Refused)) state.lost = true;
    })
    .finally(() => {
      loading = null;
      show();
      if (again) {
        again = false;
        refresh();
      }
    });
  return loading;
}

// ---------------------------------------------------------------------------------------------- the frame

function showFrame() {
  const status = state.status;
  $("where").textContent = status ? `${status.cluster} · ${status.namespaces.join(", ")}` : "";
  const pulse = $("pulse");
  if (state.lost) {
    pulse.className = "pill bad";
    pulse.textContent = "No connection to the host";
  } else if (!status) {
    pulse.textContent = "Starting…";
  } else if (!status.ok) {
    pulse.className = "pill bad";
    pulse.textContent = "The cluster does not answer";
  } else {
    pulse.className = "pill good";
    pulse.textContent = `Scanned ${when(status.last_scan)}`;
  }
  $("rescan").disabled = !mayAct();
  fill(
    $("tabs"),
    TABS.map(([id, name]) =>
      el("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": "main", "aria-selected": String(id === state.tab), tabindex: id === state.tab ? "0" : "-1", onclick: () => open(id) }, name),
    ),
  );
}

function open(tab) {
  if (!TABS.some(([id]) => id === tab)) tab = "overview";
  const focused = document.activeElement?.id?.startsWith("tab-");
  state.tab = tab;
  history.replaceState(null, "", `#${tab}`);
  show();
  if (focused) $(`tab-${tab}`).focus();
}

$("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const at = TABS.findIndex(([id]) => id === state.tab);
  open(TABS[(at + step + TABS.length) % TABS.length][0]);
});

function show() {
  const focus = document.activeElement?.id;
  showFrame();
  const main = $("main");
  main.setAttribute("role", "tabpanel");
  main.setAttribute("aria-labelledby", `tab-${state.tab}`);
  if (!state.status) {
    fill(main, state.lost ? lostBanner() : spinner("Looking at the cluster…"));
  } else {
    const views = { overview, diagnoses, remediations, audit, settings };
    // What somebody is filling in is not taken from under their hands.
    if (!(main.dataset.tab === state.tab && main.querySelector("[data-keep]"))) {
      main.dataset.tab = state.tab;
      fill(main, state.lost && lostBanner(), trouble(), (views[state.tab] || overview)());
    }
  }
  if (focus && document.activeElement?.id !== focus) $(focus)?.focus();
}

function lostBanner() {
  return el("div", { class: "banner bad", role: "alert" }, el("p", {}, "This page can't reach its host. What you see may be old. It tries again by itself."));
}

/** Whether something may be wrong that nobody saw. */
const blind = () => !state.status.ok || !state.status.last_scan || state.status.incomplete.length > 0;

function trouble() {
  const { status } = state;
  const texts = [...(status.error ? [status.error] : []), ...status.incomplete];
  if (!texts.length) return null;
  return el("div", { class: "banner warn" }, el("p", {}, "Not everything could be looked at, so something may be missing here:"), el("ul", {}, texts.map((text) => el("li", {}, text))));
}

// ---------------------------------------------------------------------------------------------- overview

function overview() {
  const { findings, total, by_severity: of, ignored, ignored_total, workloads, workloads_total } = state.scan;
  const grave = of ? of.critical + of.high : 0;
  if (!state.status.last_scan) return [el("h1", {}, "Nobody knows how the apps are"), el("p", { class: "muted" }, "The cluster was not looked at yet. This page tries again by itself.")];
  const fine = blind() ? "No findings, as far as Argus can see" : "Everything is fine";
  return [
    el("h1", {}, total === 0 ? fine : `${plural(state.diagnoses.open, "app needs", "apps need")} a look`),
    el(
      "div",
      { class: "grid" },
      el("div", { class: "card" }, el("div", { class: "big" }, String(total)), el("div", { class: "muted" }, "findings, ", `${grave} of them serious`)),
      el("div", { class: "card" }, el("div", { class: "big" }, `${state.scan.workloads_ready} of ${state.scan.workloads_wanted}`), el("div", { class: "muted" }, "apps run all their copies")),
      el("div", { class: "card" }, el("div", { class: "big" }, String(state.plans.filter((plan) => plan.is_finished).length)), el("div", { class: "muted" }, "fixes carried out")),
    ),
    total > 0 &&
      el(
        "section",
        { class: "card" },
        el("div", { class: "row" }, el("h2", {}, "What was found"), el("span", { class: "space" }), el("button", { type: "button", onclick: () => openTab("diagnoses") }, "See what to do")),
        el("ul", { class: "plain" }, findings.map((finding) => el("li", {}, pill(finding.severity, finding.severity), " ", el("strong", {}, finding.title), el("div", { class: "muted small" }, finding.description)))),
        more(findings.length, total, "findings"),
      ),
    ignored_total > 0 &&
      el(
        "details",
        { class: "card" },
        el("summary", {}, `${plural(ignored_total, "finding is", "findings are")} not counted, because somebody asked for that`),
        el("ul", { class: "plain" }, ignored.map((finding) => el("li", {}, pill(finding.severity, finding.severity), " ", finding.title, el("div", { class: "muted small" }, `${finding.target} has the annotation argus-ops/ignore`)))),
        more(ignored.length, ignored_total, "of them"),
      ),
    el("section", { class: "card" }, el("h2", {}, "Findings over time"), chart()),
    el(
      "section",
      { class: "card" },
      el("h2", {}, "Apps"),
      workloads.length === 0
        ? el("p", { class: "muted" }, "There are no apps in the namespaces that Argus may look at.")
        : el(
            "div",
            { class: "scroll" },
            el(
              "table",
              {},
              el("thead", {}, el("tr", {}, ["App", "Kind", "Namespace", "Copies that are ready"].map((head) => el("th", { scope: "col" }, head)))),
              el("tbody", {}, workloads.map((app) => el("tr", {}, el("td", {}, app.object.name), el("td", {}, app.object.kind), el("td", {}, app.object.namespace), el("td", {}, app.desired === 0 ? pill("switched off", "info") : pill(`${app.ready} of ${app.desired}`, app.ready >= app.desired ? "good" : "bad"))))),
            ),
          ),
      more(workloads.length, workloads_total, "apps"),
    ),
    el("section", { class: "card" }, el("h2", {}, "Machines"), machines()),
  ];
}

/** The rest of a long list: a button, up to what the host gives at once. */
function more(shown, total, what) {
  if (shown >= total) return null;
  const words = `${shown} of ${total} ${what} are shown.`;
  if (state.shown >= 1000) return el("p", { class: "muted small" }, words);
  const show = () => {
    state.shown = Math.min(1000, state.shown * 4);
    refresh();
  };
  return el("div", { class: "row" }, el("span", { class: "muted small" }, words), el("button", { type: "button", onclick: show }, "Show more"));
}

function machines() {
  const { nodes, error } = state.nodes;
  if (error) return el("p", { class: "muted" }, `Not shown: ${error}. Everything else works without.`);
  const memory = (amounts) => amounts.memory || "?";
  const pressed = (node) => Object.entries(node.conditions).filter(([type, condition]) => type !== "Ready" && condition.status === "True");
  return el(
    "div",
    { class: "scroll" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ["Machine", "State", "Processors", "Memory"].map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, nodes.map((node) => el("tr", {}, el("td", {}, node.name), el("td", {}, pill(node.ready ? "ready" : "does not answer", node.ready ? "good" : "bad"), node.unschedulable && [" ", pill("takes no new apps", "warn")], pressed(node).map(([type]) => [" ", pill(type, "warn")])), el("td", {}, node.allocatable.cpu || "?"), el("td", {}, memory(node.allocatable))))),
    ),
  );
}

function openTab(tab) {
  open(tab);
  $("main").focus();
}

function chart() {
  const points = state.trend;
  if (points.length < 2) return el("p", { class: "muted" }, "The chart begins with the second scan.");
  const all = points.map((point) => point.critical + point.high + point.medium + point.low + point.info);
  const grave = points.map((point) => point.critical + point.high);
  const most = Math.max(1, ...all);
  const [width, height] = [1000, 120];
  const path = (values) => values.map((value, at) => `${at ? "L" : "M"}${(30 + (at / (values.length - 1)) * (width - 40)).toFixed(1)} ${(10 + (1 - value / most) * (height - 20)).toFixed(1)}`).join("");
  const first = new Date(points[0].timestamp).toLocaleTimeString();
  const last = new Date(points.at(-1).timestamp).toLocaleTimeString();
  const words = `From ${first} to ${last}: ${plural(all[0], "finding")} at first, ${plural(all.at(-1), "finding")} now.`;
  return [
    el(
      "svg",
      { svg: true, class: "chart", viewBox: `0 0 ${width} ${height + 16}`, role: "img", "aria-label": words },
      el("line", { svg: true, class: "axis", x1: 30, x2: width - 10, y1: height - 10, y2: height - 10 }),
      el("text", { svg: true, x: 4, y: 16 }, String(most)),
      el("text", { svg: true, x: 4, y: height - 6 }, "0"),
      el("text", { svg: true, x: 30, y: height + 10 }, first),
      el("text", { svg: true, x: width - 10, y: height + 10, "text-anchor": "end" }, last),
      el("path", { svg: true, class: "all", d: path(all) }),
      el("path", { svg: true, class: "grave", d: path(grave) }),
    ),
    el("p", { class: "small muted" }, `${words} The line is all findings, the dashes the serious ones.`),
  ];
}

// ---------------------------------------------------------------------------------------------- diagnoses

function diagnoses() {
  const { incidents, total } = state.diagnoses;
  const open = incidents.filter((incident) => incident.status === "open");
  const over = incidents.filter((incident) => incident.status !== "open");
  return [
    el("h1", {}, "AI Diagnoses"),
    open.length === 0 && !blind() && el("div", { class: "banner good" }, el("p", {}, "Nothing is wrong in the namespaces that Argus looks at.")),
    open.map(card),
    over.length > 0 && el("h2", {}, "Over"),
    over.map((incident) => el("div", { class: "card row" }, pill("resolved", "good"), el("strong", {}, title(incident)), el("span", { class: "muted small" }, when(incident.resolved_at)))),
    more(incidents.length, total, "incidents"),
  ];
}

const title = (incident) => incident.diagnosis?.root_cause || incident.findings[0]?.title || incident.incident_id;

function card(incident) {
  const { diagnosis } = incident;
  const sure = diagnosis && (diagnosis.confidence >= 0.7 ? "Argus knows this fault" : "Argus is not sure");
  return el(
    "article",
    { class: "card", "aria-labelledby": `title-${incident.incident_id}` },
    el("div", { class: "row" }, pill(incident.max_severity, incident.max_severity), el("h2", { id: `title-${incident.incident_id}` }, title(incident)), el("span", { class: "space" }), el("button", { type: "button", class: "primary", id: `fix-${incident.incident_id}`, disabled: !mayAct(), onclick: () => suggest(incident) }, "Suggest Fix")),
    diagnosis && el("p", {}, diagnosis.explanation),
    diagnosis?.recommendations.map((advice) => el("p", {}, el("strong", {}, "What helps: "), advice)),
    state.status.asks_model && el("p", {}, el("button", { type: "button", id: `ask-${incident.incident_id}`, disabled: !mayAct(), onclick: () => explain(incident) }, `Ask ${state.status.model} what is behind it`)),
    el("p", { class: "muted small" }, [sure, `since ${when(incident.created_at)}`, diagnosis && `by ${diagnosis.model_used}`].filter(Boolean).join(" · ")),
    el(
      "details",
      {},
      el("summary", {}, `Evidence (${plural(incident.finding_count, "finding")})`),
      incident.findings.map((finding) => el("div", {}, el("h3", {}, finding.title), el("p", { class: "muted small" }, finding.target), el("ul", {}, finding.evidence.map((line) => el("li", {}, el("pre", {}, line)))))),
    ),
  );
}

// ---------------------------------------------------------------------------------------------- the remediation

const modal = $("modal");
/** What the modal shows: one plan on its way. */
let walk = null;

function openModal(head) {
  walk = { head, steps: [], sealed: false };
  if (!modal.open) modal.showModal();
}

modal.addEventListener("close", () => {
  const back = walk?.back;
  walk = null;
  fill(modal);
  refresh().then(() => back && $(back)?.focus());
});

function showModal({ heading, badge, body, foot }) {
  fill(
    modal,
    el("div", { class: "head row" }, el("h2", { id: "modal-title", tabindex: "-1" }, heading), badge, el("span", { class: "space" }), el("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => modal.close() }, "✕")),
    el("div", { class: "body", tabindex: "0", role: "region", "aria-label": "Details" }, body),
    foot && el("div", { class: "foot" }, foot),
  );
}

async function explain(incident) {
  openModal(title(incident));
  const mine = walk;
  mine.back = `ask-${incident.incident_id}`;
  showModal({ heading: mine.head, body: spinner(`Asking ${state.status.model}. Nothing is changed.`) });
  try {
    await post(`/api/diagnose/${encodeURIComponent(incident.incident_id)}`);
    if (walk === mine) modal.close();
  } catch (error) {
    if (walk === mine) showModal({ heading: mine.head, body: failed("There is no answer", error, "The host could not get an answer that it understands. What the fixed rules say of it still stands on the card.") });
  }
}

async function suggest(incident) {
  openModal(title(incident));
  const mine = walk;
  mine.back = `fix-${incident.incident_id}`;
  showModal({ heading: mine.head, body: spinner("Writing a plan. Nothing is changed.") });
  try {
    const plan = await post(`/api/remediate/${encodeURIComponent(incident.incident_id)}`);
    if (walk === mine) await tryPlan(mine, plan);
  } catch (error) {
    if (walk === mine) showModal({ heading: mine.head, body: failed("There is no plan for this", error, "The host could not get a plan that it understands. You can try again, or look at what the diagnosis says."), foot: el("div", { class: "row" }, el("button", { type: "button", onclick: () => suggest(incident) }, "Try again")) });
  }
}

function failed(what, error, otherwise) {
  const text = error instanceof Refused ? error.message : "This page can't reach its host. Nothing was changed by this try.";
  return el("div", { class: "banner bad", role: "alert" }, el("h3", {}, what), el("p", {}, text), error instanceof Refused && otherwise && el("p", {}, otherwise));
}

/** The dry run: every door of the host that changes nothing. */
async function tryPlan(mine, plan) {
  mine.plan = plan;
  if (plan.steps.length === 0) {
    showModal({ heading: mine.head, body: [el("p", {}, plan.summary), el("div", { class: "banner good" }, el("p", {}, "There is nothing to do."))] });
    return;
  }
  // What an earlier try said holds no longer, and nobody may confirm it.
  mine.tried = mine.refused = null;
  showPlan(mine, { note: spinner("Trying it on the cluster without changing anything…") });
  try {
    mine.tried = await post(`/api/remediate/${plan.plan_id}/dry-run`);
  } catch (error) {
    mine.refused = error;
  }
  if (walk === mine) showPlan(mine, {});
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const WHY = {
  denied: ["Policy does not allow this plan", "It will not be carried out. You can show it to somebody who may change the policy, or do it by hand if you know what you do."],
  manual_steps: ["A person has to do this", "Argus never does this by itself. Copy the commands, and run them by hand if you agree with them."],
  missing_permissions: ["Argus may not do this in your cluster", "Give it the permissions below, or run the commands by hand."],
  dry_run_failed: ["The cluster would not take this plan", "Nothing was changed. Suggest a fix again, or do it by hand."],
};

function reasons(error) {
  const { problem } = error;
  const [what, then] = WHY[problem.code] || ["This plan can't be carried out now", ""];
  const lines = {
    denied: () => (problem.violations || []).map((found) => [`${capital(found.message)}.`, found.hint && ` What would help: ${found.hint}.`]),
    manual_steps: () => Object.entries(problem.steps || {}).map(([step, why]) => [`Step ${Number(step) + 1}: ${why}`]),
    missing_permissions: () => (problem.missing || []).map((missing) => [missing]),
  }[problem.code];
  const kind = problem.code === "manual_steps" ? "warn" : "bad";
  return el("div", { class: `banner ${kind}`, role: "alert" }, el("h3", {}, what), lines ? el("ul", {}, lines().map((line) => el("li", {}, line))) : el("p", {}, error.message), then && el("p", {}, then));
}

function showPlan(mine, { note }) {
  const { plan, tried, refused } = mine;
  const enabled = state.status.remediation_enabled;
  const risk = tried?.risk_level ?? plan.risk_level;
  // What people do by hand is more than Argus can judge.
  const byHand = refused?.problem?.code === "manual_steps";
  const body = [
    el("p", {}, el("strong", {}, plan.summary)),
    !byHand && el("p", { class: "muted" }, `Risk: ${risk}. ${plan.risk_reason}`),
    note,
    !tried && !refused && plan.refusals?.length > 0 && el("div", { class: "banner warn", id: "refusals" }, el("h3", {}, "Argus will not run this plan"), el("ul", {}, plan.refusals.map((found) => el("li", {}, `${capital(found.message)}.`)))),
    refused instanceof Refused && reasons(refused),
    refused && !(refused instanceof Refused) && failed("The plan could not be tried", refused),
    el("ol", { class: "steps" }, plan.steps.map((step, at) => stepItem(step, at, tried?.steps[at]))),
    tried && allowed(tried),
    plan.rollback_steps.length > 0 &&
      el("details", { class: "card" }, el("summary", {}, "How to undo it by hand"), el("p", { class: "muted small" }, "If a step fails, Argus undoes what it did by itself, from what it saw before. This is for later, and by hand."), plan.rollback_steps.map((step) => [el("p", {}, step.description), code(step.command)])),
    el("p", { class: "muted small" }, `Written by ${plan.model_used}, ${when(plan.generated_at)}. Plan ${plan.plan_id}.`),
  ];
  const commands = plan.steps.map((step) => step.command).join("\n");
  const foot = [el("button", { type: "button", onclick: () => copy(commands, "All commands") }, "Copy All Commands")];
  if (refused && (!(refused instanceof Refused) || refused.status >= 500)) foot.push(el("button", { type: "button", onclick: () => tryPlan(mine, plan) }, "Try again"));
  let confirm = null;
  if (tried && enabled) {
    const apply = el("button", { type: "button", class: "primary", id: "apply", disabled: true, onclick: () => run(mine, typed?.value) }, "Apply Fix");
    const check = el("input", { type: "checkbox", id: "understand" });
    const typed = tried.name_to_type && el("input", { id: "typed", autocomplete: "off", spellcheck: "false" });
    const ready = () => (apply.disabled = !(check.checked && (!typed || typed.value === tried.name_to_type)));
    check.addEventListener("change", ready);
    typed?.addEventListener("input", ready);
    confirm = [
      el("p", {}, el("label", { for: "understand" }, check, "I understand this will change my cluster")),
      typed && el("p", {}, el("label", { for: "typed" }, "This plan can do much harm. Type the name ", el("strong", {}, tried.name_to_type), " to allow it: "), typed),
      tried.people > 1 && el("p", { class: "muted" }, `Policy wants ${tried.people} people to confirm this plan. Each does so here, under their own name.`),
    ];
    foot.push(el("span", { class: "space" }), apply);
  } else if (tried) {
    confirm = el("p", { class: "muted", id: "switched-off" }, "Applying is switched off on this host. Copy the commands and run them by hand, or let whoever runs the host start it with --remediation-enabled.");
  }
  showModal({ heading: mine.head, badge: byHand ? pill("by hand", "warn") : pill(`${risk} risk`, risk), body, foot: [confirm, el("div", { class: "row" }, foot)] });
}

function stepItem(step, at, shown, status) {
  return el(
    "li",
    { id: `step-${at}` },
    el("span", { class: `number ${status?.kind || ""}`, "aria-hidden": "true" }, status?.mark || String(at + 1)),
    el(
      "div",
      { class: "what" },
      el("p", {}, el("span", { class: "muted small" }, `Step ${at + 1}. `), step.description),
      status && el("p", { class: "small", role: "status" }, status.kind === "running" && el("span", { class: "spin", "aria-hidden": "true" }), status.text),
      code(step.command),
      shown && changes(shown),
    ),
  );
}

function code(command) {
  return el("div", { class: "code" }, el("pre", {}, el("code", {}, command)), el("button", { type: "button", "aria-label": `Copy the command ${command}`, onclick: () => copy(command, "Command") }, "Copy"));
}

/** A change in a sentence. */
function sentence({ field, before, after }) {
  const container = field.match(/containers\[([^\]]+)\]/)?.[1];
  const of = container ? ` of ${container}` : "";
  if (field === "the object") return "This copy is deleted, and a new one takes its place.";
  if (field.endsWith("restartedAt")) return "The copies are started again, one after another.";
  const names = [
    [/limits\.memory$/, `The memory that one copy${of} may use`],
    [/requests\.memory$/, `The memory that is reserved for one copy${of}`],
    [/limits\.cpu$/, `The computing time that one copy${of} may use`],
    [/requests\.cpu$/, `The computing time that is reserved for one copy${of}`],
    [/^spec\.replicas$/, "The number of copies"],
    [/\.image$/, `The program that ${container || "a copy"} runs`],
  ];
  const [, name] = names.find(([pattern]) => pattern.test(field)) || [null, `The setting ${field}`];
  if (before === "none") return `${name} is set to ${after}.`;
  if (after === "none") return `${name} is taken away (it was ${before}).`;
  return `${name} goes from ${before} to ${after}.`;
}

function changes(shown) {
  return [
    shown.warnings.length > 0 && el("div", { class: "banner warn" }, shown.warnings.map((text) => el("p", {}, `The cluster warns: ${text}`))),
    el("ul", { class: "small" }, shown.changes.map((change) => el("li", {}, sentence(change)))),
    el(
      "details",
      { class: "small" },
      el("summary", {}, "For experts: the fields that change"),
      el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["Field", "Now", "Then"].map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, shown.changes.map((change) => el("tr", {}, [change.field, change.before, change.after].map((cell) => el("td", {}, cell))))))),
    ),
  ];
}

function allowed(tried) {
  const packs = [...new Set(tried.opinions.map((opinion) => opinion.pack))];
  const notes = tried.opinions.flatMap((opinion) => [...(opinion.require_approval || []), ...(opinion.warn || [])]).map((note) => note.message);
  const ofOthers = tried.opinions.flatMap((opinion) => opinion.require_approval || []).filter((note) => note.id === "baseline-other-app");
  return el(
    "div",
    { class: "banner good" },
    [...new Set(ofOthers.map((note) => note.message))].map((message) => el("p", {}, el("strong", {}, `${capital(message)}.`))),
    el("p", {}, el("strong", {}, "Tried, and allowed by policy. "), tried.verdict === "require_approval" ? "You have to confirm it." : "Nothing speaks against it."),
    el("details", { class: "small" }, el("summary", {}, "Why"), el("ul", {}, [...new Set(notes)].map((note) => el("li", {}, note))), el("p", {}, `Asked: ${packs.join(", ")}. The cluster was asked to try each step without keeping it.`)),
  );
}

// ---------------------------------------------------------------------------------------------- applying

const STATUS = {
  waiting: { mark: "", kind: "", text: "waits" },
  step_intended: { mark: "…", kind: "running", text: "is being written" },
  step_applied: { mark: "…", kind: "running", text: "is written; waiting until the app has come to rest" },
  step_settled: { mark: "✓", kind: "done", text: "done" },
  step_failed: { mark: "✗", kind: "failed", text: "failed" },
  step_unsettled: { mark: "✗", kind: "failed", text: "did not come to rest" },
  step_unknown: { mark: "?", kind: "failed", text: "nobody knows whether it was written" },
  undo_intended: { mark: "…", kind: "running", text: "is being undone" },
  step_undone: { mark: "↩", kind: "undone", text: "undone" },
  undo_failed: { mark: "✗", kind: "failed", text: "could not be undone: a person has to look" },
};

const HELD = { held: "It held.", relapsed: "It is being undone.", regressed: "It is being undone." };

/** What is said while it is watched, and how long that still takes. */
function watching({ held }) {
  if (!held) return null;
  const left = () => (held.until ? `${Math.max(0, Math.ceil((held.until - Date.now()) / 1000))} s left` : "");
  const shown = el("span", { class: "muted", id: "hold-left", "aria-hidden": "true" }, left());
  const timer = setInterval(() => (shown.isConnected ? (shown.textContent = left()) : clearInterval(timer)), 1000);
  return el("p", { id: "hold", role: "status" }, held.text, " ", shown);
}

function onRecord(record) {
  if (!walk?.running || record.plan_id !== walk.plan.plan_id) return;
  if (record.event === "holding") {
    // The clocks of host and browser may differ: what counts is how long it lasts.
    walk.held = { text: record.outcome, until: Date.now() + (new Date(record.hold.until) - new Date(record.timestamp)) };
    showRunning(walk);
  }
  if (HELD[record.event]) {
    walk.held = { text: record.event === "held" ? record.outcome : `${capital(record.outcome)}. ${HELD[record.event]}` };
    showRunning(walk);
  }
  if (STATUS[record.event] && record.step !== undefined) {
    const text = record.event === "step_failed" && record.outcome ? `failed: ${record.outcome}` : STATUS[record.event].text;
    walk.steps[record.step] = { ...STATUS[record.event], text };
    showRunning(walk);
  }
}

function showRunning(mine) {
  showModal({
    heading: mine.head,
    body: [spinner(mine.lost ? "The connection is lost. The plan goes on without this page; looking for it…" : "Carrying out the plan. You can close this window: it goes on."), el("ol", { class: "steps" }, mine.plan.steps.map((step, at) => stepItem(step, at, null, mine.steps[at] || STATUS.waiting))), watching(mine)],
  });
}

async function run(mine, typed) {
  mine.running = true;
  mine.lost = false;
  mine.held = null;
  // Each confirmation is one execution, however often the request is sent.
  mine.key = crypto.randomUUID?.() || String(Math.random());
  showRunning(mine);
  try {
    const said = { digest: mine.tried.digest, confirmed: true, typed_name: typed || null };
    const outcome = await post(`/api/remediate/${mine.plan.plan_id}/apply`, said, { "idempotency-key": mine.key });
    mine.running = false;
    if (walk === mine) showOutcome(mine, outcome);
    else toast(outcome.summary || outcome.output);
  } catch (error) {
    if (!(error instanceof Refused)) return lostWhileRunning(mine);
    mine.running = false;
    if (walk === mine) showRefused(mine, error);
    else toast(error.message);
  }
}

/** The host knows what became of it, from its trail. */
async function lostWhileRunning(mine) {
  mine.lost = true;
  while (walk === mine) {
    showRunning(mine);
    await new Promise((done) => setTimeout(done, 1500));
    try {
      const { state: now } = await get(`/api/plans/${mine.plan.plan_id}`);
      if (now?.is_finished) {
        mine.running = false;
        refresh();
        return showFinished(mine, now);
      }
      if (!now?.approved_by) {
        mine.running = false;
        return showModal({ heading: mine.head, body: el("div", { class: "banner warn" }, el("p", {}, "The host did not begin with the plan. Nothing was changed.")), foot: el("button", { type: "button", onclick: () => tryPlan(mine, mine.plan) }, "Look again") });
      }
    } catch {
      // Still no connection.
    }
  }
}

function showRefused(mine, error) {
  const { people, so_far } = error.problem;
  if (people) {
    return showModal({
      heading: mine.head,
      body: el("div", { class: "banner warn", role: "status" }, el("h3", {}, `Confirmed by ${so_far} of ${people} people`), el("p", {}, "Your yes is kept for ten minutes. Somebody else has to open this plan under Remediations, and confirm it too."), el("p", {}, "Nothing was changed.")),
      foot: el("button", { type: "button", class: "primary", onclick: () => modal.close() }, "Done"),
    });
  }
  const stale = error.problem.code === "stale";
  const busy = error.problem.code === "busy";
  const heads = { stale: "Something changed meanwhile", busy: "Another plan is at work on this app", disabled: "Applying is switched off" };
  const grave = (error.problem.standing || 0) > 0;
  showModal({
    heading: mine.head,
    body: [
      el("div", { class: `banner ${stale || busy ? "warn" : "bad"}`, role: "alert" }, el("h3", {}, heads[error.problem.code] || "The plan was not carried out"), el("p", {}, error.message), grave ? el("p", {}, "Look at the Audit tab: some steps may stand in the cluster.") : el("p", {}, "Nothing was changed.")),
    ],
    foot: (stale || busy) && el("button", { type: "button", class: "primary", id: "again", onclick: () => tryPlan(mine, mine.plan) }, "Look again"),
  });
}

const ENDINGS = {
  succeeded: ["The fix is in place", "good"],
  undone: ["It did not work, and everything was put back", "warn"],
  stopped: ["It did not work, and was stopped", "bad"],
  stuck: ["A person has to look", "bad"],
};

function verdictOf(outcome) {
  const recovery = outcome.rescan?.recovery;
  if (outcome.ending === "succeeded" && recovery === "unproven") {
    return ["The plan was carried out, and nobody watched whether it helps for long", "warn"];
  }
  if (outcome.ending === "undone" && recovery === "relapsed") {
    return ["It helped for a moment only, and everything was put back", "warn"];
  }
  if (outcome.ending === "succeeded" && recovery && recovery !== "resolved") {
    return ["The plan was carried out, but the problem is not solved", "warn"];
  }
  return ENDINGS[outcome.ending] || ENDINGS.stuck;
}

function showOutcome(mine, outcome, undo = false) {
  const [heading, kind] = undo && outcome.success ? ["Everything is as it was before the plan", "good"] : verdictOf(outcome);
  const mark = { settled: STATUS.step_settled, applied: STATUS.step_applied, undone: STATUS.step_undone, stuck: STATUS.undo_failed, unknown: STATUS.step_unknown, untouched: { mark: "–", kind: "", text: "was not begun" } };
  const { rescan } = outcome;
  const list = (findings, none) => (findings.length ? el("ul", {}, findings.map((finding) => el("li", {}, finding.title))) : el("p", { class: "muted" }, none));
  showModal({
    heading: mine.head,
    body: [
      el("div", { class: `banner ${kind}`, role: "status" }, el("h3", {}, heading), el("p", { id: "summary" }, undo && outcome.success ? "What was wrong then may come back: that is what undoing means." : outcome.summary || "The cluster could not be scanned again, so nobody knows whether it helped."), outcome.error && el("p", {}, `What went wrong: ${outcome.error}`)),
      el("ol", { class: "steps" }, mine.plan.steps.map((step, at) => stepItem(step, at, null, mark[outcome.steps[at]] || mark.untouched))),
      rescan && !undo && el("div", { class: "two" }, el("div", {}, el("h3", {}, "Before"), list([...rescan.fixed, ...rescan.remaining], "Nothing was wrong.")), el("div", {}, el("h3", {}, "After"), list([...rescan.remaining, ...rescan.new], "Nothing is wrong any more."), rescan.new.length > 0 && el("p", { class: "small" }, `${plural(rescan.new.length, "finding is", "findings are")} new.`))),
    ],
    foot: el("div", { class: "row" }, undoButton(mine, outcome), el("span", { class: "space" }), el("button", { type: "button", class: "primary", onclick: () => modal.close() }, "Done")),
  });
  $("modal-title").focus();
}

function undoButton(mine, outcome) {
  if (outcome.ending !== "succeeded") return null;
  return el("button", { type: "button", id: "undo", onclick: () => undo(mine) }, "Undo");
}

async function undo(mine) {
  mine.running = true;
  mine.steps = [];
  showModal({ heading: mine.head, body: spinner("Putting everything back as it was before the plan…") });
  try {
    const outcome = await post(`/api/remediate/${mine.plan.plan_id}/undo`);
    mine.running = false;
    if (walk === mine) showOutcome(mine, outcome, true);
  } catch (error) {
    mine.running = false;
    if (walk === mine) error instanceof Refused ? showRefused(mine, error) : lostWhileRunning(mine);
  }
}

function showFinished(mine, now) {
  const [ending] = (now.outcome || "").split(":");
  // What the last look said of it stands in the trail.
  const [heading, kind] = ending === "succeeded" ? ["The plan was carried out", "good"] : ENDINGS[ending] || ENDINGS.stuck;
  showModal({
    heading: mine.head,
    body: el("div", { class: `banner ${kind}`, role: "status" }, el("h3", {}, heading), now.outcome !== "succeeded: done" && el("p", {}, capital(now.outcome)), now.findings && el("p", { id: "summary" }, `${plural(now.findings[0], "finding")} before, ${plural(now.findings[1], "finding")} after.`)),
    foot: el("button", { type: "button", class: "primary", onclick: () => modal.close() }, "Done"),
  });
}

// ---------------------------------------------------------------------------------------------- remediations

const EVENTS = {
  asked: "model asked", suggested: "suggested", not_suggested: "no plan was found", permitted: "allowed by policy", denied: "refused by policy", dry_run: "tried without changing anything", approved: "approved", resumed: "taken up again",
  step_intended: "step begins", step_applied: "step written", step_failed: "step failed", step_unknown: "step: nobody knows", step_unsettled: "step did not come to rest", step_settled: "step done",
  undo_intended: "undo begins", step_undone: "step undone", undo_failed: "undo failed", undo_asked: "undo asked for", holding: "being watched", held: "it held", relapsed: "it came back", regressed: "something else broke", finished: "came to its end", rescanned: "cluster scanned again",
};
const inWords = (event) => EVENTS[event] || event.replaceAll("_", " ");

function remediations() {
  return [
    el("h1", {}, "Remediations"),
    state.plans.length === 0
      ? el("div", { class: "card" }, el("p", { class: "muted" }, "No plan was suggested yet. Open AI Diagnoses and choose Suggest Fix."))
      : state.plans.map((plan) => {
          const running = plan.approved_by && !plan.is_finished;
          const ending = plan.is_finished ? (plan.outcome || "").split(":")[0] : null;
          const kind = running ? "warn" : { succeeded: "good", undone: "warn" }[ending] || (ending ? "bad" : "info");
          return el(
            "article",
            { class: "card" },
            el("div", { class: "row" }, pill(running ? "is being carried out" : ending || inWords(plan.last), kind), el("strong", {}, plan.summary || plan.plan_id), el("span", { class: "muted small" }, when(plan.at)), el("span", { class: "space" }), el("button", { type: "button", onclick: () => details(plan) }, "Details")),
            plan.findings && el("p", { class: "small" }, `${plural(plan.findings[0], "finding")} before, ${plural(plan.findings[1], "finding")} after.`),
          );
        }),
  ];
}

async function details(known) {
  openModal(known.summary || known.plan_id);
  const mine = walk;
  showModal({ heading: mine.head, body: spinner("Reading…") });
  try {
    const { plan, state: now } = await get(`/api/plans/${known.plan_id}`);
    if (walk !== mine) return;
    mine.plan = plan;
    const mark = { settled: STATUS.step_settled, applied: STATUS.step_applied, undone: STATUS.step_undone, stuck: STATUS.undo_failed, unknown: STATUS.step_unknown };
    const begun = now?.steps.length > 0;
    const foot = [el("button", { type: "button", onclick: () => copy(plan.steps.map((step) => step.command).join("\n"), "All commands") }, "Copy All Commands"), el("span", { class: "space" })];
    if (!now?.approved_by && mayAct()) foot.push(el("button", { type: "button", class: "primary", onclick: () => tryPlan(mine, plan) }, "Look at it again"));
    if (now?.is_finished && now.outcome?.startsWith("succeeded") && mayAct()) foot.push(undoButton(mine, { ending: "succeeded" }));
    showModal({
      heading: plan.summary,
      badge: pill(`${plan.risk_level} risk`, plan.risk_level),
      body: [now?.outcome && el("p", {}, `How it ended: ${now.outcome}.`), el("ol", { class: "steps" }, plan.steps.map((step, at) => stepItem(step, at, null, begun ? mark[now.steps[at]] || { mark: "–", kind: "", text: "was not begun" } : null)))],
      foot: el("div", { class: "row" }, foot),
    });
  } catch (error) {
    if (walk === mine) showModal({ heading: mine.head, body: failed("The plan can't be read", error) });
  }
}

// ---------------------------------------------------------------------------------------------- audit

const wanted = { text: "", event: "", before: null };

function audit() {
  const rows = el("tbody");
  const more = el("button", { type: "button", class: "hidden", onclick: () => page(true) }, "Older records");
  const chain = el("span", { role: "status", id: "chain" });
  const exported = el("a", { class: "button", href: "/api/audit.csv", download: "argus-audit.csv" }, "Export as CSV");
  async function page(older) {
    const query = new URLSearchParams({ limit: "50" });
    if (wanted.text) query.set("text", wanted.text);
    if (wanted.event) query.set("event", wanted.event);
    exported.href = `/api/audit.csv?${new URLSearchParams([...query].filter(([key]) => key !== "limit"))}`;
    if (older && wanted.before) query.set("before", wanted.before);
    try {
      const records = await get(`/api/audit?${query}`);
      if (!older) fill(rows);
      rows.append(...records.map(recordRow));
      if (!rows.children.length) fill(rows, el("tr", {}, el("td", { colspan: "5", class: "muted" }, "No record fits.")));
      wanted.before = records.at(-1)?.sequence;
      more.classList.toggle("hidden", records.length < 50);
    } catch (error) {
      toast(error.message);
    }
  }
  async function verify() {
    fill(chain, spinner("Checking every record…"));
    try {
      const { ok, records, unproven, problem } = await get("/api/audit/verify");
      if (!ok) fill(chain, pill(`✗ ${problem}`, "bad"));
      else if (unproven) fill(chain, pill(`⚠ ${plural(records, "record")}, and the first ${unproven} are not there: they are said to have been removed, and nothing proves it`, "warn"));
      else fill(chain, pill(`✓ The chain is whole: ${plural(records, "record")}`, "good"));
    } catch (error) {
      fill(chain, pill(error.message, "bad"));
    }
  }
  const text = el("input", { id: "audit-text", type: "search", value: wanted.text, placeholder: "in commands and outcomes" });
  const event = el("select", { id: "audit-event" }, el("option", { value: "" }, "everything"), Object.entries(EVENTS).map(([id, name]) => el("option", { value: id, selected: wanted.event === id }, name)));
  const form = el(
    "form",
    {
      class: "card row",
      "data-keep": "",
      onsubmit: (submitted) => {
        submitted.preventDefault();
        Object.assign(wanted, { text: text.value, event: event.value, before: null });
        page(false);
      },
    },
    el("label", { for: "audit-text" }, "Find"),
    text,
    el("label", { for: "audit-event" }, "What happened"),
    event,
    el("button", { type: "submit" }, "Filter"),
    el("span", { class: "space" }),
    exported,
    el("button", { type: "button", id: "verify", onclick: verify }, "Check the chain"),
    chain,
  );
  page(false);
  return [
    el("h1", {}, "Audit"),
    el("p", { class: "muted" }, "Everything that was suggested, refused, approved and done, written down before it happened. Nobody can change a record without the next one telling."),
    form,
    el("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Records" }, el("table", { class: "stack" }, el("thead", {}, el("tr", {}, ["When", "What happened", "Who", "Command and outcome", "Record"].map((head) => el("th", { scope: "col" }, head)))), rows)),
    more,
  ];
}

function recordRow(record) {
  const who = record.requested_by.user ?? record.requested_by.automatic ?? record.requested_by.name ?? JSON.stringify(record.requested_by);
  const kind = { denied: "bad", step_failed: "bad", undo_failed: "bad", relapsed: "bad", regressed: "bad", step_settled: "good", held: "good", finished: "info" }[record.event] || "info";
  return el(
    "tr",
    {},
    el("td", { class: "time" }, new Date(record.timestamp).toLocaleString()),
    el("td", {}, pill(inWords(record.event), kind), record.step !== undefined && el("div", { class: "small muted" }, `step ${record.step + 1}`)),
    el("td", { class: "who" }, String(who)),
    el("td", {}, record.command && el("pre", {}, record.command), record.outcome && el("div", { class: "small" }, record.outcome)),
    el("td", {}, el("details", { class: "small" }, el("summary", {}, `#${record.sequence}`), el("pre", {}, JSON.stringify(record, null, 2)))),
  );
}

// ---------------------------------------------------------------------------------------------- settings

function settings() {
  const { status } = state;
  const fact = (name, value) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value));
  const interval = el("input", { id: "interval", type: "number", min: "1", max: "3600", value: "", required: true });
  get("/api/settings").then((now) => (interval.value ||= now.watch_interval), () => {});
  const admin = state.me?.role === "admin";
  return [
    el("h1", {}, "Settings"),
    el(
      "form",
      {
        class: "card row",
        "data-keep": "",
        onsubmit: async (event) => {
          event.preventDefault();
          try {
            await post("/api/settings", { watch_interval: Number(interval.value) });
            toast("Saved.");
          } catch (error) {
            toast(error.message);
          }
        },
      },
      el("label", { for: "interval" }, "Look at the cluster every"),
      interval,
      el("span", {}, "seconds"),
      el("button", { type: "submit", disabled: !admin }, "Save"),
    ),
    el(
      "div",
      { class: "card" },
      el(
        "table",
        {},
        el(
          "tbody",
          {},
          fact("Cluster", status.cluster),
          fact("Namespaces that Argus may change", status.namespaces.join(", ")),
          fact("Plans are written by", status.model),
          fact("Applying plans", status.remediation_enabled ? "allowed, after a confirmation" : "switched off: start the host with --remediation-enabled"),
          fact("Plans of high risk", status.allow_high_risk ? "allowed" : "refused"),
          fact("You are", `${state.me.name} (${state.me.role})`),
          fact("Version", status.version),
        ),
      ),
    ),
    state.loggedIn && el("button", { type: "button", onclick: () => post("/api/logout").finally(() => location.reload()) }, "Log out"),
  ];
}

// ---------------------------------------------------------------------------------------------- login, events, start

function showLogin() {
  if ($("token")) return;
  const token = el("input", { id: "token", type: "password", autocomplete: "current-password", required: true });
  const wrong = el("p", { role: "alert" });
  $("tabs").replaceChildren();
  fill(
    $("main"),
    el(
      "form",
      {
        class: "card",
        onsubmit: async (event) => {
          event.preventDefault();
          try {
            await post("/api/login", { token: token.value });
            location.reload();
          } catch (error) {
            wrong.textContent = error.message;
          }
        },
      },
      el("h1", {}, "Log in"),
      el("p", {}, el("label", { for: "token" }, "Your token"), " ", token),
      wrong,
      el("button", { type: "submit", class: "primary" }, "Log in"),
    ),
  );
}

function listen() {
  const events = new EventSource("/api/events");
  events.addEventListener("scan", refresh);
  events.addEventListener("record", (event) => {
    onRecord(JSON.parse(event.data));
    refresh();
  });
  events.addEventListener("open", refresh);
  events.addEventListener("error", () => {
    state.lost = true;
    show();
    // The browser gave up, as where the login is over.
    if (events.readyState === EventSource.CLOSED) setTimeout(start, 2000);
  });
}

$("rescan").addEventListener("click", async () => {
  $("rescan").disabled = true;
  try {
    await post("/api/scan");
  } catch (error) {
    toast(error.message);
  }
  refresh();
});

$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
});
if (localStorage.getItem("theme")) document.documentElement.dataset.theme = localStorage.getItem("theme");
addEventListener("hashchange", () => open(location.hash.slice(1)));
setInterval(showFrame, 10_000);

async function start() {
  try {
    state.me = await get("/api/me");
    state.loggedIn = state.me.name !== "operator";
  } catch (error) {
    if (error instanceof Refused) return;
    state.lost = true;
    show();
    setTimeout(start, 2000);
    return;
  }
  await refresh();
  listen();
}
start();
