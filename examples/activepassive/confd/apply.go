package confd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// commandLimit bounds check_cmd and reload_cmd. A command that hangs must not hold up the
// next change for ever.
const commandLimit = 30 * time.Second

// apply makes content the content of dest, and reports whether dest was changed. It
// replaces dest only when content has passed the check, and in one step, so no reader
// ever sees half a file.
func (t Template) apply(ctx context.Context, content []byte) (changed bool, err error) {
	old, err := os.ReadFile(t.Dest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err == nil && bytes.Equal(old, content) {
		return false, nil
	}
	staged, err := t.stage(content)
	if err != nil {
		return false, err
	}
	defer os.Remove(staged) // fails if it has been renamed
	if err := t.check(ctx, staged); err != nil {
		return false, fmt.Errorf("%s stays as it is: %w", t.Dest, err)
	}
	return true, os.Rename(staged, t.Dest)
}

// stage writes content to a file in the same folder as dest. A rename is atomic only
// within one file system, and the check must find the files that content includes by
// relative paths.
func (t Template) stage(content []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(t.Dest), "."+filepath.Base(t.Dest)+".*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		os.Remove(f.Name())
	}
	return f.Name(), err
}

func (t Template) check(ctx context.Context, staged string) error {
	if t.CheckCmd == "" {
		return nil
	}
	cmd, err := template.New("check_cmd").Option("missingkey=error").Parse(t.CheckCmd)
	if err != nil {
		return err
	}
	var line strings.Builder
	if err := cmd.Execute(&line, map[string]string{"src": Quote(staged)}); err != nil {
		return err
	}
	return run(ctx, "check_cmd", line.String())
}

func (t Template) reload(ctx context.Context) error {
	if t.ReloadCmd == "" {
		return nil
	}
	return run(ctx, "reload_cmd", t.ReloadCmd)
}

func run(ctx context.Context, name, line string) error {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.WaitDelay = time.Second // a program that the shell has started may keep the pipe open
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w: %s", name, line, err, bytes.TrimSpace(out))
	}
	return nil
}

// Quote quotes s as one word of a shell command.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
