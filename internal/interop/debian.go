package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Where Debian's packages put things.
const (
	javaDir = "/usr/share/java"
	python  = "/usr/bin/python3"
)

// jars lists what the Java program is compiled and run with, and which of Debian's packages each is in.
var jars = []struct{ name, pkg string }{
	{"curator-recipes.jar", "libcurator-recipes-java"},
	{"curator-framework.jar", "libcurator-framework-java"},
	{"curator-client.jar", "libcurator-client-java"},
	{"guava.jar", "libguava-java"},
	{"zookeeper.jar", "libzookeeper-java"},
	{"zookeeper-jute.jar", "libzookeeper-java"},
	{"zookeeper-recipes-election.jar", "libzookeeper-java"},
	{"slf4j-api.jar", "libslf4j-java"},
	{"slf4j-simple.jar", "libslf4j-java"},
}

const (
	jdkPackage   = "openjdk-17-jdk-headless"
	kazooPackage = "python3-kazoo"
)

// packages names all of Debian's packages that are needed.
func packages() []string {
	pkgs := []string{jdkPackage, kazooPackage}
	for _, j := range jars {
		pkgs = append(pkgs, j.pkg)
	}
	slices.Sort(pkgs)
	return slices.Compact(pkgs)
}

func classPath() string {
	paths := make([]string, len(jars))
	for i, j := range jars {
		paths[i] = filepath.Join(javaDir, j.name)
	}
	return strings.Join(paths, ":")
}

// missing names those that are not installed.
func missing() []string {
	var pkgs []string
	for _, j := range jars {
		if _, err := os.Stat(filepath.Join(javaDir, j.name)); err != nil {
			pkgs = append(pkgs, j.pkg)
		}
	}
	for _, tool := range []string{"java", "javac"} {
		if _, err := exec.LookPath(tool); err != nil {
			pkgs = append(pkgs, jdkPackage)
		}
	}
	if exec.Command(python, "-c", "import kazoo").Run() != nil {
		pkgs = append(pkgs, kazooPackage)
	}
	slices.Sort(pkgs)
	return slices.Compact(pkgs)
}

// Require returns nil when the originals are installed. As root on a continuous integration machine (CI=true) it
// installs what is missing. Otherwise it says what to install: a test that calls it fails, and never skips, since a
// suite that silently tests nothing looks exactly like one that passes.
var Require = sync.OnceValue(func() error {
	if runtime.GOOS != "linux" {
		return errors.New("interop: the originals are taken from Debian's packages; there are none for " + runtime.GOOS)
	}
	pkgs := missing()
	if len(pkgs) > 0 && os.Getenv("CI") == "true" && os.Geteuid() == 0 {
		if err := install(pkgs); err != nil {
			return err
		}
		pkgs = missing()
	}
	if len(pkgs) > 0 {
		return fmt.Errorf("interop: the originals are missing. On Debian 12 or later:\n\tapt-get install -y --no-install-recommends %s",
			strings.Join(pkgs, " "))
	}
	return nil
})

// install waits for another installation that is under way. The package lists may be missing or stale, so
// they are fetched when it fails without.
func install(pkgs []string) error {
	get := func(args ...string) error {
		cmd := exec.Command("apt-get", append([]string{"-q", "-o", "DPkg::Lock::Timeout=300"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("interop: %s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
		}
		return nil
	}
	what := append([]string{"install", "-y", "--no-install-recommends"}, pkgs...)
	first := get(what...)
	if first == nil {
		return nil
	}
	if err := get("update"); err != nil {
		return errors.Join(first, err)
	}
	return get(what...)
}
