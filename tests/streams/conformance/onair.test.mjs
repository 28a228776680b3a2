// The official suite against a server that runs already: CONFORMANCE_TEST_URL=http://… npx vitest run
// (the package's own command finds no test file with the vitest it pulls in).
// `CONFORMANCE_SUBSCRIPTIONS=0` leaves out the six about subscriptions.
import { runConformanceTests } from "@durable-streams/server-conformance-tests"

runConformanceTests({
  baseUrl: process.env.CONFORMANCE_TEST_URL,
  longPollTimeoutMs: 500,
  subscriptions: process.env.CONFORMANCE_SUBSCRIPTIONS !== "0",
})
