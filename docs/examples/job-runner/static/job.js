// Moves the bar: from the state that the page came with, by the events after it.
import { SseClient } from "/sse/client.js";

const bar = document.querySelector("progress");
const percent = document.querySelector("output");
const status = document.querySelector("[role=status]");
const words = { connecting: "Connecting …", open: "Running", waiting: "Connection lost, trying again …" };

function finish() {
  status.textContent = "Finished";
}

if (bar.dataset.done === "true") {
  finish();
} else {
  const events = new SseClient("/sse", { topics: bar.dataset.topic, json: true, lastEventId: bar.dataset.eventId });
  events.onstate = ({ state }) => (status.textContent = words[state] ?? status.textContent);
  // Away longer than the history reaches: the page comes anew, with the state of then.
  events.addEventListener("reset", () => location.reload());
  events.addEventListener("job_progress", ({ data }) => {
    bar.value = data.progress;
    percent.textContent = `${data.progress} %`;
    if (!data.done) return;
    events.close();
    finish();
  });
}
