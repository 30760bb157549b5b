// A line between a device and the server. It can be down, lose answers, and note what was answered.
import http from "node:http";

const SYNC = "/api/v1/sync";

export async function openLine(server) {
  const line = {
    /** Nothing arrives. */
    isDown: false,
    /** Path or method -> how many answers will be lost: the server has done its work, and the device does not learn it. */
    answersToLose: {},
    /** Called once, when the server has answered a batch, or a part of an upload, and the device has no answer yet. */
    meanwhile: null,
    /** The conflicts and errors of all batches, and the status of every answer; all requests. */
    conflicts: [],
    errors: [],
    statuses: [],
    requests: [],
  };

  async function carry({ method, url: path }, answer, response) {
    const body = Buffer.concat(await answer.toArray());
    line.statuses.push(answer.statusCode);
    if (path === SYNC && answer.statusCode === 200) {
      const { conflicts, errors } = JSON.parse(body).results;
      line.conflicts.push(...conflicts);
      line.errors.push(...errors);
    }
    if (answer.statusCode < 400 && (path === SYNC || method === "PATCH")) {
      const { meanwhile } = line;
      line.meanwhile = null;
      await meanwhile?.();
    }
    const lost = [path, method].find((name) => line.answersToLose[name] > 0);
    if (lost) {
      line.answersToLose[lost] -= 1;
      response.destroy();
    } else {
      response.writeHead(answer.statusCode, answer.headers).end(body);
    }
  }

  const proxy = http.createServer((request, response) => {
    if (line.isDown) return response.destroy();
    const { method, url } = request;
    line.requests.push(`${method} ${url}`);
    // Read here, too, so not compressed.
    const headers = { ...request.headers, "accept-encoding": "identity" };
    // A connection of its own: one that is kept may end while it is used again.
    const onward = http.request(server + url, { method, headers, agent: false });
    onward.on("response", (answer) => carry(request, answer, response)).on("error", () => response.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  line.url = `http://127.0.0.1:${proxy.address().port}`;
  line.close = () => proxy.close().closeAllConnections();
  return line;
}
