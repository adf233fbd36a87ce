//go:build race

package main

// buildFlags make the programs check for races, as the test that drives them does.
var buildFlags = []string{"-race"}
