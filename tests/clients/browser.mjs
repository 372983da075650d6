// Chromium as every script here starts it: headless, and talking to nobody but the page's own server.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

export { within } from "./within.mjs";

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
