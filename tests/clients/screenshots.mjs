// Pictures of the hub's pages under load: docs/dashboard.png for the README, and all pages, wide and narrow, light and dark.
//   ORIGIN=http://localhost:PORT TOKEN=… AFTER=150 node screenshots.mjs PICTURE FOLDER
import assert from "node:assert/strict";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { launchBrowser } from "./browser.mjs";
import { startLoad } from "./load.mjs";

const { ORIGIN, TOKEN, AFTER = "150" } = process.env;
const [picture, folder] = process.argv.slice(2);
/** What a README may weigh. */
const PICTURE_BYTES_MAX = 150_000;
mkdirSync(folder, { recursive: true });
const load = startLoad(ORIGIN, TOKEN);
const browser = await launchBrowser();
const views = [[1280, "light"], [1280, "dark"], [360, "light"], [360, "dark"]];
const pages = [];
for (const [width, colorScheme] of views) {
  const context = await browser.newContext({ viewport: { width, height: 860 }, colorScheme });
  const page = await context.newPage();
  await page.goto(`${ORIGIN}/sse/dashboard`);
  pages.push({ page, name: `dashboard-${width}-${colorScheme}` });
  const test = await context.newPage();
  await test.goto(`${ORIGIN}/sse/test`);
  pages.push({ page: test, name: `test-${width}-${colorScheme}` });
}
await Promise.race([load.failed, new Promise((resolve) => setTimeout(resolve, Number(AFTER) * 1000))]);
await pages[0].page.screenshot({ path: picture });
for (const { page, name } of pages) {
  await page.bringToFront();
  if (name.startsWith("dashboard")) {
    await page.getByLabel("Publish token").fill(TOKEN);
    await page.getByRole("button", { name: "Show", exact: true }).click();
    await page.getByText("nginx: last lines of its output").click();
  }
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  console.log(join(folder, `${name}.png`));
}
await browser.close();
await load.stop();
const { size } = statSync(picture);
console.log(`${picture}: ${size} bytes`);
assert.ok(size <= PICTURE_BYTES_MAX, `more than ${PICTURE_BYTES_MAX} bytes`);
