// The dashboard under load, used as a person does: with the mouse, the keyboard and a screen reader's eyes, on a desk and on a phone.
//   ORIGIN=http://localhost:PORT TOKEN=… node dashboard.mjs
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { launchBrowser, within } from "./browser.mjs";
import { startLoad } from "./load.mjs";

const { ORIGIN, TOKEN } = process.env;
const READERS = 40;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const load = startLoad(ORIGIN, TOKEN, READERS);
const browser = await launchBrowser();
const health = () => fetch(`${ORIGIN}/sse/health`).then((answer) => answer.json());
await within("the readers are there", async () => (await health()).connections.active === READERS);

async function open(width, colorScheme) {
  const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
  const page = await context.newPage();
  const trouble = [];
  page.on("console", (message) => trouble.push(message.text()));
  page.on("pageerror", (error) => trouble.push(error.message));
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
  });
  await page.goto(`${ORIGIN}/`);
  assert.equal(page.url(), `${ORIGIN}/sse/dashboard`);
  await page.getByText("live", { exact: true }).waitFor();
  return { context, page, trouble };
}

/** Points of the first line of a plot. */
const points = (page, title) =>
  page.locator("figure", { has: page.getByRole("heading", { name: title }) }).locator("path.s0").last().getAttribute("d").then((d) => (d.match(/[ML]/g) ?? []).length);
const now = (page, title) => page.locator("figure", { has: page.getByRole("heading", { name: title }) }).locator("strong").first().textContent();

async function figuresMove(page) {
  for (const title of ["Streams open", "Deliveries a second", "Delivery latency", "Memory", "Saved by compression"]) {
    await within(`${title} has points`, async () => (await points(page, title).catch(() => 0)) >= 4);
  }
  const seen = new Set();
  await within("deliveries change", async () => seen.add(await now(page, "Deliveries a second")).size >= 3);
  assert.equal(await now(page, "Streams open"), String(READERS));
  // In a second without deliveries there is none.
  const latency = page.getByRole("img", { name: /^Delivery latency, the last 5 minutes\. p50: now .* ms, least .*; p99: now .*, most .*\.$/ });
  await within("the plot says the latency in words", async () => (await latency.count()) === 1);
  assert.equal(await page.locator("#health").textContent(), "healthy");
}

async function isNotWide(page) {
  const [page_, window_] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(page_ <= window_, `the page is ${page_} wide in a window of ${window_}`);
}

/** Names, roles, contrast and the rest that can be computed. */
async function isAccessible(page, what) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  const found = violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} ${target}: ${failureSummary}`));
  assert.deepEqual(found, [], what);
  assert.ok(passes.some(({ id, nodes }) => id === "color-contrast" && nodes.length > 20), "contrast was computed");
}

async function operatorSees(page, trouble) {
  const token = page.getByLabel("Publish token");
  await token.fill("not the token");
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await page.getByText("401: the publish token is wrong").waitFor();
  await within("the browser has noted both refusals", async () => trouble.length === 2);
  for (const text of trouble.splice(0)) assert.match(text, /401/);
  assert.equal(await page.getByRole("heading", { name: "Connections" }).count(), 0);
  await token.fill(TOKEN);
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await page.getByText(`${READERS} streams.`, { exact: true }).waitFor();
  const rows = await page.getByRole("table", { name: "Connections" }).getByRole("row").all();
  assert.equal(rows.length, READERS + 1);
  const cells = await rows[1].getByRole("cell").allTextContents();
  assert.match(cells.join("|"), /^127\.0\.0\.1\|job:(\*|\d)\|all\|\d\d:\d\d:\d\d\|[\d,.]+\|[\d.,]+ [KM]?i?B\|\d+\|gzip\|/);
  for (const program of ["nginx", "sse-server"]) {
    await page.getByRole("listitem").filter({ hasText: program }).getByText(/^RUNNING$/).waitFor();
  }
  await page.getByText("nginx: last lines of its output").click();
  await page.getByRole("region", { name: "nginx: last lines of its output" }).getByText(/"GET \/sse\/dashboard/).waitFor();
}

/** Everything that can be done is reached with Tab, in order, and one sees where one is. */
async function worksByKeyboard(page) {
  await page.evaluate(() => {
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
  });
  await page.keyboard.press("Tab");
  const focused = () => page.evaluate(() => {
    const { tagName, id, textContent, labels } = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    const name = id || labels?.[0]?.textContent.trim() || textContent.trim().slice(0, 40);
    return { name, tagName, isSeen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
  });
  assert.equal((await focused()).name, "To the figures");
  await page.keyboard.press("Enter");
  assert.equal((await focused()).name, "figures");
  const seen = [];
  for (let n = 0; n < 20; n += 1) {
    await page.keyboard.press("Tab");
    const one = await focused();
    if (one.tagName === "BODY") break;
    assert.ok(one.isSeen, `one sees that the focus is on ${one.name}`);
    seen.push(one.name);
  }
  const expected = ["The same as a table", "Publish token", "Show", "forget", "nginx: last lines of its errors", "sse-server: last lines of its errors"];
  assert.deepEqual(seen.filter((name) => expected.includes(name)), expected, seen.join(", "));
  await page.getByText("The same as a table").focus();
  await page.keyboard.press("Enter");
  const table = page.getByRole("table", { name: "The last five minutes" });
  await table.getByRole("row", { name: /^Delivery latency, p99 / }).waitFor();
}

const back = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const [LIGHT, DARK] = ["rgb(246, 247, 249)", "rgb(17, 21, 28)"];

for (const [width, scheme] of [[1280, "light"], [360, "dark"]]) {
  const { context, page, trouble } = await open(width, scheme);
  await figuresMove(page);
  await isNotWide(page);
  for (const role of ["banner", "main", "navigation"]) assert.equal(await page.getByRole(role).count(), 1, role);
  await operatorSees(page, trouble);
  await isNotWide(page);
  await worksByKeyboard(page);
  await isAccessible(page, `${width} ${scheme}`);
  assert.equal(await back(page), scheme === "light" ? LIGHT : DARK);
  const [other, color] = scheme === "light" ? ["dark", DARK] : ["light", LIGHT];
  await page.getByLabel("Theme").selectOption(other);
  assert.equal(await back(page), color);
  await isAccessible(page, `${width} ${other}, chosen by hand`);
  await page.getByRole("button", { name: "Forget the token" }).click();
  assert.equal(await page.getByRole("heading", { name: "Connections" }).count(), 0);
  assert.equal(await page.locator("#connections tr").count(), 0);
  await page.reload();
  await page.getByText("live", { exact: true }).waitFor();
  assert.equal(await back(page), color, "the choice outlives the page");
  assert.equal(await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }])), `[{"sse-theme":"${other}"},{}]`);
  assert.deepEqual(await page.evaluate(() => window.violations), []);
  assert.deepEqual(trouble, []);
  // Whoever looks is no stream of the users.
  const { connections } = await health();
  assert.deepEqual([connections.active, connections.total, connections.max], [READERS, READERS, 500]);
  await context.close();
}
await browser.close();
await load.stop();
await load.failed;
