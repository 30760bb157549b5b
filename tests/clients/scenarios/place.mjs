// A place to work in, new for each situation: a technician with a line to the server, and a colleague in the office.
import { randomUUID } from "node:crypto";

import { openLine } from "./line.mjs";
import { Session } from "./session.mjs";

const { FIELDPOST_URL: url, FIELDPOST_ADMIN_PASSWORD: adminPassword } = process.env;
const PASSWORD = "correct horse battery staple";

const office = await Session.signIn(url, "admin@example.com", adminPassword, randomUUID());
const [template] = (await office.send("GET", "/form_templates")).data.form_templates;

/** What every form fill has at the beginning. */
export const START = { Location_row_1: "Entrance", Pressure_row_1: 80 };

export class Place {
  static async open() {
    const place = new Place();
    const email = `${randomUUID()}@example.com`;
    const person = { email, name: "Tia Technician", role: "technician", password: PASSWORD };
    place.technician = (await office.send("POST", "/users", person)).data.user;
    place.line = await openLine(url);
    place.session = await Session.signIn(place.line.url, email, PASSWORD, randomUUID());
    /** What the app has shown to the technician: conflicts, and work that was refused. */
    place.shown = [];
    place.show = (kind, work, entry) => place.shown.push({ kind, work, entry });
    return place;
  }

  /** An inspection of the technician, with one form fill. */
  async newInspection() {
    const body = { date: "2024-03-15", form_template_ids: [template.id], assignee_id: this.technician.id };
    const { inspection, form_fills } = (await office.send("POST", "/inspections", body)).data;
    const formFill = { ...form_fills[0], key: String(form_fills[0].id), form_template_id: template.id };
    await this.editInOffice(formFill, START);
    return { inspection, formFill };
  }

  /** A colleague's edit, which the technician's device does not know of. */
  async editInOffice(formFill, changes) {
    const present = (await office.send("GET", `/form_fills/${formFill.id}`)).data.form_fill;
    const data = { id: formFill.id, updated_at: present.updated_at, changes };
    const { results } = await office.send("POST", "/sync", {
      sync_items: [{ type: "form_fill", local_id: randomUUID(), data }],
    });
    if (results.success.length !== 1) throw new Error(JSON.stringify(results));
  }

  async deleteInOffice(inspection) {
    await office.send("DELETE", `/inspections/${inspection.id}`);
  }

  /** Key -> data, of all form fills of these inspections on the server. */
  async onServer(inspections) {
    const packages = await Promise.all(
      inspections.map(({ id }) => office.send("GET", `/inspections/${id}/offline_data`)),
    );
    const formFills = packages.flatMap(({ data }) => data.form_fills);
    return Object.fromEntries(formFills.map(({ id, client_id, data }) => [client_id ?? String(id), data]));
  }
}
