// Uploads a file with tus-js-client as an app would: `… ENDPOINT TOKEN FILE METADATA`, prints what it was told.
const fs = require("node:fs");
const tus = require("tus-js-client");

// How far the upload had come each time that the client had to ask.
const resumedAt = [];

const [endpoint, token, path, metadata] = process.argv.slice(2);

let isDone = false;

const upload = new tus.Upload(fs.createReadStream(path), {
  endpoint,
  headers: { Authorization: `Bearer ${token}` },
  metadata: JSON.parse(metadata),
  retryDelays: [100, 200, 400, 800, 1600],
  onAfterResponse(request, response) {
    if (request.getMethod() === "HEAD") resumedAt.push(Number(response.getHeader("Upload-Offset")));
  },
  onError(error) {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess({ lastResponse }) {
    isDone = true;
    console.log(JSON.stringify({ id: lastResponse.getHeader("Fieldpost-Attachment-Id"), resumedAt }));
  },
});

upload.start();

// On Node.js, unlike in browsers, it does not notice an answer that breaks off in its middle: nothing is left to wait
// for, and nothing was told. An app would start it again.
process.on("beforeExit", () => {
  if (!isDone) upload.start();
});
