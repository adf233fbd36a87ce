package examples_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert/yaml"
	"github.com/stretchr/testify/require"
)

// service has the parts of a docker-compose.yml's service that are checked here.
type service struct {
	Image string
	Build *struct {
		Context, Dockerfile string
		Args                map[string]string
	}
	PullPolicy string    `yaml:"pull_policy"`
	DependsOn  yamlNames `yaml:"depends_on"`
	Command    yamlNames
}

// yamlNames are names that a file gives as a list or as the keys of a map.
type yamlNames []string

func (n *yamlNames) UnmarshalYAML(unmarshal func(any) error) error {
	if err := unmarshal((*[]string)(n)); err == nil {
		return nil
	}
	var keys map[string]any
	if err := unmarshal(&keys); err != nil {
		return err
	}
	for key := range keys {
		*n = append(*n, key)
	}
	return nil
}

// compose reads the docker-compose.yml of an example.
func compose(t *testing.T, file string) (services map[string]service) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var all struct{ Services map[string]service }
	require.NoError(t, yaml.Unmarshal(text, &all))
	require.NotEmpty(t, all.Services, file)
	return all.Services
}

func composeFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*/docker-compose.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// Docker Compose builds services in parallel. If two services build an image of the same
// name, one fails with "image already exists". If a service does not build its image and
// may pull it, Docker looks for the image in a registry.
func TestComposeBuildsEachImageOnce(t *testing.T) {
	for _, file := range composeFiles(t) {
		services := compose(t, file)
		builder := map[string]string{} // by image
		for name, s := range services {
			if s.Build != nil && s.Image != "" {
				require.NotContains(t, builder, s.Image, "%s: %s is built by %s as well", file, s.Image, name)
				builder[s.Image] = name
			}
		}
		for name, s := range services {
			if by := builder[s.Image]; s.Build == nil && by != "" {
				require.Equal(t, "never", s.PullPolicy, "%s: %s", file, name)
				require.Contains(t, s.DependsOn, by, "%s: %s uses what %s builds", file, name, by)
			}
		}
	}
}

// A candidate prints the command that kills it. The command must name this candidate.
func TestComposeNamesTheRightContainerToKill(t *testing.T) {
	found := 0
	for name, s := range compose(t, "reelection/docker-compose.yml") {
		if s.Image == "zookeeper:3.9" {
			continue
		}
		require.Equal(t, yamlNames{"-name", name, "-kill", "docker compose kill " + name}, s.Command)
		found++
	}
	require.Equal(t, 3, found)
}

// Follows the steps of the Dockerfile, without the base image. What they copy and
// download must be enough.
func TestImageIsBuiltFromOneModuleDownload(t *testing.T) {
	for _, file := range composeFiles(t) {
		for _, s := range compose(t, file) {
			if s.Build == nil || s.Build.Dockerfile != "examples/Dockerfile" {
				continue
			}
			t.Run(s.Build.Args["EXAMPLE"], func(t *testing.T) {
				require.Equal(t, "../..", s.Build.Context)
				shortTakes(t, s.Build.Args["EXAMPLE"], "singleton")
				buildAsInImage(t, s.Build.Args["EXAMPLE"])
			})
		}
	}
}

// The image of this example is run by Kubernetes and not by Docker Compose.
func TestImageForKubernetesIsBuiltFromOneModuleDownload(t *testing.T) {
	shortTakes(t, "kubernetes", "singleton")
	buildAsInImage(t, "kubernetes")
}

// buildAsInImage runs the first stage of the Dockerfile in an empty folder, with an empty
// module cache.
func buildAsInImage(t *testing.T, example string) {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	src, modules, program := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "example")
	t.Cleanup(func() { // Go makes the folders of the module cache read-only
		require.NoError(t, run(t, context.WithoutCancel(ctx), src, []string{"GOMODCACHE=" + modules}, "go clean -modcache"))
	})
	proxy := "GOPROXY=file://" + filepath.Join(output(t, ctx, "go env GOMODCACHE"), "cache", "download")
	stage, _, _ := strings.Cut(string(text), "FROM scratch")
	for _, line := range strings.Split(stage, "\n") {
		step, rest, _ := strings.Cut(strings.ReplaceAll(line, "${EXAMPLE}", example), " ")
		switch step {
		case "COPY":
			copyInto(t, ctx, src, strings.Fields(rest))
		case "RUN":
			rest = strings.ReplaceAll(rest, "-o /example ", "-o "+program+" ")
			require.NoError(t, run(t, ctx, src, []string{"GOMODCACHE=" + modules, proxy, "GOSUMDB=off", "GOFLAGS=", "GOWORK=off"}, rest))
			proxy = "GOPROXY=off" // only the first step may download
		}
	}
	require.FileExists(t, program)
	zips, err := filepath.Glob(filepath.Join(modules, "cache", "download", "*", "*", "*", "@v", "*.zip"))
	require.NoError(t, err)
	require.Len(t, zips, 1, "modules downloaded")
}

// copyInto does what COPY does: it copies files into the folder that is named last, or
// the content of one folder into another.
func copyInto(t *testing.T, ctx context.Context, src string, args []string) {
	t.Helper()
	to := filepath.Join(src, args[len(args)-1])
	if from := args[:len(args)-1]; len(from) > 1 || strings.Contains(from[0], "*") {
		require.NoError(t, run(t, ctx, "..", nil, "cp "+strings.Join(from, " ")+" "+to))
		return
	}
	require.NoError(t, os.CopyFS(to, os.DirFS(filepath.Join("..", args[0]))))
}

func run(t *testing.T, ctx context.Context, dir string, env []string, command string) error {
	t.Helper()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir, cmd.Env = dir, slices.Concat(os.Environ(), env)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s\n%s", command, out)
	}
	return err
}

func output(t *testing.T, ctx context.Context, command string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, "sh", "-c", command).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
