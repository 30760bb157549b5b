import "./bundled.mjs";
import "fake-indexeddb/auto";

import { goThroughSituations } from "./situations.mjs";
import { Store } from "./store.mjs";

// A service worker as far as Workbox looks at it. Without background sync it replays when the worker starts.
Object.assign(globalThis, { self: globalThis, registration: {}, location: new URL("http://app.example.com/") });

const { openQueue } = await import("../adapters/workbox-replay.js");

let queues = 0;

goThroughSituations(async ({ session, line, show }) => {
  const store = new Store(show);
  const queue = openQueue(`queue${(queues += 1)}`, {
    freshToken: session.freshToken,
    take: ({ results }) => store.take(results),
  });

  function push(item) {
    const body = JSON.stringify({ sync_items: [item] });
    const headers = { "Content-Type": "application/json" };
    return queue.pushRequest({ request: new Request(`${line.url}/api/v1/sync`, { method: "POST", headers, body }) });
  }

  async function pull() {
    let page;
    do {
      const query = store.cursor ? `?cursor=${encodeURIComponent(store.cursor)}` : "";
      page = (await session.send("GET", `/sync/changes${query}`)).data;
      store.hold(page);
    } while (page.has_more);
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
        await queue.replayRequests().catch(() => {});
      }
      await pull();
    },
    rows: async () => store.seen(),
    async close() {},
  };
});
