import "./bundled.mjs";

import { goThroughSituations } from "./situations.mjs";

const { Database } = await import("@nozbe/watermelondb");
const { default: { default: LokiJSAdapter } } = await import("@nozbe/watermelondb/adapters/lokijs");
const { FormFill, schema, syncFormFills } = await import("../adapters/watermelondb-sync.js");

goThroughSituations(async ({ session, show }) => {
  const adapter = new LokiJSAdapter({ schema, useWebWorker: false, useIncrementalIndexedDB: true });
  const database = new Database({ adapter, modelClasses: [FormFill] });
  const formFills = database.get("form_fills");
  return {
    async edit(key, changes) {
      const record = await formFills.find(key);
      await database.write(() => record.update(() => record.put(changes)));
    },
    async create(inspection, form_template_id, data) {
      const fill = (record) => {
        Object.assign(record._raw, { inspection_id: inspection.id, form_template_id });
        record.put(data);
      };
      return (await database.write(() => formFills.create(fill))).id;
    },
    async sync() {
      // Until everything was answered, and what was pushed has come back.
      for (let quiet = 0; quiet < 2; ) {
        quiet = await syncFormFills(database, { send: session.send, show }).then(
          () => quiet + 1,
          (error) => {
            if (!(error instanceof TypeError)) throw error;
            return 0;
          },
        );
      }
    },
    async rows() {
      return Object.fromEntries((await formFills.query().fetch()).map(({ id, data }) => [id, data]));
    },
    async close() {},
  };
});
