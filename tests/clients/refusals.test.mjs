// What a real hub refuses, and what client.js makes of it.
//   ORIGIN=http://127.0.0.1:PORT CASE=429|503|401 node --test refusals.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { client as module, health, ORIGIN, within } from "./stack.mjs";

const { CASE, PASSCODE } = process.env;

function open(options) {
  const client = new module.SseClient(`${ORIGIN}/sse`, { retryMinMs: 20, retryMaxMs: 100, ...options });
  const errors = [];
  client.onerror = ({ status, isFinal, message, retryMs }) => errors.push({ status, isFinal, message, retryMs });
  return { client, errors };
}
const isOpen = ({ client }) => within("it is open", () => client.state === "open");

test("a full address and a full pool are waited for, as long as the hub says", { skip: CASE === "401" }, async () => {
  const [first, second] = [open(), open()];
  await isOpen(first);
  await isOpen(second);
  const third = open();
  const refused = await within("it is refused", () => third.errors[0]);
  assert.deepEqual([refused.status, refused.isFinal, third.client.state], [Number(CASE), false, "waiting"]);
  assert.match(refused.message, /2/);
  assert.ok(refused.retryMs >= 5000, `${refused.retryMs}`);
  first.client.close();
  await isOpen(third);
  const { rejected } = (await health()).connections;
  assert.equal(rejected[CASE === "429" ? "per_ip" : "pool_full"], 1);
  second.client.close();
  third.client.close();
});

test("who is not logged in asks once, and again after the login", { skip: CASE !== "401" }, async () => {
  let cookie = "";
  const reader = open({ headers: () => ({ Cookie: cookie }) });
  const refused = await within("it is refused", () => reader.errors[0]);
  assert.deepEqual([refused.status, refused.isFinal, reader.client.state], [401, true, "closed"]);
  const login = await fetch(`${ORIGIN}/login`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ passcode: PASSCODE }),
  });
  [cookie] = login.headers.get("set-cookie").split(";");
  assert.equal((await health()).connections.rejected.unauthorized, 1);
  reader.client.reconnect();
  await isOpen(reader);
  assert.equal((await health()).connections.rejected.unauthorized, 1);
  reader.client.close();
});
