import { connect } from "../adapters/openapi-fetch.ts";
import { goThroughSituations } from "./situations.mjs";
import { Store } from "./store.mjs";

goThroughSituations(async ({ session, line, show }) => {
  const api = connect(line.url, session.freshToken);
  const store = new Store(show);
  return {
    async edit(key, changes) {
      store.edit(key, changes);
    },
    async create(inspection, form_template_id, data) {
      return store.create(inspection.id, form_template_id, data)[0];
    },
    async sync() {
      for (let turn = 0; turn < 10 && store.unanswered.size > 0; turn += 1) {
        const items = [...store.unanswered.values()].map(({ item }) => item);
        await api.sync(items).then((results) => store.take(results), () => {});
      }
      for await (const page of api.changes(store.cursor ?? undefined)) store.hold(page);
    },
    rows: async () => store.seen(),
    async close() {},
  };
});
