package zktest

// versionVar names the environment variable that chooses the version of every server.
const versionVar = "ZKTEST_VERSION"

// WithVersion chooses ZooKeeper's version: "3.9.3", "3.8.0" or "3.4.13"; empty is the default, which is the official
// image's newest, or the version of Debian that the machine runs. Without this option versionVar chooses.
// The releases and where they come from are in containers/release.go.
func WithVersion(version string) Option {
	return func(s *settings) { s.version = version }
}
