// The page for trying the stream, used as a person does; and that it runs nothing and complains of nothing.
//   ORIGIN=http://127.0.0.1:PORT TOKEN=… node test-page.mjs
import assert from "node:assert/strict";
import { launchBrowser } from "./browser.mjs";

const { ORIGIN, TOKEN } = process.env;
const browser = await launchBrowser();
for (const [width, scheme] of [[1200, "light"], [390, "dark"]]) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
  const page = await context.newPage();
  const trouble = [];
  page.on("console", (message) => trouble.push(message.text()));
  page.on("pageerror", (error) => trouble.push(error.message));
  await page.goto(`${ORIGIN}/sse-test`);
  assert.equal(page.url(), `${ORIGIN}/sse/test`);
  await page.getByRole("status").getByText("open", { exact: true }).waitFor();
  const topic = `page:${width}`;
  await page.getByLabel("Topics").first().fill(topic);
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await page.getByRole("status").getByText("open", { exact: true }).waitFor();
  await page.getByLabel("Token").fill("not the token");
  await page.getByLabel("Topic", { exact: true }).fill(topic);
  await page.getByRole("button", { name: "Publish" }).click();
  await page.getByText("401: the publish token is wrong").waitFor();
  assert.match(trouble.splice(0).join(), /401/);
  await page.getByLabel("Token").fill(TOKEN);
  const texts = ['<b>"quoted"</b>\nand a second line', "[1, 2]", "plain"];
  for (const [n, text] of texts.entries()) {
    await page.getByLabel("Type", { exact: true }).fill(n === 1 ? "tick" : "");
    await page.getByLabel("Data").fill(text);
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("tbody tr").nth(n).waitFor();
  }
  const rows = await page.locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].slice(2).map((cell) => cell.textContent)));
  assert.deepEqual(rows, [["message", topic, "plain"], ["tick", topic, "[1,2]"], ["message", topic, texts[0]]]);
  assert.match(await page.locator("#answer").textContent(), /^published as \d+-\d+ to 1 stream$/);
  await page.getByText(/^\d+\.\d ms$/).waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  assert.ok(!wide, "the page is wider than its window");
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("input, textarea, select, button")].filter((field) => !(field.labels?.length || field.textContent.trim())).length,
  );
  assert.equal(nameless, 0);
  await page.getByRole("button", { name: "Disconnect" }).click();
  await page.getByRole("status").getByText("closed", { exact: true }).waitFor();
  assert.deepEqual(trouble, []);
  await context.close();
}
await browser.close();
