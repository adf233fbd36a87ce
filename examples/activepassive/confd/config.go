// Package confd keeps the configuration of a load balancer up to date with a registry in
// ZooKeeper, as confd does in the post. It watches keys, renders a template, checks the
// result, replaces the file and runs the balancer's reload.
//
// [Load] reads a template resource, which is a TOML file as in confd. An [Agent] follows
// the registry as that file says. A template can use confd's functions gets, json and
// getenv, and two more: instances leaves out the entries that are no instance of a
// service, and leader finds the instance that leads.
package confd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Template is what confd calls a template resource: the table "template" of a TOML file.
// [Load] reads one.
type Template struct {
	Src  string   `toml:"src"`  // the template file; relative paths start at the TOML file's folder
	Dest string   `toml:"dest"` // the file to keep up to date; relative paths as for src
	Keys []string `toml:"keys"` // znodes whose children the template reads
	// CheckCmd is a shell command that checks a file before it replaces dest. {{.src}} is
	// the path of that file. If CheckCmd is empty, there is no check.
	CheckCmd string `toml:"check_cmd"`
	// ReloadCmd is a shell command that runs after dest was replaced. If it is empty,
	// nothing runs.
	ReloadCmd string `toml:"reload_cmd"`
}

// Load reads a template resource from a TOML file. An unknown key is an error, because a
// misspelt check_cmd must not mean that there is no check.
func Load(file string) (Template, error) {
	var doc struct {
		Template Template `toml:"template"`
	}
	meta, err := toml.DecodeFile(file, &doc)
	if err != nil {
		return Template{}, fmt.Errorf("%s: %w", file, err)
	}
	t := doc.Template
	var errs []error
	for _, key := range meta.Undecoded() {
		errs = append(errs, fmt.Errorf("%s: unknown key %s", file, key))
	}
	for name, value := range map[string]string{"src": t.Src, "dest": t.Dest, "keys": strings.Join(t.Keys, "")} {
		if value == "" {
			errs = append(errs, fmt.Errorf("%s: template.%s is missing", file, name))
		}
	}
	slices.Sort(t.Keys)
	t.Keys = slices.Compact(t.Keys)
	dir := filepath.Dir(file)
	t.Src, t.Dest = within(dir, t.Src), within(dir, t.Dest)
	return t, errors.Join(errs...)
}

// Missing returns an error of one line if the template file or the program of CheckCmd
// does not exist on this machine. Call it before [Agent.Run], which would log the same at
// every attempt.
func (t Template) Missing() error {
	if _, err := os.Stat(t.Src); err != nil {
		return fmt.Errorf("the template of template.src: %w", err)
	}
	program, _, _ := strings.Cut(strings.TrimSpace(t.CheckCmd), " ")
	if !plain.MatchString(program) {
		return nil // only a shell can say what this runs
	}
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if !strings.Contains(program, "/") && exec.Command("/bin/sh", "-c", "command -v "+program).Run() == nil {
		return nil // the shell has it built in
	}
	hint := ""
	if filepath.Base(program) == "nginx" {
		hint = "install NGINX (Debian, Ubuntu: apt-get install nginx), or "
	}
	return fmt.Errorf("check_cmd: %s is not installed: %sset check_cmd to where it is", program, hint)
}

// plain matches a name or path of a program that needs no quoting in a shell.
var plain = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)

func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
