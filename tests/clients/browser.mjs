// Chromium as every script here starts it: headless, and talking to nobody but the page's own server.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const started = {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
};

/** A browser, whose contexts share nothing. */
export function launchBrowser() {
  return chromium.launch(started);
}

/** One context as a person's browser has it, whose tabs share everything; its folder goes with the process. */
export function launchProfile(options = {}) {
  const profile = mkdtempSync(join(tmpdir(), "chromium-"));
  process.on("exit", () => rmSync(profile, { recursive: true, force: true, maxRetries: 3 }));
  return chromium.launchPersistentContext(profile, { ...started, ...options });
}

/** Asks again and again, until it is so; fails after a while. */
export async function within(what, look, limitMs = 30_000) {
  const until = Date.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > until) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
