// The invitation: a token in the page's address, kept for this tab only.

const NAME = (roomId) => `onair.token.${roomId}`;

/** Take `?token=` out of the address bar (it is a secret) and keep it for reloads of this tab. */
export function takeToken(roomId) {
  const address = new URL(location.href);
  const given = address.searchParams.get("token");
  if (given) {
    sessionStorage.setItem(NAME(roomId), given);
    address.searchParams.delete("token");
    history.replaceState(null, "", address);
  }
  return given ?? sessionStorage.getItem(NAME(roomId));
}

/** What a token says of its holder; null if it is none. The server checks it, not we. */
export function claims(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}
