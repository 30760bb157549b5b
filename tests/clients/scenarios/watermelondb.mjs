import "./bundled.mjs";

import { goThroughSituations } from "./situations.mjs";

const { Database, Model, appSchema, tableSchema } = await import("@nozbe/watermelondb");
const { default: { default: LokiJSAdapter } } = await import("@nozbe/watermelondb/adapters/lokijs");
const { setGenerator } = await import("@nozbe/watermelondb/utils/common/randomId");
const { edit, sync } = await import("../modules/watermelondb-sync.js");

const columns = [
  ...["inspection_id", "form_template_id"].map((name) => ({ name, type: "number" })),
  ...["data", "base", "version", "change_id", "made_at"].map((name) => ({ name, type: "string" })),
];
const schema = appSchema({ version: 1, tables: [tableSchema({ name: "form_fills", columns })] });

class FormFill extends Model {
  static table = "form_fills";
}

setGenerator(() => crypto.randomUUID());

goThroughSituations(async ({ signIn, show }) => {
  const adapter = new LokiJSAdapter({ schema, useWebWorker: false, useIncrementalIndexedDB: true });
  const database = new Database({ adapter, modelClasses: [FormFill] });
  const formFills = database.get("form_fills");
  const decide = async ({ local_data }) => show("conflict", local_data);
  const setAside = async ({ data }) => show("refused", JSON.parse(data));
  return {
    edit: async (key, changes) => edit(await formFills.find(key), changes),
    async create(inspection, form_template_id, data) {
      const made_at = new Date().toISOString();
      const columns = { inspection_id: inspection.id, form_template_id, data: JSON.stringify(data), made_at };
      return (await database.write(() => formFills.create(({ _raw }) => Object.assign(_raw, columns)))).id;
    },
    async sync() {
      // The second time, what was pushed comes back; the lost answers come first.
      for (let turn = 0; turn < 6; turn += 1) {
        await sync(database, signIn.request, { decide, setAside }).catch((error) => {
          if (!(error instanceof TypeError)) throw error;
        });
      }
    },
    async rows() {
      const records = await formFills.query().fetch();
      return Object.fromEntries(records.map(({ id, _raw }) => [id, JSON.parse(_raw.data)]));
    },
    async close() {},
  };
});
