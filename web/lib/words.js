// The words and colours of states, the same on every page.

export const STATUS = {
  idle: ["off air", ""],
  starting: ["starting", "warn"],
  onair: ["on air", "air"],
  degraded: ["degraded", "warn"],
  stopping: ["stopping", "warn"],
  removing: ["removing", "warn"],
};

export const ON_AIR = ["starting", "onair", "degraded"];

export const HEALTH = {
  healthy: ["healthy", "good"],
  busy: ["busy", "warn"],
  unhealthy: ["unhealthy", "air"],
  gone: ["gone", "air"],
};

/** "12 s ago" and so on; times are RFC 3339. */
export function ago(time, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}
