// What a client goes through, whatever library it is made with.
//
// A device has `edit(key, changes)`, `create(inspection, template_id, data)` -> key, `sync()`, which does what can be
// done on the line, `rows()` -> {key: data}, and `close()`. A key is a form fill's client_id, or its id as text.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Place, START } from "./place.mjs";

const SYNC = "/api/v1/sync";
const REFRESH = "/api/v1/auth/refresh";

export function goThroughSituations(openDevice) {
  // All at once: each has a place of its own.
  describe("situations", { concurrency: true }, () => defineSituations(openDevice));
}

function defineSituations(openDevice) {
  function situation(name, work) {
    test(name, async () => {
      const place = await Place.open();
      const { inspection, formFill } = await place.newInspection();
      const device = await openDevice(place);
      try {
        await device.sync();
        assert.deepEqual(await device.rows(), { [formFill.key]: START });
        await work({ place, device, inspection, formFill, line: place.line });
      } finally {
        await device.close();
        place.line.close();
      }
    });
  }

  async function agree({ place, device, inspection }, expected) {
    assert.deepEqual(await place.onServer([inspection]), expected, "on the server");
    assert.deepEqual(await device.rows(), expected, "on the device");
    const times = (await Promise.all(Object.keys(expected).map((key) => place.timesOfChanges(key)))).flat();
    assert.ok(times.every(Boolean), "each change has its time");
  }

  function nobodyWasAsked({ line, place }) {
    assert.deepEqual([line.conflicts, line.errors, place.shown], [[], [], []]);
  }

  situation("a second edit before the answer", async (scene) => {
    const { device, formFill, line } = scene;
    line.isDown = true;
    await device.edit(formFill.key, { Location_row_1: "Basement" });
    const later = Date.now();
    await sleep(5);
    line.isDown = false;
    line.meanwhile = () => device.edit(formFill.key, { Location_row_1: "Basement, north" });
    await device.sync();
    assert.equal(line.meanwhile, null, "the edit was made while the answer was on its way");
    const [first, ...more] = (await scene.place.timesOfChanges(formFill.key)).map(Date.parse);
    assert.ok(first <= later && more.every((time) => time > later), "the times are those of the edits");
    await agree(scene, { [formFill.key]: { ...START, Location_row_1: "Basement, north" } });
    // Back to a value that was sent before: no retry of that edit.
    await device.edit(formFill.key, { Location_row_1: "Basement" });
    await device.sync();
    await agree(scene, { [formFill.key]: { ...START, Location_row_1: "Basement" } });
    nobodyWasAsked(scene);
  });

  situation("lost answers", async (scene) => {
    const { device, inspection, formFill, line } = scene;
    line.isDown = true;
    await device.edit(formFill.key, { Location_row_1: "Basement" });
    const created = await device.create(inspection, formFill.form_template_id, { Location_row_1: "Roof" });
    line.answersToLose[SYNC] = 3;
    line.meanwhile = async () => {
      await device.edit(formFill.key, { Location_row_1: "Basement, north", Pressure_row_1: 85 });
      await device.edit(created, { Pressure_row_1: 3 });
    };
    line.isDown = false;
    await device.sync();
    assert.equal(line.answersToLose[SYNC], 0, "the answers were lost");
    await agree(scene, {
      [formFill.key]: { Location_row_1: "Basement, north", Pressure_row_1: 85 },
      [created]: { Location_row_1: "Roof", Pressure_row_1: 3 },
    });
    nobodyWasAsked(scene);
  });

  situation("a colleague's edit in between", async (scene) => {
    const { place, device, formFill, line } = scene;
    line.isDown = true;
    await device.edit(formFill.key, { Pressure_row_1: 85 });
    await place.editInOffice(formFill, { Location_row_1: "Entrance, left" });
    line.isDown = false;
    await device.sync();
    await agree(scene, { [formFill.key]: { Location_row_1: "Entrance, left", Pressure_row_1: 85 } });

    line.isDown = true;
    await device.edit(formFill.key, { Pressure_row_1: 86 });
    line.answersToLose[SYNC] = 1;
    line.meanwhile = async () => {
      await place.editInOffice(formFill, { Location_row_1: "Entrance, right" });
      await device.edit(formFill.key, { Pressure_row_1: 87 });
    };
    line.isDown = false;
    await device.sync();
    await agree(scene, { [formFill.key]: { Location_row_1: "Entrance, right", Pressure_row_1: 87 } });
    nobodyWasAsked(scene);
  });

  situation("a colleague's edit of the same field", async (scene) => {
    const { place, device, formFill, line } = scene;
    line.isDown = true;
    await device.edit(formFill.key, { Location_row_1: "Behind the door" });
    await place.editInOffice(formFill, { Location_row_1: "Cellar", Pressure_row_1: 81 });
    line.isDown = false;
    await device.sync();
    await agree(scene, { [formFill.key]: { Location_row_1: "Cellar", Pressure_row_1: 81 } });
    const [{ kind, work }, ...more] = place.shown;
    assert.deepEqual([kind, more], ["conflict", []]);
    assert.equal(work.Location_row_1, "Behind the door");
    assert.deepEqual(line.conflicts[0].conflict_data.conflicting_fields, ["Location_row_1"]);

    await device.edit(formFill.key, { Location_row_1: "Cellar, behind the door" });
    await device.sync();
    await agree(scene, { [formFill.key]: { Location_row_1: "Cellar, behind the door", Pressure_row_1: 81 } });
    assert.equal(place.shown.length, 1, "the decision is no conflict");

    // Both make the same edit, and the colleague one more: there is nothing to decide, and something to learn.
    line.isDown = true;
    await device.edit(formFill.key, { Location_row_1: "Cellar" });
    await place.editInOffice(formFill, { Location_row_1: "Cellar", Pressure_row_1: 82 });
    line.isDown = false;
    await device.sync();
    await agree(scene, { [formFill.key]: { Location_row_1: "Cellar", Pressure_row_1: 82 } });
    assert.equal(place.shown.length, 1);
  });

  situation("deletion", async (scene) => {
    const { place, device, formFill, line } = scene;
    const [seen, kept] = [await place.newInspection(), await place.newInspection()];
    const created = await device.create(scene.inspection, formFill.form_template_id, { Location_row_1: "Roof" });
    await device.sync();
    line.isDown = true;
    await device.edit(formFill.key, { Location_row_1: "Basement" });
    await device.edit(created, { Location_row_1: "Roof, south" });
    await device.edit(kept.formFill.key, { Location_row_1: "Roof" });
    await place.deleteInOffice(scene.inspection);
    await place.deleteInOffice(seen.inspection);
    line.isDown = false;
    await device.sync();
    await agree({ ...scene, inspection: kept.inspection }, { [kept.formFill.key]: { ...START, Location_row_1: "Roof" } });
    assert.deepEqual(
      place.shown.map(({ kind, work }) => [kind, work.Location_row_1]).sort(),
      [["refused", "Basement"], ["refused", "Roof, south"]],
      "the work is kept",
    );
  });

  situation("values that the server refuses", async (scene) => {
    const { place, device, inspection, formFill, line } = scene;
    line.isDown = true;
    await device.edit(formFill.key, { Location_row_1: "\0" });
    await device.create(inspection, formFill.form_template_id, { Location_row_1: "\0" });
    line.isDown = false;
    await device.sync();
    await agree(scene, { [formFill.key]: START });
    assert.deepEqual(place.shown.map(({ kind, work }) => [kind, work.Location_row_1]), Array(2).fill(["refused", "\0"]));
    await device.edit(formFill.key, { Pressure_row_1: 85 });
    await device.sync();
    await agree(scene, { [formFill.key]: { ...START, Pressure_row_1: 85 } });
  });

  situation("a cursor that has expired", async (scene) => {
    const { place, device, formFill, line } = scene;
    const own = await place.newInspection({ owner_id: place.technician.id });
    const unseen = await place.newInspection();
    await device.sync();
    line.isDown = true;
    await device.edit(own.formFill.key, { Pressure_row_1: 85 });
    await device.edit(formFill.key, { Pressure_row_1: 3 });
    const created = await device.create(own.inspection, formFill.form_template_id, { Location_row_1: "Roof" });
    await place.editInOffice(own.formFill, { Location_row_1: "Entrance, left" });
    await place.takeTheRole();
    // So that the walk comes before the answer in which the work is refused.
    line.answersToLose[SYNC] = 2;
    line.isDown = false;
    await device.sync();
    assert.ok(line.statuses.includes(410), "the cursor has expired");
    await agree({ ...scene, inspection: own.inspection }, {
      [own.formFill.key]: { Location_row_1: "Entrance, left", Pressure_row_1: 85 },
      [created]: { Location_row_1: "Roof" },
    });
    assert.ok(!(unseen.formFill.key in (await device.rows())), "what is out of sight is gone");
    const [{ kind, work }, ...more] = place.shown;
    assert.deepEqual([kind, more], ["refused", []]);
    assert.equal(work.Pressure_row_1, 3, "the work is kept");
  });

  situation("a sign-in that expires in between", async (scene) => {
    const { place, device, formFill, line } = scene;
    line.isDown = true;
    await device.edit(formFill.key, { Location_row_1: "Basement" });
    place.signIn.expire();
    const other = place.signIn.part();
    line.answersToLose[REFRESH] = 1;
    line.isDown = false;
    // Another part of the app notices it at the same time.
    await Promise.allSettled([device.sync(), other.request("GET", "/auth/me")]);
    await device.sync();
    assert.equal(line.answersToLose[REFRESH], 0, "the answer to a refresh was lost");
    await agree(scene, { [formFill.key]: { ...START, Location_row_1: "Basement" } });
    assert.ok(line.statuses.includes(401), "the token had expired");
    assert.equal((await other.request("GET", "/auth/me")).status, 200, "both parts are signed in");
    await device.edit(formFill.key, { Pressure_row_1: 85 });
    await device.sync();
    await agree(scene, { [formFill.key]: { Location_row_1: "Basement", Pressure_row_1: 85 } });
    nobodyWasAsked(scene);
  });
}
