package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"

	"github.com/moby/moby/client"
)

// The labels by which a container or network is known as ours, and by which it
// is told whether its owner still lives. A process number alone is not enough,
// since it is used again: with the start time it names one process of a machine.
const (
	labelProject = "io.github.zkelection.zktest"
	labelMachine = labelProject + ".machine"
	labelPID     = labelProject + ".pid"
	labelStart   = labelProject + ".start"
)

// ownerLabels names this process.
func ownerLabels() map[string]string {
	pid := os.Getpid()
	return map[string]string{
		labelProject: "true",
		labelMachine: machine(),
		labelPID:     strconv.Itoa(pid),
		labelStart:   processStart(pid),
	}
}

// machine names the space in which process numbers mean something: one boot of
// one kernel, and one process namespace of it. What was made in another one
// cannot be judged from here and is left alone.
func machine() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	space, _ := os.Readlink("/proc/self/ns/pid")
	return strings.TrimSpace(string(boot)) + " " + space
}

// processStart is when the process started, in the kernel's ticks since boot;
// empty when there is no such process, or no /proc to ask.
func processStart(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The second field is the name in parentheses and may hold anything; count from its end.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const startTime = 22 - 3 // proc(5) counts from 1, and two fields are cut off
	if len(fields) <= startTime {
		return ""
	}
	return fields[startTime]
}

// orphaned tells whether labels are of a process that is no more.
func orphaned(labels map[string]string) bool {
	if labels[labelMachine] != machine() || labels[labelStart] == "" {
		return false
	}
	pid, err := strconv.Atoi(labels[labelPID])
	return err == nil && processStart(pid) != labels[labelStart]
}

// own reports whether the labels name this process.
func own(labels map[string]string) bool {
	for key, value := range ownerLabels() {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// sweep removes what processes left that were killed before they could clean
// up. It is best effort: several may sweep at once, and a leftover does no harm
// to this one.
func (e *engine) sweep(ctx context.Context) { _ = e.removeWhere(ctx, orphaned) }

// removeWhere removes the containers, then the networks, for whose labels such returns true.
func (e *engine) removeWhere(ctx context.Context, such func(labels map[string]string) bool) error {
	ours := client.Filters{}.Add("label", labelProject)
	containers, err := e.cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if err != nil {
		return fmt.Errorf("zktest: list containers: %w", err)
	}
	var errs []error
	for _, c := range containers.Items {
		if such(c.Labels) {
			errs = append(errs, e.remove(ctx, c.ID))
		}
	}
	networks, err := e.cli.NetworkList(ctx, client.NetworkListOptions{Filters: maps.Clone(ours)})
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("zktest: list networks: %w", err))...)
	}
	for _, n := range networks.Items {
		if such(n.Labels) {
			errs = append(errs, e.removeNetwork(ctx, n.ID))
		}
	}
	return errors.Join(errs...)
}
