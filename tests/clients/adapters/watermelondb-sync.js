// watermelondb-sync.js
import { Model, appSchema, tableSchema } from "@nozbe/watermelondb";
import { synchronize } from "@nozbe/watermelondb/sync";
import { setGenerator } from "@nozbe/watermelondb/utils/common/randomId";

// An id that is made here is the client_id of the form fill.
setGenerator(() => crypto.randomUUID());

const TABLE = "form_fills";

const columns = [
  ...["number", "inspection_id", "form_template_id"].map((name) => ({ name, type: "number", isOptional: true })),
  // `data` as the user sees it; `base` as the server had it in this version.
  ...["data", "base", "version", "local_id", "made_at"].map((name) => ({ name, type: "string", isOptional: true })),
];

export const schema = appSchema({ version: 1, tables: [tableSchema({ name: TABLE, columns })] });

export class FormFill extends Model {
  static table = TABLE;

  get data() {
    return JSON.parse(this._getRaw("data"));
  }

  /** Within a writer: put these fields on top. Each edit has a name, by which the server knows a retry, and its time. */
  put(changes) {
    this._setRaw("data", JSON.stringify({ ...(this._getRaw("data") && this.data), ...changes }));
    this._setRaw("local_id", crypto.randomUUID());
    this._setRaw("made_at", new Date().toISOString());
  }
}

/** The fields of `data` that are not as in `base`. */
const changed = (data, base) =>
  Object.fromEntries(Object.entries(data).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(base[name])));

const unsent = (row) => changed(JSON.parse(row.data), JSON.parse(row.base || "{}"));

function toRow({ id, client_id, inspection_id, form_template_id, data: content, updated_at: version }) {
  const data = JSON.stringify(content);
  return { id: client_id ?? String(id), number: id, inspection_id, form_template_id, data, base: data, version };
}

/** The item of a row that was made or edited here; none if there is nothing to send. */
function toItem(row) {
  const { id, number, version, inspection_id, form_template_id, local_id, made_at } = row;
  const changes = unsent(row);
  const data = version
    ? { id: number || id, updated_at: version, resolve_strategy: "merge", changes }
    : { client_id: id, inspection_id, form_template_id, data: changes };
  return version && Object.keys(changes).length === 0 ? null : { type: "form_fill", local_id, made_at, data };
}

/**
 * `send(method, path, body)`: the JSON of an answer of /api/v1; it refreshes the token, and throws unless it is a success.
 * `show(kind, work, entry)`: keep and show work of the user that was not applied ("conflict" or "refused").
 */
export async function syncFormFills(database, { send, show }) {
  const formFills = database.get(TABLE);

  async function pullChanges({ lastPulledAt }) {
    const cursors = (await database.localStorage.get("cursors")) ?? {};
    const changes = new Map();
    let cursor = cursors[lastPulledAt];
    let page;
    do {
      page = (await send("GET", `/sync/changes${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`)).data;
      for (const { entity, op, id, client_id, record } of page.changes) {
        if (entity === "form_fill") changes.set(client_id ?? record?.client_id ?? String(id), op === "remove" ? null : toRow(record));
      }
      cursor = page.cursor;
    } while (page.has_more);
    const deleted = [...changes.keys()].filter((id) => changes.get(id) === null);
    for (const { _raw: row } of await formFills.query().fetch()) {
      if (deleted.includes(row.id) && toItem(row)) show("refused", JSON.parse(row.data), { code: "removed" });
    }
    // A cursor is no number, as WatermelonDB wants it. The old one is kept until the rows of the new one are stored.
    const timestamp = Math.max(Date.now(), (lastPulledAt ?? 0) + 1);
    await database.localStorage.set("cursors", { [lastPulledAt]: cursors[lastPulledAt], [timestamp]: cursor });
    const updated = [...changes.values()].filter((row) => row !== null);
    return { changes: { [TABLE]: { created: [], updated, deleted } }, timestamp };
  }

  /** A row with unsent work keeps the base on which it was made. */
  const conflictResolver = (table, local, remote, resolved) =>
    toItem(local)
      ? { ...resolved, data: local.data, base: local.base, version: local.version }
      : { ...resolved, ...remote };

  /** The server's content and version, below what was edited since `row` was sent. */
  async function take(row, number, version, content) {
    const record = await formFills.find(row.id);
    const since = changed(record.data, JSON.parse(row.data));
    await record.update(() => {
      record._setRaw("number", number);
      record._setRaw("version", version);
      record._setRaw("base", JSON.stringify(content));
      record._setRaw("data", JSON.stringify({ ...content, ...since }));
    });
  }

  async function pushChanges({ changes: { [TABLE]: { created, updated } } }) {
    const rows = [...created, ...updated].filter(toItem);
    if (rows.length === 0) return {};
    const { results } = await send("POST", "/sync", { sync_items: rows.map(toItem) });
    if (results.errors.some(({ retryable }) => retryable)) throw new Error("to be sent again");
    const gone = [];
    await database.write(async () => {
      for (const entry of results.success) {
        const row = rows[entry.index];
        if (entry.updated_at) await take(row, entry.server_id, entry.updated_at, entry.data ?? JSON.parse(row.data));
      }
      for (const entry of results.conflicts) {
        const { server_version, server_data } = entry.conflict_data;
        show("conflict", JSON.parse(rows[entry.index].data), entry);
        await take(rows[entry.index], entry.server_id, server_version, server_data);
      }
      for (const entry of results.errors) {
        const row = rows[entry.index];
        show("refused", JSON.parse(row.data), entry);
        if (row.version && entry.code === "invalid") await take(row, row.number, row.version, JSON.parse(row.base));
        else gone.push(row.id);
      }
      for (const id of gone) await (await formFills.find(id)).destroyPermanently();
    });
    return { experimentalRejectedIds: { [TABLE]: gone } };
  }

  await synchronize({ database, pullChanges, pushChanges, conflictResolver, sendCreatedAsUpdated: true });
}
