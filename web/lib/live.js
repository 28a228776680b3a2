// Rooms and modules as the server pushes them (GET /api/live).

import { pause, readEvents } from "./sse.js";

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 8000;
const QUIET_MS = 40000; // the server says something each 15 s: longer, and the line is dead

/** Follow until `signal` aborts. `tell(event, data)`; `state("live" | "lost" | "refused")`. */
export async function follow({ key, signal, tell, state }) {
  let wait = FIRST_RETRY_MS;
  const begun = () => {
    wait = FIRST_RETRY_MS;
    state("live");
  };
  const headers = { Authorization: `Bearer ${key}` };
  while (!signal.aborted) {
    try {
      const given = { headers, signal, quietMs: QUIET_MS, begun, tell };
      if ((await readEvents("/api/live", given)) === 401) return state("refused");
    } catch {
      // the line broke, or was quiet for too long: again
    }
    if (signal.aborted) return;
    state("lost");
    await pause(wait);
    wait = Math.min(2 * wait, LONGEST_RETRY_MS);
  }
}
