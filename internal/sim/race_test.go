//go:build race

package sim

// The race detector makes a schedule six times as slow; .ci/run plays more.
const defaultSchedules = 20
