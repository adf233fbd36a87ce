//go:build race

package machine

// raceEnabled shortens what runs ten times slower under the race detector.
const raceEnabled = true
