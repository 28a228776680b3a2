// One WebSocket to a gateway, and JSON-RPC 2.0 on it (docs/gateway.md). It never reconnects;
// `show.js` opens the next one.

const ANSWER_MS = 15000;

/** A refusal by the gateway. `code` as in docs/gateway.md, such as -32010. */
export class RpcError extends Error {
  constructor(code, message, detail) {
    super(detail ?? message);
    this.code = code;
    this.reason = message;
  }
}

/** Events: `notification` {method, params}, `closed` {code, reason}. */
export class Gateway extends EventTarget {
  #socket;
  #waiting = new Map();
  #last = 0;

  constructor(socket) {
    super();
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => this.#received(JSON.parse(data)));
    socket.addEventListener("close", ({ code, reason }) => this.#closed(code, reason));
  }

  /** Connect; throws CloseError if the gateway refuses or cannot be reached. */
  static open(url, token, { takeover = false } = {}) {
    const address = takeover ? `${url}?takeover=1` : url;
    // The token in the protocol's list, not in the address, where logs would have it.
    const socket = new WebSocket(address, ["onair.v1", `bearer.${token}`]);
    return new Promise((resolve, reject) => {
      const gateway = new Gateway(socket);
      socket.addEventListener("open", () => resolve(gateway), { once: true });
      gateway.addEventListener("closed", ({ detail }) => reject(new CloseError(detail)), {
        once: true,
      });
    });
  }

  /** Ask; answers the result. Throws RpcError, or CloseError if the socket ends first. */
  request(method, params = {}) {
    if (!this.isOpen) return Promise.reject(new CloseError({ code: 1006, reason: "" }));
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new RpcError(0, "no-answer", "The gateway does not answer."));
      }, ANSWER_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  close() {
    this.#socket.close(1000);
  }

  #received(message) {
    if (message.method) this.#tell("notification", message);
    else this.#answered(message);
  }

  #answered({ id, result, error }) {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    if (error) waiting.reject(new RpcError(error.code, error.message, error.data?.detail));
    else waiting.resolve(result);
  }

  #closed(code, reason) {
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new CloseError({ code, reason }));
    }
    this.#waiting.clear();
    this.#tell("closed", { code, reason });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** The socket is closed; `code` as in docs/gateway.md, 1006 if it never opened or broke. */
export class CloseError extends Error {
  constructor({ code, reason }) {
    super(reason || `closed with ${code}`);
    this.code = code;
  }
}
