// How long it takes until somebody sees something: ARGUS_DASHBOARD and ARGUS_CHROMIUM name the programs.
import { chromium } from "playwright-core";
import { start } from "./host.mjs";

const host = await start();
const browser = await chromium.launch({ executablePath: process.env.ARGUS_CHROMIUM, args: ["--no-sandbox"] });
const times = { first: [], contents: [] };
for (let round = 0; round < 11; round++) {
  // Nothing is kept of the visit before.
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(host.url);
  await page.getByRole("heading", { level: 1 }).waitFor();
  const [first, contents] = await page.evaluate(() => [performance.getEntriesByName("first-contentful-paint")[0]?.startTime, performance.now()]);
  if (first) times.first.push(first);
  times.contents.push(contents);
  await context.close();
}
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)].toFixed(0);
console.log(`first paint after ${median(times.first)} ms, what was found after at most ${median(times.contents)} ms, medians of ${times.first.length} fresh visits`);
await browser.close();
await host.stop();
