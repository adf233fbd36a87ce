package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// versionVar names the environment variable by which users of package zktest choose the version. It is named in errors only.
const versionVar = "ZKTEST_VERSION"

// release is a version of ZooKeeper, and where it comes from.
type release struct {
	version  string // as ZooKeeper says it; empty: whatever the machine's own packages are
	official string // the image that ZooKeeper's users run
	suite    string // of Debian, whose packages are taken where the image cannot be had; empty: the machine's own
	packages []string
	jars     []string // patterns: Debian splits netty into many
}

// What all versions need, and what they need since 3.5.
var (
	basePackages = []string{"libzookeeper-java", "libslf4j-java", "libnetty-java"}
	newPackages  = append([]string{"libjctools-java", "libdropwizard-metrics-java", "libsnappy-java", "libcommons-cli-java",
		"libcommons-io-java"}, basePackages...)
	baseJars = []string{"zookeeper.jar", "slf4j-api.jar", "slf4j-simple.jar", "netty-*.jar"}
	newJars  = append([]string{"zookeeper-jute.jar", "jctools-core.jar", "metrics-core.jar", "snappy-java.jar",
		"commons-cli.jar", "commons-io.jar"}, baseJars...)
)

// releases are the versions that can be asked for, the default first.
var releases = []release{
	{official: "zookeeper:3.9", packages: newPackages, jars: newJars},
	{version: "3.9.3", official: "zookeeper:3.9.3", suite: "trixie", packages: newPackages, jars: newJars},
	{version: "3.8.0", official: "zookeeper:3.8.0", suite: "bookworm", packages: newPackages, jars: newJars},
	{version: "3.4.13", official: "zookeeper:3.4.13", suite: "bullseye", packages: basePackages, jars: baseJars},
}

// releaseOf finds a version among releases.
func releaseOf(version string) (release, error) {
	var known []string
	for _, r := range releases {
		if r.version == version {
			return r, nil
		}
		known = append(known, r.version)
	}
	return release{}, fmt.Errorf("zktest: ZooKeeper %s cannot be had (%s): want one of%s", version, versionVar, strings.Join(known, " "))
}

// debianImage is made here when the official one cannot be had. Its tag counts
// the recipe's versions: raise it with every change to build.go.
func (r release) debianImage() string {
	const name = "zkelection/zktest-zookeeper:2"
	if r.version == "" {
		return name
	}
	return name + "-" + r.version
}

// debianKeys signs every suite that is listed, but newer ones than the package that holds it knows.
const debianKeys = "/usr/share/keyrings/debian-archive-keyring.gpg"

// another is appended when the packages of another suite cannot be had.
const another = `This takes the package lists of Debian's suite %s, from the mirror that this machine's own packages come from.
It needs a Debian machine with package debian-archive-keyring, and a mirror that has that suite.
Elsewhere, load the image %s into the Docker engine`

// downloadFrom fetches the packages of another suite than the machine's, with lists and settings of its own. Nothing
// is installed, and the signatures are checked as usual. Valid-Until is not: an archived suite is not signed again.
func (b *builder) downloadFrom(ctx context.Context) error {
	r := b.release
	if err := b.tryDownloadFrom(ctx); err != nil {
		return fmt.Errorf("zktest: ZooKeeper %s: %w\n"+another, r.version, err, r.suite, r.official)
	}
	if found, err := filepath.Glob(b.path("libzookeeper-java_" + r.version + "-*.deb")); err != nil || len(found) == 0 {
		return fmt.Errorf("zktest: Debian's suite %s has another ZooKeeper than %s by now; load the image %s into the Docker engine",
			r.suite, r.version, r.official)
	}
	return nil
}

func (b *builder) tryDownloadFrom(ctx context.Context) error {
	if _, err := os.Stat(debianKeys); err != nil {
		return fmt.Errorf("the keys of Debian are missing: %w", err)
	}
	mirror, err := b.mirror(ctx)
	if err != nil {
		return err
	}
	source := fmt.Sprintf("Types: deb\nTargets: Packages\nLanguages: none\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n",
		mirror, b.release.suite, debianKeys)
	for name, text := range map[string]string{"suite.sources": source, "status": ""} {
		if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	own, err := b.ownLists("suite")
	if err != nil {
		return err
	}
	own = append(own, "-o", "Dir::Etc::sourcelist="+b.path("suite.sources"), "-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::State::status="+b.path("status"), // or apt prefers what is installed
		"-o", "Acquire::Check-Valid-Until=false")
	if _, err := b.run(ctx, "apt-get", append(own, "update")...); err != nil {
		return err
	}
	_, err = b.run(ctx, "apt-get", append(append(own, "download"), b.release.packages...)...)
	return err
}

// mirror is where the machine's own packages come from.
func (b *builder) mirror(ctx context.Context) (string, error) {
	found, err := b.mirrorIn(ctx)
	if found != "" || err != nil {
		return found, err
	}
	own, err := b.ownLists("machine") // the machine's lists are missing
	if err != nil {
		return "", err
	}
	if _, err := b.run(ctx, "apt-get", append(own, "update")...); err != nil {
		return "", err
	}
	if found, err = b.mirrorIn(ctx, own...); found == "" && err == nil {
		err = fmt.Errorf("apt-get names no mirror of Debian among its sources")
	}
	return found, err
}

func (b *builder) mirrorIn(ctx context.Context, options ...string) (string, error) {
	out, err := b.run(ctx, "apt-get", append(options, "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages")...)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		if uri, ok := strings.CutPrefix(strings.TrimSpace(line), "Debian Debian "); ok {
			return uri, nil
		}
	}
	return "", nil
}

// ownLists are options with which apt-get keeps its lists and packages in the builder's folder, which anybody may do.
func (b *builder) ownLists(name string) ([]string, error) {
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(b.path(name, d), 0o755); err != nil {
			return nil, fmt.Errorf("zktest: %w", err)
		}
	}
	return []string{"-q", "-o", "APT::Sandbox::User=", "-o", "Dir::State::lists=" + b.path(name, "lists"),
		"-o", "Dir::Cache=" + b.path(name, "cache")}, nil
}
