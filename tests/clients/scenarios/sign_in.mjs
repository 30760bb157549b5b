// A sign-in as docs/clients.md has it: a store of tokens, and the functions that keep it fresh.
import { createHmac } from "node:crypto";

import { fieldpost } from "../modules/fieldpost.js";

export async function signIn(url, email, password) {
  const api = `${url}/api/v1`;
  const response = await fetch(`${api}/auth/login`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email, password, device_id: crypto.randomUUID() }),
  });
  const { access_token, refresh_token, expires_in } = await response.json();
  const store = { access_token, refresh_token, expires_at: Date.now() + expires_in * 1000 };
  /** The same sign-in for another part of the app, which knows nothing of the others: two tabs, or a worker. */
  const part = () => fieldpost(api, { ...store });
  return { ...fieldpost(api, store), part, expire: () => expire(store) };
}

/** Let the access token be one that expired a minute ago, signed as the server would have signed it then. */
function expire(store) {
  const [header, payload] = store.access_token.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url"));
  const expired = Buffer.from(JSON.stringify({ ...claims, exp: Date.now() / 1000 - 60 })).toString("base64url");
  const hmac = createHmac("sha256", process.env.FIELDPOST_SECRET_KEY).update(`${header}.${expired}`);
  store.access_token = `${header}.${expired}.${hmac.digest("base64url")}`;
}
