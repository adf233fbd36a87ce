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

// Paths of Debian's packages.
const (
	javaDir = "/usr/share/java"
	python  = "/usr/bin/python3"
)

// jars lists the jars that the Java program needs, with the Debian package of each.
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

// packages returns the names of all Debian packages that are needed.
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

// missing returns the names of the packages that are not installed.
func missing() []string {
	pkgs := missingJava()
	if exec.Command(python, "-c", "import kazoo").Run() != nil {
		pkgs = append(pkgs, kazooPackage)
	}
	slices.Sort(pkgs)
	return slices.Compact(pkgs)
}

// Require returns nil if the originals are installed. As root in continuous integration
// (CI=true) it installs what is missing. Otherwise its error says what to install. A test
// that calls it must fail then and not skip, because a suite that silently tests nothing
// looks exactly like a suite that passes.
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

// install installs packages. If another installation is under way, it waits for it. If
// the installation fails, the lists of packages may be missing or out of date, so install
// updates them and tries again.
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
