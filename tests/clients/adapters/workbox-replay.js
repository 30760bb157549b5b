// workbox-replay.js
import { Queue } from "workbox-background-sync";

const A_YEAR = 365 * 24 * 60;

/**
 * A queue of requests to /api/v1 that loses none: it sends them one after the other, each with a fresh token, and
 * takes a request out when its answer is there.
 *
 * `freshToken(refused)`: an access token, another one than `refused`. `take(answer, status)`: called for each request
 * that is done; the app judges the entries. Add with `queue.pushRequest({ request })`.
 */
export function openQueue(name, { freshToken, take, ...options }) {
  let replay = null;

  async function send(request, refused) {
    const token = await freshToken(refused);
    const headers = new Headers(request.headers);
    headers.set("Authorization", `Bearer ${token}`);
    const response = await fetch(new Request(request.clone(), { headers }));
    return response.status === 401 && !refused ? send(request, token) : response;
  }

  async function replayAll(queue) {
    // Workbox's own replay takes a request out first, and takes any answer for success, a 401 too.
    for (let [next] = await queue.getAll(); next; [next] = await queue.getAll()) {
      const response = await send(next.request);
      if ([401, 408, 429].includes(response.status) || response.status >= 500) {
        throw new Error(`${response.status}: to be sent again`);
      }
      // A portal's page is no answer: this throws, and the request stays.
      await take(await response.json(), response.status);
      await queue.shiftRequest();
    }
  }

  const onSync = ({ queue }) => (replay ??= replayAll(queue).finally(() => (replay = null)));
  // Workbox forgets after a week unless told otherwise.
  const queue = new Queue(name, { maxRetentionTime: A_YEAR, ...options, onSync });
  return Object.assign(queue, { replayRequests: () => onSync({ queue }) });
}
