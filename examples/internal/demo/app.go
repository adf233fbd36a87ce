package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	source = "github.com/zkelection/election/examples/"
	// buildGrace is how long the compiler may take to end when it is interrupted.
	buildGrace = 10 * time.Second
)

// Compile prints that it compiles, and compiles the program in the example's folder app,
// which is the one that readers take home. remove deletes the result. Call [Check] first.
func Compile(ctx context.Context, example string) (program string, remove func(), err error) {
	dir, err := os.MkdirTemp("", example+"-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	fmt.Printf("Compiling examples/%s/app; the first time takes a while\n", example)
	program = filepath.Join(dir, "app.exe") // Windows needs the ending, and it does no harm elsewhere
	if err := build(ctx, source+example+"/app", program); err != nil {
		remove()
		return "", nil, err
	}
	return program, remove, nil
}

func build(ctx context.Context, pkg, program string) error {
	out, err := Go(ctx, "build", "-o", program, pkg)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case strings.Contains(out, "no required module") || strings.Contains(out, "go.mod file not found"):
		return fmt.Errorf("%s is not here: run this inside a clone of https://github.com/zkelection/election", pkg)
	}
	return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
}

// Go runs the go command and returns what it printed. When ctx ends, Go interrupts the
// command and returns ctx's error.
func Go(ctx context.Context, args ...string) (out string, err error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.SysProcAttr = OwnGroup()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it removes its temporary files
	cmd.WaitDelay = buildGrace
	text, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return string(text), err
}

// Prepare does what an example needs before it can run its program as processes: it calls
// [Check], [ZooKeeper] and [Compile]. stop ends the ZooKeeper and deletes the program.
func Prepare(ctx context.Context, example string, servers int) (connect, program string, stop func(), err error) {
	if err := Check(ctx); err != nil {
		return "", "", nil, err
	}
	connect, end, err := ZooKeeper(servers)
	if err != nil {
		return "", "", nil, err
	}
	program, remove, err := Compile(ctx, example)
	if err != nil {
		end()
		return "", "", nil, err
	}
	return connect, program, func() { end(); remove() }, nil
}

// RunApp runs a program on the ensemble connect and prints its output. It returns when
// the program has ended. When ctx ends, it stops the program in good order.
func RunApp(ctx context.Context, connect, program string, args ...string) error {
	p, err := Start(connect, func(line string) { fmt.Println(line) }, program, args...)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Stop(ctx)
	}
	return p.Wait(context.WithoutCancel(ctx))
}
