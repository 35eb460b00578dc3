// What somebody does who never used Kubernetes, in a real browser.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { close, folder, kubeconfig, kubectl, look, model, open, plan, shots, start } from "./host.mjs";

after(close);
const WEB = "/apis/apps/v1/namespaces/shop/deployments";

const card = (page, app) => page.locator("article", { hasText: app });
async function suggest(page, app) {
  await page.getByRole("tab", { name: "AI Diagnoses" }).click();
  await card(page, app).getByRole("button", { name: "Suggest Fix" }).click();
}
const applyButton = (page) => page.getByRole("button", { name: "Apply Fix" });
async function confirm(page) {
  await page.getByLabel("I understand this will change my cluster").check();
  await applyButton(page).click();
}

test("from a finding to fixed, and back", async (t) => {
  const host = await start();
  t.after(() => host.stop());
  const page = await open(t, host.url);
  await page.getByRole("heading", { name: /apps? needs? a look/ }).waitFor();
  await page.getByText("shopify-rpa runs out of memory").first().waitFor();
  await page.getByRole("cell", { name: "memory-node-0" }).waitFor();
  await look(page, "overview");

  await suggest(page, "shopify-rpa runs out of memory");
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Tried, and allowed by policy.").waitFor();
  assert.match(await dialog.innerText(), /medium risk/);
  assert.match(await dialog.innerText(), /The memory that one copy of app may use goes from 128Mi to 256Mi\./);
  assert.equal(await applyButton(page).isDisabled(), true);
  // Rollback and what only experts read are folded.
  assert.equal(await dialog.locator("details[open]").count(), 0);
  await look(page, "plan");

  await dialog.getByRole("button", { name: "Copy All Commands" }).click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, "kubectl set resources deployment/shopify-rpa -n shop -c app --limits=memory=256Mi");

  await page.getByLabel("I understand this will change my cluster").check();
  await page.getByLabel("I understand this will change my cluster").uncheck();
  assert.equal(await applyButton(page).isDisabled(), true);
  await confirm(page);
  await dialog.getByText("Carrying out the plan").waitFor();
  await look(page, "applying");
  await page.locator("#summary").waitFor();
  assert.match(await page.locator("#summary").innerText(), /^Fixed: 1 issue resolved\. Remaining: 2 issues still present\./);
  assert.match(await dialog.innerText(), /The fix is in place/);
  assert.match(await dialog.innerText(), /Before[\s\S]*shopify-rpa runs out of memory[\s\S]*After/);
  await look(page, "fixed");

  const after = await kubectl(host.cluster, "GET", `${WEB}/shopify-rpa`);
  assert.equal(after.spec.template.spec.containers[0].resources.limits.memory, "256Mi");
  await dialog.getByRole("button", { name: "Undo" }).click();
  await dialog.getByText("Everything is as it was before the plan").waitFor();
  const back = await kubectl(host.cluster, "GET", `${WEB}/shopify-rpa`);
  assert.equal(back.spec.template.spec.containers[0].resources.limits.memory, "128Mi");
  await look(page, "undone");
  await dialog.getByRole("button", { name: "Done" }).click();

  await page.getByRole("tab", { name: "Remediations" }).click();
  await page.getByText("undone", { exact: true }).waitFor();
  await look(page, "remediations");
  await page.getByRole("button", { name: "Details" }).first().click();
  await dialog.getByText("How it ended: undone").waitFor();
  await look(page, "details");
  await page.keyboard.press("Escape");

  await page.getByRole("tab", { name: "Audit" }).click();
  await page.getByRole("button", { name: "Check the chain" }).click();
  await page.getByText(/The chain is whole: \d+ records/).waitFor();
  await look(page, "audit");
  await page.getByLabel("What happened").selectOption("approved");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.waitForFunction(() => document.querySelectorAll("main tbody tr").length === 1);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Export as CSV" }).click()]);
  assert.equal(download.suggestedFilename(), "argus-audit.csv");
  await page.getByRole("tab", { name: "Settings" }).click();
  await page.getByText("allowed, after a confirmation").waitFor();
  await look(page, "settings");
});

test("with the keyboard alone, in the dark, on a phone", async (t) => {
  const host = await start();
  t.after(() => host.stop());
  const page = await open(t, host.url, { viewport: { width: 390, height: 844 }, colorScheme: "dark" });
  await page.getByRole("tab", { name: "Overview" }).focus();
  await page.keyboard.press("ArrowRight");
  const button = card(page, "checkout can't load its image").getByRole("button", { name: "Suggest Fix" });
  await button.waitFor();
  await look(page, "phone-dark-diagnoses");
  const focused = (wanted) => page.evaluate(([wanted]) => document.activeElement?.textContent.trim() === wanted || document.activeElement?.id === wanted, [wanted]);
  const tabTo = async (wanted) => {
    for (let presses = 0; presses < 60; presses++) {
      if (await focused(wanted)) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`${wanted} can't be reached with the keyboard`);
  };
  await tabTo("Suggest Fix");
  await page.keyboard.press("Enter");
  await page.getByText("Tried, and allowed by policy.").waitFor();
  await look(page, "phone-dark-plan");
  await tabTo("understand");
  await page.keyboard.press("Space");
  await tabTo("apply");
  await page.keyboard.press("Enter");
  await page.getByText("The fix is in place").waitFor();
  await look(page, "phone-dark-fixed");
  await tabTo("Done");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
});

test("plans that go too far, that only people may carry out, and of high risk", async (t) => {
  const scripted = await model();
  const host = await start(...scripted.flags, "--allow-high-risk");
  t.after(() => (host.stop(), scripted.stop()));
  const page = await open(t, host.url);
  const dialog = page.getByRole("dialog");

  scripted.plan = plan("Stop coredns.", ["kubectl scale deployment/coredns -n kube-system --replicas=1"]);
  await suggest(page, "newsletter");
  await dialog.getByText("Policy does not allow this plan").waitFor();
  assert.match(await dialog.innerText(), /kube-system/);
  assert.equal(await applyButton(page).count(), 0);
  assert.equal(await dialog.getByRole("button", { name: "Copy All Commands" }).count(), 1);
  await look(page, "denied");
  await page.keyboard.press("Escape");

  scripted.plan = plan("Empty a machine.", ["kubectl drain node-1"]);
  await suggest(page, "newsletter");
  await dialog.getByText("A person has to do this").waitFor();
  assert.doesNotMatch(await dialog.innerText(), /low risk/);
  assert.equal(await applyButton(page).count(), 0);
  await look(page, "manual");
  await page.keyboard.press("Escape");

  scripted.plan = plan("Switch the web app off.", ["kubectl scale deployment/web -n shop --replicas=0"]);
  await suggest(page, "newsletter");
  await dialog.getByText("Tried, and allowed by policy.").waitFor();
  assert.match(await dialog.innerText(), /high risk/);
  await page.getByLabel("I understand this will change my cluster").check();
  assert.equal(await applyButton(page).isDisabled(), true);
  await page.getByLabel("Type the name").fill("wbe");
  assert.equal(await applyButton(page).isDisabled(), true);
  await page.getByLabel("Type the name").fill("web");
  await look(page, "high-risk");
  await applyButton(page).click();
  // An app that is switched off is not a fix.
  await dialog.getByText(/but the problem is not solved|everything was put back/).waitFor();
  await look(page, "not-solved");
  await page.keyboard.press("Escape");

  scripted.plan = { prose: "Sure! Just restart it." };
  await suggest(page, "newsletter");
  await dialog.getByText("There is no plan for this").waitFor();
  await look(page, "no-plan");
});

test("a model says what is behind it", async (t) => {
  const scripted = await model();
  const host = await start(...scripted.flags, "--reading-logs");
  t.after(() => (host.stop(), scripted.stop()));
  const page = await open(t, host.url);
  scripted.plan = { root_cause: "The newsletter wants a machine that nobody has", explanation: "It asks for more than any machine can give.", confidence: 0.4, recommendations: ["Ask for less."] };
  await page.getByRole("tab", { name: "AI Diagnoses" }).click();
  await card(page, "newsletter").getByRole("button", { name: "Ask scripted what is behind it" }).click();
  const told = card(page, "The newsletter wants a machine that nobody has");
  await told.getByText("What helps: Ask for less.").waitFor();
  assert.match(await told.innerText(), /Argus is not sure[\s\S]*by scripted/);
  // It stays while the findings are the same.
  await page.reload();
  await told.waitFor();
  await look(page, "asked");
});

test("more findings than a page shows at once", async (t) => {
  const host = await start();
  t.after(() => host.stop());
  for (let number = 0; number < 52; number++) {
    const [name, labels] = [`many-${number}`, { app: `many-${number}` }];
    await kubectl(host.cluster, "POST", WEB, { apiVersion: "apps/v1", kind: "Deployment", metadata: { name, namespace: "shop" }, spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [{ name: "app", image: `registry.example/many:does-not-exist` }] } } } });
  }
  const page = await open(t, host.url);
  await page.getByText(/^50 of \d+ findings are shown\.$/).waitFor();
  await look(page, "many");
  await page.getByRole("button", { name: "Show more" }).first().click();
  await page.getByText(/findings are shown\.$/).waitFor({ state: "detached" });
  await page.getByRole("tab", { name: "AI Diagnoses" }).click();
  await page.locator("article").nth(52).waitFor();
});

test("somebody changes the app while the plan is read", async (t) => {
  const host = await start();
  t.after(() => host.stop());
  const page = await open(t, host.url);
  await suggest(page, "shopify-rpa runs out of memory");
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Tried, and allowed by policy.").waitFor();
  await kubectl(host.cluster, "PATCH", `${WEB}/shopify-rpa`, { spec: { template: { spec: { containers: [{ name: "app", env: [{ name: "NEW", value: "1" }] }] } } } });
  await confirm(page);
  await dialog.getByText("Something changed meanwhile").waitFor();
  await look(page, "stale");
  // While it is tried again, the first try can't be confirmed.
  let answer;
  await page.route("**/dry-run", (route) => (answer = () => route.continue()));
  await dialog.getByRole("button", { name: "Look again" }).click();
  await dialog.getByText("Trying it on the cluster without changing anything…").waitFor();
  assert.equal(await applyButton(page).count(), 0);
  assert.equal(await dialog.getByText("Tried, and allowed by policy.").count(), 0);
  while (!answer) await new Promise((done) => setTimeout(done, 10));
  await answer();
  await dialog.getByText("Tried, and allowed by policy.").waitFor();
  await confirm(page);
  await dialog.getByText("The fix is in place").waitFor();
});

test("the host dies while it applies, and starts again", async (t) => {
  const cluster = await start();
  const data = folder();
  const flags = ["--kubeconfig", kubeconfig(cluster.cluster), "--namespace", "shop", "--data", data, "--remediation-enabled", "--watch-interval", "1"];
  let host = await start(...flags);
  t.after(() => Promise.all([host.stop("SIGKILL"), cluster.stop()]));
  const page = await open(t, host.url);
  await suggest(page, "shopify-rpa runs out of memory");
  await page.getByText("Tried, and allowed by policy.").waitFor();
  await confirm(page);
  await page.getByText("waiting until the app has come to rest").waitFor();
  await host.stop("SIGKILL");
  await page.getByText("The connection is lost.").waitFor();
  await page.screenshot({ path: join(shots, "lost.png") });
  host = await start("--listen", new URL(host.url).host, ...flags);
  await page.getByText("The plan was carried out").waitFor();
  await look(page, "lost-and-found");
  // A page that was opened anew says the same.
  await page.reload();
  await page.getByRole("tab", { name: "Remediations" }).click();
  await page.getByText("succeeded", { exact: true }).waitFor();
  const app = await kubectl(cluster.cluster, "GET", `${WEB}/shopify-rpa`);
  assert.equal(app.spec.template.spec.containers[0].resources.limits.memory, "256Mi");
  assert.equal(app.metadata.generation, 2);
});

test("told to end while a plan runs, it ends after it", async (t) => {
  const host = await start();
  t.after(() => host.stop("SIGKILL"));
  const post = async (path, body) => {
    const response = await fetch(host.url + path, { method: "POST", headers: { "content-type": "application/json" }, body: body && JSON.stringify(body) });
    return { status: response.status, ...(await response.json()) };
  };
  let incident;
  while (!incident) {
    incident = (await host.get("/api/diagnoses")).incidents.find(({ diagnosis }) => diagnosis.root_cause === "shopify-rpa runs out of memory");
    await new Promise((done) => setTimeout(done, 100));
  }
  const { plan_id } = await post(`/api/remediate/${incident.incident_id}`);
  const { digest } = await post(`/api/remediate/${plan_id}/dry-run`);
  const events = await fetch(`${host.url}/api/events`);
  const applied = post(`/api/remediate/${plan_id}/apply`, { digest, confirmed: true });
  while ((await host.get("/api/plans")).plans[0].approved_by === null) await new Promise((done) => setTimeout(done, 10));
  const ended = host.stop();
  assert.equal((await applied).success, true);
  await ended;
  assert.equal(host.child.exitCode, 0);
  await events.body.cancel();
});

test("text from the cluster is shown as text", async (t) => {
  const host = await start();
  t.after(() => host.stop());
  const image = "registry.example/<img src=x onerror=alert(1)>:does-not-exist";
  const container = { name: "app", image };
  const labels = { app: "evil" };
  await kubectl(host.cluster, "POST", WEB, { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "evil", namespace: "shop" }, spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [container] } } } });
  const page = await open(t, host.url);
  await page.getByRole("tab", { name: "AI Diagnoses" }).click();
  await card(page, "evil").getByText("onerror").first().waitFor();
  assert.equal(await page.locator("main img").count(), 0);
  await suggest(page, "evil");
  await page.getByRole("dialog").getByText(/allowed by policy|There is nothing to do|has to do this|no plan/).first().waitFor();
  assert.equal(await page.locator("dialog img").count(), 0);
});

test("with applying switched off, and for somebody who may only look", async (t) => {
  const cluster = await start();
  const sha = (token) => createHash("sha256").update(token).digest("hex");
  const config = join(folder(), "config.yaml");
  writeFileSync(config, `users:\n- {name: grace, role: operator, token_sha256: ${sha("grace's token")}}\n- {name: vera, role: viewer, token_sha256: ${sha("vera's token")}}\n`);
  const host = await start("--kubeconfig", kubeconfig(cluster.cluster), "--namespace", "shop", "--data", folder(), "--config", config, "--watch-interval", "1");
  t.after(() => Promise.all([host.stop(), cluster.stop()]));
  const page = await open(t, host.url);
  await page.getByLabel("Your token").fill("a wrong token");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("nobody has this token").waitFor();
  await look(page, "login");
  await page.getByLabel("Your token").fill("grace's token");
  await page.getByRole("button", { name: "Log in" }).click();
  await suggest(page, "shopify-rpa runs out of memory");
  await page.getByText("Applying is switched off on this host.").waitFor();
  assert.equal(await applyButton(page).count(), 0);
  await look(page, "switched-off");
  await page.keyboard.press("Escape");
  await page.getByRole("tab", { name: "Settings" }).click();
  assert.equal(await page.getByRole("button", { name: "Save" }).isDisabled(), true);
  await page.getByRole("button", { name: "Log out" }).click();

  await page.getByLabel("Your token").fill("vera's token");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("tab", { name: "AI Diagnoses" }).click();
  assert.equal(await card(page, "shopify-rpa").getByRole("button", { name: "Suggest Fix" }).isDisabled(), true);
});

test("for others, over HTTPS", async (t) => {
  const keys = folder();
  const openssl = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"];
  execFileSync("openssl", openssl, { cwd: keys, stdio: "ignore" });
  const config = join(keys, "config.yaml");
  writeFileSync(config, `users:\n- {name: ada, role: admin, token_sha256: ${createHash("sha256").update("ada's token").digest("hex")}}\n`);
  const https = ["--tls-cert", join(keys, "cert.pem"), "--tls-key", join(keys, "key.pem")];
  await assert.rejects(start("--listen", "0.0.0.0:0"), /can be reached by others/);
  await assert.rejects(start("--listen", "0.0.0.0:0", "--config", config), /can be reached by others/);
  await assert.rejects(start("--listen", "0.0.0.0:0", ...https), /can be reached by others/);
  const host = await start("--listen", "0.0.0.0:0", "--config", config, ...https);
  t.after(() => host.stop());
  assert.match(host.url, /^https:/);
  const page = await open(t, host.url.replace("0.0.0.0", "localhost"), { ignoreHTTPSErrors: true });
  await page.getByLabel("Your token").fill("ada's token");
  await page.getByRole("button", { name: "Log in" }).click();
  await suggest(page, "shopify-rpa runs out of memory");
  await page.getByText("Tried, and allowed by policy.").waitFor();
  await confirm(page);
  await page.getByText("The fix is in place").waitFor();
  const cookies = await page.context().cookies();
  assert.deepEqual(cookies.map(({ httpOnly, secure, sameSite }) => ({ httpOnly, secure, sameSite })), [{ httpOnly: true, secure: true, sameSite: "Strict" }]);
});

test("a cluster that does not answer", async (t) => {
  const cluster = await start();
  const host = await start("--kubeconfig", kubeconfig(cluster.cluster), "--namespace", "shop", "--data", folder(), "--watch-interval", "1");
  t.after(() => host.stop());
  await cluster.stop("SIGKILL");
  const page = await open(t, host.url);
  await page.getByText("The cluster does not answer").waitFor();
  await page.getByText("Not everything could be looked at").waitFor();
  await page.getByText("Nobody knows how the apps are").waitFor();
  await look(page, "no-cluster");
  await page.getByRole("tab", { name: "AI Diagnoses" }).click();
  assert.equal(await page.getByText("Nothing is wrong").count(), 0);
});

const real = { config: process.env.ARGUS_TEST_KUBECONFIG, kubectl: process.env.ARGUS_TEST_KUBECTL };
test("the same journey on a real API server", { skip: real.config ? false : "no control plane is running: use `make test`" }, async (t) => {
  const namespace = `dashboard-${process.pid}`;
  const run = (args, input) => execFileSync(real.kubectl, ["--kubeconfig", real.config, ...args], { input, encoding: "utf8" });
  run(["create", "namespace", namespace]);
  // The very app that is broken in memory.
  const memory = await start();
  const { metadata, spec } = await kubectl(memory.cluster, "GET", `${WEB}/shopify-rpa`);
  await memory.stop();
  const { name, annotations } = metadata;
  run(["apply", "-f", "-"], JSON.stringify({ apiVersion: "apps/v1", kind: "Deployment", metadata: { name, namespace, annotations }, spec }));
  const host = await start("--kubeconfig", real.config, "--namespace", namespace, "--data", folder(), "--remediation-enabled", "--watch-interval", "1");
  t.after(() => (host.stop(), run(["delete", "namespace", namespace, "--wait=false"])));
  const limit = () => run(["get", "deployment", name, "-n", namespace, "-o", "jsonpath={.spec.template.spec.containers[0].resources.limits.memory}"]);

  const page = await open(t, host.url);
  const dialog = page.getByRole("dialog");
  await page.getByRole("tab", { name: "AI Diagnoses" }).click();
  await card(page, "shopify-rpa runs out of memory").waitFor({ timeout: 60_000 });
  await suggest(page, "shopify-rpa runs out of memory");
  await dialog.getByText("Tried, and allowed by policy.").waitFor();
  assert.equal(limit(), "128Mi");
  await confirm(page);
  await dialog.getByText("The fix is in place").waitFor({ timeout: 90_000 });
  assert.match(await page.locator("#summary").innerText(), /^Fixed: \d issues? resolved\. Remaining: no issues\./);
  assert.equal(limit(), "256Mi");
  await look(page, "real-fixed");
  await dialog.getByRole("button", { name: "Undo" }).click();
  await dialog.getByText("Everything is as it was before the plan").waitFor();
  assert.equal(limit(), "128Mi");
});
