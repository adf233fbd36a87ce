package shards_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/zkelection/election/internal/zktest"
)

// TestMain also plays the processes of the service, and one whose work panics.
func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		os.Exit(childMain(what))
	}
	if address := os.Getenv(panicEnv); address != "" {
		os.Exit(panicMain(address))
	}
	code := zktest.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println("goroutines outlive their clients:", err)
		code = 1
	}
	os.Exit(code)
}
