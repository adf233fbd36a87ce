// Package nginx holds the balancer's template, and runs NGINX in a folder of its own as the current user.
package nginx

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/zkelection/election/examples/activepassive/internal/agent"
)

//go:embed services.conf.tmpl
var services []byte

// Folder is where an NGINX has everything that it reads and writes.
type Folder struct {
	Dir     string
	Listen  string // host:port
	program string
}

// Prepare fills dir: the template, and the agent's settings for it. It fails where NGINX is not installed.
func Prepare(dir, listen string) (*Folder, error) {
	program, err := find()
	if err != nil {
		return nil, err
	}
	f := &Folder{Dir: dir, Listen: listen, program: program}
	settings, err := toml.Marshal(map[string]agent.Template{"template": {
		Src: "services.conf.tmpl", Dest: "nginx.conf", Keys: []string{"/service-discovery/bookService/"},
		CheckCmd:  f.shell("-t", "-c") + " {{.src}}",
		ReloadCmd: fmt.Sprintf("test ! -s %s || %s", agent.Quote(f.path("nginx.pid")), f.shell("-s", "reload", "-c", f.Config())),
	}})
	if err != nil {
		return nil, err
	}
	return f, errors.Join(
		os.WriteFile(f.path("services.conf.tmpl"), services, 0o644),
		os.WriteFile(f.Settings(), settings, 0o644))
}

// find looks beyond PATH, which for users other than root leaves out where Debian has NGINX.
func find() (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if program, err := exec.LookPath(name); err == nil {
			return program, nil
		}
	}
	return "", errors.New("NGINX is not installed; on Debian or Ubuntu: apt-get install nginx")
}

func (f *Folder) path(name string) string { return filepath.Join(f.Dir, name) }

// Settings is the agent's TOML file, and Config what the agent renders.
func (f *Folder) Settings() string { return f.path("nginx.conf.toml") }

// Config is NGINX's configuration file.
func (f *Folder) Config() string { return f.path("nginx.conf") }

// Env is what the template reads from the environment.
func (f *Folder) Env() []string { return []string{"NGINX_DIR=" + f.Dir, "NGINX_LISTEN=" + f.Listen} }

// Command runs NGINX in the foreground.
func (f *Folder) Command() []string { return f.command("daemon off;", "-c", f.Config()) }

// command keeps to the folder and to the current user: started by root, NGINX's workers would change to a user who may
// not enter the folder.
func (f *Folder) command(globals string, args ...string) []string {
	if os.Geteuid() == 0 {
		globals = strings.TrimSpace(globals + " user root;")
	}
	line := []string{f.program, "-p", f.Dir, "-e", "stderr"}
	if globals != "" {
		line = append(line, "-g", globals)
	}
	return append(line, args...)
}

func (f *Folder) shell(args ...string) string {
	line := f.command("", args...)
	for i := range line {
		line[i] = agent.Quote(line[i])
	}
	return strings.Join(line, " ")
}

var (
	upstream = regexp.MustCompile(`upstream (\w+) \{([^}]*)\}`)
	server   = regexp.MustCompile(`server ([^\s;]+);`)
)

// Upstreams reads the configuration: the servers of each upstream, by name. Those that are down do not count.
func (f *Folder) Upstreams() (map[string][]string, error) {
	text, err := os.ReadFile(f.Config())
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, u := range upstream.FindAllSubmatch(text, -1) {
		for _, s := range server.FindAllSubmatch(u[2], -1) {
			all[string(u[1])] = append(all[string(u[1])], string(s[1]))
		}
	}
	return all, nil
}
