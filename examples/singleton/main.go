// Command singleton runs six instances of one program, of which only one may work at a
// time. Each instance waits until it leads, does its job, and tips over without closing
// anything, so that the next one takes over.
//
//	go run ./examples/singleton              # all six, one process each, and a table of who led when
//	go run ./examples/singleton -failover 1s # the same with fast failover
//
// ZOOKEEPER_CONNECTION_STRING names the ensemble. If it is not set, the command uses one
// in memory. The instances run the program in the folder app, which is the one to take
// home.
package main

import (
	"context"
	"flag"

	"github.com/zkelection/election/examples/internal/demo"
)

func main() {
	servers := flag.Int("servers", 3, "`number` of ZooKeeper servers to run in memory if the environment names none")
	failover := flag.Duration("failover", 0, "`time` after which the next instance replaces a crashed one; 0: when ZooKeeper has ended its session")
	flag.Parse()
	demo.Main(func(ctx context.Context) error { return runAll(ctx, *servers, *failover) })
}
