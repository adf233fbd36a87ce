// Package nginx has the balancer's template. It prepares a folder in which NGINX runs as
// the current user.
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

	"github.com/zkelection/election/examples/activepassive/confd"
)

//go:embed services.conf.tmpl
var services []byte

// Folder is a folder with everything that one NGINX reads and writes. [Prepare] makes
// one.
type Folder struct {
	Dir     string
	Listen  string // host:port
	program string
}

// Prepare writes the template and the agent's settings into dir. It returns an error if
// NGINX is not installed.
func Prepare(dir, listen string) (*Folder, error) {
	program, err := Find()
	if err != nil {
		return nil, err
	}
	f := &Folder{Dir: dir, Listen: listen, program: program}
	settings, err := toml.Marshal(map[string]confd.Template{"template": {
		Src: "services.conf.tmpl", Dest: "nginx.conf", Keys: []string{"/service-discovery/bookService/"},
		CheckCmd:  f.shell("-t", "-c") + " {{.src}}",
		ReloadCmd: fmt.Sprintf("test ! -s %s || %s", confd.Quote(f.path("nginx.pid")), f.shell("-s", "reload", "-c", f.Config())),
	}})
	if err != nil {
		return nil, err
	}
	return f, errors.Join(
		os.WriteFile(f.path("services.conf.tmpl"), services, 0o644),
		os.WriteFile(f.Settings(), settings, 0o644))
}

// elsewhere lists where distributions install NGINX. For users other than root, these
// folders are not in PATH.
var elsewhere = []string{"/usr/sbin/nginx", "/usr/local/sbin/nginx"}

// Find returns the path of NGINX's program. Its error says how to install NGINX.
func Find() (string, error) {
	for _, name := range append([]string{"nginx"}, elsewhere...) {
		if program, err := exec.LookPath(name); err == nil {
			return program, nil
		}
	}
	return "", errors.New("NGINX is not installed (Debian, Ubuntu: apt-get install nginx)")
}

func (f *Folder) path(name string) string { return filepath.Join(f.Dir, name) }

// Settings returns the path of the agent's settings, a TOML file.
func (f *Folder) Settings() string { return f.path("nginx.conf.toml") }

// Config returns the path of NGINX's configuration, which the agent renders.
func (f *Folder) Config() string { return f.path("nginx.conf") }

// Env returns the environment variables that the template reads.
func (f *Folder) Env() []string { return []string{"NGINX_DIR=" + f.Dir, "NGINX_LISTEN=" + f.Listen} }

// Command returns the command line that runs NGINX in the foreground.
func (f *Folder) Command() []string { return f.command("daemon off;", "-c", f.Config()) }

// command returns a command line that keeps NGINX to the folder and to the current user.
// If root starts NGINX, its workers would otherwise change to a user that may not enter
// the folder.
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
		line[i] = confd.Quote(line[i])
	}
	return strings.Join(line, " ")
}

var (
	upstream = regexp.MustCompile(`upstream (\w+) \{([^}]*)\}`)
	server   = regexp.MustCompile(`server ([^\s;]+);`)
)

// Upstreams reads the configuration and returns the servers of each upstream, by the
// upstream's name. It leaves out servers that are down.
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
