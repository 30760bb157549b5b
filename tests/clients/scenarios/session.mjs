// A sign-in as a simple app keeps it: whoever gets a 401 refreshes, even if others do so at the same time.
import { createHmac } from "node:crypto";

/** An answer that is no success. */
export class Refused extends Error {
  constructor(status, answer) {
    super(`${status} ${JSON.stringify(answer)}`);
    this.status = status;
    this.code = answer.code;
  }
}

export class Session {
  constructor(url) {
    this.url = url;
    this.tokens = {};
  }

  static async signIn(url, email, password, deviceId) {
    const session = new Session(url);
    session.tokens = await session.send("POST", "/auth/login", { email, password, device_id: deviceId });
    return session;
  }

  /** The JSON of an answer. Throws `Refused`, and what `fetch` throws where no answer arrives. */
  send = async (method, path, body) => {
    let token = await this.freshToken();
    let response = await this.#fetch(method, path, token, body);
    if (response.status === 401 && token) {
      token = await this.freshToken(token);
      response = await this.#fetch(method, path, token, body);
    }
    return read(response);
  };

  /** An access token other than the one that the server has refused. */
  freshToken = async (refused) => {
    if (refused && refused === this.tokens.access_token) {
      this.tokens = await read(await this.#fetch("POST", "/auth/refresh", this.tokens.refresh_token));
    }
    return this.tokens.access_token;
  };

  /** Let the access token be one that expired a minute ago, signed as the server would have signed it then. */
  expire() {
    const [header, payload] = this.tokens.access_token.split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url"));
    const expired = Buffer.from(JSON.stringify({ ...claims, exp: Date.now() / 1000 - 60 })).toString("base64url");
    const hmac = createHmac("sha256", process.env.FIELDPOST_SECRET_KEY).update(`${header}.${expired}`);
    this.tokens = { ...this.tokens, access_token: `${header}.${expired}.${hmac.digest("base64url")}` };
  }

  #fetch(method, path, token, body) {
    return fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        ...(token && { Authorization: `Bearer ${token}` }),
        ...(body && { "Content-Type": "application/json" }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
  }
}

async function read(response) {
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}
