//go:build !unix

package main

// background changes nothing here: this system has no background jobs.
func background() {}
