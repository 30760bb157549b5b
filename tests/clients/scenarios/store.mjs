// The smallest local copy with which an app can follow the rules: for libraries that have none of their own.
export class Store {
  constructor(show) {
    this.show = show;
    this.cursor = null;
    /** Key -> the row as the server had it last. */
    this.rows = new Map();
    /** local_id -> an edit without an answer. */
    this.unanswered = new Map();
  }

  /** Key -> data as the user sees it: the server's, below what was edited since. */
  seen() {
    const seen = Object.fromEntries([...this.rows].map(([key, { data }]) => [key, { ...data }]));
    for (const { key, changes } of this.unanswered.values()) Object.assign(seen[key] ?? {}, changes);
    return seen;
  }

  /** The item of an edit, as it will be sent, however often. */
  edit(key, changes) {
    const { number, version } = this.rows.get(key);
    return this.#add(key, changes, { id: number ?? key, updated_at: version, resolve_strategy: "merge", changes });
  }

  /** The item of a new form fill, with its key. */
  create(inspection_id, form_template_id, data) {
    const key = crypto.randomUUID();
    this.rows.set(key, { data: {} });
    return [key, this.#add(key, data, { client_id: key, inspection_id, form_template_id, data })];
  }

  /** The results of a batch. */
  take({ success, conflicts, errors }) {
    for (const entry of success) {
      const { key, changes } = this.#answered(entry);
      if (entry.updated_at) {
        const data = entry.data ?? { ...this.rows.get(key)?.data, ...changes };
        this.rows.set(key, { number: entry.server_id, version: entry.updated_at, data });
      }
    }
    for (const entry of conflicts) {
      const { key, changes } = this.#answered(entry);
      const { server_version: version, server_data: data } = entry.conflict_data;
      this.rows.set(key, { number: entry.server_id, version, data });
      this.show("conflict", changes);
    }
    for (const entry of errors.filter(({ retryable }) => !retryable)) {
      const { key, changes } = this.#answered(entry);
      // A row that was never created goes away with its refusal.
      if (!this.rows.get(key)?.version) this.rows.delete(key);
      this.show("refused", changes);
    }
  }

  /** Read the feed: `page(cursor)` is a page, or null where the cursor has expired. Without one it is a whole walk. */
  async pull(page) {
    const isWalk = !this.cursor;
    const answer = await page(this.cursor);
    if (!answer) {
      this.cursor = null;
      return this.pull(page);
    }
    const changes = answer.changes.filter(({ entity }) => entity === "form_fill");
    // Every walk here is of one page.
    if (isWalk) this.#discard(new Set(changes.map(({ id, record }) => record.client_id ?? String(id))));
    this.#hold(changes);
    this.cursor = answer.cursor;
  }

  /** What a walk does not list is gone, except for what the server has not got yet. */
  #discard(listed) {
    for (const [key, { version }] of this.rows) if (version && !listed.has(key)) this.rows.delete(key);
  }

  #hold(changes) {
    for (const { op, id, client_id, record } of changes) {
      if (op === "remove") this.rows.delete(client_id ?? String(id));
      else this.rows.set(record.client_id ?? String(id), { number: id, version: record.updated_at, data: record.data });
    }
  }

  #add(key, changes, data) {
    const item = { type: "form_fill", local_id: crypto.randomUUID(), made_at: new Date().toISOString(), data };
    this.unanswered.set(item.local_id, { key, changes, item });
    return item;
  }

  #answered({ local_id }) {
    const edit = this.unanswered.get(local_id);
    this.unanswered.delete(local_id);
    return edit;
  }
}
