import { createRxDatabase } from "rxdb";
import { getRxStorageMemory } from "rxdb/plugins/storage-memory";

import { replicateFormFills } from "../adapters/rxdb-replication.js";
import { goThroughSituations } from "./situations.mjs";

const text = { type: "string" };
const schema = {
  version: 0,
  primaryKey: "id",
  type: "object",
  properties: {
    id: { type: "string", maxLength: 36 },
    number: { type: "integer" },
    inspection_id: { type: "integer" },
    form_template_id: { type: "integer" },
    data: { type: "object" },
    version: text,
    local_id: text,
    made_at: text,
  },
};

let databases = 0;

goThroughSituations(async ({ session, show }) => {
  const database = await createRxDatabase({ name: `device${(databases += 1)}`, storage: getRxStorageMemory() });
  const { form_fills: formFills } = await database.addCollections({ form_fills: { schema } });
  const replication = replicateFormFills(formFills, { send: session.send, show, retryTime: 50 });
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
      replication.reSync();
      await replication.awaitInSync();
      // What was pushed comes back.
      replication.reSync();
      await replication.awaitInSync();
    },
    async rows() {
      const documents = await formFills.find().exec();
      return Object.fromEntries(documents.map((document) => [document.id, document.toJSON().data]));
    },
    close: () => database.close(),
  };
});
