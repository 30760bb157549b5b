import "./bundled.mjs";
import "fake-indexeddb/auto";

import { goThroughSituations } from "./situations.mjs";
import { Store } from "./store.mjs";

// A service worker as far as Workbox looks at it. Without background sync it replays when the worker starts.
Object.assign(globalThis, { self: globalThis, registration: {}, location: new URL("http://app.example.com/") });

const { fieldpostQueue, replay } = await import("../modules/workbox-replay.js");

let queues = 0;

goThroughSituations(async ({ signIn: { freshToken, request }, line, show }) => {
  const store = new Store(show);
  const take = ({ results }) => store.take(results);
  const queue = fieldpostQueue(`queue${(queues += 1)}`, freshToken, take);

  function push(item) {
    const body = JSON.stringify({ sync_items: [item] });
    const headers = { "Content-Type": "application/json" };
    return queue.pushRequest({ request: new Request(`${line.url}/api/v1/sync`, { method: "POST", headers, body }) });
  }

  return {
    edit: (key, changes) => push(store.edit(key, changes)),
    async create(inspection, form_template_id, data) {
      const [key, item] = store.create(inspection.id, form_template_id, data);
      await push(item);
      return key;
    },
    async sync() {
      // As the browser does it: again after each replay that did not come to its end.
      for (let turn = 0; turn < 10 && (await queue.size()) > 0; turn += 1) {
        await replay(queue, freshToken, take).catch(() => {});
      }
      await store.pull(async (cursor) => {
        const { status, answer } = await request("GET", `/sync/changes?${new URLSearchParams(cursor ? { cursor } : {})}`);
        return status === 410 ? null : answer.data;
      });
    },
    rows: async () => store.seen(),
    async close() {},
  };
});
