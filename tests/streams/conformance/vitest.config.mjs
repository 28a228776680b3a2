// The suite's TTL tests sleep for about a second beside a TTL of one or two, so a machine that
// stands still for a moment fails them: such a test may be tried again.
export default {
  test: { include: ["onair.test.mjs"], testTimeout: 30000, hookTimeout: 30000, retry: 2 },
}
