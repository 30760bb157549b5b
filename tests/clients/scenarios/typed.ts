// What a compiler finds with the types that openapi-typescript makes of the server's document.
import { connect, isFormFill } from "../adapters/openapi-fetch";

const api = connect("https://fieldpost.example.com", async () => "token");
const local_id = crypto.randomUUID();

const { conflicts } = await api.sync([
  {
    type: "form_fill",
    local_id,
    made_at: "2024-03-15T10:30:00.000Z",
    meta: { app: "2.1" },
    data: { id: 1, updated_at: "2024-03-15T10:30:00.000Z", resolve_strategy: "merge", changes: { Pressure_row_1: 85 } },
  },
  { type: "form_fill", local_id, data: { client_id: crypto.randomUUID(), inspection_id: 1, form_template_id: 1 } },
  { type: "inspection", local_id, data: { id: 1, status: "completed" } },
  { type: "photo_delete", local_id, data: { form_fill_id: 1, field_name: "Riser_Photo" } },
  // @ts-expect-error There is no such type.
  { type: "form_fil", local_id, data: { id: 1, changes: {} } },
  // @ts-expect-error There is no such status.
  { type: "inspection", local_id, data: { id: 1, status: "done" } },
  // @ts-expect-error There is no such strategy.
  { type: "form_fill", local_id, data: { id: 1, changes: {}, resolve_strategy: "theirs" } },
  // @ts-expect-error A change has a name.
  { type: "inspection", data: { id: 1, status: "completed" } },
]);

const fields: string[] = conflicts.flatMap(({ conflict_data }) => conflict_data.conflicting_fields);
const versions: string[] = conflicts.map(({ conflict_data }) => conflict_data.server_version);
// @ts-expect-error A conflict has no such key.
conflicts.map(({ conflict_data }) => conflict_data.theirs);

for await (const { changes, cursor, has_more } of api.changes()) {
  const names: (string | null)[] = changes.filter(isFormFill).map(({ record }) => record.client_id);
  const numbers: number[] = changes.filter(isFormFill).map(({ record }) => record.inspection_id);
  console.log(names, numbers, cursor.length, has_more === true, fields, versions);
}
