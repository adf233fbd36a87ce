package zktest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Option changes how a server is launched.
type Option func(*settings)

// settings is what the options add up to. It is frozen once Launch has read it.
type settings struct {
	config     map[string]string // lines of zoo.cfg
	properties map[string]string // Java system properties
	tls        *TLS
	id         int               // this server's number in its ensemble; 0 when it stands alone
	files      map[string]string // further files in /conf, by name
	counters   map[string]int32  // znodes to start with, by path; nil: no snapshot
	env        map[string]string // further environment variables
	version    string            // of ZooKeeper; empty: the default
	slow       time.Duration     // what the disk takes longer; slowAsAll: as slowDiskVar says
	stall      time.Duration     // for how long a thread stands still each time; 0: none ever does
}

// newSettings gives the defaults, then applies opts in order.
func newSettings(opts []Option) *settings {
	s := &settings{
		config: map[string]string{
			"tickTime":                "500", // session timeouts are 2 ticks at least: 1 s
			"maxSessionTimeout":       "600000",
			"dataDir":                 dataDir,
			"clientPort":              strconv.Itoa(clientPort),
			"maxClientCnxns":          "0", // tests open any number of connections from one address
			"admin.enableServer":      "false",
			"4lw.commands.whitelist":  "*",
			"initLimit":               "20",
			"syncLimit":               "4",
			"forceSync":               "no", // the container's disk outlives the process, and nobody pulls the plug
			"autopurge.purgeInterval": "0",
			"extendedTypesEnabled":    "true", // TTL nodes
		},
		properties: map[string]string{
			"java.net.preferIPv4Stack":    "true",
			"zookeeper.jmx.log4j.disable": "true", // in 3.4 it takes a part of Java that no server needs
		},
		files:   map[string]string{},
		env:     map[string]string{},
		version: os.Getenv(versionVar),
		slow:    slowAsAll,
	}
	for _, o := range opts {
		o(s)
	}
	return s
}

// WithConfig sets a line of zoo.cfg. ZooKeeper takes a key that it does not
// know as the Java system property "zookeeper."+key.
func WithConfig(key, value string) Option {
	return func(s *settings) { s.config[key] = value }
}

// WithSystemProperty sets a Java system property, for the few that do not begin
// with "zookeeper.", such as jute.maxbuffer. The value must not contain spaces.
func WithSystemProperty(key, value string) Option {
	return func(s *settings) { s.properties[key] = value }
}

// WithSyncLimit sets how many ticks (of 500 ms) a server of an ensemble goes on
// serving while its peers are silent. The default is 4, hence 2 s. A longer one
// gives a test more time with a server that is cut off and does not know it.
func WithSyncLimit(ticks int) Option { return WithConfig("syncLimit", strconv.Itoa(ticks)) }

// zooCfg renders the configuration file, sorted, so that it reads the same each time.
func (s *settings) zooCfg() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s.config)) {
		fmt.Fprintf(&b, "%s=%s\n", k, s.config[k])
	}
	return b.String()
}

// javaOptions is the value of JDK_JAVA_OPTIONS, which the java launcher of
// both images reads, so that neither entry point needs to be known here.
// Small heap, one collector thread and the quick compiler alone: several
// servers share a small machine, and none lives long enough to repay more.
func (s *settings) javaOptions() string {
	opts := []string{"-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}
	for _, k := range slices.Sorted(maps.Keys(s.properties)) {
		opts = append(opts, "-D"+k+"="+s.properties[k])
	}
	return strings.Join(opts, " ")
}
