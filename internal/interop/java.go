package interop

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// RequireJava returns nil if Java, its compiler and Curator are installed. Otherwise its
// error says in one line what to install. It installs nothing.
func RequireJava() error {
	if runtime.GOOS != "linux" {
		return errors.New("the Java side is taken from Debian's packages; there are none for " + runtime.GOOS)
	}
	if pkgs := missingJava(); len(pkgs) > 0 {
		return errors.New("a JDK or Curator is missing; on Debian 12 or later: apt-get install -y --no-install-recommends " +
			strings.Join(pkgs, " "))
	}
	return nil
}

// missingJava returns the names of the packages of Java and Curator that are not
// installed.
func missingJava() []string {
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
	slices.Sort(pkgs)
	return slices.Compact(pkgs)
}
