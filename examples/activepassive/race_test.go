//go:build race

package main

// buildFlags have the programs checked for races along with the test that drives them.
var buildFlags = []string{"-race"}
