package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/moby/client"
)

// confDir is the folder of zoo.cfg in the official images, and in ours.
const confDir = "/conf"

// What the image has of this machine's JDK, and what makes it.
var (
	javaModules = []string{
		"java.base", "java.management", "java.naming", "java.logging", "java.xml", "java.security.sasl",
		"java.security.jgss", "jdk.management", "jdk.unsupported", "jdk.crypto.ec",
	}
	buildTools = []string{"jlink", "apt-get", "dpkg", "ldd"}
)

// debianEntry starts the server without a shell, of which the image has none. Debian's zookeeper.jar of 3.9.3 has some of
// zookeeper-jute.jar's classes, in another state: that one comes first.
const debianEntry = `ENTRYPOINT ["/jre/bin/java","-cp","/zk/zookeeper-jute.jar:/zk/*","org.apache.zookeeper.server.quorum.QuorumPeerMain","` + confDir + `/zoo.cfg"]`

// build makes the image from Debian's packages and this machine's JDK, in a
// temporary folder and without root: nothing is installed here.
func (e *engine) build(ctx context.Context, r release) error {
	name := r.debianImage()
	for _, tool := range buildTools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("zktest: to make %s, install openjdk-17-jdk-headless (for jlink) on Debian or Ubuntu: %w", name, err)
		}
	}
	dir, err := os.MkdirTemp("", "zktest-image-")
	if err != nil {
		return fmt.Errorf("zktest: %w", err)
	}
	defer os.RemoveAll(dir)
	b := &builder{dir: dir, release: r}
	if err := b.collect(ctx); err != nil {
		return err
	}
	return e.importImage(ctx, name, b.writeTar)
}

// importImage streams the file system that write produces into the engine.
func (e *engine) importImage(ctx context.Context, name string, write func(io.Writer) error) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	defer r.Close() // ends the writer too, if the engine did not take all
	repo, tag, _ := strings.Cut(name, ":")
	res, err := e.cli.ImageImport(ctx, client.ImageImportSource{Source: r, SourceName: "-"}, repo,
		client.ImageImportOptions{Tag: tag, Changes: []string{debianEntry}})
	if err != nil {
		return fmt.Errorf("zktest: import %s: %w", name, err)
	}
	defer res.Close()
	if _, err := io.Copy(io.Discard, res); err != nil {
		return fmt.Errorf("zktest: import %s: %w", name, err)
	}
	if _, err := e.cli.ImageInspect(ctx, name); err != nil {
		return fmt.Errorf("zktest: import %s: %w", name, err)
	}
	return nil
}

// builder gathers the parts of an image in dir.
type builder struct {
	dir     string
	release release
	jars    []string // where the jars are on this machine
	libs    []string // the system libraries that the Java runtime links
}

func (b *builder) collect(ctx context.Context) error {
	for _, step := range []func(context.Context) error{b.unpack, b.findJars, b.makeJRE, b.findLibraries} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) path(elem ...string) string {
	return filepath.Join(append([]string{b.dir}, elem...)...)
}

// run runs a command in the builder's folder and returns what it printed.
func (b *builder) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("zktest: %s: %w\n%s", strings.Join(cmd.Args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// unpack downloads the packages and unpacks them beside each other.
func (b *builder) unpack(ctx context.Context) error {
	if err := b.download(ctx); err != nil {
		return err
	}
	debs, err := filepath.Glob(b.path("*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if _, err := b.run(ctx, "dpkg", "-x", deb, b.path("root")); err != nil {
			return err
		}
	}
	return nil
}

// download uses the machine's package lists. When they are missing or stale it
// fetches lists of its own, in its own folder, which anybody may do.
func (b *builder) download(ctx context.Context) error {
	if b.release.suite != "" {
		return b.downloadFrom(ctx)
	}
	get := append([]string{"-q", "-o", "APT::Sandbox::User=", "download"}, b.release.packages...)
	_, first := b.run(ctx, "apt-get", get...)
	if first == nil {
		return nil
	}
	own, err := b.ownLists("machine")
	if err != nil {
		return err
	}
	if _, err := b.run(ctx, "apt-get", append(own, "update")...); err != nil {
		return fmt.Errorf("%w\nafter %w", err, first)
	}
	_, err = b.run(ctx, "apt-get", append(own, get...)...)
	return err
}

func (b *builder) findJars(context.Context) error {
	for _, pattern := range b.release.jars {
		found, err := filepath.Glob(b.path("root/usr/share/java", pattern))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("zktest: Debian's packages hold no %s", pattern)
		}
		b.jars = append(b.jars, slices.DeleteFunc(found, isVersionedLink)...)
	}
	return nil
}

// isVersionedLink tells a second name of the same jar, netty-codec-4.1.48.Final.jar.
func isVersionedLink(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0 && versioned.MatchString(filepath.Base(name))
}

var versioned = regexp.MustCompile(`-\d+\.\d+.*\.jar$`)

// makeJRE cuts a Java runtime from the machine's JDK. Its class archive, which
// halves the time to start, is a gain that the image can do without.
func (b *builder) makeJRE(ctx context.Context) error {
	_, err := b.run(ctx, "jlink", "--add-modules", strings.Join(javaModules, ","),
		"--strip-debug", "--no-header-files", "--no-man-pages", "--output", b.path("jre"))
	if err != nil {
		return fmt.Errorf("%w\n(jlink needs the JDK's jmods: Debian's package openjdk-17-jdk-headless)", err)
	}
	_, _ = b.run(ctx, b.path("jre/bin/java"), "-Xshare:dump", "-XX:+UseSerialGC")
	return nil
}

// findLibraries asks ldd what the runtime's own libraries need of the system.
func (b *builder) findLibraries(ctx context.Context) error {
	args := []string{b.path("jre/bin/java"), b.path("jre/lib/server/libjvm.so")}
	own, err := filepath.Glob(b.path("jre/lib/*.so"))
	if err != nil {
		return err
	}
	out, err := b.run(ctx, "ldd", append(args, own...)...)
	if err != nil {
		return err
	}
	b.libs = parseLdd(out, b.dir)
	return nil
}

// parseLdd returns the absolute paths in ldd's output, but those under dir.
func parseLdd(out []byte, dir string) []string {
	var libs []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		for _, word := range strings.Fields(lines.Text()) {
			if path.IsAbs(word) && !strings.HasSuffix(word, ":") && !strings.HasPrefix(word, dir) {
				libs = append(libs, word)
			}
		}
	}
	slices.Sort(libs)
	return slices.Compact(libs)
}

// writeTar writes the image's file system.
func (b *builder) writeTar(w io.Writer) error {
	t := tar.NewWriter(w)
	for _, dir := range []string{"tmp/", "data/", "conf/", "zk/"} {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o1777}); err != nil {
			return err
		}
	}
	for _, jar := range b.jars {
		if err := addFile(t, "zk/"+filepath.Base(jar), jar); err != nil {
			return err
		}
	}
	for _, lib := range b.libs {
		if err := addFile(t, strings.TrimPrefix(lib, "/"), lib); err != nil {
			return err
		}
	}
	if err := addTree(t, "jre", b.path("jre")); err != nil {
		return err
	}
	return t.Close()
}

// addTree adds every file under dir; tar makes the folders between by itself.
func addTree(t *tar.Writer, name, dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		return addFile(t, path.Join(name, filepath.ToSlash(rel)), p)
	})
}

// addFile follows links: their targets need not be in the image.
func addFile(t *tar.Writer, name, src string) error {
	f, err := os.Open(src)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: int64(info.Mode().Perm() | 0o444)}
	if err := t.WriteHeader(head); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
