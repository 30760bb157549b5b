import { createRxDatabase } from "rxdb";
import { getRxStorageMemory } from "rxdb/plugins/storage-memory";

import { conflictHandler, replicateFormFills } from "../modules/rxdb-replication.js";
import { goThroughSituations } from "./situations.mjs";

const text = { type: "string" };
const number = { type: "integer" };
const schema = {
  version: 0,
  primaryKey: "id",
  type: "object",
  properties: {
    id: { type: "string", maxLength: 36 },
    version: text,
    inspection_id: number,
    form_template_id: number,
    data: { type: "object" },
    change_id: text,
    made_at: text,
  },
};

let databases = 0;

goThroughSituations(async ({ signIn, show }) => {
  const database = await createRxDatabase({ name: `device${(databases += 1)}`, storage: getRxStorageMemory() });
  const decide = async (changes) => show("conflict", changes);
  const collections = { form_fills: { schema, conflictHandler: conflictHandler(decide) } };
  const { form_fills: formFills } = await database.addCollections(collections);
  const setAside = async (item) => show("refused", item.data.changes ?? item.data.data);
  const replication = replicateFormFills(formFills, signIn.request, setAside, { retryTime: 50 });
  return {
    async edit(key, changes) {
      const document = await formFills.findOne(key).exec();
      await document.incrementalModify((present) => ({ ...present, data: { ...present.data, ...changes } }));
    },
    async create(inspection, form_template_id, data) {
      const id = crypto.randomUUID();
      await formFills.insert({ id, inspection_id: inspection.id, form_template_id, data });
      return id;
    },
    async sync() {
      // The second time, what was pushed comes back.
      for (let turn = 0; turn < 2; turn += 1) {
        replication.reSync();
        await replication.awaitInSync();
      }
    },
    async rows() {
      const documents = await formFills.find().exec();
      return Object.fromEntries(documents.map((document) => [document.id, document.toJSON().data]));
    },
    close: () => database.close(),
  };
});
