// The example application as its user sees it: a job is started, its page reloaded, sse-server restarted, and the bar arrives.
//   ORIGIN=http://localhost:PORT RESTART='["supervisorctl", …]' node job-runner.mjs
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { launchBrowser } from "./browser.mjs";

const { ORIGIN, RESTART, SCREENSHOT } = process.env;
const browser = await launchBrowser();
const page = await browser.newPage({ viewport: { width: 800, height: 400 } });
const trouble = [];
page.on("pageerror", (error) => trouble.push(error.message));
// Everything that the page has said since it was loaded, even if the next word came at once.
await page.addInitScript(() => {
  window.percents = [];
  window.states = [];
  const note = (records) => {
    for (const { target, addedNodes } of records) {
      const text = [...addedNodes].map((node) => node.textContent).join("");
      if (target.nodeName === "OUTPUT") window.percents.push(parseInt(text, 10));
      else if (target.role === "status") window.states.push(text);
    }
  };
  new MutationObserver(note).observe(document, { childList: true, subtree: true });
});
const percents = () => page.evaluate(() => window.percents);
const states = () => page.evaluate(() => window.states);
const value = () => page.getByRole("progressbar").evaluate((bar) => bar.value);
const reaches = (percent) => page.waitForFunction((percent) => window.percents.at(-1) >= percent, percent, { timeout: 30_000 });
const rising = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

await page.goto(ORIGIN);
await page.getByRole("button", { name: "Start a job" }).click();
await page.getByRole("heading", { name: "Job 1" }).waitFor();
await reaches(20);
const before = await value();
assert.deepEqual(await percents().then((seen) => seen.slice(0, before + 1)), rising(0, before), "each step moves the bar");

await page.reload();
const [reloaded] = await percents();
assert.ok(reloaded >= before, `${reloaded} % after the reload, ${before} % before`);
await reaches(reloaded + 5);
if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT });
const at = await value();
assert.ok(at < 60, `the job is at ${at} %, too far to be interrupted`);
const [program, ...words] = JSON.parse(RESTART);
console.log((await promisify(execFile)(program, words)).stdout);
assert.ok((await value()) < 100, "the job goes on after the restart");

await page.getByRole("status").getByText("Finished").waitFor({ timeout: 30_000 });
const seen = await percents();
assert.deepEqual(seen, rising(reloaded, 100), "no step is missing or comes twice");
const said = await states();
assert.ok(said.filter((state) => state === "Running").length >= 2, `the stream was cut and came back: ${said}`);
assert.equal(await value(), 100);
await page.reload();
await page.getByRole("status").getByText("Finished").waitFor();
assert.deepEqual(trouble, []);
console.log(`reloaded at ${before} %, restarted at ${at} %, arrived at 100 %`);
await browser.close();
