// openapi-fetch.ts
// npx openapi-typescript https://fieldpost.example.com/api/v1/openapi.json --empty-objects-unknown -o fieldpost.d.ts
import createClient from "openapi-fetch";
import type { components, paths } from "./fieldpost";

type Schemas = components["schemas"];

export type Item = paths["/api/v1/sync"]["post"]["requestBody"]["content"]["application/json"]["sync_items"][number];
export type Results = Schemas["SyncAnswer"]["results"];
export type Change = Schemas["Change"];

/** Plugins bring entities of their own, so TypeScript cannot tell by `entity` alone. */
export const isFormFill = (change: Change): change is Schemas["FormFillUpsert"] =>
  change.op === "upsert" && change.entity === "form_fill";

/** `freshToken(refused)`: an access token, another one than `refused`. */
export function connect(baseUrl: string, freshToken: (refused?: string) => Promise<string>) {
  async function authorised(request: Request): Promise<Response> {
    async function attempt(token: string): Promise<Response> {
      const copy = request.clone();
      copy.headers.set("Authorization", `Bearer ${token}`);
      return fetch(copy);
    }
    const token = await freshToken();
    const response = await attempt(token);
    return response.status === 401 ? attempt(await freshToken(token)) : response;
  }

  const client = createClient<paths>({ baseUrl, fetch: authorised });

  return {
    /** What became of each item. Throws if the outcome is not known: send the same items again. */
    async sync(items: Item[]): Promise<Results> {
      const { data, error, response } = await client.POST("/api/v1/sync", { body: { sync_items: items } });
      if (!data) throw new Error(`${response.status} ${error?.code}`);
      return data.results;
    },

    /** The pages of the feed from a cursor on, or a complete walk. */
    async *changes(cursor?: string) {
      for (let hasMore = true; hasMore; ) {
        const { data, error, response } = await client.GET("/api/v1/sync/changes", { params: { query: { cursor } } });
        if (!data) throw new Error(`${response.status} ${error?.code}`);
        yield data.data;
        ({ cursor, has_more: hasMore } = data.data);
      }
    },
  };
}
