// An application with pages of its own, in front of the stack: what it does not have itself goes on to the stack, over a link that can be cut.
import { once } from "node:events";
import { createServer, request as ask } from "node:http";
import { pipeline } from "node:stream";

/** Serves `files`, by path, and everything else from `origin`. */
export async function application(origin, files) {
  const open = new Set();
  let isCut = false;
  const server = createServer((request, response) => {
    const file = files[request.url];
    if (file !== undefined) {
      return response.writeHead(200, { "Content-Type": request.url.endsWith(".js") ? "text/javascript" : "text/html" }).end(file);
    }
    const headers = { ...request.headers, host: new URL(origin).host };
    const passed = ask(origin + request.url, { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      pipeline(answer, response, () => {});
    });
    passed.on("error", () => response.destroy());
    response.on("close", () => passed.destroy());
    request.pipe(passed);
  });
  server.on("connection", (socket) => {
    if (isCut) return socket.destroy();
    open.add(socket);
    socket.on("error", () => {}).on("close", () => open.delete(socket));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Ends what is open; until `mend` nobody gets through. */
    cut() {
      isCut = true;
      for (const socket of open) socket.destroy();
    },
    mend() {
      isCut = false;
    },
    close() {
      for (const socket of open) socket.destroy();
      server.close();
    },
  };
}
