export default {
  test: { include: ["onair.test.mjs"], testTimeout: 30000, hookTimeout: 30000 },
}
