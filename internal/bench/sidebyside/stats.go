package main

import (
	"math"
	"slices"
)

func sorted(values []int64) []int64 {
	values = slices.Clone(values)
	slices.Sort(values)
	return values
}

// quantile returns the value at q, from 0 to 1, of sorted values: the smallest value that
// at least that share of all values does not exceed. There must be values.
func quantile(values []int64, q float64) int64 {
	rank := int(math.Ceil(q*float64(len(values)))) - 1
	return values[min(max(rank, 0), len(values)-1)]
}

// summary is what tables and drawings show of times.
type summary struct {
	p10, p50, p90, least, most int64
	count                      int
}

// summarise describes sorted values. It returns false if there are none.
func summarise(values []int64) (summary, bool) {
	if len(values) == 0 {
		return summary{}, false
	}
	return summary{quantile(values, 0.1), quantile(values, 0.5), quantile(values, 0.9), values[0], values[len(values)-1], len(values)}, true
}
