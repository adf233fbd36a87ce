package nginx_test

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/confd"
	"github.com/zkelection/election/examples/activepassive/discovery"
	"github.com/zkelection/election/examples/activepassive/nginx"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

// prepare prepares a folder with a name that needs quoting.
func prepare(t *testing.T) *nginx.Folder {
	zktest.SkipIfShort(t, "NGINX")
	t.Helper()
	dir := filepath.Join(t.TempDir(), "it's here")
	require.NoError(t, os.Mkdir(dir, 0o755))
	f, err := nginx.Prepare(dir, "127.0.0.1:1081")
	require.NoError(t, err)
	return f
}

// configure has an agent write the configuration in f once.
func configure(t *testing.T, f *nginx.Folder, zookeeper string) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	client, err := election.Open(zookeeper, election.WithSessionTimeout(4*time.Second), election.WithClientLogger(quiet))
	require.NoError(t, err)
	defer client.Close()
	settings, err := confd.Load(f.Settings())
	require.NoError(t, err)
	a := confd.Agent{Registry: discovery.New(client, zookeeper, quiet), Template: settings, Log: quiet}
	require.NoError(t, a.Run(t.Context(), true), "this runs nginx -t")
}

func TestEmptyRegistryGivesAConfigurationThatNGINXAccepts(t *testing.T) {
	f := prepare(t)
	for _, setting := range f.Env() {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	configure(t, f, zktest.Shared(t).Addr())
	up, err := f.Upstreams()
	require.NoError(t, err)
	require.Empty(t, up)
}

func TestUpstreamsAreReadFromTheConfiguration(t *testing.T) {
	f := prepare(t)
	text := "upstream read_nodes {\n\tserver a:1;\n\tserver b:2;\n}\nupstream write_nodes {\n\tserver 127.0.0.1:1 down;\n}\n"
	require.NoError(t, os.WriteFile(f.Config(), []byte(text), 0o600))
	up, err := f.Upstreams()
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"read_nodes": {"a:1", "b:2"}}, up)
}

func TestSettingsTakeAnOddFolderName(t *testing.T) {
	f := prepare(t)
	settings, err := confd.Load(f.Settings())
	require.NoError(t, err)
	require.NoError(t, exec.Command("/bin/sh", "-c", settings.ReloadCmd).Run(), "nothing runs, so nothing is reloaded")
}

func TestNGINXThatIsMissingIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	nginx.LookNowhereElse(t)
	_, err := nginx.Find()
	require.EqualError(t, err, "NGINX is not installed (Debian, Ubuntu: apt-get install nginx)")
}
