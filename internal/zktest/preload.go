package zktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// library is a C source. Compiled, it is loaded before the server's libc, and changes what the server gets from it.
type library struct {
	name    string // of the file in the container, without its suffix
	purpose string // for the message if there is no compiler
	compile func() (string, error)
}

// newLibrary compiles source when it is first needed, once per process.
func newLibrary(name, purpose string, source []byte) *library {
	l := &library{name: name, purpose: purpose}
	l.compile = sync.OnceValues(func() (string, error) { return l.build(source) })
	return l
}

func (l *library) build(source []byte) (string, error) {
	dir, err := os.MkdirTemp("", "zktest-"+l.name+"-")
	if err != nil {
		return "", fmt.Errorf("zktest: %w", err)
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in.c"), filepath.Join(dir, "out.so")
	if err := os.WriteFile(in, source, 0o600); err != nil {
		return "", fmt.Errorf("zktest: %w", err)
	}
	if said, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", out, in).CombinedOutput(); err != nil {
		return "", fmt.Errorf("zktest: %s needs a C compiler, cc (Debian's packages gcc and libc6-dev): %w\n%s", l.purpose, err, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		return "", fmt.Errorf("zktest: %w", err)
	}
	return string(text), nil
}

// preload has the server load l, and sets the variable from which l reads how it is to behave.
func (s *settings) preload(l *library, variable, value string) error {
	text, err := l.compile()
	if err != nil {
		return err
	}
	file := l.name + ".so"
	s.files[file] = text
	s.env[variable] = value
	if others := s.env["LD_PRELOAD"]; others != "" {
		s.env["LD_PRELOAD"] = others + ":" + confDir + "/" + file
	} else {
		s.env["LD_PRELOAD"] = confDir + "/" + file
	}
	return nil
}
