// What a compiler finds with the types that openapi-typescript makes of the server's document.
import { setField, typedClient } from "../modules/openapi-fetch";

const client = typedClient("https://fieldpost.example.com", async () => "token");
const local_id = crypto.randomUUID();
const version = "2024-03-15T10:30:00.000Z";

const { applied, conflict, refusal } = await setField(client, {
  local_id,
  id: 1,
  updated_at: version,
  name: "Location_row_1",
  value: "Basement",
});
const versions: (string | undefined)[] = [applied?.updated_at, conflict?.server_version];
const fields: string[] | undefined = conflict?.conflicting_fields;
const theirs: unknown = conflict?.server_data.Location_row_1;
const isQueued: boolean | undefined = refusal?.retryable;
// @ts-expect-error A conflict has no such key.
conflict?.theirs;

await client.POST("/api/v1/sync", {
  body: {
    sync_items: [
      { type: "form_fill", local_id, made_at: version, meta: { accuracy: 8 }, data: { id: 1, updated_at: version, changes: { Pressure: 85 } } },
      { type: "form_fill", local_id, data: { client_id: crypto.randomUUID(), inspection_id: 1, form_template_id: 1 } },
      { type: "inspection", local_id, data: { id: 1, status: "completed" } },
      { type: "photo_delete", local_id, data: { form_fill_id: 1, field_name: "Riser_Photo" } },
      // @ts-expect-error There is no such type.
      { type: "form_fil", local_id, data: { id: 1, changes: {} } },
      // @ts-expect-error There is no such status.
      { type: "inspection", local_id, data: { id: 1, status: "done" } },
      // @ts-expect-error There is no such strategy.
      { type: "form_fill", local_id, data: { id: 1, changes: {}, resolve_strategy: "theirs" } },
      // @ts-expect-error Each change has a name.
      { type: "inspection", data: { id: 1, status: "completed" } },
    ],
  },
});

// Each change of the feed is known by its `op` and its `entity`.
const page = await client.GET("/api/v1/sync/changes");
for (const change of page.data?.data.changes ?? []) {
  if (change.op === "remove") console.log(change.client_id);
  else if (change.entity === "form_fill") console.log(change.record);
}

console.log(versions, fields, theirs, isQueued);
