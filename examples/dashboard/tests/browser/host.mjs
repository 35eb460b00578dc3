// Starts dashboards, a cluster to share, a model that says what a test wants, and a browser.
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const program = process.env.ARGUS_DASHBOARD;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const shots = process.env.ARGUS_SCREENSHOTS || mkdtempSync(join(tmpdir(), "argus-screenshots-"));
mkdirSync(shots, { recursive: true });

/** Starts a dashboard; `url` is where it is, `cluster` its cluster in memory. */
export async function start(...flags) {
  const child = spawn(program, flags.some((flag) => flag === "--listen") ? flags : ["--listen", "127.0.0.1:0", ...flags], { stdio: ["ignore", "ignore", "pipe"] });
  const host = { child, log: "" };
  await new Promise((resolve, reject) => {
    child.stderr.on("data", (data) => {
      host.log += data;
      host.url = host.log.match(/the dashboard is at (https?:\/\/[^/"]+)/)?.[1];
      host.cluster = host.log.match(/--server=(http:\/\/[0-9.:]+)/)?.[1];
      if (host.url) resolve();
    });
    child.on("exit", (code) => reject(new Error(`the dashboard ended with ${code}: ${host.log}`)));
    setTimeout(() => reject(new Error(`the dashboard does not start: ${host.log}`)), 30_000).unref();
  });
  host.stop = (signal = "SIGTERM") =>
    new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode) return resolve();
      child.on("exit", resolve);
      child.kill(signal);
    });
  host.get = async (path) => (await fetch(host.url + path)).json();
  return host;
}

/** A folder that is gone after the tests. */
export function folder() {
  const path = mkdtempSync(join(tmpdir(), "argus-dashboard-"));
  process.on("exit", () => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A kubeconfig for a cluster on the loopback. */
export function kubeconfig(server) {
  const file = join(folder(), "kubeconfig");
  const text = { apiVersion: "v1", kind: "Config", "current-context": "c", contexts: [{ name: "c", context: { cluster: "c", user: "u" } }], clusters: [{ name: "c", cluster: { server } }], users: [{ name: "u", user: {} }] };
  writeFileSync(file, JSON.stringify(text));
  return file;
}

/** Another client of the cluster. */
export async function kubectl(cluster, method, path, body) {
  const type = method === "PATCH" ? "application/strategic-merge-patch+json" : "application/json";
  const response = await fetch(cluster + path, { method, headers: { "content-type": type }, body: body && JSON.stringify(body) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** A model that speaks OpenAI's chat completions and answers with `model.plan`. */
export async function model() {
  const model = { plan: null };
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      const message = { role: "assistant", content: JSON.stringify(model.plan) };
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ id: "1", object: "chat.completion", created: 1, model: "scripted", choices: [{ index: 0, finish_reason: "stop", message }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } }));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  model.flags = ["--model", "scripted", "--endpoint", `http://127.0.0.1:${server.address().port}/v1/`];
  model.stop = () => server.close();
  return model;
}

export const plan = (summary, steps) => ({ summary, steps: steps.map((command) => ({ description: "Do what is needed, because it helps.", command })), risk_level: "low", risk_reason: "It is small.", rollback_steps: [] });

let browser;
/** A page whose every complaint fails the test. */
export async function open(t, url, options = {}) {
  browser ||= await chromium.launch({ executablePath: process.env.ARGUS_CHROMIUM, args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  page.on("console", (message) => {
    // The browser itself notes answers of 4xx and lost connections.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) page.complaints.push(message.text());
  });
  page.on("dialog", (dialog) => page.complaints.push(`a dialog: ${dialog.message()}`));
  t.after(async () => {
    await context.close();
    if (page.complaints.length) throw new Error(page.complaints.join("\n"));
  });
  await page.goto(url);
  return page;
}

export const close = () => browser?.close();

/** Takes a picture, and asks axe whether everybody can use what is on it. */
export async function look(page, name) {
  await page.screenshot({ path: join(shots, `${name}.png`) });
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }));
  const words = found.violations.map((rule) => `${rule.id}: ${rule.help}\n  ${rule.nodes.map((node) => node.html).join("\n  ")}`);
  if (words.length) throw new Error(`${name} is not for everybody:\n${words.join("\n")}`);
}
