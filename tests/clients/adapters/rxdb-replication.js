// rxdb-replication.js
import { replicateRxCollection } from "rxdb/plugins/replication";

/** The fields of `data` that are not as in `base`. */
const changed = (data, base) =>
  Object.fromEntries(Object.entries(data).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(base[name])));

/** A form fill as a document. What was made on a device is named by its client_id for ever. */
const toDocument = ({ id, client_id, inspection_id, form_template_id, data, updated_at }) =>
  ({ id: client_id ?? String(id), number: id, inspection_id, form_template_id, data, version: updated_at });

/** The item of a document that was made or edited here; none if there is nothing to send. */
function toItem({ newDocumentState: document, assumedMasterState: base }) {
  const { id, number, inspection_id, form_template_id, data, local_id, made_at } = document;
  const changes = changed(data, base?.data ?? {});
  if (!base) return { type: "form_fill", local_id, made_at, data: { client_id: id, inspection_id, form_template_id, data } };
  if (Object.keys(changes).length === 0) return null;
  const target = { id: number ?? id, updated_at: base.version, resolve_strategy: "merge" };
  return { type: "form_fill", local_id, made_at, data: { ...target, changes } };
}

/**
 * `send(method, path, body)`: the JSON of an answer of /api/v1; it refreshes the token, and throws unless it is a success.
 * `show(kind, work, entry)`: keep and show work of the user that was not applied ("conflict" or "refused").
 */
export function replicateFormFills(collection, { send, show, retryTime = 5000 }) {
  // Each edit has a name of its own, by which the server knows a retry of it, and its time.
  const name = (document) => Object.assign(document, { local_id: crypto.randomUUID(), made_at: new Date().toISOString() });
  collection.preInsert(name, false);
  collection.preSave(name, false);

  async function pull(checkpoint) {
    const documents = new Map();
    let cursor = checkpoint?.cursor;
    let page;
    do {
      page = (await send("GET", `/sync/changes${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`)).data;
      for (const { entity, op, id, client_id, record } of page.changes) {
        if (entity !== "form_fill") continue;
        const document = op === "remove" ? { id: client_id ?? String(id), _deleted: true } : toDocument(record);
        documents.set(document.id, document);
      }
      cursor = page.cursor;
    } while (page.has_more);
    return { documents: [...documents.values()], checkpoint: { cursor } };
  }

  /** RxDB calls it conflicts: the documents that are on the server now, where they are not as they were pushed. */
  async function push(rows) {
    const sent = rows.map((row) => ({ ...row, item: toItem(row) })).filter(({ item }) => item);
    if (sent.length === 0) return [];
    const { results } = await send("POST", "/sync", { sync_items: sent.map(({ item }) => item) });
    if (results.errors.some(({ retryable }) => retryable)) throw new Error("to be sent again");
    const applied = results.success.filter(({ updated_at }) => updated_at).map((entry) => {
      const { newDocumentState: document } = sent[entry.index];
      return { ...document, number: entry.server_id, version: entry.updated_at, data: entry.data ?? document.data };
    });
    const conflicts = results.conflicts.map((entry) => {
      const { newDocumentState: document } = sent[entry.index];
      const { server_version: version, server_data: data } = entry.conflict_data;
      show("conflict", document.data, entry);
      return { ...document, number: entry.server_id, version, data };
    });
    const refused = results.errors.map((entry) => {
      const { newDocumentState: document, assumedMasterState: base } = sent[entry.index];
      show("refused", document.data, entry);
      return base && entry.code === "invalid" ? base : { ...document, _deleted: true };
    });
    return [...applied, ...conflicts, ...refused];
  }

  return replicateRxCollection({
    collection,
    replicationIdentifier: "fieldpost",
    retryTime,
    pull: { handler: pull },
    push: { handler: push },
  });
}
