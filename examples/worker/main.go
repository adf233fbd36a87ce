// Command worker runs two services that share one task. Each asks once a second whether
// it leads, and works only if it does.
//
//	go run ./examples/worker # both, one process each, until Ctrl-C
//
// ZOOKEEPER_CONNECTION_STRING names the ensemble, such as zoo1:2181,zoo2:2181,zoo3:2181.
// If it is not set, the command runs three servers in memory. The services run the
// program in the folder app, which is the one to take home.
package main

import "github.com/zkelection/election/examples/internal/demo"

func main() { demo.Main(runBoth) }
