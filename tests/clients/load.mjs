// A load for a page to show: readers of several jobs, progress events in waves, and requests that are refused.

/** Begins it at this hub; `stop()` of what it returns ends it. Limits of the hub must let 40 streams of one address in. */
export function startLoad(origin, token, readers = 40) {
  const ending = new AbortController();
  const { signal } = ending;
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const running = [];

  const read = async (n) => {
    const topic = n % 4 === 0 ? "job:*" : `job:${n % 10}`;
    const headers = { Accept: "text/event-stream", "User-Agent": n % 3 ? "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0" : "curl/8.14.1" };
    const response = await fetch(`${origin}/sse?topic=${encodeURIComponent(topic)}`, { headers, signal });
    for await (const piece of response.body) void piece;
  };
  for (let n = 0; n < readers; n += 1) running.push(read(n));

  const publish = async () => {
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
    for (let turn = 0; !signal.aborted; turn += 1) {
      const size = Math.round(12 + 10 * Math.sin(turn / 25) + 3 * Math.random());
      const events = Array.from({ length: size }, (_, n) => ({
        topic: `job:${(turn + n) % 10}`,
        event: "job_progress",
        data: { progress: (turn + n) % 101, stage: "transcribing", eta_seconds: 100 - (turn % 100), message: "part of a longer text, as applications send it" },
      }));
      await fetch(`${origin}/sse/publish`, { method: "POST", headers, body: JSON.stringify(events), signal });
      await pause(100);
    }
  };
  running.push(publish());

  const refuse = async () => {
    for (let turn = 0; !signal.aborted; turn += 1) {
      const body = JSON.stringify({ topic: "job:1", data: "x" });
      const headers = { Authorization: "Bearer wrong", "Content-Type": "application/json" };
      if (turn % 10 < 3) await fetch(`${origin}/sse/publish`, { method: "POST", headers, body, signal });
      await pause(1000);
    }
  };
  running.push(refuse());

  return {
    async stop() {
      ending.abort();
      await Promise.allSettled(running);
    },
    /** Ends only in an error, if something of it fails before it is stopped. */
    failed: Promise.all(running).catch((error) => {
      if (!signal.aborted) throw error;
    }),
  };
}
