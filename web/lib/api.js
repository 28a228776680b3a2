// Calls to the room manager that served this page.

/** A refusal by the server, or no answer at all (status 0). `code` as in docs: "no-capacity". */
export class ApiError extends Error {
  constructor(status, code, detail, problem = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.problem = problem;
  }
}

/** One call; answers the decoded JSON. `key`: API key or token. Throws ApiError. */
export async function call(method, path, { key, body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const request = { method, headers, signal, cache: "no-store", credentials: "omit" };
  if (body !== undefined) request.body = JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The server cannot be reached.");
  }
  const document = await answer.json().catch(() => ({}));
  if (answer.ok) return document;
  const detail = document.detail ?? `The server answered ${answer.status}.`;
  throw new ApiError(answer.status, document.code ?? "unknown", detail, document);
}

/** The path of a room in the API. */
export const roomPath = (roomId) => `/api/rooms/${encodeURIComponent(roomId)}`;
