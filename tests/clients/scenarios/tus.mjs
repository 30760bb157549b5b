// What tus-js-client goes through while a photo is on its way. FIELDPOST_PHOTO is a small JPEG.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";

import { upload } from "../modules/tus-upload.js";
import { Place, START } from "./place.mjs";

const FIELD = "Riser_Photo";
const UPLOADS = "/api/v1/uploads";
const REFRESH = "/api/v1/auth/refresh";

const picture = await readFile(process.env.FIELDPOST_PHOTO);

/** A photo of three pieces, like no other: phones put other things behind the picture. */
const newPhoto = () => Buffer.concat([picture, randomBytes(1_200_000)]);

const digest = (photo) => createHash("sha256").update(photo).digest("hex");

describe("situations", { concurrency: true }, () => {
  function situation(name, work) {
    test(name, async () => {
      const place = await Place.open();
      const { inspection, formFill } = await place.newInspection();
      try {
        await work({ place, inspection, formFill, line: place.line, send: sender(place, formFill) });
      } finally {
        place.line.close();
      }
    });
  }

  /** A function that uploads a photo, and gives its attachment's id. */
  function sender(place, formFill) {
    return (photo, local_id = crypto.randomUUID(), form_fill_id = String(formFill.id)) =>
      new Promise((keep, giveUp) => {
        const metadata = { form_fill_id, field_name: FIELD, filename: "riser.jpg", local_id };
        const { freshToken } = place.signIn;
        const endpoint = place.line.url + UPLOADS;
        const it = upload(photo, metadata, { endpoint, freshToken, keep, giveUp });
        it.options.retryDelays = [50, 100, 200, 400, 800];
        it.start();
      });
  }

  async function sync(place, data) {
    const sync_items = [{ type: "form_fill", local_id: crypto.randomUUID(), data }];
    const { answer } = await place.signIn.request("POST", "/sync", { sync_items });
    return answer.results;
  }

  async function arePhotos({ place, formFill }, ...photos) {
    assert.deepEqual((await place.photosOnServer(formFill)).sort(), photos.map(digest).sort());
  }

  /** The fields of the form, without the server's own keys. */
  async function fields({ place, inspection, formFill }) {
    const { Riser_Photo_photo_attachment_id: ids, ...data } = (await place.onServer([inspection]))[formFill.key];
    return data;
  }

  situation("a second edit before the answer", async (scene) => {
    const { place, formFill, line, send } = scene;
    const [first, second] = [newPhoto(), newPhoto()];
    const { changes } = (await place.signIn.request("GET", "/sync/changes")).answer.data;
    const { updated_at } = changes.find(({ entity, id }) => entity === "form_fill" && id === formFill.id);
    let other;
    line.meanwhile = async () => {
      other = send(second);
      const changed = await sync(place, { id: formFill.id, updated_at, changes: { Pressure_row_1: 85 } });
      assert.equal(changed.success.length, 1);
    };
    const ids = [await send(first), await other];
    assert.notEqual(ids[0], ids[1]);
    await arePhotos(scene, first, second);
    // A photo makes no version: an edit on the version from before it is in no conflict.
    const edited = await sync(place, { id: formFill.id, updated_at, changes: { Location_row_1: "Roof" } });
    assert.equal(edited.success.length, 1);
    assert.deepEqual(await fields(scene), { Location_row_1: "Roof", Pressure_row_1: 85 });
  });

  situation("lost answers", async (scene) => {
    const { line, send } = scene;
    const [photo, local_id] = [newPhoto(), crypto.randomUUID()];
    Object.assign(line.answersToLose, { [UPLOADS]: 1, PATCH: 3, HEAD: 1 });
    const id = await send(photo, local_id);
    assert.deepEqual(line.answersToLose, { [UPLOADS]: 0, PATCH: 0, HEAD: 0 }, "the answers were lost");
    await arePhotos(scene, photo);
    assert.equal(await send(photo, local_id), id, "it is the same photo");
    await arePhotos(scene, photo);
  });

  situation("a colleague's edit in between", async (scene) => {
    const { place, formFill, line, send } = scene;
    const [mine, theirs] = [newPhoto(), newPhoto()];
    line.meanwhile = async () => {
      await place.photographInOffice(formFill, FIELD, theirs);
      await place.editInOffice(formFill, { Location_row_1: "Cellar" });
    };
    await send(mine);
    assert.equal(line.meanwhile, null);
    await arePhotos(scene, mine, theirs);
    assert.deepEqual(await fields(scene), { ...START, Location_row_1: "Cellar" });
  });

  situation("deletion of the inspection", async (scene) => {
    const { place, inspection, line, send } = scene;
    line.meanwhile = () => place.deleteInOffice(inspection);
    await assert.rejects(send(newPhoto()), ({ originalResponse }) => {
      const { code, retryable = false } = JSON.parse(originalResponse.getBody());
      assert.deepEqual([originalResponse.getStatus(), code, retryable], [404, "not_found", false]);
      return true;
    });
  });

  situation("deletion of the photo", async (scene) => {
    const { place, formFill, line, send } = scene;
    const [photo, local_id] = [newPhoto(), crypto.randomUUID()];
    const id = await send(photo, local_id);
    await place.deletePhotosInOffice(formFill, FIELD);
    assert.equal(await send(photo, local_id), id);
    await arePhotos(scene);
    // The answer to the last piece is lost, and a colleague deletes the photo before the next try.
    const other = newPhoto();
    const after = (pieces, work) => (line.meanwhile = () => (pieces > 1 ? void after(pieces - 1, work) : work()));
    after(3, async () => {
      await place.deletePhotosInOffice(formFill, FIELD);
      line.answersToLose.PATCH = 1;
    });
    await send(other);
    assert.equal(line.answersToLose.PATCH, 0, "the answer was lost");
    await arePhotos(scene);
  });

  situation("a create that has not come yet", async (scene) => {
    const { place, inspection, formFill, send } = scene;
    const [photo, client_id] = [newPhoto(), crypto.randomUUID()];
    await assert.rejects(send(photo, "1", client_id), ({ originalResponse }) => {
      assert.equal(JSON.parse(originalResponse.getBody()).retryable, true);
      return true;
    });
    const { form_template_id } = formFill;
    const { success } = await sync(place, { client_id, inspection_id: inspection.id, form_template_id });
    await send(photo, "1", client_id);
    await arePhotos({ place, formFill: { id: success[0].server_id } }, photo);
  });

  situation("a sign-in that expires in between", async (scene) => {
    const { place, line, send } = scene;
    const photo = newPhoto();
    line.meanwhile = () => {
      place.signIn.expire();
      line.answersToLose[REFRESH] = 1;
    };
    await send(photo);
    assert.equal(line.answersToLose[REFRESH], 0, "the answer to a refresh was lost");
    assert.ok(line.statuses.includes(401), "the token had expired");
    assert.equal(line.requests.filter((each) => each === `POST ${UPLOADS}`).length, 1, "it went on with the same upload");
    await arePhotos(scene, photo);
  });
});
