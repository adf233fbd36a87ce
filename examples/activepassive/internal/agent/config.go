// Package agent keeps a load balancer's configuration in step with a registry in ZooKeeper: confd's part in the
// post. It watches keys, renders a template, checks the outcome, replaces the file and has the balancer reload it.
package agent

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Template is a template resource, as confd calls it: the [template] table of a TOML file.
type Template struct {
	Src  string   `toml:"src"`  // the template; relative to the TOML file's folder
	Dest string   `toml:"dest"` // the file to keep in step; relative likewise
	Keys []string `toml:"keys"` // znodes whose children the template reads
	// CheckCmd is run by a shell before dest is replaced, {{.src}} standing for the file to be checked. Empty: no check.
	CheckCmd string `toml:"check_cmd"`
	// ReloadCmd is run by a shell after dest was replaced. Empty: nothing is run.
	ReloadCmd string `toml:"reload_cmd"`
}

// Load reads a TOML file. A key that it does not know is an error: a misspelt check_cmd must not mean no check.
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

func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
