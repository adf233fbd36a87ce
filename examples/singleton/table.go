package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/zkelection/election/examples/internal/demo"
)

// table shows who led when, with which token, and for how long nobody had led before.
func table(all []demo.Reign) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "leader\tfrom\tto\ttoken\tgap before")
	for i, r := range all {
		gap := "-"
		if i > 0 {
			gap = r.First.Sub(all[i-1].Last).Round(time.Millisecond).String()
		}
		const clock = "15:04:05.000"
		fmt.Fprintf(w, "%s\t%s\t%s\t%#x\t%s\n", r.Name, r.First.Format(clock), r.Last.Format(clock), r.Token, gap)
	}
	w.Flush() // a strings.Builder takes everything
	return b.String()
}

// check returns everything that is wrong: two leaders at a time, a token that does not
// grow, an instance that is missing.
func check(all []demo.Reign, killed []string) error {
	errs := []error{demo.CheckOrder(all)}
	tipped := map[string]int{}
	for _, r := range all {
		if slices.Contains(r.What, "tips-over") {
			tipped[r.Name]++
		}
	}
	for _, name := range killed {
		if tipped[name] != 1 {
			errs = append(errs, fmt.Errorf("%s led to the end of its job %d times, not once", name, tipped[name]))
		}
	}
	if len(killed) != instances || len(tipped) != instances {
		errs = append(errs, fmt.Errorf("%d of %d have led, %d were killed", len(tipped), instances, len(killed)))
	}
	return errors.Join(errs...)
}
