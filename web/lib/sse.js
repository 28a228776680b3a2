// Server-sent events, read with fetch: EventSource carries no key, and tells no status.

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

/**
 * Read until the stream ends, and answer the status; throw if the line breaks, or was silent for
 * `quietMs`. `begun()` when the server has agreed; then `tell(event, data)`, data out of JSON.
 */
export async function readEvents(url, { headers, signal, quietMs, begun, tell }) {
  const quiet = new AbortController();
  const stop = () => quiet.abort();
  signal.addEventListener("abort", stop, { once: true });
  let timer = setTimeout(stop, quietMs);
  try {
    const accept = { ...headers, Accept: "text/event-stream" };
    const request = { headers: accept, signal: quiet.signal, cache: "no-store", credentials: "omit" };
    const answer = await fetch(url, request);
    if (!answer.ok) return answer.status;
    begun();
    const parser = new EventParser();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return answer.status;
      clearTimeout(timer);
      timer = setTimeout(stop, quietMs);
      for (const { event, data } of parser.feed(value)) tell(event, JSON.parse(data));
    }
  } finally {
    clearTimeout(timer);
    stop();
    signal.removeEventListener("abort", stop);
  }
}

/** A wait of about so long: not all come back at once. */
export const pause = (ms) => new Promise((over) => setTimeout(over, ms * (0.5 + Math.random())));
