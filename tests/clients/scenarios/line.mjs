// A line between a device and the server. It can be down, lose answers, and note what was answered.
import http from "node:http";

const SYNC = "/api/v1/sync";

export async function openLine(server) {
  const line = {
    /** Nothing arrives. */
    isDown: false,
    /** Path -> how many answers will be lost: the server has done its work, and the device does not learn it. */
    answersToLose: {},
    /** Called once, when the server has answered a batch and the device has not got the answer yet. */
    meanwhile: null,
    /** The conflicts and errors of all batches, and the status of every answer. */
    conflicts: [],
    errors: [],
    statuses: [],
  };

  async function carry(path, answer, response) {
    const body = Buffer.concat(await answer.toArray());
    line.statuses.push(answer.statusCode);
    if (path === SYNC && answer.statusCode === 200) {
      const { conflicts, errors } = JSON.parse(body).results;
      line.conflicts.push(...conflicts);
      line.errors.push(...errors);
      const { meanwhile } = line;
      line.meanwhile = null;
      await meanwhile?.();
    }
    if (line.answersToLose[path] > 0) {
      line.answersToLose[path] -= 1;
      response.destroy();
    } else {
      response.writeHead(answer.statusCode, answer.headers).end(body);
    }
  }

  const proxy = http.createServer((request, response) => {
    if (line.isDown) return response.destroy();
    const { method, url } = request;
    // Read here, too, so not compressed.
    const headers = { ...request.headers, "accept-encoding": "identity" };
    request.pipe(http.request(server + url, { method, headers }, (answer) => carry(url, answer, response)));
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  line.url = `http://127.0.0.1:${proxy.address().port}`;
  line.close = () => proxy.close().closeAllConnections();
  return line;
}
