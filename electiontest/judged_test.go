package electiontest_test

import (
	"fmt"
	"runtime"
	"testing"
)

// judged is a test whose failure can be read.
type judged struct {
	*testing.T
	failure string
}

func (j *judged) Errorf(format string, args ...any) { j.failure += fmt.Sprintf(format, args...) }

// Fatalf ends the test's goroutine, as the original does.
func (j *judged) Fatalf(format string, args ...any) {
	j.Errorf(format, args...)
	runtime.Goexit()
}

// refusal returns with what f ends its test.
func refusal(t *testing.T, f func(tb testing.TB)) string {
	j := &judged{T: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(j)
	}()
	<-done
	return j.failure
}
