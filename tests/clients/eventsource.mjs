// Reads a stream with npm's eventsource; prints one JSON line for each event.
//   eventsource.mjs URL COUNT [LAST_EVENT_ID]
import { EventSource } from "eventsource";

const [url, count, lastEventId] = process.argv.slice(2);
let seen = 0;
const source = new EventSource(url, {
  fetch: (input, init) =>
    fetch(input, { ...init, headers: { ...init.headers, ...(lastEventId ? { "Last-Event-ID": lastEventId } : {}) } }),
});
const show = (event) => {
  console.log(JSON.stringify({ id: event.lastEventId, event: event.type, data: event.data }));
  if (!["connected", "heartbeat"].includes(event.type) && ++seen === Number(count)) {
    source.close();
    process.exit(0);
  }
};
for (const type of ["message", "connected", "heartbeat", "reset", "shutdown", "tick"]) source.addEventListener(type, show);
source.onerror = (error) => console.log(JSON.stringify({ error: String(error.message ?? error.code ?? "lost") }));
