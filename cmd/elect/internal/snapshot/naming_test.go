package snapshot

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamesOfOneKindHaveOneTemplate(t *testing.T) {
	for name, want := range map[string]string{
		"_c_6d3c1b1e-4f33-4d67-a7a0-2f0f8c0d9b11-latch-0000000007":  "_c_{uuid}-latch-",
		"_c_6d3c1b1e-4f33-4d67-a7a0-2f0f8c0d9b11-latch--2147483648": "_c_{uuid}-latch-",
		"_c_6d3c1b1e-4f33-4d67-a7a0-2f0f8c0d9b11-lock-0000000012":   "_c_{uuid}-lock-",
		"_c_6d3c1b1e4f334d67a7a02f0f8c0d9b11-lock-0000000012":       "_c_{hex}-lock-",
		"6d3c1b1e4f334d67a7a02f0f8c0d9b11__lock__0000000003":        "{hex}__lock__",
		"n_0000000000":                   "n_",
		"n_-2147483648":                  "n_",
		"x-72057594037927936-0000000001": "x-{number}-",
		"x-72057594037927936-1000000001": "x-{number}-",
		"0000000001":                     "",
		"worker-10000000001":             "worker-1",
	} {
		require.Equal(t, want, Naming(name), name)
	}
}
