// Rooms and modules as the server pushes them (GET /api/live): server-sent events, read with
// fetch because EventSource cannot carry the API key.

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 8000;
const QUIET_MS = 40000; // the server says something each 15 s: longer, and the line is dead

/** Parse server-sent events out of text that arrives in pieces (HTML standard, 9.2.6). */
export class EventParser {
  #rest = "";

  /** The events that are complete now, as {event, data}. */
  feed(text) {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop();
    return blocks.map(parseBlock).filter((event) => event.data);
  }
}

function parseBlock(block) {
  const found = { event: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, name, value] = line.match(/^(event|data): ?(.*)$/) ?? [];
    if (name === "event") found.event = value;
    if (name === "data") found.data += value;
  }
  return found;
}

/** Follow until `signal` aborts. `tell(event, data)`; `state("live" | "lost" | "refused")`. */
export async function follow({ key, signal, tell, state }) {
  let wait = FIRST_RETRY_MS;
  while (!signal.aborted) {
    try {
      const outcome = await read(key, signal, tell, () => {
        wait = FIRST_RETRY_MS;
        state("live");
      });
      if (outcome === "refused") return state("refused");
    } catch {
      // the line broke, or was quiet for too long: again
    }
    if (signal.aborted) return;
    state("lost");
    await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random())));
    wait = Math.min(2 * wait, LONGEST_RETRY_MS);
  }
}

async function read(key, signal, tell, begun) {
  const quiet = new AbortController();
  const stop = () => quiet.abort();
  signal.addEventListener("abort", stop, { once: true });
  let timer = setTimeout(stop, QUIET_MS);
  try {
    const headers = { Authorization: `Bearer ${key}`, Accept: "text/event-stream" };
    const answer = await fetch("/api/live", { headers, signal: quiet.signal, cache: "no-store" });
    if (answer.status === 401) return "refused";
    if (!answer.ok) return "failed";
    begun();
    const parser = new EventParser();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return "ended";
      clearTimeout(timer);
      timer = setTimeout(stop, QUIET_MS);
      for (const { event, data } of parser.feed(value)) tell(event, JSON.parse(data));
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}
