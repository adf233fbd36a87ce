package nginx

import "testing"

// LookNowhereElse makes Find look only at PATH until the test ends.
func LookNowhereElse(t *testing.T) {
	t.Helper()
	before := elsewhere
	elsewhere = nil
	t.Cleanup(func() { elsewhere = before })
}
