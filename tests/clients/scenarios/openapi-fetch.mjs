import { typedClient } from "../modules/openapi-fetch.ts";
import { goThroughSituations } from "./situations.mjs";
import { Store } from "./store.mjs";

goThroughSituations(async ({ signIn, line, show }) => {
  const client = typedClient(line.url, signIn.freshToken);
  const store = new Store(show);

  /** The JSON of a success; at 401 the token is replaced for the next time. */
  async function take({ data, error }) {
    if (error?.code === "token_expired") await signIn.freshToken({ isRefused: true });
    if (!data) throw new Error(error.message);
    return data;
  }

  async function push() {
    const sync_items = [...store.unanswered.values()].map(({ item }) => item);
    store.take((await take(await client.POST("/api/v1/sync", { body: { sync_items } }))).results);
  }

  async function page(cursor) {
    const query = cursor ? { cursor } : {};
    const answer = await client.GET("/api/v1/sync/changes", { params: { query } });
    return answer.error?.code === "cursor_expired" ? null : (await take(answer)).data;
  }

  return {
    edit: async (key, changes) => void store.edit(key, changes),
    create: async (inspection, form_template_id, data) => store.create(inspection.id, form_template_id, data)[0],
    async sync() {
      for (let turn = 0; turn < 10 && store.unanswered.size > 0; turn += 1) await push().catch(() => {});
      await store.pull(page);
    },
    rows: async () => store.seen(),
    async close() {},
  };
});
