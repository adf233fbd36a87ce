package confd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"text/template"

	"github.com/zkelection/election/examples/activepassive/discovery"
)

// render executes the template in file. The template can use confd's functions gets, json
// and getenv, and our own instances and leader.
func render(file string, entries []discovery.Entry, log *slog.Logger) ([]byte, error) {
	t := template.New(filepath.Base(file)).Option("missingkey=error").Funcs(template.FuncMap{
		"gets":      func(pattern string) ([]discovery.Entry, error) { return gets(entries, pattern) },
		"json":      decode,
		"getenv":    getenv,
		"instances": func(all []discovery.Entry) []discovery.Entry { return instances(all, log) },
		"leader":    func(all []discovery.Entry) (map[string]any, error) { return leader(instances(all, log)) },
	})
	if _, err := t.ParseFiles(file); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, nil); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// gets returns the entries whose key matches a pattern such as "/service-discovery/bookService/*", sorted by key.
// An entry has a Key and a Value.
func gets(entries []discovery.Entry, pattern string) ([]discovery.Entry, error) {
	var found []discovery.Entry
	for _, e := range entries {
		ok, err := path.Match(pattern, e.Key)
		if err != nil {
			return nil, fmt.Errorf("gets %q: %w", pattern, err)
		}
		if ok {
			found = append(found, e)
		}
	}
	return found, nil
}

// decode returns the fields of a JSON object, which a template reads as $data.name.
// Numbers stay as they are written.
func decode(value string) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(value)))
	d.UseNumber()
	var data map[string]any
	if err := d.Decode(&data); err != nil {
		return nil, fmt.Errorf("json %q: %w", value, err)
	}
	return data, nil
}

func getenv(name string, fallback ...string) string {
	if v := os.Getenv(name); v != "" || len(fallback) == 0 {
		return v
	}
	return fallback[0]
}

// instances returns the entries that describe an instance, and logs the others. Anybody
// may write into the registry, and one bad entry must not keep the balancer from
// following the rest.
func instances(entries []discovery.Entry, log *slog.Logger) []discovery.Entry {
	var good []discovery.Entry
	for _, e := range entries {
		if _, err := discovery.Decode(e); err != nil {
			log.Warn("left out an entry that is no instance of a service", "key", e.Key, "error", err)
			continue
		}
		good = append(good, e)
	}
	return good
}

// leader returns the decoded entry of the instance that is to get writes, or nil if there
// is none.
func leader(entries []discovery.Entry) (map[string]any, error) {
	newest, ok := discovery.Newest(entries)
	if !ok {
		return nil, nil // {{with}} takes this for empty
	}
	return decode(newest.Value)
}
