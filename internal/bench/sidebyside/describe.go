package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// describe says with what a run is made. The version of ZooKeeper comes from its server,
// later.
func (r *run) describe(folder string) (Made, error) {
	m := Made{Date: time.Now().UTC().Format(time.DateOnly), Seed: r.seed, Cores: runtime.NumCPU(), CPU: "unknown",
		Timeout: normal.Timeout, Tick: normal.Tick, InLine: r.inLine, Warmup: r.warmup, Short: short, Beside: r.beside}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, found := strings.Cut(string(text), "model name"); found {
			line, _, _ := strings.Cut(rest, "\n")
			m.CPU = strings.Join(strings.Fields(strings.TrimLeft(line, "\t :")), " ")
		}
	}
	var errs []error
	say := func(name string, args ...string) string {
		out, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput()
		errs = append(errs, err)
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return line
	}
	m.Kernel, _, _ = strings.Cut(say("uname", "-sr"), "-") // without the name of the build
	m.Disk = say("stat", "-f", "-c", "%T", folder)
	pkg := func(name string) string { return say("dpkg-query", "-W", "-f", "${Version}", name) }
	m.Versions = []Version{{Name: "ZooKeeper (server)"},
		{"Java", quoted(say("java", "-version"))},
		{"Curator (Debian's libcurator-recipes-java)", pkg("libcurator-recipes-java")},
		{"Kazoo (Debian's python3-kazoo)", pkg("python3-kazoo")},
		{"Python", strings.TrimPrefix(say("/usr/bin/python3", "--version"), "Python ")},
		{"Go", runtime.Version()}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return m, errors.Join(errs...)
	}
	for _, d := range info.Deps {
		switch d.Path {
		case "github.com/go-zookeeper/zk", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/client/v3", "go.etcd.io/bbolt":
			m.Versions = append(m.Versions, Version{d.Path, d.Version})
		}
	}
	return m, errors.Join(errs...)
}

// quoted returns what is between the first two quotes of a line.
func quoted(line string) string {
	_, rest, _ := strings.Cut(line, "\"")
	text, _, _ := strings.Cut(rest, "\"")
	return text
}
