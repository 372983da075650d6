// What a script does to the running stack: publish to it, ask it, and tell its programs.
//   ORIGIN=http://localhost:PORT TOKEN=… SUPERVISORCTL=path CONTROL=unix://…
import { execFile } from "node:child_process";
import { promisify } from "node:util";

export { within } from "./within.mjs";

export const { ORIGIN, TOKEN } = process.env;
const { SUPERVISORCTL, CONTROL } = process.env;

const authorization = { Authorization: `Bearer ${TOKEN}` };
// The token, because it may be behind a login.
const source = await (await fetch(`${ORIGIN}/sse/client.js`, { headers: authorization })).text();
/** The file as it is served, in Node. */
export const client = await import(`data:text/javascript,${encodeURIComponent(source)}`);

/** Publishes until it is answered: what is sent again is one event. */
export const publish = (topic, data) => client.publish({ topic, data }, { url: `${ORIGIN}/sse/publish`, token: TOKEN, retries: 30 });

export const health = async () => (await fetch(`${ORIGIN}/sse/health`)).json();

/** How many streams read a topic. */
export async function streams(topic) {
  const answer = await fetch(`${ORIGIN}/sse/connections?limit=1000`, { headers: authorization });
  return (await answer.json()).connections.filter(({ topics }) => topics.includes(topic)).length;
}

export const supervisorctl = async (...words) => (await promisify(execFile)(SUPERVISORCTL, ["-s", CONTROL, ...words])).stdout.trim();
