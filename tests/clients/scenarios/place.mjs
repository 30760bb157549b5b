// A place to work in, new for each situation: a technician with a line to the server, and a colleague in the office.
import { openLine } from "./line.mjs";
import { signIn } from "./sign_in.mjs";

const { FIELDPOST_URL: url, FIELDPOST_ADMIN_PASSWORD: adminPassword } = process.env;
const PASSWORD = "correct horse battery staple";

const { request, freshToken } = await signIn(url, "admin@example.com", adminPassword);

/** The JSON of an answer to the colleague. */
const inOffice = async (...call) => (await request(...call)).answer;

const [template] = (await inOffice("GET", "/form_templates")).data.form_templates;

/** What every form fill has at the beginning. */
export const START = { Location_row_1: "Entrance", Pressure_row_1: 80 };

export class Place {
  static async open() {
    const place = new Place();
    const email = `${crypto.randomUUID()}@example.com`;
    const person = { email, name: "Tia Technician", role: "technician", password: PASSWORD };
    place.technician = (await inOffice("POST", "/users", person)).data.user;
    place.line = await openLine(url);
    place.signIn = await signIn(place.line.url, email, PASSWORD);
    /** What the app has shown to the technician: conflicts, and work that was refused. */
    place.shown = [];
    place.show = (kind, work) => void place.shown.push({ kind, work });
    return place;
  }

  /** An inspection of the technician, with one form fill. */
  async newInspection(people = { assignee_id: this.technician.id }) {
    const body = { date: "2024-03-15", form_template_ids: [template.id], ...people };
    const { inspection, form_fills } = (await inOffice("POST", "/inspections", body)).data;
    const formFill = { ...form_fills[0], key: String(form_fills[0].id), form_template_id: template.id };
    await this.editInOffice(formFill, START);
    return { inspection, formFill };
  }

  /** A colleague's edit, which the technician's device does not know of. */
  async editInOffice(formFill, changes) {
    const present = (await inOffice("GET", `/form_fills/${formFill.id}`)).data.form_fill;
    const data = { id: formFill.id, updated_at: present.updated_at, changes };
    const { results } = await inOffice("POST", "/sync", {
      sync_items: [{ type: "form_fill", local_id: crypto.randomUUID(), data }],
    });
    if (results.success.length !== 1) throw new Error(JSON.stringify(results));
  }

  /** A colleague's photo for a field of a form fill. */
  async photographInOffice(formFill, field_name, photo) {
    const body = new FormData();
    for (const [name, value] of Object.entries({ form_fill_id: formFill.id, field_name })) body.set(name, String(value));
    body.set("photo", new Blob([photo]), "office.jpg");
    const headers = { Authorization: `Bearer ${await freshToken()}` };
    const response = await fetch(`${url}/api/v1/sync/upload_photo`, { method: "POST", headers, body });
    if (!response.ok) throw new Error(await response.text());
  }

  /** The SHA-256 of all photos of a form fill on the server. */
  async photosOnServer(formFill) {
    const { attachments } = (await inOffice("GET", `/form_fills/${formFill.id}/attachments`)).data;
    return attachments.map(({ sha256 }) => sha256);
  }

  /** Delete the one photo of a field. */
  async deletePhotosInOffice(formFill, field_name) {
    const item = { type: "photo_delete", local_id: crypto.randomUUID(), data: { form_fill_id: formFill.id, field_name } };
    const { results } = await inOffice("POST", "/sync", { sync_items: [item] });
    if (results.success[0]?.result.deleted !== 1) throw new Error(JSON.stringify(results));
  }

  async deleteInOffice(inspection) {
    await inOffice("DELETE", `/inspections/${inspection.id}`);
  }

  /** The technician sees from now on only the inspections of their own. Cursors from before end with it. */
  async takeTheRole() {
    await inOffice("PATCH", `/users/${this.technician.id}`, { role: "user" });
  }

  /** When the technician made the changes of a form fill, by the device's clock, oldest first. */
  async timesOfChanges(key) {
    const { history } = (await inOffice("GET", `/form_fills/${key}/history`)).data;
    return history.filter(({ user_id }) => user_id === this.technician.id).map(({ made_at }) => made_at).reverse();
  }

  /** Key -> data, of all form fills of these inspections on the server. */
  async onServer(inspections) {
    const packages = await Promise.all(
      inspections.map(({ id }) => inOffice("GET", `/inspections/${id}/offline_data`)),
    );
    const formFills = packages.flatMap(({ data }) => data.form_fills);
    return Object.fromEntries(formFills.map(({ id, client_id, data }) => [client_id ?? String(id), data]));
  }
}
